"""psi.multi against the plaintext intersection, what its leader sees, and with a party that cheats."""

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from psi_pairs import Meddler, run_pair

from mpc.channel import CountingPipe, Pipe
from mpc.errors import ChannelError, InputError, ProtocolError, ResultWithheld, SealaneError
from mpc.job import Job, Member
from mpc.local import run_job
from mpc.primitives import okvs, oprf, vole
from mpc.psi import multi, multi_steps, tags, vectors
from mpc.psi.canaries import CANARIES
from mpc.psi.params import MultiParams
from mpc.registry import get
from mpc.testing import RecordingPipe
from protos import psi_multi_pb2, psi_pb2, psi_vole_pb2

NAMES = "abcdefghijk"
TYPES: dict[str, type[Message]] = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (
        psi_multi_pb2.Start,
        psi_multi_pb2.Offer,
        psi_multi_pb2.Choices,
        psi_multi_pb2.Verdict,
        psi_vole_pb2.Seed,
        psi_vole_pb2.Piece,
    )
}


def multi_job(parties: int, receivers: Sequence[str] = ("a",), output: Sequence[str] = (), **params: Any) -> Job:
    columns: dict[str, tuple[str, ...]] = {"key": ("id",), **({"output": tuple(output)} if output else {})}
    members = {name: Member("party", columns=columns) for name in NAMES[:parties]}
    return Job("psi.multi", members, tuple(receivers), params, id="0" * 32)


def table(keys: Sequence[str | None]) -> pa.Table:
    return pa.table({"id": pa.array(keys, pa.string()), "row": pa.array(range(len(keys)), pa.int64())})


def numbered(*numbers: int) -> pa.Table:
    return pa.table({"id": pa.array([f"id{i}" for i in numbers], pa.string())})


@dataclass
class Links:
    """What passed each end of each link, by (party, peer)."""

    counts: dict[tuple[str, str], CountingPipe] = field(default_factory=dict)
    records: dict[tuple[str, str], RecordingPipe] = field(default_factory=dict)

    def wrap(self, name: str, peer: str, pipe: Pipe) -> Pipe:
        self.records[name, peer] = RecordingPipe(pipe)
        self.counts[name, peer] = CountingPipe(self.records[name, peer])
        return self.counts[name, peer]


ids = st.none() | st.sampled_from(["", "a", "b", "c", "ab", "\0", "é"])


@given(keys=st.lists(st.lists(ids, max_size=14), min_size=3, max_size=6), data=st.data())
@settings(max_examples=6, deadline=None)
def test_each_receiver_gets_the_rows_of_a_plaintext_intersection(keys: list[list[str | None]], data: Any) -> None:
    names = list(NAMES[: len(keys)])
    receivers = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    common = set.intersection(*({key for key in each if key} for each in keys))
    job = multi_job(len(keys), receivers, ("row",), min_result=0)
    outcomes = run_pair(job, {name: table(each) for name, each in zip(names, keys, strict=True)})
    for name, each in zip(names, keys, strict=True):
        facts = outcomes[name].facts
        assert facts["own_rows"] == len(each)
        assert facts["nulls"] == sum(not key for key in each)
        assert facts["own_distinct"] == len({key for key in each if key})
        if name not in receivers:
            assert outcomes[name].table is None
            assert "matched_distinct" not in facts
            continue
        expected = table(each).filter(pa.array([key in common for key in each], pa.bool_()))
        assert outcomes[name].table == expected
        assert facts["matched_distinct"] == len(common)
        assert facts["matched_rows"] == expected.num_rows


def regions(parties: int, copies: int) -> dict[str, list[str]]:
    """For every set of parties, some keys that just those have."""
    keys: dict[str, list[str]] = {name: [] for name in NAMES[:parties]}
    for size in range(1, parties + 1):
        for holders in itertools.combinations(NAMES[:parties], size):
            for name in holders:
                keys[name] += [f"{''.join(holders)}{i}" for i in range(copies)]
    return keys


@pytest.mark.parametrize("parties", [3, 4, 5, 6])
def test_a_key_appears_only_if_all_have_it_whoever_else_has_it(parties: int) -> None:
    keys = regions(parties, 5)
    names = NAMES[:parties]
    outcomes = run_pair(multi_job(parties, names[1:]), {name: table(keys[name]) for name in names})
    for name in names[1:]:
        released = outcomes[name].table
        assert released is not None
        assert released["id"].to_pylist() == [f"{names}{i}" for i in range(5)]
    assert outcomes["a"].table is None


