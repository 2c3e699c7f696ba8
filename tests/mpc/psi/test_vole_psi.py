"""psi.vole against the plaintext join, byte for byte on the wire, and with a peer that cheats."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from hashlib import blake2b, blake2s
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from psi_pairs import Meddler, Wire, pair_job, run_pair

from mpc.channel import MessageChannel, Pipe, encode, memory_pipes
from mpc.errors import ChannelError, InputError, ProtocolError, ResultWithheld, SealaneError
from mpc.job import Job
from mpc.primitives import okvs, oprf
from mpc.psi import steps, tags, vole_steps
from mpc.psi import vole as psi_vole
from mpc.psi.canaries import CANARIES
from mpc.psi.params import VoleParams
from mpc.registry import get
from mpc.spec import Role
from mpc.testing import RecordingPipe
from protos import psi_pb2, psi_vole_pb2

BOTH = ("alice", "bob")
TYPES: dict[str, type[Message]] = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (
        psi_pb2.Size,
        psi_pb2.Verdict,
        psi_vole_pb2.Offer,
        psi_vole_pb2.Choices,
        psi_vole_pb2.Seed,
        psi_vole_pb2.Piece,
    )
}

ids = st.none() | st.sampled_from(["", "a", "b", "c", "ab", "\0", "é"])
rows = st.lists(ids, max_size=14)


def table(keys: Sequence[str | None]) -> pa.Table:
    return pa.table({"id": pa.array(keys, pa.string()), "row": pa.array(range(len(keys)), pa.int64())})


def numbered(*numbers: int) -> pa.Table:
    return pa.table({"id": pa.array([f"id{i}" for i in numbers], pa.string())})


@given(x=rows, y=rows, both=st.booleans())
@settings(max_examples=15, deadline=None)
def test_each_receiver_gets_the_rows_of_a_plaintext_join(x: list[str | None], y: list[str | None], both: bool) -> None:
    common = {key for key in x if key} & {key for key in y if key}
    receivers = BOTH if both else ("alice",)
    job = pair_job("psi.vole", receivers, output={"alice": ("row",), "bob": ("row",)}, min_result=0)
    outcomes = run_pair(job, {"alice": table(x), "bob": table(y)})
    for name, keys in (("alice", x), ("bob", y)):
        outcome = outcomes[name]
        if name not in receivers:
            assert outcome.table is None
            assert "matched_distinct" not in outcome.facts
            continue
        assert outcome.table == table(keys).filter(pa.array([key in common for key in keys], pa.bool_()))
        assert outcome.facts["matched_distinct"] == len(common)


@pytest.mark.parametrize("sizes", [(1, 3000), (3000, 1), (2000, 2000), (6000, 4000), (70_000, 50_000)])
@pytest.mark.parametrize("overlap", ["none", "some", "all"])
def test_no_row_is_lost_or_added_at_any_size(sizes: tuple[int, int], overlap: str) -> None:
    x, y = sizes
    shift = {"none": x, "some": x // 2, "all": 0}[overlap]
    tables = {"alice": numbered(*range(x)), "bob": numbered(*range(shift, shift + y))}
    outcomes = run_pair(pair_job("psi.vole", BOTH, min_result=0), tables)
    assert outcomes["alice"].table == numbered(*range(shift, min(x, shift + y)))
    assert outcomes["bob"].table == numbered(*range(shift, min(x, shift + y)))
    assert outcomes["alice"].facts["okvs_retries"] == 0


@pytest.mark.parametrize("sizes", [(1, 1), (40, 3), (2000, 2000), (9000, 5000), (3, 40_000)])
@pytest.mark.parametrize("release", ["rows", "aligned"])
def test_tags_that_are_looked_up_are_those_that_are_found_by_sorting(
    sizes: tuple[int, int], release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = sizes
    tables = {"alice": numbered(*range(x)), "bob": numbered(*range(x // 2, x // 2 + y))}
    results = []
    for much_larger in (0, 16, 2**30):  # always, for sizes that differ as much, never
        monkeypatch.setattr(vole_steps, "_MUCH_LARGER", much_larger)
        wire = Wire()
        outcomes = run_pair(pair_job("psi.vole", BOTH, release=release), tables, wrap=wire.wrap)
        results.append([outcomes[name].table for name in BOTH])
        results[-1].append([RecordingPipe.digest(wire.records[name].sent) for name in BOTH])
    assert results[0] == results[1] == results[2]
    assert results[0][0].num_rows == min(x - x // 2, y)


def test_no_row_is_lost_in_repeated_runs() -> None:
    size, runs, shared = 700, 10, 400
    tables = {"alice": numbered(*range(size)), "bob": numbered(*range(size - shared, 2 * size - shared))}
    for run in range(runs):
        outcome = run_pair(pair_job("psi.vole"), tables, seed=str(run))["alice"]
        assert outcome.table == tables["alice"].slice(size - shared)


def test_it_finds_what_psi_ecdh_finds() -> None:
    rng = np.random.default_rng(1)
    tables = {name: numbered(*rng.integers(0, 600, 300).tolist()) for name in BOTH}
    fast, slow = (run_pair(pair_job(name, BOTH), tables) for name in ("psi.vole", "psi.ecdh"))
    for name in BOTH:
        assert fast[name].table == slow[name].table


def test_the_conservative_code_finds_the_same() -> None:
    tables = {"alice": numbered(*range(100)), "bob": numbered(*range(50, 150))}
    outcome = run_pair(pair_job("psi.vole", code="conservative"), tables)["alice"]
    assert outcome.table == numbered(*range(50, 100))


def test_keys_of_several_columns_types_and_profiles_match() -> None:
    job = pair_job("psi.vole", BOTH, ("id", "n"), normalisation=["text/1", "exact/1"])
    ours = pa.table({"id": ["Ａnn", "ann", "bob", "ab", None], "n": pa.array([1, 2, 3, 12, 4])})
    theirs = pa.table({"id": ["ANN ", "Bob", "ab1", "ann"], "n": ["1", "3", "2", None]})
    outcomes = run_pair(job, {"alice": ours, "bob": theirs})
    assert outcomes["alice"].table == ours.take([0, 2])
    assert outcomes["bob"].table == theirs.take([0, 1])


@given(
    messages=st.lists(st.binary(max_size=100), max_size=20),
    start=st.integers(0, 3),
    header=st.binary(max_size=20),
    session=st.binary(min_size=16, max_size=16),
)
@settings(deadline=None)
def test_digests_are_those_of_hashlib(messages: list[bytes], start: int, header: bytes, session: bytes) -> None:
    derived = blake2b(b"sealane/psi.vole.keys/1\0" + header, digest_size=16, salt=session).digest()
    array = pa.array([b"before"] * start + messages, pa.large_binary())[start:]
    found = [row.tobytes() for row in vole_steps.digests(array, header, session).reshape(-1, 32)]
    assert found == [blake2s(message, salt=derived[:8], person=derived[8:]).digest() for message in messages]


def test_it_tells_how_far_it_is_up_to_the_end() -> None:
    told: dict[str, tuple[int, int]] = {}
    tables = {name: numbered(*range(100)) for name in BOTH}
    run_pair(pair_job("psi.vole"), tables, progress=lambda step, done, total: told.update({step: (done, total)}))
    assert set(told) == {"correlate", "compare tags", "agree on the result"}
    assert all(done == total for done, total in told.values())


# What is released.


def test_aligned_results_have_the_same_key_in_each_row_and_not_the_order_of_either_table() -> None:
    tables = {"alice": numbered(*range(40)), "bob": numbered(*range(49, 9, -1))}
    outcomes = run_pair(pair_job("psi.vole", BOTH, release="aligned"), tables)
    ours, theirs = outcomes["alice"].table, outcomes["bob"].table
    assert ours is not None
    assert ours == theirs
    assert sorted(ours["id"].to_pylist()) == sorted(f"id{i}" for i in range(10, 40))
    assert ours["id"].to_pylist() not in ([f"id{i}" for i in range(10, 40)], [f"id{i}" for i in range(39, 9, -1)])


def test_aligned_results_keep_the_output_columns_beside_their_keys() -> None:
    tables = {"alice": table([str(i) for i in range(9)]), "bob": table([str(i) for i in range(8, -1, -1)])}
    job = pair_job("psi.vole", BOTH, output={"alice": ("row",), "bob": ("row",)}, release="aligned")
    outcomes = run_pair(job, tables)
    ours, theirs = (outcomes[name].table for name in BOTH)
    assert ours is not None
    assert theirs is not None
    assert [int(key) for key in ours["id"].to_pylist()] == ours["row"].to_pylist()
    assert [8 - row for row in theirs["row"].to_pylist()] == ours["row"].to_pylist()


def test_repeated_keys_cannot_be_aligned() -> None:
    tables = {"alice": numbered(1, 2), "bob": numbered(1, 2, 2)}
    with pytest.raises(InputError, match="1 rows repeat the key"):
        run_pair(pair_job("psi.vole", BOTH, release="aligned"), tables)


@pytest.mark.parametrize("receivers", [("alice",), BOTH])
def test_a_count_releases_the_number_alone(receivers: tuple[str, ...]) -> None:
    wire = Wire()
    tables = {"alice": numbered(*range(30)), "bob": numbered(*range(20, 60))}
    outcomes = run_pair(pair_job("psi.vole", receivers, release="count"), tables, wrap=wire.wrap)
    assert outcomes["alice"].table == pa.table({"intersection": [10], "own_distinct": [30], "peer_distinct": [40]})
    size = 10 if "bob" in receivers else 0
    assert wire.records["alice"].sent[-1] == encode(psi_pb2.Verdict(size=size))
    if "bob" in receivers:
        assert outcomes["bob"].table == pa.table({"intersection": [10], "own_distinct": [40], "peer_distinct": [30]})


@pytest.mark.parametrize("receivers", [("alice",), BOTH])
def test_both_parties_end_in_a_result_withheld(receivers: tuple[str, ...]) -> None:
    ends: dict[str, BaseException] = {}
    tables = {"alice": numbered(*range(5)), "bob": numbered(*range(3, 9))}
    with watched_roles(ends), pytest.raises(ResultWithheld):
        run_pair(pair_job("psi.vole", receivers, min_result=3), tables)
    assert isinstance(ends["alice"], ResultWithheld)
    assert isinstance(ends["bob"], ResultWithheld)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (pair_job("psi.vole", ("bob",)), "not among the job's receivers"),
        (pair_job("psi.vole", release="aligned"), "only if both"),
        (pair_job("psi.vole", release="count", output={"bob": ("row",)}), "no output columns"),
        (pair_job("psi.vole", release="all"), "parameters of psi.vole"),
        (pair_job("psi.vole", code="fast"), "parameters of psi.vole"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(job: Job, message: str) -> None:
    with pytest.raises(InputError, match=message):
        get("psi.vole").parse(job)


def test_each_release_says_what_each_party_learns() -> None:
    reveals = psi_vole.SPEC.reveals
    assert "which of its own rows" in reveals(pair_job("psi.vole", BOTH), VoleParams())["bob"]
    assert "not which" in reveals(pair_job("psi.vole"), VoleParams())["bob"]
    assert "sees which" in reveals(pair_job("psi.vole"), VoleParams(release="count"))["alice"]
    assert "sees which" not in reveals(pair_job("psi.vole", BOTH), VoleParams(release="count"))["bob"]


# What passes the wire.


@pytest.mark.parametrize(("x", "y"), [(1, 1), (500, 900), (9000, 7000)])
def test_bytes_are_exactly_as_declared(x: int, y: int) -> None:
    wire = Wire()
    tables = {"alice": numbered(*range(x)), "bob": numbered(*range(y))}
    run_pair(pair_job("psi.vole", BOTH), tables, wrap=wire.wrap)
    payload = {
        name: sum(len(value) for message in messages for value in fields(message))
        for name, messages in ((name, wire.records[name].sent) for name in BOTH)
    }
    by_receiver, by_sender = vole_steps.wire_bytes(VoleParams(), x, y)
    assert payload == {"alice": by_receiver + -(-(y + CANARIES) // 8), "bob": by_sender}
    estimate = psi_vole.SPEC.estimate(pair_job("psi.vole", BOTH), VoleParams(), {"alice": x, "bob": y}, "alice")
    assert 0 <= estimate.sent_bytes - wire.counts["alice"].sent_bytes < 2000
    assert 0 <= estimate.received_bytes - wire.counts["alice"].received_bytes < 2000


def fields(data: bytes) -> list[bytes]:
    """The byte strings in a message of the protocol itself."""
    kind = TYPES.get(data[1 : 1 + data[0]].decode())
    if kind is None:
        return []
    return [value for _, value in kind.FromString(data[1 + data[0] :]).ListFields() if isinstance(value, bytes)]


def test_a_million_keys_take_at_most_20_bytes_each() -> None:
    by_receiver, by_sender = vole_steps.wire_bytes(VoleParams(), 10**6, 10**6)
    assert (by_receiver + by_sender + 125_008) / 10**6 < 19


def test_bytes_in_each_direction_stay_as_they_are() -> None:
    wire = Wire()
    tables = {"alice": numbered(*range(10)), "bob": numbered(*range(5, 12))}
    run_pair(pair_job("psi.vole", BOTH), tables, wrap=wire.wrap)
    assert (
        RecordingPipe.digest(wire.records["alice"].sent)
        == "eb4ff99f7809338e846e859ae47d1ed0387b0129125d6dd65cabca798ffe7dab"
    )
    assert (
        RecordingPipe.digest(wire.records["bob"].sent)
        == "d28fb91a3482f6178ff9621a2707e512f63cb0d354157e0ef9e09d102de1a8d5"
    )


def test_tags_are_sent_in_an_order_that_rows_do_not_show_in() -> None:
    sent = []
    for order in (range(300), range(299, -1, -1)):
        wire = Wire()
        tables = {"alice": numbered(*range(10)), "bob": numbered(*order)}
        run_pair(pair_job("psi.vole"), tables, wrap=wire.wrap)
        sent.append(wire.records["bob"].sent[-1])
    assert sent[0] == sent[1]


def test_two_sessions_share_no_tag_and_no_word_of_the_masked_vector() -> None:
    seen: set[bytes] = set()
    tables = {"alice": numbered(*range(8)), "bob": numbered(*range(8))}
    for seed in ("one", "two"):
        wire = Wire()
        run_pair(pair_job("psi.vole"), tables, wrap=wire.wrap, seed=seed)
        vectors = wire.records["alice"].sent[-2][-8 * 300 :] + wire.records["bob"].sent[-1][-8 * 72 :]
        words = {vectors[i : i + 8] for i in range(0, len(vectors), 8)}
        assert len(words) == 372
        assert not words & seen
        seen |= words


def test_listing_protocols_loads_neither_numba_nor_arrow() -> None:
    code = "import sys, mpc.registry; print([name for name in ('numba', 'pyarrow') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


# Steps that fail with some probability.


def test_an_encoding_that_fails_is_tried_again_and_counted() -> None:
    attempts = []
    real = okvs.encode

    def fail_once(*arguments: Any) -> Any:
        attempts.append(arguments)
        if len(attempts) == 1:
            raise okvs.Unsolvable("as if")
        return real(*arguments)

    with patch.object(okvs, "encode", fail_once):
        outcome = run_pair(pair_job("psi.vole"), {"alice": numbered(1, 2, 3), "bob": numbered(2, 3)})["alice"]
    assert outcome.table == numbered(2, 3)
    assert outcome.facts["okvs_retries"] == 1


@pytest.mark.parametrize("lost", [0.05, 1.0])
def test_rows_lost_in_the_middle_of_the_protocol_end_it_loudly(lost: float) -> None:
    """As a fault in decoding would lose them: outputs of some of the sender's keys are wrong."""
    real = oprf.sender_outputs

    def spoil(*arguments: Any, **named: Any) -> Any:
        outputs = real(*arguments, **named)
        outputs[np.random.default_rng(1).random(len(outputs)) < lost] ^= np.uint64(1 << 40)
        return outputs

    tables = {"alice": numbered(*range(500)), "bob": numbered(*range(500))}
    with patch.object(oprf, "sender_outputs", spoil), pytest.raises(ProtocolError, match="of the 64 keys that both"):
        run_pair(pair_job("psi.vole"), tables)


