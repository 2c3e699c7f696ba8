"""What two parties alone notice of each other's wrong messages, though both are trusted to follow the protocol."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf.message import Message
from tampering import Script, ends_of

from mpc.channel import Pipe, decode, encode
from mpc.errors import ChannelError, ProtocolError, SealaneError
from mpc.job import Job
from mpc.local import run_job, run_parties
from mpc.registry import get
from mpc.reports.explain import explain
from mpc.reports.query import report_job
from mpc.rng import system_rng
from mpc.session import run_role
from mpc.spec import Outcome, no_progress
from protos import psi_pb2, report_pb2, sharing_pb2

TABLES = {
    "hk": pa.table({"doc": range(40), "product": ["loans" if i % 3 == 0 else "cards" for i in range(40)]}),
    "cn": pa.table({"doc": range(5, 45), "balance": range(40)}),
}
SQL = "SELECT hk.product, COUNT(*) AS n, SUM(cn.balance) AS total FROM hk.cards JOIN cn.accounts USING (doc) GROUP BY 1"
LEVELS = ("J0", "J1", "J3")  # J2 is J3 and a shuffle
RUNS = 2  # of each way to change a message


def job(level: Any) -> Job:
    columns = {"hk.product": {"values": ["cards", "loans"]}, "cn.balance": {"lower": "0", "upper": "100"}}
    return report_job(SQL, receivers=("hk", "cn"), columns=columns, minimum_group=3, join=level)


@pytest.mark.parametrize("cheater", list(TABLES))
@pytest.mark.parametrize("level", LEVELS)
def test_a_message_that_comes_again_or_in_another_length_ends_the_report_by_name(level: str, cheater: str) -> None:
    made, honest = job(level), Script()
    truth = ends_of(made, TABLES, cheater, honest)
    other = next(name for name in TABLES if name != cheater)
    random, changed = Random(f"{level} {cheater}"), 0
    for way in ("replay", "repeat", "truncate", "lengthen"):
        for number in random.sample(range(len(honest.sent)), RUNS):
            script = Script(number, way, random.randrange(2**30))
            end = ends_of(made, TABLES, cheater, script)[other]
            if isinstance(end, Outcome):  # it was the last one, or what was sent again was the same
                assert not script.done or way == "repeat"
                assert end.table == truth[other].table  # type: ignore[union-attr]
                continue
            changed += 1
            assert isinstance(end, SealaneError)
            named = str(end).startswith(f"{cheater}: ") and (" step " in str(end) or "Hello" in str(end))
            assert named or isinstance(end, ChannelError), (way, number, end)
    assert changed > 3 * RUNS


@dataclass
class Saying:
    """Changes the messages of one type that a party sends, in one step if these are parts of arrays."""

    inner: Pipe
    kind: type[Message]
    change: Callable[[Any], None]
    operation: str = ""

    def send_bytes(self, data: bytes, /) -> None:
        if data[1 : 1 + data[0]] == self.kind.DESCRIPTOR.full_name.encode():
            message = decode(data, self.kind)
            if getattr(message, "operation", "") == self.operation:
                self.change(message)
                data = encode(message)
        self.inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self.inner.recv_bytes()


def play(made: Job, cheater: str, *said: Any) -> Mapping[str, Outcome]:
    spec, session = get(made.protocol), system_rng(16)

    def part(name: str) -> Any:
        slots = {slot: TABLES[name].select(list(each)) for slot, each in made.members[name].columns.items()}
        return lambda peers: run_role(spec, made, name, slots, peers, system_rng, no_progress, session)

    outcomes: Mapping[str, Outcome] = run_parties(
        {name: part(name) for name in made.members},
        wrap=lambda name, _peer, pipe: Saying(pipe, *said) if name == cheater else pipe,
    )
    return outcomes


def one_key_less(message: Any) -> None:
    message.keys -= 1


def another_number(message: Any) -> None:
    message.data = (int.from_bytes(message.data, "little") + 1).to_bytes(8, "little")


NUMBER = (sharing_pb2.Part, another_number, "announce")


@pytest.mark.parametrize(
    ("level", "cheater", "said", "error"),
    [
        ("J0", "cn", (report_pb2.Setup, one_key_less), "hk: started another stage|cn: started another stage"),
        ("J0", "cn", (psi_pb2.Size, one_key_less), "in step 'match keys'"),
        ("J1", "hk", (psi_pb2.Size, one_key_less), "in step 'match keys'"),
        ("J0", "hk", NUMBER, "hk: names another number of matches than it marked, in step 'match keys'"),
        ("J1", "cn", NUMBER, "cn: names another number of rows than it has keys, in step 'match keys'"),
        ("J2", "hk", NUMBER, "hk: |cn: "),
        ("J3", "cn", NUMBER, "hk: |cn: "),
    ],
)
def test_a_wrong_count_ends_the_report_by_name(level: str, cheater: str, said: Any, error: str) -> None:
    with pytest.raises(ProtocolError, match=error) as raised:
        play(job(level), cheater, *said)
    assert any(f"{name}: " in str(raised.value) for name in TABLES)


def test_a_party_that_comes_with_fewer_keys_than_it_said_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells its peer and its own engine the same, and follows the protocol with fewer keys."""
    import threading

    from mpc.joins.levels import LEVELS as JOINS
    from mpc.joins.levels import Level
    from mpc.joins.matching import Table  # type: ignore[attr-defined]

    def fewer(party: Any, engine: Any, label: bytes, asker: str, others: Any, declared: Any, table: Table) -> Any:
        if threading.current_thread().name == "cn":
            table = Table(table.keys[1:], {name: values[1:] for name, values in table.columns.items()})
        return original.join(party, engine, label, asker, others, declared, table)

    for level in LEVELS:
        original = JOINS[level]
        changed = Level(original.name, fewer, original.asker_learns, original.other_learns, original.most_others)
        monkeypatch.setattr("mpc.joins.levels.LEVELS", {**JOINS, level: changed})
        with pytest.raises(ProtocolError, match=r"^(hk|cn): .*step"):
            run_job(job(level), TABLES)


def test_a_false_share_between_two_is_not_noticed_and_explain_says_so() -> None:
    def another_word(message: Any) -> None:
        message.data = another(message.data)

    def another(data: bytes) -> bytes:
        return data[:-8] + bytes([data[-8] ^ 1]) + data[-7:]

    made = job("J1")
    truth = run_job(made, TABLES)["hk"].table
    assert play(made, "cn", sharing_pb2.Part, another_word, "open")["hk"].table != truth
    said = explain(made, dict.fromkeys(TABLES, 40), "hk").integrity
    assert "each could falsify them unnoticed" in said
    assert "Noticed are messages that are not due or come again, counts that contradict each other" in said
