"""psi.ecdh against the plaintext join, byte for byte on the wire, and with a peer that cheats."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from psi_pairs import Meddler, Wire, pair_job, run_pair

from mpc.channel import Pipe, encode
from mpc.errors import ChannelError, InputError, ProtocolError, ResultWithheld, SealaneError
from mpc.local import run_job
from mpc.psi import ecdh, steps
from mpc.psi.steps import false_match_bound, tag_bytes
from mpc.registry import get
from mpc.spec import Role
from mpc.testing import InsecureSeededRng, RecordingPipe
from protos import psi_pb2, session_pb2

TYPES = {
    message.DESCRIPTOR.full_name: message for message in (psi_pb2.Size, psi_pb2.Points, psi_pb2.Tags, psi_pb2.Verdict)
}

ids = st.none() | st.sampled_from(["", "a", "b", "c", "ab", "\0", "é"])
rows = st.lists(st.tuples(ids, st.none() | st.integers(0, 2)), max_size=14)


def table(rows: Sequence[tuple[str | None, int | None]]) -> pa.Table:
    return pa.table(
        {
            "id": pa.array([row[0] for row in rows], pa.string()),
            "n": pa.array([row[1] for row in rows], pa.int64()),
            "row": pa.array(range(len(rows)), pa.int64()),
        }
    )


def numbered(*numbers: int) -> pa.Table:
    return pa.table({"id": pa.array([f"id{i}" for i in numbers], pa.string())})


@pytest.mark.parametrize("chunk", [3, 4096])
@given(x=rows, y=rows, both=st.booleans())
@settings(max_examples=50, deadline=None)
def test_each_receiver_gets_the_rows_of_a_plaintext_join(
    chunk: int, x: list[tuple[str | None, int | None]], y: list[tuple[str | None, int | None]], both: bool
) -> None:
    whole = {name: {(i, n) for i, n in rows if i and n is not None} for name, rows in (("x", x), ("y", y))}
    common = whole["x"] & whole["y"]
    receivers = ("alice", "bob") if both else ("alice",)
    outputs = {"alice": ("row", "id"), "bob": ("row",)}
    job = pair_job("psi.ecdh", receivers, ("id", "n"), outputs, min_result=0)
    with patch.object(steps, "CHUNK_KEYS", chunk):
        outcomes = run_pair(job, {"alice": table(x), "bob": table(y)})
    for name, rows in (("alice", x), ("bob", y)):
        outcome = outcomes[name]
        assert outcome.facts["own_rows"] == len(rows)
        assert outcome.facts["own_distinct"] == len(whole["x" if name == "alice" else "y"])
        assert outcome.facts["peer_distinct"] == len(whole["y" if name == "alice" else "x"])
        if name not in receivers:
            assert outcome.table is None
            assert "matched_distinct" not in outcome.facts
            continue
        expected = table(rows).filter(pa.array([row in common for row in rows], pa.bool_()))
        assert outcome.table is not None
        assert outcome.table.equals(expected)
        assert outcome.facts["matched_distinct"] == len(common)
        assert outcome.facts["matched_rows"] == expected.num_rows
        assert outcome.facts["nulls"] == sum(not i or n is None for i, n in rows)


@pytest.mark.parametrize("sizes", [(1, 1), (1, 9), (9, 1), (4, 4), (5, 4), (4, 12), (13, 8)])
@pytest.mark.parametrize("overlap", ["none", "some", "all"])
def test_sets_of_every_shape_match_over_several_chunks(sizes: tuple[int, int], overlap: str) -> None:
    x, y = sizes
    shift = {"none": x, "some": x // 2, "all": 0}[overlap]
    tables = {"alice": numbered(*range(x)), "bob": numbered(*range(shift, shift + y))}
    with patch.object(steps, "CHUNK_KEYS", 4):
        outcomes = run_pair(pair_job("psi.ecdh", ("alice", "bob"), min_result=0), tables)
    expected = [f"id{i}" for i in range(shift, min(x, shift + y))]
    for outcome in outcomes.values():
        assert outcome.table is not None
        assert outcome.table["id"].to_pylist() == expected


def test_columns_of_two_types_meet_under_the_agreed_normalisation() -> None:
    job = pair_job("psi.ecdh", ("alice", "bob"), normalisation=["integer/1"])
    tables = {"alice": pa.table({"id": ["007", "8", "9"]}), "bob": pa.table({"id": pa.array([9, 7, 1])})}
    outcomes = run_job(job, tables)
    assert outcomes["alice"].table == pa.table({"id": ["007", "9"]})
    assert outcomes["bob"].table == pa.table({"id": pa.array([9, 7])})


def test_no_row_is_lost_in_repeated_runs_at_size() -> None:
    size, runs, shared = 200, 20, 150
    tables = {"alice": numbered(*range(size)), "bob": numbered(*range(size - shared, 2 * size - shared))}
    for run in range(runs):
        outcome = run_pair(pair_job("psi.ecdh"), tables, seed=str(run))["alice"]
        assert outcome.table == tables["alice"].slice(size - shared)


def test_no_row_is_lost_over_full_chunks() -> None:
    size = steps.CHUNK_KEYS + 5
    tables = {"alice": numbered(*range(size)), "bob": numbered(*range(0, 2 * size, 2))}
    outcome = run_job(pair_job("psi.ecdh"), tables)["alice"]
    assert outcome.table == numbered(*range(0, size, 2))


# What passes the wire.


def test_bytes_and_messages_are_exactly_as_declared() -> None:
    x, y, chunk = 10, 5, 4
    width = tag_bytes(x, y)
    wire = Wire()
    tables = {"alice": numbered(*range(x)), "bob": numbered(*range(y))}
    job = pair_job("psi.ecdh", ("alice", "bob"))
    with patch.object(steps, "CHUNK_KEYS", chunk):
        run_pair(job, tables, wrap=wire.wrap)
    rounds = 3
    points = [rounds_of(x, chunk, rounds), rounds_of(y, chunk, rounds)]
    hello = session_pb2.Hello(
        protocol="psi.ecdh", version=1, job_digest=bytes.fromhex(job.digest), session=bytes(range(16)), party="alice"
    )
    alice = [hello, psi_pb2.Size(keys=x), *(psi_pb2.Points(points=bytes(32 * n)) for n in points[0])]
    alice.append(psi_pb2.Verdict(matched=bytes(1)))
    hello_bob = session_pb2.Hello()
    hello_bob.CopyFrom(hello)
    hello_bob.party = "bob"
    bob = [hello_bob, psi_pb2.Size(keys=y), *(psi_pb2.Points(points=bytes(32 * n)) for n in points[1])]
    bob += [psi_pb2.Tags(tags=bytes(width * n)) for n in points[0]]
    for name, messages in (("alice", alice), ("bob", bob)):
        assert wire.counts[name].sent_messages == len(messages)
        assert wire.counts[name].sent_bytes == sum(len(encode(message)) for message in messages)
    assert wire.counts["alice"].sent_bytes == wire.counts["bob"].received_bytes


def rounds_of(keys: int, chunk: int, rounds: int) -> list[int]:
    return [max(0, min(chunk, keys - chunk * i)) for i in range(rounds)]


def test_bytes_in_each_direction_stay_as_they_are() -> None:
    wire = Wire()
    tables = {"alice": numbered(*range(10)), "bob": numbered(*range(5, 12))}
    with patch.object(steps, "CHUNK_KEYS", 4):
        run_pair(pair_job("psi.ecdh", ("alice", "bob")), tables, wrap=wire.wrap)
    assert (
        RecordingPipe.digest(wire.records["alice"].sent)
        == "cbc7ef3920ca173a0b1801518e72955de5448ce9d542b81c73eca70254d3a036"
    )
    assert (
        RecordingPipe.digest(wire.records["bob"].sent)
        == "3980a6f80941e2865704370281e6b5a679bc6e02b91c79310bfd264ce915105f"
    )


def test_a_sender_that_receives_nothing_is_sent_no_bitmap() -> None:
    wire = Wire()
    run_pair(pair_job("psi.ecdh"), {"alice": numbered(1, 2), "bob": numbered(2, 3)}, wrap=wire.wrap)
    assert wire.records["alice"].sent[-1] == encode(psi_pb2.Verdict())


def test_two_sessions_share_no_point() -> None:
    seen: set[bytes] = set()
    tables = {"alice": numbered(*range(8)), "bob": numbered(*range(8))}
    for seed in ("one", "two"):
        wire = Wire()
        run_pair(pair_job("psi.ecdh"), tables, wrap=wire.wrap, seed=seed)
        for record in wire.records.values():
            body = max(record.sent, key=len)[-8 * 32 :]
            points = {body[i : i + 32] for i in range(0, len(body), 32)}
            assert len(points) == 8
            assert not points & seen
            seen |= points


def test_progress_is_reported_up_to_the_end() -> None:
    reports: list[tuple[str, int, int]] = []
    tables = {"alice": numbered(*range(10)), "bob": numbered(*range(5))}
    with patch.object(steps, "CHUNK_KEYS", 4):
        run_pair(pair_job("psi.ecdh"), tables, progress=lambda *report: reports.append(report))
    assert sorted(reports) == [("blind keys", done, 15) for done in (8, 8, 13, 13, 15, 15)]


@pytest.mark.parametrize(("x", "y"), [(60, 60), (60, 1), (1, 60)])
def test_neither_party_runs_ahead_of_the_other(x: int, y: int) -> None:
    lock = threading.Lock()
    waiting = {"alice": 0, "bob": 0}
    most = {"alice": 0, "bob": 0}

    def change(name: str, by: int) -> None:
        with lock:
            waiting[name] += by
            most[name] = max(most[name], waiting[name])

    @dataclass
    class Watched:
        name: str
        peer: str
        inner: Pipe

        def send_bytes(self, data: bytes, /) -> None:
            change(self.name, 1)
            self.inner.send_bytes(data)

        def recv_bytes(self) -> bytes:
            data = self.inner.recv_bytes()
            change(self.peer, -1)
            return data

    with patch.object(steps, "CHUNK_KEYS", 4):
        run_pair(pair_job("psi.ecdh"), {"alice": numbered(*range(x)), "bob": numbered(*range(y))}, wrap=Watched)
    assert most["alice"] <= 3
    assert most["bob"] <= 5


# Results that are too small.


@pytest.mark.parametrize("receivers", [("alice",), ("alice", "bob")])
@pytest.mark.parametrize(
    ("minimum", "x", "y", "reason"),
    [
        (1, (1, 2), (3, 4), "there are none"),
        (3, (1, 2, 3), (2, 3, 4), "there are fewer"),
        (3, (1, 2), (1, 2, 3), "one of the two sets"),
        (1, (), (1,), "one of the two sets"),
    ],
)
def test_both_parties_end_in_a_result_withheld(
    receivers: tuple[str, ...], minimum: int, x: tuple[int, ...], y: tuple[int, ...], reason: str
) -> None:
    ends: dict[str, BaseException] = {}
    job = pair_job("psi.ecdh", receivers, min_result=minimum)
    with watched_roles(ends), pytest.raises(ResultWithheld):
        run_pair(job, {"alice": numbered(*x), "bob": numbered(*y)})
    assert isinstance(ends["alice"], ResultWithheld)
    assert isinstance(ends["bob"], ResultWithheld)
    assert reason in str(ends["alice"])
    assert "dry_run" in ends["alice"].hint


def watched_roles(ends: dict[str, BaseException]) -> Any:
    """Keeps the error in which each party's role ends."""

    def watch(run: Callable[..., Any]) -> Callable[..., Any]:
        def watched(party: Any, tables: Any) -> Any:
            try:
                return run(party, tables)
            except BaseException as error:
                ends[party.name] = error
                raise

        return watched

    return patch.dict(
        ecdh.SPEC.roles, {name: Role(watch(role.run), role.slots) for name, role in ecdh.SPEC.roles.items()}
    )