def test_more_keys_than_the_field_is_wide_enough_for_are_refused() -> None:
    channel: Any = None
    most = 2**24 - CANARIES
    vole_steps.check_size(steps.Link(channel, "bob", most, most))
    with pytest.raises(InputError, match=r"too many for psi\.vole"):
        vole_steps.check_size(steps.Link(channel, "bob", most + 1, 1))


@pytest.mark.parametrize(("x", "y", "bits"), [(1, 1, 0), (2**12, 2**12, 0), (2**20, 2**20, 16), (2**24, 2**24, 24)])
def test_tags_have_40_bits_more_than_the_sizes(x: int, y: int, bits: int) -> None:
    assert tags.prefix_bits(x, y) == bits


@pytest.mark.parametrize(("bits", "order"), [(0, [6, 4, 5, 7]), (3, [6, 5, 7, 4])])
def test_tags_with_equal_leading_words_are_still_in_order(bits: int, order: list[int]) -> None:
    outputs = np.array([[5, 9 << 60], [5, 3 << 60], [1, 2 << 60], [5, 4 << 60]], np.uint64)
    padded = np.concatenate([outputs, outputs], axis=1)
    cut = tags.cut_tags(padded, np.array([4, 5, 6, 7], np.int32), bits)
    assert cut.order.tolist() == order
    assert [(int(h) << 64 | int(low)) for h, low in zip(cut.high, cut.low, strict=True)] == sorted(
        (int(a) << 64 | int(b)) >> 64 - bits for a, b in outputs
    )


