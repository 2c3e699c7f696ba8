"""report.sql over three and more parties: what is shown and withheld, what is refused, and peers that cheat."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from cheating_sender import Sender
from google.protobuf.message import Message

from mpc.channel import Pipe, decode, encode
from mpc.errors import InputError, ProtocolError
from mpc.job import Job
from mpc.local import run_job, run_parties
from mpc.registry import get
from mpc.reports.query import report_job
from mpc.session import run_role
from mpc.spec import Outcome, no_progress
from mpc.testing import InsecureSeededRng, RecordingPipe
from protos import report_pb2

TABLES = {
    "hk": pa.table(
        {"doc": [f"P{i}" for i in range(40)], "product": ["loans" if i % 3 == 0 else "cards" for i in range(40)]}
    ),
    "cn": pa.table({"doc": [f"P{i}" for i in range(10, 50)], "balance": list(range(40))}),
    "sg": pa.table(
        {
            "doc": [f"P{i}" for i in range(5, 45)],
            "segment": ["rare" if i in (12, 13) else "retail" for i in range(5, 45)],
        }
    ),
    "uk": pa.table({"doc": [f"P{i}" for i in range(38)], "fee": [i % 4 for i in range(38)]}),
}
DECLARED: dict[str, Any] = {
    "hk.product": {"values": ["cards", "loans"]},
    "cn.balance": {"lower": "0", "upper": "100"},
    "uk.fee": {"lower": "0", "upper": "9"},
}
SQL = (
    "SELECT hk.product, sg.segment, COUNT(*) AS n, SUM(cn.balance) AS total FROM hk.cards JOIN cn.accounts USING (doc) "
    "JOIN sg.clients USING (doc) GROUP BY hk.product, sg.segment"
)
FOUR = SQL.replace(" GROUP", " JOIN uk.fees USING (doc) GROUP").replace("total FROM", "total, MAX(uk.fee) AS fee FROM")


def job(sql: str, receivers: Sequence[str] = ("hk",), **more: Any) -> Job:
    columns = {name: declared for name, declared in DECLARED.items() if name in sql}
    made = report_job(sql, receivers=receivers, columns=columns, **{"minimum_group": 3, **more})
    return Job(made.protocol, made.members, made.receivers, made.params, id="0" * 32)


def tables(made: Job) -> dict[str, pa.Table]:
    return {name: TABLES[name] for name in made.members}


def rows(outcomes: Mapping[str, Outcome], name: str = "hk") -> list[dict[str, Any]]:
    table = outcomes[name].table
    assert table is not None
    return list(table.to_pylist())


def truth(last: int) -> list[dict[str, Any]]:
    """The report of the common people P10 to P`last`, less P12 and P13, whose segment is too small to be named."""
    common = [i for i in range(10, last + 1) if i not in (12, 13)]
    found: list[dict[str, Any]] = []
    for product in ("cards", "loans"):
        own = [i for i in common if (i % 3 == 0) == (product == "loans")]
        found.append({"product": product, "segment": "retail", "n": len(own), "total": sum(i - 10 for i in own)})
    return found


@pytest.mark.parametrize("level", ["J0", "J2", "J3"])
@pytest.mark.parametrize("asker", ["hk", "cn", "sg"])
def test_every_receiver_is_given_the_same_and_small_groups_stay_hidden(level: str, asker: str) -> None:
    made = job(SQL, receivers=("hk", "sg"), join=level, asker=asker)
    outcomes = run_job(made, tables(made))
    shown = [{**row, "suppressed": False} for row in truth(39)]
    hidden = [
        {"product": product, "segment": "(withheld)", "n": None, "total": None, "suppressed": True}
        for product in ("cards", "loans")
    ]
    assert rows(outcomes) == rows(outcomes, "sg") == shown + hidden
    assert outcomes["cn"].table is None
    facts = outcomes["cn"].facts
    assert {name: facts[name] for name in facts if name.startswith("keys_")} == dict.fromkeys(
        ("keys_hk", "keys_cn", "keys_sg"), 40
    )
    assert (facts["groups"], facts["suppressed"]) == (4, 2)


@pytest.mark.parametrize("receivers", [("hk",), ("uk",), ("sg", "uk")])
def test_of_four_one_does_not_compute_and_may_be_a_receiver(receivers: Sequence[str]) -> None:
    made = job(FOUR, receivers=receivers, join="J0", asker="hk")
    for name in receivers:
        found = [row for row in rows(run_job(made, tables(made)), name) if not row["suppressed"]]
        fees = {
            product: max(i % 4 for i in range(10, 38) if (i % 3 == 0) == (product == "loans"))
            for product in ("cards", "loans")
        }
        assert found == [
            {**row, "total": Decimal(row["total"]), "fee": Decimal(fees[row["product"]]), "suppressed": False}
            for row in truth(37)
        ]


@pytest.mark.parametrize(("level", "verified"), [("J0", False), ("J2", False), ("J3", False), ("J0", True)])
def test_where_no_key_is_common_all_groups_are_suppressed(level: str, verified: bool) -> None:
    made = job(SQL.replace("sg.segment", "cn.city, sg.segment"), join=level, verified=verified)
    alone = {**tables(made), "cn": pa.table({"doc": range(10), "city": ["a", "b"] * 5, "balance": range(10)})}
    found = rows(run_job(made, alone))
    assert len(found) == 8
    assert all(row["suppressed"] and row["n"] is None for row in found)


def test_three_parties_join_at_j3_unless_told_otherwise() -> None:
    assert job(SQL).params["join"] == "J3"
    with pytest.raises(InputError, match="3 parties do not join at J1"):
        job(SQL, join="J1")
    with pytest.raises(InputError, match="at J3 a minimum, maximum or quantile is of the asker's columns"):
        job(FOUR)
    with pytest.raises(InputError, match="at J2 there is no minimum"):
        job(FOUR, join="J2")


def test_what_each_party_learns_is_said() -> None:
    spec = get("report.sql")
    said = {}
    for level in ("J0", "J3"):
        made = job(FOUR, join=level, asker="uk")
        said[level] = spec.reveals(made, spec.parse(made))
    assert "how many different keys and groups cn, sg and uk have after their own conditions" in said["J0"]["hk"]
    assert "which of its keys cn, sg and uk all have" in said["J0"]["hk"]
    assert "which of its keys" not in said["J3"]["uk"]
    assert "if it pooled what it holds with hk or cn, what the others brought" in said["J3"]["uk"]
    assert "pooled" not in said["J3"]["sg"]  # it does not compute


# Peers that cheat.


class Meddler:
    """Changes the messages of one kind that a party sends."""

    def __init__(self, inner: Pipe, kind: type[Message], edit: Callable[[Any], Message | None]) -> None:
        self._inner = inner
        self._kind = kind
        self._edit = edit

    def send_bytes(self, data: bytes, /) -> None:
        if data[1 : 1 + data[0]].decode() == self._kind.DESCRIPTOR.full_name:
            data = encode(self._edit(decode(data, self._kind)) or decode(data, self._kind))
        self._inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self._inner.recv_bytes()


def play(made: Job, wrap: Callable[[str, str, Pipe], Pipe]) -> dict[str, Outcome]:
    """Run `made` with the random numbers of one seed a party."""
    spec = get("report.sql")

    def part(name: str) -> Callable[[Mapping[str, Any]], Outcome]:
        slots = {slot: TABLES[name].select(list(names)) for slot, names in made.members[name].columns.items()}
        rng = InsecureSeededRng(name.encode())
        return lambda peers: run_role(spec, made, name, slots, peers, rng, no_progress, bytes(16))

    return run_parties({name: part(name) for name in made.members}, wrap=wrap)


def edited(**fields: Any) -> Callable[[report_pb2.Setup], Message]:
    def edit(sent: report_pb2.Setup) -> Message:
        for name, value in fields.items():
            setattr(sent, name, value)
        return sent

    return edit


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"plan": bytes(32)}, "uk: made another plan of the SQL"),
        ({"groups": 2}, "uk: claims 2 groups"),
        ({"rows_of_key": 3}, "uk: claims 3 rows of one key"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(fields: Mapping[str, Any], message: str) -> None:
    def wrap(name: str, _peer: str, pipe: Pipe) -> Pipe:
        return Meddler(pipe, report_pb2.Setup, edited(**fields)) if name == "uk" else pipe

    with pytest.raises(ProtocolError, match=message):
        play(job(FOUR, join="J0"), wrap)


@pytest.mark.parametrize("fields", [{"groups": 3}, {"rows_of_key": 2}, {"keys": 2**30}])
def test_a_party_that_tells_others_different_things_ends_the_report(fields: Mapping[str, Any]) -> None:
    def wrap(name: str, peer: str, pipe: Pipe) -> Pipe:
        return Meddler(pipe, report_pb2.Setup, edited(**fields)) if (name, peer) == ("sg", "cn") else pipe

    with pytest.raises(ProtocolError, match=r"^(hk|cn|sg): started another stage"):
        play(job(SQL, join="J0"), wrap)


def parts_sent(made: Job, cheat: str, victim: str) -> int:
    """How many parts the cheat sends the victim when it does not cheat."""
    seen: list[Sender] = []

    def wrap(name: str, peer: str, pipe: Pipe) -> Pipe:
        if (name, peer) != (cheat, victim):
            return pipe
        seen.append(Sender(pipe))
        return seen[0]

    play(made, wrap)
    return seen[0].count


# Whose last part to whom is of the figures: of the party before the receiver; for uk, which does not compute, of two.
@pytest.mark.parametrize(
    ("sql", "receiver", "cheat"), [(SQL, "hk", "cn"), (FOUR, "uk", "cn"), (FOUR, "uk", "hk"), (FOUR, "hk", "cn")]
)
def test_wrong_and_replayed_shares_of_figures_are_refused_by_name(sql: str, receiver: str, cheat: str) -> None:
    made = job(sql, receivers=(receiver,), join="J0", asker="hk")
    last = parts_sent(made, cheat, receiver)

    def wrap(amount: int | None) -> Callable[[str, str, Pipe], Pipe]:
        return lambda name, peer, pipe: Sender(pipe, last, amount) if (name, peer) == (cheat, receiver) else pipe

    for amount in (2**63, 2**40):
        with pytest.raises(ProtocolError, match=f"(^| or ){cheat}( or .*)?: their shares open "):
            play(made, wrap(amount))
    with pytest.raises(ProtocolError, match=f"^{cheat}: sent part "):
        play(made, wrap(None))


def test_values_of_a_guest_that_are_out_of_bounds_end_the_report() -> None:
    made = job(FOUR, receivers=("hk",), join="J0", asker="hk")
    number = 1  # its first array: how many rows each key has

    def wrap(name: str, peer: str, pipe: Pipe) -> Pipe:
        return Sender(pipe, number, 2**62) if (name, peer) == ("uk", "hk") else pipe

    with pytest.raises(ProtocolError, match=r": their shares open "):
        play(made, wrap)


def test_what_each_party_sends_is_the_same_in_every_run() -> None:
    made = job(FOUR, receivers=("hk", "uk"), join="J0", asker="hk")
    runs: list[dict[tuple[str, str], RecordingPipe]] = [{}, {}]
    for records in runs:

        def record(name: str, peer: str, pipe: Pipe, kept: dict[tuple[str, str], RecordingPipe] = records) -> Pipe:
            kept[name, peer] = RecordingPipe(pipe)
            return kept[name, peer]

        play(made, record)
    assert {ends: pipe.sent for ends, pipe in runs[0].items()} == {ends: pipe.sent for ends, pipe in runs[1].items()}
    digests = {}
    for name in made.members:
        sent = [data for ends in sorted(runs[0]) if ends[0] == name for data in runs[0][ends].sent]
        own = [data for data in sent if data[1 : 1 + data[0]].startswith(b"sealane.report.v1.")]
        digests[name] = RecordingPipe.digest(own)[:16]
    assert digests == {
        "hk": "0476bb8555efd334",
        "cn": "3d55bcbffc88b997",
        "sg": "ec1043850c8d3ad9",
        "uk": "d8b2ea9c47351bb6",
    }