def test_a_result_of_the_minimum_is_released() -> None:
    tables = {"alice": numbered(1, 2, 3), "bob": numbered(2, 3, 4)}
    outcomes = run_pair(pair_job("psi.ecdh", ("alice", "bob"), min_result=2), tables)
    assert all(outcome.table == numbered(2, 3) for outcome in outcomes.values())


def test_an_empty_result_is_released_where_that_was_agreed() -> None:
    outcome = run_pair(pair_job("psi.ecdh", min_result=0), {"alice": numbered(), "bob": numbered()})["alice"]
    assert outcome.table == numbered()


# Peers that cheat.


def edit_nth(
    kind: type[Message], index: int, edit: Callable[[Any], Sequence[Message]]
) -> Callable[[Message], Sequence[Message]]:
    seen = [0]

    def apply(message: Message) -> Sequence[Message]:
        if not isinstance(message, kind):
            return [message]
        seen[0] += 1
        return edit(message) if seen[0] == index + 1 else [message]

    return apply


def run_against(cheat: str, edit: Callable[[Message], Sequence[Message]]) -> BaseException:
    """The error that ends the other party when `cheat` sends edited messages: 6 keys each, 4 common, chunks of 4."""
    ends: dict[str, BaseException] = {}

    def wrap(name: str, _peer: str, pipe: Pipe) -> Pipe:
        return Meddler(pipe, edit, TYPES) if name == cheat else pipe

    tables = {"alice": numbered(*range(6)), "bob": numbered(*range(2, 8))}
    with patch.object(steps, "CHUNK_KEYS", 4), watched_roles(ends), pytest.raises(SealaneError):
        run_pair(pair_job("psi.ecdh", ("alice", "bob")), tables, wrap=wrap)
    return ends["bob" if cheat == "alice" else "alice"]