# Peers that cheat.


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

    roles = psi_vole.SPEC.roles
    return patch.dict(roles, {name: Role(watch(role.run), role.slots) for name, role in roles.items()})


def run_against(
    cheat: str,
    kind: type[Message],
    index: int,
    edit: Callable[[Any], Sequence[Message]],
    *,
    receivers: tuple[str, ...] = BOTH,
    size: int = 6,
    receiver_size: int | None = None,
    **params: Any,
) -> BaseException:
    """The error that ends the other party when `cheat` replaces its message number `index` of a kind.

    Both have `size` keys, of which all but two are common, or the receiver has some of its first.
    """
    ends: dict[str, BaseException] = {}
    seen = [0]

    def apply(message: Message) -> Sequence[Message]:
        if not isinstance(message, kind):
            return [message]
        seen[0] += 1
        return edit(message) if seen[0] == index + 1 else [message]

    def wrap(name: str, _peer: str, pipe: Pipe) -> Pipe:
        return Meddler(pipe, apply, TYPES) if name == cheat else pipe

    tables = {"alice": numbered(*range(receiver_size or size)), "bob": numbered(*range(2, size + 2))}
    with watched_roles(ends), pytest.raises(SealaneError):
        run_pair(pair_job("psi.vole", receivers, **params), tables, wrap=wrap)
    error = ends["bob" if cheat == "alice" else "alice"]
    assert not isinstance(error, ChannelError)
    return error


