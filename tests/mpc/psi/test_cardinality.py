"""psi.ecdh_cardinality against the plaintext count, and with a peer that cheats."""

from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from psi_pairs import Meddler, Wire, pair_job, run_pair

from mpc.channel import Pipe, decode, encode
from mpc.errors import InputError, ProtocolError, ResultWithheld
from mpc.psi import steps
from mpc.psi.steps import tag_bytes
from mpc.registry import get
from mpc.testing import RecordingPipe
from protos import psi_pb2

NAME = "psi.ecdh_cardinality"
TYPES = {message.DESCRIPTOR.full_name: message for message in (psi_pb2.Tags, psi_pb2.Verdict)}

columns = st.lists(st.none() | st.integers(0, 15), max_size=14)


def table(numbers: Sequence[int | None]) -> pa.Table:
    return pa.table({"id": pa.array(numbers, pa.int64())})


@pytest.mark.parametrize("chunk", [3, 4096])
@given(x=columns, y=columns, both=st.booleans())
@settings(max_examples=40, deadline=None)
def test_each_receiver_learns_the_number_of_common_keys(
    chunk: int, x: list[int | None], y: list[int | None], both: bool
) -> None:
    receivers = ("alice", "bob") if both else ("alice",)
    with patch.object(steps, "CHUNK_KEYS", chunk):
        outcomes = run_pair(pair_job(NAME, receivers, min_result=0), {"alice": table(x), "bob": table(y)})
    keys = {"alice": set(x) - {None}, "bob": set(y) - {None}}
    size = len(keys["alice"] & keys["bob"])
    for name, peer in (("alice", "bob"), ("bob", "alice")):
        outcome = outcomes[name]
        assert outcome.facts["peer_distinct"] == len(keys[peer])
        if name not in receivers:
            assert outcome.table is None
            assert "matched_distinct" not in outcome.facts
            continue
        assert outcome.table is not None
        assert outcome.table.to_pylist() == [
            {"intersection": size, "own_distinct": len(keys[name]), "peer_distinct": len(keys[peer])}
        ]
        assert outcome.facts["matched_distinct"] == size


def test_tags_come_back_in_ascending_order_over_all_chunks() -> None:
    wire = Wire()
    with patch.object(steps, "CHUNK_KEYS", 4):
        run_pair(pair_job(NAME), {"alice": table(range(10)), "bob": table(range(5))}, wrap=wire.wrap)
    sent = [decode(data, psi_pb2.Tags).tags for data in wire.records["bob"].sent[-3:]]
    width = tag_bytes(10, 5)
    assert [len(tags) for tags in sent] == [4 * width, 4 * width, 2 * width]
    whole = b"".join(sent)
    tags = [whole[i : i + width] for i in range(0, len(whole), width)]
    assert tags == sorted(tags)


def test_bytes_in_each_direction_stay_as_they_are() -> None:
    wire = Wire()
    with patch.object(steps, "CHUNK_KEYS", 4):
        run_pair(
            pair_job(NAME, ("alice", "bob")), {"alice": table(range(10)), "bob": table(range(5, 12))}, wrap=wire.wrap
        )
    assert wire.records["alice"].sent[-1] == encode(psi_pb2.Verdict(size=5))
    assert (
        RecordingPipe.digest(wire.records["alice"].sent)
        == "9df48ef2e745e050a7f40082a3438906ca16119db372afd46d16a4361f19297a"
    )
    assert (
        RecordingPipe.digest(wire.records["bob"].sent)
        == "1227e1156af914720d35816e09dd2162ec1ef6b68065c32b6c3cd176ec5f5d79"
    )


def test_a_sender_that_receives_nothing_is_not_sent_the_size() -> None:
    wire = Wire()
    run_pair(pair_job(NAME), {"alice": table([1, 2]), "bob": table([2, 3])}, wrap=wire.wrap)
    assert wire.records["alice"].sent[-1] == encode(psi_pb2.Verdict())


@pytest.mark.parametrize("x", [[1, 2, 3], [1, 2]])
def test_a_size_below_the_minimum_is_withheld(x: list[int]) -> None:
    with pytest.raises(ResultWithheld, match="at least 3 common keys"):
        run_pair(pair_job(NAME, min_result=3), {"alice": table(x), "bob": table([2, 3, 4])})


def run_against(cheat: str, kind: type[Message], edit: Callable[[Any], Message], receivers: Sequence[str]) -> None:
    """A job of 6 against 6 keys, 4 common, where `cheat` sends edited messages of one type."""

    def edit_kind(message: Message) -> Sequence[Message]:
        return [edit(message) if isinstance(message, kind) else message]

    def wrap(name: str, _peer: str, pipe: Pipe) -> Pipe:
        return Meddler(pipe, edit_kind, TYPES) if name == cheat else pipe

    run_pair(pair_job(NAME, receivers), {"alice": table(range(6)), "bob": table(range(2, 8))}, wrap=wrap)


WIDTH = tag_bytes(6, 6)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda tags: tags[:-1], "bob: sent 35 bytes of tags in chunk 0 where 36 were due"),
        (lambda tags: tags + tags[:WIDTH], "bob: sent 42 bytes of tags in chunk 0 where 36 were due"),
        (lambda tags: tags[WIDTH:] + tags[:WIDTH], "bob: sent tags that are not in ascending order"),
        (
            lambda tags: b"".join(tags[i : i + WIDTH] * 2 for i in range(0, len(tags) // 2, WIDTH)),
            "bob: tags repeat, so that it is not certain which keys are common",
        ),
    ],
    ids=["short", "long", "unsorted", "repeated"],
)
def test_tags_that_cannot_be_are_refused(edit: Callable[[bytes], bytes], message: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        run_against("bob", psi_pb2.Tags, lambda m: psi_pb2.Tags(tags=edit(m.tags)), ["alice"])
    assert str(caught.value) == message


@pytest.mark.parametrize("size", [0, 7, 2**63])
def test_a_size_that_cannot_be_is_refused(size: int) -> None:
    with pytest.raises(ProtocolError, match="sizes of the sets and the minimum exclude"):
        run_against("alice", psi_pb2.Verdict, lambda _m: psi_pb2.Verdict(size=size), ["alice", "bob"])


def test_a_size_for_a_party_that_receives_nothing_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not among the receivers"):
        run_against("alice", psi_pb2.Verdict, lambda _m: psi_pb2.Verdict(size=4), ["alice"])


def test_it_takes_no_output_columns_and_says_what_it_reveals() -> None:
    spec = get(NAME)
    with pytest.raises(InputError, match="takes no 'output'"):
        spec.parse(pair_job(NAME, output={"alice": ("id",)}))
    for receivers in (("alice",), ("alice", "bob")):
        job = pair_job(NAME, receivers)
        said = spec.reveals(job, spec.parse(job))
        assert "how many keys it shares with bob, not which" in said["alice"]
        assert ("how many keys it shares with alice, not which" in said["bob"]) == ("bob" in receivers)


def test_the_estimate_covers_what_is_sent() -> None:
    wire = Wire()
    job = pair_job(NAME)
    run_pair(job, {"alice": table(range(50)), "bob": table(range(200))}, wrap=wire.wrap)
    for name, count in wire.counts.items():
        estimate = get(NAME).estimate(job, get(NAME).parse(job), {"alice": 50, "bob": 200}, name)
        assert 0.8 * estimate.sent_bytes - 400 <= count.sent_bytes <= estimate.sent_bytes + 200