def points_with(replacement: bytes, at: int = 1) -> Callable[[Any], Sequence[Message]]:
    def edit(message: Any) -> Sequence[Message]:
        points = message.points
        return [psi_pb2.Points(points=points[: 32 * at] + replacement + points[32 * at + len(replacement) :])]

    return edit


BAD_POINTS = {
    "identity": bytes(32),
    "not canonical": bytes.fromhex("ed" + "ff" * 30 + "7f"),
    "negative": bytes.fromhex("01" + "00" * 31),
    "no square": bytes.fromhex("26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371"),
}


@pytest.mark.parametrize("cheat", ["alice", "bob"])
@pytest.mark.parametrize("chunk", [0, 1])
@pytest.mark.parametrize("point", BAD_POINTS.values(), ids=list(BAD_POINTS))
def test_a_point_that_is_none_is_refused(cheat: str, chunk: int, point: bytes) -> None:
    error = run_against(cheat, edit_nth(psi_pb2.Points, chunk, points_with(point)))
    assert isinstance(error, ProtocolError)
    assert str(error).startswith(f"{cheat}: in chunk {chunk} of its points, 32 bytes are not")


@pytest.mark.parametrize("cheat", ["alice", "bob"])
def test_a_repeated_point_is_refused(cheat: str) -> None:
    error = run_against(cheat, edit_nth(psi_pb2.Points, 0, lambda m: [psi_pb2.Points(points=m.points[:32] * 4)]))
    assert isinstance(error, ProtocolError)
    assert str(error) == f"{cheat}: sent the same point more than once"