BAD_POINTS = {
    "short": bytes(31),
    "identity": bytes(32),
    "not canonical": bytes.fromhex("ed" + "ff" * 30 + "7f"),
    "no square": bytes.fromhex("26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371"),
}


@pytest.mark.parametrize("point", BAD_POINTS.values(), ids=list(BAD_POINTS))
def test_a_point_that_is_none_is_refused(point: bytes) -> None:
    offer = [psi_vole_pb2.Offer(point=point, nonce=bytes(16))]
    assert isinstance(run_against("alice", psi_vole_pb2.Offer, 0, lambda _m: offer), ProtocolError)
    choices = [psi_vole_pb2.Choices(points=point * 256, nonce=bytes(16))]
    assert isinstance(run_against("bob", psi_vole_pb2.Choices, 0, lambda _m: choices), ProtocolError)


@pytest.mark.parametrize("count", [0, 255, 257])
def test_points_of_another_number_are_refused(count: int) -> None:
    def edit(message: Any) -> Sequence[Message]:
        return [psi_vole_pb2.Choices(points=(message.points * 2)[: 32 * count], nonce=message.nonce)]

    assert "expected 256 points" in str(run_against("bob", psi_vole_pb2.Choices, 0, edit))


@pytest.mark.parametrize("size", [0, 15, 17])
def test_nonces_and_seeds_of_another_length_are_refused(size: int) -> None:
    offer = [psi_vole_pb2.Offer(nonce=bytes(size))]
    assert f"nonce of {size} bytes" in str(run_against("alice", psi_vole_pb2.Offer, 0, lambda _m: offer))
    choices = [psi_vole_pb2.Choices(nonce=bytes(size))]
    assert f"nonce of {size} bytes" in str(run_against("bob", psi_vole_pb2.Choices, 0, lambda _m: choices))
    seed = [psi_vole_pb2.Seed(seed=bytes(size))]
    assert f"seed of {size} bytes" in str(run_against("alice", psi_vole_pb2.Seed, 0, lambda _m: seed))


