"""Reports of three parties that check each other: the plain answer, and no false share leads to another one."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from random_reports import random_report
from random_unions import pooled as pooled_union
from random_unions import random_union
from report_oracle import pooled, same, shared

from mpc.channel import Pipe, decode, encode
from mpc.errors import InputError, ProtocolError
from mpc.job import Job
from mpc.local import run_job, run_parties
from mpc.registry import get
from mpc.reports.explain import explain
from mpc.reports.query import report_job, union_job
from mpc.rng import system_rng
from mpc.session import run_role
from mpc.spec import Outcome, no_progress
from protos import sharing_pb2

TABLES = {
    "hk": pa.table({"doc": list(range(30)), "product": ["loans" if i % 3 == 0 else "cards" for i in range(30)]}),
    "cn": pa.table({"doc": list(range(5, 35)), "balance": list(range(30))}),
    "sg": pa.table({"doc": list(range(30)), "segment": ["corporate" if i < 12 else "retail" for i in range(30)]}),
}
SQL = (
    "SELECT hk.product, sg.segment, COUNT(*) AS n, SUM(cn.balance) AS total FROM hk.cards JOIN cn.accounts USING (doc) "
    "JOIN sg.clients USING (doc) GROUP BY hk.product, sg.segment"
)
COLUMNS: dict[str, Any] = {
    "hk.product": {"values": ["cards", "loans"]},
    "sg.segment": {"values": ["corporate", "retail"]},
    "cn.balance": {"lower": "0", "upper": "100"},
}


@pytest.mark.parametrize("seed", range(5))
def test_a_verified_report_is_what_duckdb_finds_in_the_pooled_data(seed: int) -> None:
    report = random_report(seed, 3)
    more: dict[str, Any] = {"columns": report.columns, "minimum_group": report.minimum_group, "join": report.join}
    ours = shared(report.sql, report.tables, verified=True, **more)
    theirs = pooled(report.sql, report.tables, minimum_group=report.minimum_group)
    assert same(ours, theirs, ordered=report.ordered), report.sql


@pytest.mark.parametrize(("seed", "parties"), [(0, 3), (1, 3), (2, 3), (0, 4), (1, 5)])
def test_a_verified_report_on_a_union_is_what_duckdb_finds(seed: int, parties: int) -> None:
    union = random_union(seed + 40, parties)
    job = union_job(
        union.sql,
        receivers=union.receivers,
        people=dict.fromkeys(union.tables, ("id",)),
        columns=union.columns,
        minimum_group=union.minimum_group,
        separate_people=union.separate_people,
        verified=True,
    )
    table = run_job(job, union.tables)[union.receivers[0]].table
    assert table is not None
    ours = [tuple(row.values())[:-1] for row in table.to_pylist() if not row["suppressed"]]
    assert same(ours, pooled_union(union), ordered=union.ordered), union.sql


class Cheat:
    """Adds to one word of the first part of an operation that its party sends."""

    def __init__(self, inner: Pipe, operation: str, word: int) -> None:
        self._inner = inner
        self._operation = operation
        self._word = word
        self.done = False

    def send_bytes(self, data: bytes, /) -> None:
        if b"sharing.v1.Part" in data[:40] and not self.done:
            part = decode(data, sharing_pb2.Part)
            words = np.frombuffer(part.data, np.uint64).copy() if len(part.data) % 8 == 0 else np.empty(0, np.uint64)
            if part.operation == self._operation and len(words):
                words[self._word % len(words)] += np.uint64(1)
                part.data, self.done = words.tobytes(), True
                data = encode(part)
        self._inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self._inner.recv_bytes()


def play(job: Job, wrap: Callable[[str, str, Pipe], Pipe]) -> dict[str, Outcome]:
    spec = get("report.sql")

    def part(name: str) -> Callable[[Mapping[str, Any]], Outcome]:
        slots = {slot: TABLES[name].select(list(names)) for slot, names in job.members[name].columns.items()}
        return lambda peers: run_role(spec, job, name, slots, peers, system_rng, no_progress, bytes(16))

    return run_parties({name: part(name) for name in job.members}, wrap=wrap)


@pytest.mark.parametrize("operation", ["multiply", "sums_by", "compare", "open", "open_bits"])
@pytest.mark.parametrize(("cheat", "victim"), [("cn", "hk"), ("hk", "sg"), ("sg", "hk"), ("hk", "cn")])
def test_no_false_share_of_what_is_computed_leads_to_a_report(operation: str, cheat: str, victim: str) -> None:
    job = report_job(SQL, receivers=("hk",), columns=COLUMNS, minimum_group=3, join="J0", verified=True)
    cheats: list[Cheat] = []

    def wrap(name: str, peer: str, pipe: Pipe) -> Pipe:
        if (name, peer) != (cheat, victim):
            return pipe
        cheats.append(Cheat(pipe, operation, 1))
        return cheats[0]

    truth = run_job(job, TABLES)["hk"].table
    try:
        outcomes = play(job, wrap)
    except ProtocolError as error:
        assert cheats[0].done
        assert str(error).startswith(("hk: ", "cn: ", "sg: ")) or "step" in str(error)
    else:  # nothing of that operation goes from the one to the other
        assert not cheats[0].done
        assert outcomes["hk"].table == truth


def test_without_checks_a_false_share_can_lead_to_another_report() -> None:
    sql = SQL.replace("SUM", "AVG")  # the first products count its values
    job = report_job(sql, receivers=("hk",), columns=COLUMNS, minimum_group=3, join="J0")
    truth = run_job(job, TABLES)["hk"].table

    def wrap(name: str, peer: str, pipe: Pipe) -> Pipe:
        return Cheat(pipe, "multiply", 1) if (name, peer) == ("sg", "hk") else pipe

    assert play(job, wrap)["hk"].table != truth


def test_only_three_parties_check_each_other() -> None:
    two = "SELECT COUNT(*) AS n FROM hk.cards JOIN cn.accounts USING (doc)"
    with pytest.raises(InputError, match="2 parties cannot verify each other's shares"):
        report_job(two, receivers=("hk",), verified=True)
    four = "SELECT COUNT(*) AS n FROM hk.a JOIN cn.b USING (doc) JOIN sg.c USING (doc) JOIN uk.d USING (doc)"
    for level in ("J2", "J3"):
        with pytest.raises(InputError, match="a verified report of 4 parties joins at J0"):
            report_job(four, receivers=("hk",), verified=True, join=level)


@pytest.mark.parametrize("seed", range(3))
def test_four_parties_of_which_three_compute_find_what_duckdb_finds(seed: int) -> None:
    report = random_report(seed + 20, 4)
    found = shared(
        report.sql, report.tables, columns=report.columns, minimum_group=report.minimum_group, join="J0", verified=True
    )
    truth = pooled(report.sql, report.tables, minimum_group=report.minimum_group)
    assert same(found, truth, ordered=report.ordered)


def test_a_verified_report_of_two_needs_a_third_that_has_no_table_and_receives_nothing() -> None:
    two = "SELECT COUNT(*) AS n FROM hk.cards JOIN cn.accounts USING (doc)"
    made = report_job(two, receivers=("hk",), verified=True, computes="reg")
    assert (made.params["join"], made.members["reg"].role, made.members["reg"].dataset) == ("J3", "computes", "")
    explained = explain(made, dict.fromkeys(made.members, 0), "reg")
    assert explained.integrity.startswith("The figures hold even if one of cn, hk and reg departs from the protocol")
    assert "if it pooled what it holds with hk or cn" in explained.reveals["reg"]
    assert "rest on both hk and cn" in explain(report_job(two, receivers=("hk",)), {"hk": 0, "cn": 0}, "hk").integrity
    for wrong, said in (
        ({"verified": False}, "reg has no table: it computes with two others, in a verified report"),
        ({"receivers": ("hk", "reg")}, "reg has no table, and receives nothing"),
        ({"join": "J1"}, "no verified report joins at J1"),
        ({"computes": "cn"}, "cn has a table in the report, and computes anyway"),
        ({"noise": {"epsilon": "1"}}, "a report with noise is computed by parties with tables alone"),
    ):
        with pytest.raises(InputError, match=said):
            report_job(two, **{"receivers": ("hk",), "verified": True, "computes": "reg", **wrong})
    with pytest.raises(InputError, match="reg has no table: it computes with two others"):
        report_job(SQL, receivers=("hk",), columns=COLUMNS, verified=True, computes="reg")


@pytest.mark.parametrize("seed", range(4))
def test_two_parties_and_a_third_find_what_duckdb_finds(seed: int) -> None:
    report = random_report(seed, 2)
    first = next(iter(report.tables))
    job = report_job(
        report.sql,
        receivers=(first,),
        columns=report.columns,
        minimum_group=report.minimum_group,
        join="J0" if report.join == "J1" else report.join,
        verified=True,
        computes="reg",
    )
    outcomes = run_job(job, {**report.tables, "reg": pa.table({})})
    table = outcomes[first].table
    assert table is not None
    assert outcomes["reg"].table is None
    ours = [tuple(row.values())[:-1] for row in table.to_pylist() if not row["suppressed"]]
    theirs = pooled(report.sql, report.tables, minimum_group=report.minimum_group)
    assert same(ours, theirs, ordered=report.ordered), report.sql


def test_two_parties_and_a_third_report_on_a_union() -> None:
    tables = {
        name: pa.table({"id": range(9), "region": ["east"] * 4 + ["west"] * 5, "amount": range(9)}) for name in "ab"
    }
    text = " UNION ALL ".join(f"SELECT region, amount FROM {name}.t" for name in tables)
    job = union_job(
        f"SELECT region, COUNT(*) AS n, SUM(amount) AS s, VAR_POP(amount) AS v, MAX(amount) AS m FROM ({text}) AS u "
        "GROUP BY region",
        receivers=("a",),
        people=dict.fromkeys(tables, ("id",)),
        columns={"u.region": {"values": ["east", "west"]}, "u.amount": {"lower": "-1", "upper": "9"}},
        minimum_group=1,
        verified=True,
        computes="reg",
    )
    table = run_job(job, {**tables, "reg": pa.table({})})["a"].table
    assert table is not None
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        ("east", 8, 12, 1.25, 3, False),
        ("west", 10, 60, 2.0, 8, False),
    ]


def test_receivers_that_are_told_different_names_of_a_group_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from mpc.reports import labels

    def cheating(channels: Any, shown: Any) -> None:
        first, *rest = channels
        original([first], [("Premium",), *shown[1:]] if len(shown) == 2 else shown)
        original(rest, shown)

    original = labels.tell
    monkeypatch.setattr(labels, "tell", cheating)
    columns = {name: each for name, each in COLUMNS.items() if name != "hk.product"}
    job = report_job(SQL, receivers=("cn", "sg"), columns=columns, minimum_group=3, join="J0", verified=True)
    with pytest.raises(ProtocolError, match="hk: told the receivers different names of its groups"):
        run_job(job, TABLES)


def test_what_was_brought_is_checked_some_numbers_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from mpc.reports import legality

    monkeypatch.setattr(legality, "_MOST_AT_ONCE", 7)
    report = random_report(3, 3)
    more: dict[str, Any] = {"columns": report.columns, "minimum_group": report.minimum_group, "join": report.join}
    ours = shared(report.sql, report.tables, verified=True, **more)
    theirs = pooled(report.sql, report.tables, minimum_group=report.minimum_group)
    assert same(ours, theirs, ordered=report.ordered), report.sql


def test_checks_are_priced() -> None:
    plain, checked = (
        report_job(SQL, receivers=("hk",), columns=COLUMNS, join="J0", verified=verified) for verified in (False, True)
    )
    rows = dict.fromkeys(TABLES, 10_000)
    for name in TABLES:
        before, after = (sum(stage.sent_bytes for stage in explain(job, rows, name).stages) for job in (plain, checked))
        assert after > 3 * before