@pytest.mark.parametrize("cheat", ["alice", "bob"])
def test_a_point_repeated_in_another_chunk_is_refused(cheat: str) -> None:
    sent: list[bytes] = []

    def edit(message: Message) -> Sequence[Message]:
        if not isinstance(message, psi_pb2.Points):
            return [message]
        sent.append(message.points)
        return [psi_pb2.Points(points=sent[0][: len(message.points)])]

    assert str(run_against(cheat, edit)) == f"{cheat}: sent the same point more than once"


@pytest.mark.parametrize("cheat", ["alice", "bob"])
@pytest.mark.parametrize("size", [0, 31, 96, 4 * 32 - 1, 5 * 32])
def test_points_of_another_number_are_refused(cheat: str, size: int) -> None:
    edit = edit_nth(psi_pb2.Points, 0, lambda m: [psi_pb2.Points(points=(m.points * 2)[:size])])
    assert f"sent {size} bytes of points in chunk 0 where 128 were due" in str(run_against(cheat, edit))


@pytest.mark.parametrize("claim", [5, 7, 12, 2**26])
@pytest.mark.parametrize("cheat", ["alice", "bob"])
def test_a_wrong_count_of_keys_is_noticed(cheat: str, claim: int) -> None:
    error = run_against(cheat, edit_nth(psi_pb2.Size, 0, lambda _m: [psi_pb2.Size(keys=claim)]))
    assert isinstance(error, ProtocolError)
    assert "were due" in str(error) or "expected sealane.psi.v1" in str(error)