def test_a_message_of_another_kind_is_refused_with_the_name_of_who_sent_it() -> None:
    error = run_against("alice", psi_vole_pb2.Seed, 0, lambda _m: [psi_vole_pb2.Offer(nonce=bytes(16))])
    assert isinstance(error, ProtocolError)
    assert str(error) == "alice: expected sealane.psi_vole.v1.Seed, got 'sealane.psi_vole.v1.Offer'"


PIECES = [
    ("alice", 0, "a request for a correlation"),
    ("alice", 1, "a masked vector"),
    ("bob", 0, "a chunk of a correlation"),
    ("bob", 1, "tags"),
]


@pytest.mark.parametrize(("cheat", "index", "what"), PIECES)
@pytest.mark.parametrize("change", ["none", "shorter", "longer"])
def test_vectors_of_another_length_are_refused(cheat: str, index: int, what: str, change: str) -> None:
    def edit(message: Any) -> Sequence[Message]:
        data = {"none": b"", "shorter": message.data[:-1], "longer": message.data + b"\0"}[change]
        return [psi_vole_pb2.Piece(data=data)]

    error = run_against(cheat, psi_vole_pb2.Piece, index, edit)
    assert isinstance(error, ProtocolError)
    assert f"bytes of {what} where" in str(error)


@pytest.mark.parametrize(("cheat", "kind"), [("alice", psi_vole_pb2.Seed), ("bob", psi_vole_pb2.Choices)])
def test_a_message_of_another_type_is_refused(cheat: str, kind: type[Message]) -> None:
    error = run_against(cheat, kind, 0, lambda _m: [psi_pb2.Verdict()])
    assert f"expected {kind.DESCRIPTOR.full_name}, got 'sealane.psi.v1.Verdict'" in str(error)


