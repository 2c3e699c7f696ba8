"""What a report is said to cost is what it costs, in bytes, and its stages say who computes."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mpc.channel import Pipe
from mpc.job import Job
from mpc.local import run_parties
from mpc.registry import get
from mpc.reports.explain import explain
from mpc.reports.query import report_job
from mpc.rng import system_rng
from mpc.session import run_role
from mpc.spec import Outcome, no_progress
from mpc.testing import RecordingPipe

ROWS = 3000
DOCS = [f"P{i}" for i in range(ROWS)]
TABLES = {
    "hk": pa.table({"doc": DOCS, "product": ["cards" if i % 3 else "loans" for i in range(ROWS)]}),
    "cn": pa.table({"doc": DOCS, "balance": np.arange(ROWS) % 1000}),
    "sg": pa.table({"doc": DOCS, "segment": ["a" if i % 2 else "b" for i in range(ROWS)]}),
    "uk": pa.table({"doc": DOCS, "fee": np.arange(ROWS) % 7}),
}
COLUMNS: dict[str, Any] = {
    "hk.product": {"values": ["cards", "loans"]},
    "cn.balance": {"lower": "0", "upper": "1000"},
    "sg.segment": {"values": ["a", "b"]},
    "uk.fee": {"lower": "0", "upper": "9"},
}
JOINS = " FROM hk.cards JOIN cn.accounts USING (doc) JOIN sg.clients USING (doc) JOIN uk.fees USING (doc)"


def report(parties: int, join: str, *, compared: bool = False, verified: bool = False) -> Job:
    selected = ["hk.product", "COUNT(*) AS n", "SUM(cn.balance) AS s", "SUM(cn.balance * uk.fee) AS f"][
        : 3 + parties // 4
    ]
    groups = ["hk.product"] if parties == 2 else ["hk.product", "sg.segment"]
    sql = "SELECT " + ", ".join(selected) + " JOIN".join(JOINS.split(" JOIN")[:parties])
    sql += " WHERE cn.balance > uk.fee" * compared + f" GROUP BY {', '.join(groups)}"
    columns = {name: declared for name, declared in COLUMNS.items() if name in sql}
    third = "reg" if verified and parties == 2 else ""
    return report_job(
        sql,
        receivers=("hk",),
        columns=columns,
        join=join,  # type: ignore[arg-type]
        verified=verified,
        computes=third,
    )


def measured(job: Job) -> dict[str, Counter[str]]:
    """Bytes that each party sends and receives."""
    found = {name: Counter[str]() for name in job.members}
    records: dict[tuple[str, str], RecordingPipe] = {}
    spec = get("report.sql")

    def part(name: str) -> Any:
        slots = {slot: TABLES[name].select(list(names)) for slot, names in job.members[name].columns.items()}
        return lambda peers: run_role(spec, job, name, slots, peers, system_rng, no_progress, bytes(16))

    def record(name: str, peer: str, pipe: Pipe) -> Pipe:
        records[name, peer] = RecordingPipe(pipe)
        return records[name, peer]

    outcomes: Mapping[str, Outcome] = run_parties({name: part(name) for name in job.members}, wrap=record)
    assert outcomes["hk"].table is not None
    for (name, peer), pipe in records.items():
        size = sum(map(len, pipe.sent))
        found[name]["sent"] += size
        found[peer]["received"] += size
    return found


@pytest.mark.parametrize(
    ("parties", "join", "compared", "verified"),
    [
        (2, "J0", False, False), (2, "J3", False, False), (3, "J0", False, False), (3, "J2", False, False),
        (3, "J3", False, False), (4, "J3", True, False), (2, "J0", False, True), (2, "J3", False, True),
        (3, "J0", False, True), (3, "J2", False, True), (3, "J3", False, True), (4, "J0", False, True),
    ],
)  # fmt: skip
def test_bytes_are_as_estimated(parties: int, join: str, compared: bool, verified: bool) -> None:
    job = report(parties, join, compared=compared, verified=verified)
    rows = dict.fromkeys(job.members, ROWS)
    found = measured(job)
    for name in job.members:
        stages = explain(job, rows, name).stages
        for way, said in (
            ("sent", sum(stage.sent_bytes for stage in stages)),
            ("received", sum(stage.received_bytes for stage in stages)),
        ):
            assert 0.9 < said / found[name][way] < 1.1, (name, way, said, found[name][way])


def test_stages_say_who_computes_and_each_pays_its_own() -> None:
    job = report(4, "J3", compared=True)
    rows = dict.fromkeys(job.members, ROWS)
    stages = {name: explain(job, rows, name).stages for name in job.members}
    names = [stage.name for stage in stages["hk"]]
    assert names == [
        "filter and group own rows", "join, J3", "compare columns of two parties", "sum by group",
        "compare with the minimum", "open released groups",
    ]  # fmt: skip
    assert {stage.who for stage in stages["uk"][2:5]} == {"hk and cn and sg"}
    assert [stage.sent_bytes for stage in stages["uk"][2:]] == [0] * 4  # it brings all to the join
    assert all(stage.rounds for stage in stages["hk"][1:])


def test_an_estimate_loads_no_arrow() -> None:
    """A node that shows what a job costs stays small."""
    import subprocess
    import sys

    program = (
        "import sys; from mpc.registry import get; from mpc.reports.query import report_job; "
        "job = report_job('SELECT COUNT(*) AS n FROM hk.a JOIN cn.b USING (k)', receivers=('hk',)); "
        "spec = get('report.sql'); spec.estimate(job, spec.parse(job), {'hk': 9, 'cn': 9}, 'hk'); "
        "print('pyarrow' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
