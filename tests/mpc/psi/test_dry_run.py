"""psi.dry_run: counts of both parties, and nothing else on the wire."""

import subprocess
import sys
from collections.abc import Sequence

import pyarrow as pa
import pytest
from google.protobuf.message import Message
from psi_pairs import Meddler, Wire, run_pair

from mpc.channel import Pipe, encode
from mpc.errors import InputError, ProtocolError
from mpc.job import Job, Member
from mpc.registry import get
from protos import psi_pb2

TABLES = {
    "alice": pa.table({"id": ["2123 4567", "21234567", "12", None, " "]}),
    "bob": pa.table({"id": pa.array([21234567, 21234568])}),
    "carol": pa.table({"id": pa.array([], pa.string())}),
}
ROWS = [
    {"party": "alice", "rows": 5, "nulls": 2, "invalid": 1, "duplicates": 1, "distinct": 1},
    {"party": "bob", "rows": 2, "nulls": 0, "invalid": 0, "duplicates": 0, "distinct": 2},
    {"party": "carol", "rows": 0, "nulls": 0, "invalid": 0, "duplicates": 0, "distinct": 0},
]


def dry_job(names: Sequence[str], receivers: Sequence[str] | None = None) -> Job:
    members = {name: Member("party", columns={"key": ("id",)}) for name in names}
    receivers = tuple(names if receivers is None else receivers)
    return Job("psi.dry_run", members, receivers, {"normalisation": ["phone/1:HK"]}, id="0" * 32)


@pytest.mark.parametrize("names", [("alice", "bob"), ("bob", "alice"), ("carol", "bob", "alice")])
def test_every_party_learns_the_counts_of_all(names: tuple[str, ...]) -> None:
    outcomes = run_pair(dry_job(names), TABLES)
    for name in names:
        table = outcomes[name].table
        assert table is not None
        assert table.to_pylist() == [row for row in ROWS if row["party"] in names]
    assert outcomes["bob"].facts == {"own_rows": 2, "nulls": 0, "invalid": 0, "duplicates": 0, "distinct": 2}


def test_only_the_counts_pass_the_wire() -> None:
    wire = Wire()
    run_pair(dry_job(("alice", "bob")), TABLES, wrap=wire.wrap)
    counts = psi_pb2.Quality(rows=5, nulls=2, invalid=1, duplicates=1, distinct=1)
    assert wire.records["alice"].sent[1:] == [encode(counts)]


@pytest.mark.parametrize(
    "counts",
    [
        psi_pb2.Quality(rows=1),
        psi_pb2.Quality(distinct=1),
        psi_pb2.Quality(rows=2**64 - 1, nulls=2**64 - 1),
        psi_pb2.Quality(nulls=2**64 - 1, invalid=1),
    ],
    ids=["rows only", "no rows", "too many", "overflow"],
)
def test_counts_that_do_not_add_up_are_refused(counts: Message) -> None:
    def wrap(name: str, _peer: str, pipe: Pipe) -> Pipe:
        return (
            Meddler(pipe, lambda _m: [counts], {"sealane.psi.v1.Quality": psi_pb2.Quality}) if name == "bob" else pipe
        )

    with pytest.raises(ProtocolError, match="bob: sent counts that do not add up"):
        run_pair(dry_job(("alice", "bob")), TABLES, wrap=wrap)


def test_all_members_must_be_receivers() -> None:
    with pytest.raises(InputError, match="every member of a dry run") as caught:
        get("psi.dry_run").parse(dry_job(("alice", "bob"), ("alice",)))
    assert caught.value.hint


def test_members_must_bring_as_many_key_columns() -> None:
    members = {"alice": Member("party", columns={"key": ("a",)}), "bob": Member("party", columns={"key": ("a", "b")})}
    with pytest.raises(InputError, match="different numbers of key columns"):
        get("psi.dry_run").parse(Job("psi.dry_run", members, ("alice", "bob")))


def test_what_is_revealed_and_its_cost_are_declared() -> None:
    spec = get("psi.dry_run")
    job = dry_job(("alice", "bob"))
    params = spec.parse(job)
    assert set(spec.reveals(job, params)) == {"alice", "bob"}
    assert spec.minimum_result(params) == 0
    assert spec.estimate(job, params, {"alice": 5, "bob": 2}, "alice").sent_bytes < 1000


def test_the_registry_loads_neither_arrow_nor_telephone_tables() -> None:
    code = "import sys, mpc.registry; print({'pyarrow', 'phonenumbers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