@pytest.mark.parametrize("sizes", [(1, 3000, 500), (3000, 1, 700), (6000, 5000, 4500), (700, 9000, 1)])
@pytest.mark.parametrize("overlap", ["none", "some", "all"])
def test_no_row_is_lost_or_added_at_any_size_over_several_chunks(sizes: tuple[int, ...], overlap: str) -> None:
    smallest = min(sizes)
    shift = {"none": smallest, "some": smallest // 3, "all": 0}[overlap]
    spans = [range(i * shift, i * shift + size) for i, size in enumerate(sizes)]
    tables = {name: numbered(*span) for name, span in zip("abc", spans, strict=True)}
    with patch.object(vole, "_MAX_DEPTH", 3):
        outcomes = run_pair(multi_job(3, "ac", min_result=0), tables)
    expected = numbered(*range(2 * shift, min(span.stop for span in spans)))
    assert outcomes["a"].table == expected
    assert outcomes["c"].table == expected
    assert outcomes["a"].facts["okvs_retries"] == 0


def test_only_pairs_in_common_are_an_empty_result_where_that_was_agreed() -> None:
    tables = {"a": numbered(1, 2, 5), "b": numbered(2, 3), "c": numbered(3, 1)}
    assert run_job(multi_job(3, min_result=0), tables)["a"].table == numbered()


def test_ten_parties_find_what_all_have() -> None:
    tables = {name: numbered(*range(i, 20 + i)) for i, name in enumerate(NAMES[:10])}
    outcomes = run_pair(multi_job(10, "ja"), tables)
    assert outcomes["a"].table == outcomes["j"].table == numbered(*range(9, 20))


def test_the_conservative_code_finds_the_same() -> None:
    tables = {name: numbered(*range(i, 100 + i)) for i, name in enumerate("abc")}
    assert run_pair(multi_job(3, code="conservative"), tables)["a"].table == numbered(*range(2, 100))


def test_it_finds_what_psi_vole_finds_among_the_keys_of_a_third() -> None:
    rng = np.random.default_rng(1)
    a, b, c = (numbered(*rng.integers(0, 600, 400).tolist()) for _ in range(3))
    pair = Job("psi.vole", {"a": Member("receiver", columns={"key": ("id",)}), "b": _sender()}, ("a",))
    two = run_pair(pair, {"a": a, "b": b})["a"].table
    assert two is not None
    three = run_pair(multi_job(3), {"a": a, "b": b, "c": c})["a"].table
    assert three == two.filter(pa.array([key in set(c["id"].to_pylist()) for key in two["id"].to_pylist()]))


def _sender() -> Member:
    return Member("sender", columns={"key": ("id",)})


# Results that are too small.


def watched_roles(ends: dict[str, BaseException]) -> Any:
    """Keeps the error in which each party's role ends."""
    role = multi.SPEC.roles["party"]

    def watched(party: Any, tables: Any) -> Any:
        try:
            return role.run(party, tables)
        except BaseException as error:
            ends[party.name] = error
            raise

    return patch.dict(multi.SPEC.roles, {"party": replace(role, run=watched)})


@pytest.mark.parametrize("receivers", ["a", "cab"])
@pytest.mark.parametrize(
    ("minimum", "numbers", "reason"),
    [
        (1, ((1, 2), (2, 3), (3, 1)), "there are none"),
        (3, ((1, 2, 3), (2, 3, 4), (2, 3, 5)), "there are fewer"),
        (3, ((1, 2, 3), (1, 2), (1, 2, 3)), "there are fewer"),
        (1, ((1,), (1,), ()), "there are none"),
    ],
)
def test_every_party_ends_in_a_result_withheld(
    receivers: str, minimum: int, numbers: tuple[tuple[int, ...], ...], reason: str
) -> None:
    ends: dict[str, BaseException] = {}
    tables = {name: numbered(*each) for name, each in zip("abc", numbers, strict=True)}
    with watched_roles(ends), pytest.raises(ResultWithheld):
        run_pair(multi_job(3, receivers, min_result=minimum), tables)
    assert {name: type(error) for name, error in ends.items()} == dict.fromkeys("abc", ResultWithheld)
    leader = receivers[0]
    assert reason in str(ends[leader])
    others = {str(ends[name]) for name in "abc" if name != leader}
    assert all("there are fewer" in said for said in others)


# What passes the wire.


def payload(messages: Sequence[bytes]) -> int:
    """Bytes of points, seeds and vectors in messages of the protocol itself."""
    total = 0
    for data in messages:
        kind = TYPES.get(data[1 : 1 + data[0]].decode())
        if kind is not None:
            values = kind.FromString(data[1 + data[0] :]).ListFields()
            total += sum(len(value) for _, value in values if isinstance(value, bytes))
    return total


def test_bytes_are_exactly_as_declared_and_within_the_estimate() -> None:
    links, sizes = Links(), {"a": 900, "b": 2500, "c": 60, "d": 60}
    job = multi_job(4, "ac")
    run_pair(job, {name: numbered(*range(size)) for name, size in sizes.items()}, wrap=links.wrap)
    for_tags = 8 * (60 + CANARIES)  # without prefixes, as the sets are small
    for name in "bcd":
        to_other, to_leader = multi_steps.wire_bytes(MultiParams(), sizes["a"], sizes[name])
        assert payload(links.records["a", name].sent) == to_other + (for_tags if name == "c" else 0)
        assert payload(links.records[name, "a"].sent) == to_leader
        for peer in set("bcd") - {name}:
            assert payload(links.records[name, peer].sent) == multi_steps.START_BYTES
            assert links.counts[name, peer].sent_messages == 2
    for name in sizes:
        sent = sum(count.sent_bytes for (owner, _), count in links.counts.items() if owner == name)
        received = sum(count.received_bytes for (owner, _), count in links.counts.items() if owner == name)
        estimate = get("psi.multi").estimate(job, MultiParams(), sizes, name)
        assert 0 <= estimate.sent_bytes - sent < 3000
        assert 0 <= estimate.received_bytes - received < 3000


def test_a_partys_estimate_depends_on_no_size_that_it_will_not_learn() -> None:
    job, spec = multi_job(4, "ad"), get("psi.multi")
    sizes = {"a": 1000, "b": 1000, "c": 1000, "d": 1000}
    for name, other in itertools.permutations("abcd", 2):
        changed = spec.estimate(job, MultiParams(), sizes | {other: 10**6}, name)
        assert (changed != spec.estimate(job, MultiParams(), sizes, name)) == ("a" in (name, other))


def test_bytes_in_each_direction_stay_as_they_are() -> None:
    links = Links()
    tables = {name: numbered(*range(5 * i, 5 * i + 15)) for i, name in enumerate("abc")}
    run_pair(multi_job(3, "ab"), tables, wrap=links.wrap)
    digests = {ends: RecordingPipe.digest(record.sent)[:16] for ends, record in links.records.items()}
    assert digests == {
        ("a", "b"): "fe893c62a32782d1",
        ("b", "a"): "766db12f360d9619",
        ("a", "c"): "ce8b321c85a2b715",
        ("c", "a"): "0d28d83f8485c35d",
        ("b", "c"): "f5ee6428723333a6",
        ("c", "b"): "e99de8baf67720ac",
    }


def test_what_another_receiver_is_told_does_not_show_the_order_of_the_leaders_rows() -> None:
    sent = []
    for order in (range(300), range(299, -1, -1)):
        links = Links()
        tables = {"a": numbered(*order), "b": numbered(*range(200)), "c": numbered(*range(50, 250))}
        run_pair(multi_job(3, "ab"), tables, wrap=links.wrap)
        sent.append(links.records["a", "b"].sent[-1])
    assert sent[0] == sent[1]


def test_the_size_of_a_set_is_told_to_and_by_the_leader_only() -> None:
    links = Links()
    tables = {"a": numbered(*range(5)), "b": numbered(*range(6)), "c": numbered(*range(7))}
    outcomes = run_pair(multi_job(3), tables, wrap=links.wrap)
    told = {}
    for ends, record in links.records.items():
        data = record.sent[1]
        told[ends] = psi_multi_pb2.Start.FromString(data[1 + data[0] :]).keys
    assert told == {("a", "b"): 5, ("a", "c"): 5, ("b", "a"): 6, ("c", "a"): 7, ("b", "c"): 0, ("c", "b"): 0}
    assert {name for name in outcomes["b"].facts if name.startswith("distinct")} == {"distinct_a"}


@dataclass
class Narrow:
    """A pipe that takes the next message only when the one before it has been read."""

    ends: tuple[str, str]
    inner: Pipe
    room: Mapping[tuple[str, str], threading.Semaphore]

    def send_bytes(self, data: bytes, /) -> None:
        assert self.room[self.ends].acquire(timeout=240), "every party waits for another"
        self.inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        data = self.inner.recv_bytes()
        self.room[self.ends[::-1]].release()
        return data


def test_parties_do_not_wait_for_each_other_in_a_circle_however_little_a_link_holds() -> None:
    room = {ends: threading.Semaphore() for ends in itertools.permutations("abcde", 2)}
    tables = {name: numbered(*range(i, 1000 + i)) for i, name in enumerate("abcde")}
    with patch.object(vole, "_MAX_DEPTH", 3), patch.object(vectors, "PIECE_BYTES", 4096):
        outcomes = run_pair(multi_job(5, "cd"), tables, wrap=lambda name, peer, pipe: Narrow((name, peer), pipe, room))
    assert outcomes["c"].table == outcomes["d"].table == numbered(*range(4, 1000))


# What the leader sees of keys that only some have.


def test_shares_of_all_parties_add_up_to_zero_and_those_of_fewer_look_random() -> None:
    rng = np.random.default_rng(1)
    names = "abcd"
    shared = {frozenset(pair): rng.bytes(16) for pair in itertools.combinations(names, 2)}
    digests = rng.integers(0, 2**64, (40_000, 4), np.uint64)
    shares = {
        name: multi_steps.shares_of_zero([key for pair, key in shared.items() if name in pair], digests)
        for name in names
    }
    assert not np.bitwise_xor.reduce(list(shares.values())).any()
    for size in (1, 2, 3):
        for some in itertools.combinations(names, size):
            assert looks_random(np.bitwise_xor.reduce([shares[name] for name in some]))


def looks_random(words: np.ndarray) -> bool:
    """Whether no word repeats and every bit is set in half of them, within five standard deviations."""
    bits = np.unpackbits(words.view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0)
    return len(np.unique(words)) == len(words) and bool((abs(bits - 0.5) < 5 * 0.5 / len(words) ** 0.5).all())


def test_what_the_leader_decodes_does_not_tell_who_has_a_key_that_not_all_have() -> None:
    """For each of the leader's keys and other parties: the word decoded, and every sum of such words and its share."""
    copies, seen = 150, {}
    real_shares, real_prfs, real_zero = multi_steps.receive_shares, multi_steps.leader_prfs, multi_steps.shares_of_zero

    def prfs(*arguments: Any) -> Any:
        made = real_prfs(*arguments)
        seen["outputs"] = [placed(output[:, 0], made.keys) for output in made.outputs]
        return made

    def receive(link: Any, own: Any, digests: Any) -> Any:
        words = real_shares(link, own, digests)
        seen[link.peer] = placed(words, own)
        return words

    def placed(words: np.ndarray, own: oprf.Keys) -> np.ndarray:
        by_key = np.empty_like(words)
        by_key[own.rows.order] = words
        return by_key

    def zero(shared: Any, digests: Any) -> Any:
        shares = real_zero(shared, digests)
        if threading.current_thread().name == "a":
            seen["a"] = shares.copy()
        return shares

    keys = regions(4, copies)
    with (
        patch.object(multi_steps, "leader_prfs", prfs),
        patch.object(multi_steps, "receive_shares", receive),
        patch.object(multi_steps, "shares_of_zero", zero),
    ):
        run_pair(multi_job(4), {name: table(keys[name]) for name in "abcd"})
    count = len(keys["a"])
    holders = np.array([key.rstrip("0123456789") for key in keys["a"]])
    words = {name: (seen[name] ^ output)[:count] for name, output in zip("bcd", seen["outputs"], strict=True)}
    words["a"] = seen["a"][:count]
    for size in (1, 2, 3, 4):
        for some in itertools.combinations("abcd", size):
            sums = np.bitwise_xor.reduce([words[name] for name in some])
            for group in np.unique(holders):
                chosen = sums[holders == group]
                if group == "abcd" and size == 4:
                    assert not chosen.any()
                else:
                    assert looks_random(chosen), (some, group)


def test_the_leader_and_one_other_cannot_tell_which_of_the_remaining_two_has_a_key() -> None:
    """With all that both know taken off, the words of a key that only one of the two has look like any other."""
    rng = np.random.default_rng(2)
    shared = {frozenset(pair): rng.bytes(16) for pair in itertools.combinations("abcd", 2)}
    digests = rng.integers(0, 2**64, (40_000, 4), np.uint64)

    def shares(name: str, known: str) -> np.ndarray:
        keys = [key for pair, key in shared.items() if name in pair and not (pair - {name} <= set(known))]
        return multi_steps.shares_of_zero(keys, digests)

    c, d = (shares(name, "ab") for name in "cd")
    assert not (c ^ d).any()
    assert looks_random(c)


def test_two_sessions_share_no_word_of_a_vector() -> None:
    seen: set[bytes] = set()
    tables = {name: numbered(*range(8)) for name in "abc"}
    for seed in ("one", "two"):
        links = Links()
        run_pair(multi_job(3), tables, wrap=links.wrap, seed=seed)
        for ends, message in ((("a", "b"), -2), (("a", "c"), -2), (("b", "a"), -1), (("c", "a"), -1)):
            vector = links.records[ends].sent[message][-8 * 300 :]
            words = {vector[i : i + 8] for i in range(0, len(vector), 8)}
            assert len(words) == 300
            assert not words & seen
            seen |= words


# Steps that fail with some probability.


def test_an_encoding_that_fails_is_tried_again_and_counted_by_who_did_it() -> None:
    failed: set[str] = set()
    real = okvs.encode

    def fail_once(*arguments: Any) -> Any:
        name = threading.current_thread().name
        if name not in failed:
            failed.add(name)
            raise okvs.Unsolvable("as if")
        return real(*arguments)

    tables = {"a": numbered(1, 2, 3), "b": numbered(2, 3), "c": numbered(1, 2)}
    with patch.object(okvs, "encode", fail_once):
        outcomes = run_pair(multi_job(3), tables)
    assert outcomes["a"].table == numbered(2)
    assert [outcomes[name].facts["okvs_retries"] for name in "abc"] == [1, 1, 1]


@pytest.mark.parametrize("party", ["a", "b"])
def test_an_encoding_that_always_fails_ends_the_job(party: str) -> None:
    real = okvs.encode

    def fail(*arguments: Any) -> Any:
        if threading.current_thread().name == party:
            raise okvs.Unsolvable("as if")
        return real(*arguments)

    with patch.object(okvs, "encode", fail), pytest.raises(okvs.Unsolvable, match="67 keys in 4 attempts"):
        run_pair(multi_job(3), {name: numbered(1, 2, 3) for name in "abc"})


@pytest.mark.parametrize("lost", [0.05, 1.0])
def test_rows_lost_in_the_middle_of_the_protocol_end_it_loudly(lost: float) -> None:
    """As a fault in decoding would lose them: outputs of some of a party's keys are wrong."""
    real = oprf.sender_outputs

    def spoil(*arguments: Any, **named: Any) -> Any:
        outputs = real(*arguments, **named)
        if threading.current_thread().name == "c":
            outputs[np.random.default_rng(1).random(len(outputs)) < lost] ^= np.uint64(1 << 40)
        return outputs

    tables = {name: numbered(*range(500)) for name in "abc"}
    with patch.object(oprf, "sender_outputs", spoil), pytest.raises(ProtocolError, match=r"b, c: .* of the 64 keys"):
        run_pair(multi_job(3), tables)


def test_more_keys_than_shares_are_wide_enough_for_are_refused() -> None:
    party: Any = type("Party", (), {"job": multi_job(3), "name": "a"})
    with pytest.raises(InputError, match=r"too many for psi\.multi \(at most 16777152\)"):
        multi_steps.start(party, np.broadcast_to(np.uint8(0), (2**24 - 63, 32)))


# Parties that cheat.


def run_against(
    cheat: str,
    victim: str,
    kind: type[Message],
    index: int,
    edit: Callable[[Any], Sequence[Message]],
    *,
    receivers: str = "ab",
    size: int = 6,
    **params: Any,
) -> BaseException:
    """The error that ends `victim` when `cheat` replaces its message number `index` of a kind to it.

    Each of a, b and c has `size` keys; the neighbours share all but one.
    """
    ends: dict[str, BaseException] = {}
    seen = [0]

    def apply(message: Message) -> Sequence[Message]:
        if not isinstance(message, kind):
            return [message]
        seen[0] += 1
        return edit(message) if seen[0] == index + 1 else [message]

    def wrap(name: str, peer: str, pipe: Pipe) -> Pipe:
        return Meddler(pipe, apply, TYPES) if (name, peer) == (cheat, victim) else pipe

    tables = {name: numbered(*range(i, size + i)) for i, name in enumerate("abc")}
    with watched_roles(ends), pytest.raises(SealaneError):
        run_pair(multi_job(3, receivers, **params), tables, wrap=wrap)
    return ends[victim]


def refused(cheat: str, victim: str, kind: type[Message], index: int, edit: Callable[[Any], Any], **more: Any) -> str:
    error = run_against(cheat, victim, kind, index, edit, **more)
    assert type(error) is ProtocolError
    assert str(error).startswith(f"{cheat}: ")
    return str(error).removeprefix(f"{cheat}: ")


def changed(message: Any, **fields: Any) -> list[Message]:
    copy = type(message)()
    copy.CopyFrom(message)
    for name, value in fields.items():
        setattr(copy, name, value)
    return [copy]


STARTS = [
    ("a", "b", {"nonce": bytes(15)}, "sent a nonce of 15 bytes, not 16"),
    ("b", "a", {"nonce": bytes(17)}, "sent a nonce of 17 bytes, not 16"),
    ("c", "b", {"public_key": bytes(31)}, "sent a public key of 31 bytes, not 32"),
    ("c", "b", {"public_key": bytes(32)}, "sent a public key of low order"),
    ("b", "a", {"keys": 2**24 - 63}, f"claims {2**24 - 63} keys (at most {2**24 - 64})"),
    ("a", "c", {"keys": 2**63}, f"claims {2**63} keys (at most {2**24 - 64})"),
    ("c", "b", {"keys": 1}, "tells how many keys it has to a party that is not to know"),
]


@pytest.mark.parametrize(("cheat", "victim", "fields", "message"), STARTS)
def test_a_start_that_cannot_be_is_refused(cheat: str, victim: str, fields: dict[str, Any], message: str) -> None:
    assert refused(cheat, victim, psi_multi_pb2.Start, 0, lambda m: changed(m, **fields)) == message


@pytest.mark.parametrize(("cheat", "victim"), [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("claim", [5, 7])
def test_a_wrong_count_of_keys_is_noticed(cheat: str, victim: str, claim: int) -> None:
    assert "were due" in refused(cheat, victim, psi_multi_pb2.Start, 0, lambda m: changed(m, keys=claim))


@pytest.mark.parametrize(
    "fields", [{"nonce": bytes(16)}, {"public_key": b"\x09".ljust(32, b"\0")}], ids=["nonce", "public key"]
)
def test_a_party_that_starts_differently_with_another_leaves_no_key_common(fields: dict[str, bytes]) -> None:
    """b's word to c is another than to a: canaries or shares of zero no longer agree, and the leader notices."""
    ends: dict[str, BaseException] = {}

    def edit(message: Message) -> Sequence[Message]:
        return changed(message, **fields) if isinstance(message, psi_multi_pb2.Start) else [message]

    def wrap(name: str, peer: str, pipe: Pipe) -> Pipe:
        return Meddler(pipe, edit, TYPES) if (name, peer) == ("b", "c") else pipe

    with watched_roles(ends), pytest.raises(ProtocolError, match="b, c: 64 of the 64 keys that all parties added"):
        run_pair(multi_job(3), {name: numbered(1, 2) for name in "abc"}, wrap=wrap)
    assert "report this" in ends["a"].hint  # type: ignore[attr-defined]


BAD_POINTS = {
    "short": bytes(31),
    "identity": bytes(32),
    "not canonical": bytes.fromhex("ed" + "ff" * 30 + "7f"),
    "no square": bytes.fromhex("26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371"),
}


@pytest.mark.parametrize("point", BAD_POINTS.values(), ids=list(BAD_POINTS))
def test_a_point_that_is_none_is_refused(point: bytes) -> None:
    assert refused("a", "b", psi_multi_pb2.Offer, 0, lambda m: changed(m, point=point))
    assert refused("b", "a", psi_multi_pb2.Choices, 0, lambda m: changed(m, points=point * 256))


@pytest.mark.parametrize("count", [0, 255, 257])
def test_points_of_another_number_are_refused(count: int) -> None:
    edit = lambda m: changed(m, points=(m.points * 2)[: 32 * count])  # noqa: E731
    assert "expected 256 points" in refused("b", "a", psi_multi_pb2.Choices, 0, edit)


@pytest.mark.parametrize(("cheat", "victim"), [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("size", [0, 15, 17])
def test_seeds_of_another_length_are_refused(cheat: str, victim: str, size: int) -> None:
    edit = lambda m: changed(m, seed=bytes(size))  # noqa: E731
    assert refused(cheat, victim, psi_vole_pb2.Seed, 0, edit) == f"sent a seed of {size} bytes, not 16"


PIECES = [
    ("a", 0, "a request for a correlation"),
    ("a", 1, "a masked vector"),
    ("a", 2, "tags"),
    ("b", 0, "a chunk of a correlation"),
    ("b", 1, "masked shares"),
]


@pytest.mark.parametrize(("cheat", "index", "what"), PIECES)
@pytest.mark.parametrize("change", ["shorter", "longer"])
def test_vectors_of_another_length_are_refused(cheat: str, index: int, what: str, change: str) -> None:
    def edit(message: Any) -> Sequence[Message]:
        data = {"shorter": message.data[:-1], "longer": message.data + b"\0"}[change]
        return [psi_vole_pb2.Piece(data=data)]

    victim = "b" if cheat == "a" else "a"
    assert f"bytes of {what} where" in refused(cheat, victim, psi_vole_pb2.Piece, index, edit)


@pytest.mark.parametrize(("cheat", "index"), [("a", 0), ("a", 1), ("b", 0), ("b", 1)])
def test_a_vector_of_garbage_never_gives_a_result(cheat: str, index: int) -> None:
    """A party's shares are then wrong under every key, also under those that all added; the leader notices."""
    seen = [0]
    ends: dict[str, BaseException] = {}

    def edit(message: Message) -> Sequence[Message]:
        if not isinstance(message, psi_vole_pb2.Piece):
            return [message]
        seen[0] += 1
        return [psi_vole_pb2.Piece(data=bytes(len(message.data)))] if seen[0] == index + 1 else [message]

    def wrap(name: str, peer: str, pipe: Pipe) -> Pipe:
        return Meddler(pipe, edit, TYPES) if {name, peer} == {"a", "b"} and name == cheat else pipe

    with watched_roles(ends), pytest.raises(ProtocolError, match="64 of the 64 keys that all parties added"):
        run_pair(multi_job(3, "abc"), {name: numbered(1, 2) for name in "abc"}, wrap=wrap)
    assert set(ends) == set("abc")


KINDS = [
    ("b", "a", psi_multi_pb2.Start),
    ("b", "c", psi_multi_pb2.Start),
    ("a", "b", psi_multi_pb2.Offer),
    ("b", "a", psi_multi_pb2.Choices),
    ("a", "b", psi_vole_pb2.Seed),
    ("b", "a", psi_vole_pb2.Seed),
    ("a", "b", psi_vole_pb2.Piece),
    ("b", "a", psi_vole_pb2.Piece),
    ("a", "b", psi_multi_pb2.Verdict),
]


@pytest.mark.parametrize(("cheat", "victim", "kind"), KINDS)
def test_a_message_of_another_type_is_refused(cheat: str, victim: str, kind: type[Message]) -> None:
    said = refused(cheat, victim, kind, 0, lambda _m: [psi_pb2.Size()])
    assert said == f"expected {kind.DESCRIPTOR.full_name}, got 'sealane.psi.v1.Size'"


@pytest.mark.parametrize(("cheat", "victim", "kind"), KINDS)
def test_a_party_that_ends_early_ends_the_others_who_name_it(cheat: str, victim: str, kind: type[Message]) -> None:
    def leave(_message: Message) -> Sequence[Message]:
        raise ChannelError("gone")

    error = run_against(cheat, victim, kind, 0, leave)
    assert type(error) is ChannelError
    assert str(error).startswith(f"{cheat}: ")


@pytest.mark.parametrize("said", ["gone", "b: gone"])
@pytest.mark.parametrize("kind", [ChannelError, ProtocolError])
def test_an_error_names_the_peer_once_and_keeps_its_hint(kind: type[SealaneError], said: str) -> None:
    with pytest.raises(kind) as caught, multi_steps.naming("b"):
        raise kind(said, hint="try again")
    assert (str(caught.value), caught.value.hint) == ("b: gone", "try again")


def words_edited(edit: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any], Sequence[Message]]:
    def apply(message: Any) -> Sequence[Message]:
        return [psi_vole_pb2.Piece(data=edit(np.frombuffer(message.data, np.uint64)).tobytes())]

    return apply


TAGS = [
    (lambda words: words[::-1], "sent tags that are not in ascending order"),
    (lambda words: np.repeat(words[::2], 2), "tags repeat, so that it is not certain which keys are common"),
    (lambda words: words ^ np.uint64(1), "names common keys that this party does not have"),
]


@pytest.mark.parametrize(("edit", "message"), TAGS, ids=["order", "repeated", "others"])
def test_false_tags_are_refused(edit: Callable[[np.ndarray], np.ndarray], message: str) -> None:
    assert refused("a", "b", psi_vole_pb2.Piece, 2, words_edited(edit)) == message


def test_tags_without_a_key_that_all_added_are_refused() -> None:
    """The leader claims one common key fewer and leaves out a canary instead."""
    ends: dict[str, BaseException] = {}
    real = tags.send_tags

    def send(link: Any, told: tags.Tags) -> None:
        kept = np.flatnonzero(told.order != 4)  # of four common keys and 64 canaries, the first canary
        real(link, tags.Tags(told.high[kept], told.low[kept], told.order[kept]))

    edit = lambda m: changed(m, keys=m.keys - 1) if isinstance(m, psi_multi_pb2.Verdict) else [m]  # noqa: E731

    def wrap(name: str, peer: str, pipe: Pipe) -> Pipe:
        return Meddler(pipe, edit, TYPES) if (name, peer) == ("a", "b") else pipe

    tables = {name: numbered(*range(4)) for name in "abc"}
    with watched_roles(ends), patch.object(tags, "send_tags", send), pytest.raises(ProtocolError):
        run_pair(multi_job(3, "ab"), tables, wrap=wrap)
    assert str(ends["b"]) == "a: 1 of the 64 keys that both added were not found"


@pytest.mark.parametrize("claim", [0, 7])
def test_a_result_that_the_sizes_and_the_minimum_exclude_is_refused(claim: int) -> None:
    said = refused("a", "b", psi_multi_pb2.Verdict, 0, lambda m: changed(m, keys=claim))
    assert said == "sent a result that the sizes of the sets and the minimum exclude"


def test_a_result_for_a_party_that_receives_none_is_refused() -> None:
    said = refused("a", "c", psi_multi_pb2.Verdict, 0, lambda m: changed(m, keys=1))
    assert said == "sent a result to a party that is not among the receivers"


# What is declared before a job runs.


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (multi_job(2), "takes 3 to 10 of role party, not 2"),
        (multi_job(11), "takes 3 to 10 of role party, not 11"),
        (multi_job(3, code="fast"), "parameters of psi.multi"),
        (multi_job(3, min_result=-1), "parameters of psi.multi"),
        (multi_job(3, release="count"), "no parameter 'release'"),
        (multi_job(3, normalisation=["exact/1", "exact/1"]), "2 normalisation profiles for 1 key columns"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(job: Job, message: str) -> None:
    with pytest.raises(InputError, match=message):
        get("psi.multi").parse(job)


def test_what_each_party_learns_is_said_of_every_party() -> None:
    said = multi.SPEC.reveals(multi_job(4, "bc", min_result=7), MultiParams(min_result=7))
    assert set(said) == set("abcd")
    assert "which of its own rows have a key that a, c and d all have" in said["b"]
    assert "how many different keys each of them has" in said["b"]
    assert "together with some of them" in said["b"]
    assert said["c"] == "which of its own rows have a key that a, b and d all have, and how many different keys b has"
    assert "number at least 7, not which" in said["a"]
    assert "rows" not in said["d"]


def test_listing_protocols_loads_neither_numba_nor_arrow() -> None:
    code = "import sys, mpc.registry; print([name for name in ('numba', 'pyarrow') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