@pytest.mark.parametrize("claim", [2**24 - 63, 2**26])
def test_more_keys_than_a_party_may_have_are_refused_at_once(claim: int) -> None:
    error = run_against("bob", psi_pb2.Size, 0, lambda _m: [psi_pb2.Size(keys=claim)])
    assert str(error) == f"bob: claims {claim} keys (at most {2**24 - 64})"


@pytest.mark.parametrize("claim", [5, 7])
@pytest.mark.parametrize("cheat", BOTH)
def test_a_wrong_count_of_keys_is_noticed(cheat: str, claim: int) -> None:
    error = run_against(cheat, psi_pb2.Size, 0, lambda _m: [psi_pb2.Size(keys=claim)])
    assert isinstance(error, ProtocolError)
    assert "were due" in str(error)


@pytest.mark.parametrize(("cheat", "index"), [("alice", 0), ("alice", 1), ("bob", 0)])
def test_a_vector_of_garbage_never_gives_a_result(cheat: str, index: int) -> None:
    """Every tag is then wrong, and so are those of the keys that both added; the receiver notices."""
    ends: dict[str, BaseException] = {}
    seen = [0]

    def apply(message: Message) -> Sequence[Message]:
        if not isinstance(message, psi_vole_pb2.Piece):
            return [message]
        seen[0] += 1
        return [psi_vole_pb2.Piece(data=bytes(len(message.data)))] if seen[0] == index + 1 else [message]

    def wrap(name: str, _peer: str, pipe: Pipe) -> Pipe:
        return Meddler(pipe, apply, TYPES) if name == cheat else pipe

    with watched_roles(ends), pytest.raises(ProtocolError, match="64 of the 64 keys that both added were not found"):
        run_pair(pair_job("psi.vole"), {"alice": numbered(1, 2), "bob": numbered(1, 2)}, wrap=wrap)


def words_edited(edit: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any], Sequence[Message]]:
    def apply(message: Any) -> Sequence[Message]:
        return [psi_vole_pb2.Piece(data=edit(np.frombuffer(message.data, np.uint64)).tobytes())]

    return apply


def test_tags_in_another_order_are_refused() -> None:
    error = run_against("bob", psi_vole_pb2.Piece, 1, words_edited(lambda words: words[::-1]))
    assert str(error) == "bob: sent tags that are not in ascending order"


def test_a_common_tag_that_stands_for_two_keys_is_refused() -> None:
    error = run_against("bob", psi_vole_pb2.Piece, 1, words_edited(lambda words: np.repeat(words[::2], 2)))
    assert "bob: tags repeat" in str(error)


def test_the_same_is_refused_where_tags_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vole_steps, "_MUCH_LARGER", 0)
    error = run_against("bob", psi_vole_pb2.Piece, 1, words_edited(lambda words: np.repeat(words[::2], 2)))
    assert "bob: tags repeat" in str(error)