@pytest.mark.parametrize("claim", [2**26 + 1, 2**64 - 1])
def test_more_keys_than_a_party_may_have_are_refused_at_once(claim: int) -> None:
    error = run_against("bob", edit_nth(psi_pb2.Size, 0, lambda _m: [psi_pb2.Size(keys=claim)]))
    assert str(error) == f"bob: claims {claim} keys (at most {2**26})"


@pytest.mark.parametrize("size", [0, 1, 27, 29])
def test_tags_of_another_number_are_refused(size: int) -> None:
    edit = edit_nth(psi_pb2.Tags, 0, lambda m: [psi_pb2.Tags(tags=(m.tags * 2)[:size])])
    assert f"bob: sent {size} bytes of tags in chunk 0 where 24 were due" in str(run_against("bob", edit))


def test_a_tag_that_stands_for_two_keys_is_refused() -> None:
    def edit(message: Message) -> Sequence[Message]:
        if isinstance(message, psi_pb2.Tags):
            return [psi_pb2.Tags(tags=message.tags[: len(message.tags) // 2] * 2)]
        return [message]

    assert "bob: tags repeat" in str(run_against("bob", edit))


@pytest.mark.parametrize("cheat", ["alice", "bob"])
@pytest.mark.parametrize("kind", [psi_pb2.Size, psi_pb2.Points])
def test_a_message_of_another_type_is_refused(cheat: str, kind: type[Message]) -> None:
    error = run_against(cheat, edit_nth(kind, 0, lambda _m: [psi_pb2.Verdict()]))
    assert isinstance(error, ProtocolError)
    assert f"expected {kind.DESCRIPTOR.full_name}, got 'sealane.psi.v1.Verdict'" in str(error)


@pytest.mark.parametrize("cheat", ["alice", "bob"])
def test_chunks_in_another_order_are_refused(cheat: str) -> None:
    held: list[Message] = []

    def edit(message: Message) -> Sequence[Message]:
        if isinstance(message, psi_pb2.Points) and not held:
            held.append(message)
            return [psi_pb2.Points(points=message.points[:64])]
        return [held[0]] if isinstance(message, psi_pb2.Points) else [message]

    assert str(run_against(cheat, edit)) == f"{cheat}: sent 64 bytes of points in chunk 0 where 128 were due"


@pytest.mark.parametrize(
    "verdict",
    [
        psi_pb2.Verdict(),
        psi_pb2.Verdict(matched=b"\1\0"),
        psi_pb2.Verdict(matched=b"\0"),
        psi_pb2.Verdict(matched=b"\x40"),
        psi_pb2.Verdict(matched=b"\x81"),
    ],
    ids=["no bitmap", "too long", "below the minimum", "bit behind the end", "both"],
)
def test_a_bitmap_that_cannot_be_is_refused(verdict: Message) -> None:
    assert isinstance(run_against("alice", edit_nth(psi_pb2.Verdict, 0, lambda _m: [verdict])), ProtocolError)


def test_a_bitmap_for_a_party_that_receives_nothing_is_refused() -> None:
    def wrap(name: str, _peer: str, pipe: Pipe) -> Pipe:
        edit = edit_nth(psi_pb2.Verdict, 0, lambda _m: [psi_pb2.Verdict(matched=b"\1")])
        return Meddler(pipe, edit, TYPES) if name == "alice" else pipe

    with pytest.raises(ProtocolError, match="not among the receivers"):
        run_pair(pair_job("psi.ecdh"), {"alice": numbered(1), "bob": numbered(1)}, wrap=wrap)


@pytest.mark.parametrize("kind", [psi_pb2.Size, psi_pb2.Points, psi_pb2.Tags, psi_pb2.Verdict])
def test_a_peer_that_ends_early_ends_the_job(kind: type[Message]) -> None:
    def leave(_message: Message) -> Sequence[Message]:
        raise ChannelError("gone")

    cheat = "alice" if kind is psi_pb2.Verdict else "bob"
    assert isinstance(run_against(cheat, edit_nth(kind, 0, leave)), ChannelError)


# What is declared before a job runs.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"receivers": ("bob",)}, "alice has the role receiver and is not among the job's receivers"),
        ({"min_result": -1}, "min_result"),
        ({"min_result": "3"}, "min_result"),
        ({"min_result": True}, "min_result"),
        ({"unknown": 1}, "unknown"),
        ({"normalisation": ["exact/9"]}, "no normalisation profile 'exact/9'"),
        ({"normalisation": ["exact/1", "exact/1"]}, "2 normalisation profiles for 1 key columns"),
        ({"key": ()}, "key takes 1 to 8 columns"),
    ],
)
def test_a_job_that_does_not_fit_is_refused_before_it_runs(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        get("psi.ecdh").parse(pair_job("psi.ecdh", **change))
    assert message in str(caught.value)


def test_a_job_only_for_the_sender_hints_at_swapping_roles() -> None:
    with pytest.raises(InputError) as caught:
        get("psi.ecdh").parse(pair_job("psi.ecdh", ("bob",)))
    assert "swap the roles" in caught.value.hint


def test_what_each_party_learns_is_said_of_every_party() -> None:
    spec = get("psi.ecdh")
    for receivers in (("alice",), ("alice", "bob")):
        job = pair_job("psi.ecdh", receivers, min_result=5)
        said = spec.reveals(job, spec.parse(job))
        assert set(said) == {"alice", "bob"}
        assert "which of its own rows" in said["alice"]
        assert ("which of its own rows" in said["bob"]) == ("bob" in receivers)
        assert ("number at least 5" in said["bob"]) == ("bob" not in receivers)


@pytest.mark.parametrize("receivers", [("alice",), ("alice", "bob")])
def test_the_estimate_covers_what_is_sent(receivers: tuple[str, ...]) -> None:
    wire = Wire()
    job = pair_job("psi.ecdh", receivers)
    tables = {"alice": numbered(*range(300)), "bob": numbered(*range(100))}
    run_pair(job, tables, wrap=wire.wrap)
    spec = get("psi.ecdh")
    for name, count in wire.counts.items():
        estimate = spec.estimate(job, spec.parse(job), {"alice": 300, "bob": 100}, name)
        assert 0.8 * estimate.sent_bytes - 400 <= count.sent_bytes <= estimate.sent_bytes + 200
        assert 0.8 * estimate.received_bytes - 400 <= count.received_bytes <= estimate.received_bytes + 200
        assert estimate.seconds > 0
        assert estimate.peak_bytes > 0


@given(st.integers(0, 2**26), st.integers(0, 2**26))
def test_tags_are_wide_enough_and_no_wider(x: int, y: int) -> None:
    width = tag_bytes(x, y)
    assert false_match_bound(x, y, width) <= 2**-40
    assert false_match_bound(max(x, 1), max(y, 1), width - 1) > 2**-40
    assert width <= steps.FULL_TAG_BYTES


def test_orders_are_uniform_over_seeds() -> None:
    rng = InsecureSeededRng(b"orders")
    counts = np.zeros((4, 4), dtype=int)
    for _ in range(4000):
        counts[np.arange(4), steps.permutation(4, rng)] += 1
    assert abs(counts - 1000).max() < 150