def test_prefixes_of_another_number_of_tags_are_refused() -> None:
    def edit(message: Any) -> Sequence[Message]:
        return [psi_vole_pb2.Piece(data=bytes(len(message.data)))]

    error = run_against("bob", psi_vole_pb2.Piece, 2, edit, size=5000)
    assert str(error) == "bob: sent prefixes of other than 5064 tags"


def test_a_prefix_beyond_the_last_is_refused() -> None:
    def edit(message: Any) -> Sequence[Message]:
        bits = np.unpackbits(np.frombuffer(message.data, np.uint8), bitorder="little")
        last = 5064 + 2 ** tags.prefix_bits(5064, 5064) - 1
        assert last < len(bits)
        bits[np.flatnonzero(bits)[-1]], bits[last] = 0, 1
        return [psi_vole_pb2.Piece(data=np.packbits(bits, bitorder="little").tobytes())]

    error = run_against("bob", psi_vole_pb2.Piece, 2, edit, size=5000)
    assert str(error) == "bob: sent prefixes of other than 5064 tags"


@given(data=st.data(), pairs=st.sampled_from([1, 2**10, 2**20]), count=st.integers(0, 300))
def test_tags_arrive_as_they_were_cut(data: st.DataObject, pairs: int, count: int) -> None:
    count += CANARIES
    bits = tags.prefix_bits(5000 + CANARIES, count, pairs)
    prefix = st.integers(0, 2**bits - 1) | st.sampled_from([0, 2**bits - 1])
    high = np.sort(np.array(data.draw(st.lists(prefix, min_size=count, max_size=count)), np.uint64))
    sent = tags.Tags(high, np.arange(count, dtype=np.uint64), np.zeros(count, np.int32))
    one, other = memory_pipes()
    sender, receiver = (
        steps.Link(MessageChannel(pipe), "peer", *sizes, pairs=pairs)
        for pipe, sizes in ((one, (count - 64, 5000)), (other, (5000, count - 64)))
    )
    tags.send_tags(sender, sent)
    found = tags.receive_tags(receiver)
    assert all(np.array_equal(*each) for each in zip(found, (sent.high, sent.low), strict=True))


@pytest.mark.parametrize("spread", [1, 2**51 + 1])
@given(seed=st.integers(0, 2**32), size=st.integers(64, 70), many=st.integers(100, 200), common=st.integers(0, 64))
def test_few_tags_are_found_among_many_as_they_arrive(
    spread: int, seed: int, size: int, many: int, common: int
) -> None:
    """Some tags differ in their prefix alone from one of the other set's."""
    rng = np.random.default_rng(seed)
    ours, theirs = (
        [(int(high), int(low)) for high, low in zip(rng.integers(0, 4, count), lows, strict=True)]
        for count, lows in ((size, rng.choice(1000, size, replace=False)), (many, 1000 + np.arange(many)))
    )
    other_prefix = [(3 - high, low) for high, low in ours[common : common + 2]]
    sets = [sorted(ours), sorted({*theirs, *ours[:common], *other_prefix})]
    own, sent = (
        tags.Tags(
            np.array([high for high, _ in each], np.uint64),
            np.array([low * spread % 2**64 for _, low in each], np.uint64),
            np.random.default_rng(len(each)).permutation(len(each)).astype(np.int32),
        )
        for each in sets
    )
    one, other = memory_pipes()
    sizes = len(sent.low) - CANARIES, len(own.low) - CANARIES
    receiver = steps.Link(MessageChannel(other), "peer", sizes[1], sizes[0], pairs=2**20)
    tags.send_tags(steps.Link(MessageChannel(one), "peer", *sizes, pairs=2**20), sent)
    hits, partners = tags.find_few(receiver, own)
    assert hits.tolist() == [tag in ours for tag in sets[1]]
    assert partners.tolist() == [own.order[sets[0].index(tag)] for tag in sets[1] if tag in ours]


MANY = 300_000  # so that tags have a prefix, of one bit, though the receiver has few keys


def all_of_one_prefix(packed: np.ndarray) -> np.ndarray:
    bits = np.ones(MANY + CANARIES + 1, np.uint8)
    bits[0] = 0
    return np.packbits(bits, bitorder="little")


FEW_EDITS = [
    (2000, 1, lambda data: np.repeat(data.view(np.uint64)[::2], 2), "tags repeat"),
    (2000, 1, lambda data: ~data, "64 of the 64 keys that both added were not found"),
    (MANY, 4, lambda data: ~data, "sent prefixes of other than 300064 tags"),
    (MANY, 4, lambda data: np.append(data[:-1], data[-1] | 128), "sent prefixes of other than 300064 tags"),
    (MANY, 4, lambda data: np.append(data[:-1], data[-1] ^ 3), "sent prefixes of other than 300064 tags"),
    (MANY, 4, all_of_one_prefix, "of the 64 keys that both added were not found"),
]


@pytest.mark.parametrize(("size", "piece", "edit", "message"), FEW_EDITS)
def test_false_tags_are_refused_by_a_receiver_of_few_keys(
    size: int, piece: int, edit: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    def apply(sent: Any) -> Sequence[Message]:
        return [psi_vole_pb2.Piece(data=edit(np.frombuffer(sent.data, np.uint8)).tobytes())]

    error = run_against("bob", psi_vole_pb2.Piece, piece, apply, size=size, receiver_size=3)
    assert str(error).startswith("bob: ")
    assert message in str(error)


ALL = ((1 << 70) - 1).to_bytes(9, "little")


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (psi_pb2.Verdict(size=6), "0 bytes that say"),
        (psi_pb2.Verdict(size=6, matched=bytes(8)), "8 bytes that say"),
        (psi_pb2.Verdict(size=6, matched=bytes(10)), "10 bytes that say"),
        (psi_pb2.Verdict(size=6, matched=bytes(9)), "were not found"),
        (psi_pb2.Verdict(size=6, matched=((1 << 71) - 1).to_bytes(9, "little")), "more tags matched than there are"),
        (psi_pb2.Verdict(size=5, matched=ALL), "found 5 common keys, and marked 6"),
        (psi_pb2.Verdict(size=7, matched=ALL), "the sizes of the sets and the minimum exclude"),
        (psi_pb2.Verdict(matched=ALL), "the sizes of the sets and the minimum exclude"),
    ],
)
def test_a_false_result_is_refused(verdict: psi_pb2.Verdict, words: str) -> None:
    error = run_against("alice", psi_pb2.Verdict, 0, lambda _m: [verdict])
    assert isinstance(error, ProtocolError)
    assert words in str(error)


def test_a_bitmap_without_the_keys_that_both_added_is_refused() -> None:
    def edit(message: Any) -> Sequence[Message]:
        bits = int.from_bytes(message.matched, "little")
        return [psi_pb2.Verdict(matched=(bits & (bits - 1)).to_bytes(9, "little"), size=message.size)]

    error = run_against("alice", psi_pb2.Verdict, 0, edit, size=2, min_result=0)
    assert str(error) == "alice: 1 of the 64 keys that both added were not found"


def test_more_matches_than_keys_are_refused() -> None:
    full = psi_pb2.Verdict(matched=ALL, size=6)
    ends: dict[str, BaseException] = {}

    def wrap(name: str, _peer: str, pipe: Pipe) -> Pipe:
        edit = lambda m: [full] if isinstance(m, psi_pb2.Verdict) else [m]  # noqa: E731
        return Meddler(pipe, edit, TYPES) if name == "alice" else pipe

    with watched_roles(ends), pytest.raises(ProtocolError, match="sizes of the sets and the minimum exclude"):
        run_pair(pair_job("psi.vole", BOTH), {"alice": numbered(1), "bob": numbered(*range(6))}, wrap=wrap)


@pytest.mark.parametrize("verdict", [psi_pb2.Verdict(matched=b"\1"), psi_pb2.Verdict(size=1)])
def test_a_result_for_a_party_that_receives_none_is_refused(verdict: psi_pb2.Verdict) -> None:
    error = run_against("alice", psi_pb2.Verdict, 0, lambda _m: [verdict], receivers=("alice",))
    assert str(error) == "alice: sent a result that this party is not to receive"


@pytest.mark.parametrize(
    "verdict", [psi_pb2.Verdict(size=7), psi_pb2.Verdict(), psi_pb2.Verdict(size=4, matched=b"\1")]
)
def test_a_count_that_cannot_be_is_refused(verdict: psi_pb2.Verdict) -> None:
    error = run_against("alice", psi_pb2.Verdict, 0, lambda _m: [verdict], release="count")
    assert isinstance(error, ProtocolError)
