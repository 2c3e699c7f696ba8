"""The steps of psi.vole between messages: correlations, masked vectors, tags. Contract and sources: `mpc.psi.vole`."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from mpc.channel import Channel
from mpc.errors import InputError, ProtocolError
from mpc.primitives import lpn, okvs, oprf, vole
from mpc.primitives.ordering import sort_rows
from mpc.primitives.threads import spread, usable_cores
from mpc.psi import steps
from mpc.psi.params import VoleParams
from mpc.spec import Party
from protos import psi_vole_pb2

if TYPE_CHECKING:
    import pyarrow as pa

CANARIES = 64  # a fault that loses one key in ten is missed with probability 0.9^64 = 0.1 %
NONCE_BYTES = 16
STATISTICAL_BITS = 40
PIECE_BYTES = 2**20

# A receiver with this many times as many keys waits for the sender's tags, which takes less time than to sort its own;
# one whose encoding has this many times as many columns as the sender's keys have band bits leaves most of them unread.
_MUCH_LARGER = 16

_KEYS = b"sealane/psi.vole.keys/1\0"
_CANARY = b"sealane/psi.vole.canary/1\0"
_WORD_BITS = 64

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
BOOL = npt.NDArray[np.bool_]
N = TypeVar("N", psi_vole_pb2.Offer, psi_vole_pb2.Choices)


@dataclass(frozen=True)
class Tags:
    """A party's tags in ascending order; `order` gives the key of each, canaries after the party's own keys."""

    high: U64 = field(repr=False)
    low: U64 = field(repr=False)
    order: I64 = field(repr=False)


def plan(params: VoleParams, receiver_keys: int) -> list[vole.Level]:
    """The levels of the correlation for a receiver with this many keys, canaries included."""
    return vole.levels(okvs.columns(receiver_keys), weight(params))


def weight(params: VoleParams) -> int:
    """The weight of the code that the parameters choose."""
    return lpn.CONSERVATIVE_WEIGHT if params.code == "conservative" else lpn.WEIGHT


def check_size(link: steps.Link) -> None:
    """Raises unless both sets are of a size for which false matches have probability at most 2^-40."""
    most = oprf.MAX_KEYS - CANARIES
    if link.own > most:
        raise InputError(
            f"{link.own} different keys are too many for psi.vole (at most {most})",
            hint="split the set, or use psi.ecdh",
        )
    if link.theirs > most:
        raise ProtocolError(f"{link.peer}: claims {link.theirs} keys (at most {most})")


def digests(messages: "pa.LargeBinaryArray", header: bytes, session: bytes) -> U8:
    """BLAKE2s-256 of each message, its salt and personalisation derived from the header and the session."""
    from mpc.kernels.blake2s import hash_messages, initial_state

    derived = blake2b(_KEYS + header, digest_size=16, salt=session).digest()
    _, offsets, data = messages.buffers()
    out = np.empty((len(messages), 4), np.uint64)
    hash_messages(
        np.frombuffer(data or b"", np.uint8),
        np.frombuffer(offsets, np.int64)[messages.offset : messages.offset + len(messages) + 1],
        initial_state(derived[:8], derived[8:]),
        out,
    )
    return out.view(np.uint8)


def with_canaries(
    keys: U8, session: bytes, receiver_nonce: bytes, sender_nonce: bytes, *, overwrite: bool = False
) -> U64:
    """The digests as rows of four words, and behind them those of keys that both parties add and must find again.

    With `overwrite`, they may be in the memory of `keys`.
    """
    from mpc.keys import append_digests

    state = blake2b(_CANARY + receiver_nonce + sender_nonce, digest_size=32, salt=session)
    canaries = b""
    for index in range(CANARIES):
        each = state.copy()
        each.update(index.to_bytes(4, "little"))
        canaries += each.digest()
    join = append_digests if overwrite else lambda *parts: np.concatenate(parts)
    whole = join(keys, np.frombuffer(canaries, np.uint8).reshape(-1, 32))
    return whole.reshape(-1).view(np.uint64).reshape(-1, 4)


def receive_nonce(link: steps.Link, expected: type[N]) -> N:
    """The peer's message with its part in the canaries."""
    message = link.channel.recv(expected)
    if len(message.nonce) != NONCE_BYTES:
        raise ProtocolError(f"{link.peer}: sent a nonce of {len(message.nonce)} bytes, not {NONCE_BYTES}")
    return message


@dataclass(frozen=True)
class Matches:
    """What the receiver finds among the sender's tags, canaries included.

    `their_hits` says which are common, and `partners` gives the own key of each of those, canaries after the own keys;
    `retries` is how often a seed was drawn in vain.
    """

    their_hits: BOOL = field(repr=False)
    partners: I64 = field(repr=False)
    retries: int


def find(link: steps.Link, party: Party[VoleParams], pairs: Sequence[tuple[bytes, bytes]], digests: U64) -> Matches:
    """The receiver's matches for its keys and the canaries, from the pairs of the base transfers."""
    levels = plan(party.params, len(digests))
    receiver, request = vole.ask(pairs, levels, party.session, party.rng)
    send_bytes(link.channel, request)
    with ThreadPoolExecutor(1) as beside:  # the sender needs nothing else for its part of the correlation
        correlation = beside.submit(receive_correlation, link, party, receiver, levels)
        query = oprf.query(digests, party.rng)
        link.channel.send(psi_vole_pb2.Seed(seed=query.keys.seed))
        planes = correlation.result()
    send_bytes(link.channel, (query.vector ^ planes[0, : len(query.vector)]).view(np.uint8))
    if len(digests) >= _MUCH_LARGER * (link.theirs + CANARIES):
        return Matches(*_look_up(link, party, query.keys, planes[1:]), query.retries)
    outputs = oprf.receiver_outputs(query.keys, planes[1:], overwrite=True)
    own = cut_tags(outputs, query.keys.rows.order, prefix_bits(len(digests), link.theirs + CANARIES, link.pairs))
    party.progress("compare tags", 0, 1)
    hits, their_hits = match(link, own, *receive_tags(link))
    party.progress("compare tags", 1, 1)
    return Matches(their_hits, own.order[hits], query.retries)


def _look_up(link: steps.Link, party: Party[VoleParams], keys: oprf.Keys, shares: U64) -> tuple[BOOL, I64]:
    """Compare each piece of the own tags with the few of the sender while it is in the cache: nothing is sorted."""
    from mpc.kernels.tags import look_up

    high, low = receive_tags(link)
    bits = prefix_bits(link.own + CANARIES, len(low), link.pairs)
    index_bits = len(low).bit_length()
    index = index_tags(high, low, bits, index_bits)
    pieces: list[I64] = []

    def use(piece: slice, outputs: U64) -> None:
        found = np.empty((len(outputs), 2), np.int64)
        count = look_up(outputs, bits, index_bits, index, high, low, found)
        if count > len(found):
            raise _repeated(link)
        if count:
            pieces.append(np.stack([found[:count, 0], keys.rows.order[piece][found[:count, 1]]]))

    party.progress("compare tags", 0, 1)
    oprf.each_receiver_output(keys, shares, use)
    party.progress("compare tags", 1, 1)
    places, partners = np.concatenate([np.empty((2, 0), np.int64), *pieces], axis=1)
    if any(len(np.unique(each)) < len(each) for each in (places, partners)):
        raise _repeated(link)
    hits = np.zeros(len(low), np.bool_)
    hits[places] = True
    return hits, partners[np.argsort(places)]


def index_tags(high: U64, low: U64, bits: int, index_bits: int) -> I64:
    """Where in ascending tags those begin whose leading `index_bits` bits, at most 64, are 0, 1, and so on."""
    both = max(bits - index_bits, 0), max(index_bits - bits, 0)
    leading = (high >> np.uint64(both[0])) << np.uint64(both[1])
    if both[1]:
        leading |= low >> np.uint64(64 - both[1])
    return np.searchsorted(leading, np.arange((1 << index_bits) + 1, dtype=np.uint64))


def sender_tags(
    link: steps.Link,
    party: Party[VoleParams],
    keys: Sequence[bytes],
    secret: bytes,
    digests: U64,
    *,
    overwrite: bool,
) -> Tags:
    """The tags of the sender's keys and the canaries, with the base keys that it chose by the bits of `secret`.

    With `overwrite`, the memory of the digests is used for other things from then on.
    """
    arrange = partial(oprf.arrange, digests, overwrite=overwrite)
    arranged, outputs = evaluate(link, party, keys, secret, len(digests), arrange, overwrite=True)
    bits = prefix_bits(link.theirs + CANARIES, len(digests), link.pairs)
    return cut_tags(outputs, arranged.rows.order, bits)


def evaluate(
    link: steps.Link,
    party: Party[VoleParams],
    keys: Sequence[bytes],
    secret: bytes,
    count: int,
    arrange: Callable[[int, bytes], oprf.Keys],
    *,
    overwrite: bool,
) -> tuple[oprf.Keys, U64]:
    """F of the sender's keys under the key that it draws here: the arranged keys, and outputs in their order.

    The receiver has then evaluated F on its own keys. `count` is how many keys `arrange` arranges for a number of
    columns and a seed; with `overwrite` the outputs take their place. Other arguments are as in `sender_tags`.
    """
    receiver_keys = link.theirs + CANARIES
    levels, columns = plan(party.params, receiver_keys), okvs.columns(receiver_keys)
    request = receive_bytes(link, "a request for a correlation", vole.request_bytes(levels))
    sender = vole.answer(keys, secret, request, levels, party.session)
    shares = sender.shares
    for index in range(len(levels) - 1):
        shares = _send_level(link, party, sender, levels, index, shares)
    few = _MUCH_LARGER * okvs.BAND_BITS * count <= columns
    if few:
        seeds = _send_last_level(link, party, sender, levels, shares)
    else:
        shares = _send_level(link, party, sender, levels, len(levels) - 1, shares)
    arranged = arrange(columns, receive_seed(link))
    spans = okvs.spans(arranged.rows) if few else None
    if spans is not None:
        shares = _encode_spans(sender, levels[-1], seeds, spans)
    masked = receive_bytes(link, "a masked vector", 8 * columns).view(np.uint64)
    return arranged, oprf.sender_outputs(arranged, masked, sender.delta, shares, overwrite=overwrite, spans=spans)


def send_correlation(
    link: steps.Link, party: Party[VoleParams], keys: Sequence[bytes], secret: bytes, levels: Sequence[vole.Level]
) -> tuple[tuple[int, int], U64]:
    """The sender's delta and planes b of the last level; see `receive_correlation`."""
    request = receive_bytes(link, "a request for a correlation", vole.request_bytes(levels))
    sender = vole.answer(keys, secret, request, levels, party.session)
    shares = sender.shares
    for index in range(len(levels)):
        shares = _send_level(link, party, sender, levels, index, shares)
    return sender.delta, shares


def receive_seed(link: steps.Link) -> bytes:
    """The peer's seed for an encoding of its keys."""
    seed = link.channel.recv(psi_vole_pb2.Seed).seed
    if len(seed) != okvs.SEED_BYTES:
        raise ProtocolError(f"{link.peer}: sent a seed of {len(seed)} bytes, not {okvs.SEED_BYTES}")
    return seed


def receive_correlation(
    link: steps.Link, party: Party[VoleParams], receiver: vole.Receiver, levels: Sequence[vole.Level]
) -> U64:
    """The receiver's planes a and c (3 x outputs) of the last level."""
    planes = np.concatenate([receiver.noise[None], receiver.shares])
    for index in range(len(levels)):
        planes = _receive_level(link, party, receiver, levels, index, planes[0], planes[1:])
    return planes


def _receive_level(
    link: steps.Link,
    party: Party[VoleParams],
    receiver: vole.Receiver,
    levels: Sequence[vole.Level],
    index: int,
    noise: U64,
    shares: U64,
) -> U64:
    """The receiver's planes of a level; chunks are worked on while further ones arrive."""
    level = levels[index]
    level.code  # noqa: B018 (made once, before several threads would make it)
    planes = np.empty((3, level.chunks * level.chunk_outputs), np.uint64)

    def finish(chunk: int, message: U64) -> None:
        vole.puncture_chunk(receiver, levels, index, chunk, message, noise, shares, planes)

    with ThreadPoolExecutor(usable_cores()) as pool:
        work = []
        for chunk in range(level.chunks):
            message = receive_bytes(link, "a chunk of a correlation", 8 * level.message_words).view(np.uint64)
            work.append(pool.submit(finish, chunk, message))
        _await(work, party)
    return planes


def _send_level(
    link: steps.Link,
    party: Party[VoleParams],
    sender: vole.Sender,
    levels: Sequence[vole.Level],
    index: int,
    shares: U64,
) -> U64:
    """The sender's planes of a level; leaves are encoded while further trees grow."""
    level, cores = levels[index], usable_cores()
    level.code  # noqa: B018 (as in _receive_level)
    planes = np.empty((2, level.chunks * level.chunk_outputs), np.uint64)

    def finish(chunk: int, leaves: U64) -> None:
        vole.encode_leaves(level, chunk, leaves, planes)

    with ThreadPoolExecutor(cores) as pool:
        work: list[Future[None]] = []
        for chunk in range(level.chunks):
            if chunk >= cores:
                work[chunk - cores].result()  # bounds the leaves that wait
            seeds = vole.draw_seeds(party.rng)
            message, leaves = vole.plant_chunk(sender, levels, index, chunk, shares, seeds)
            send_bytes(link.channel, message.view(np.uint8))
            work.append(pool.submit(finish, chunk, leaves))
        _await(work, party)
    return planes


def _send_last_level(
    link: steps.Link, party: Party[VoleParams], sender: vole.Sender, levels: Sequence[vole.Level], shares: U64
) -> list[U64]:
    """The sender's messages of the last level, for a sender of few keys, which does not know yet where it needs b.

    Gives the seeds from which `_encode_spans` grows the trees once more.
    """
    seeds = []
    for chunk in range(levels[-1].chunks):
        seeds.append(vole.draw_seeds(party.rng))
        message, _ = vole.plant_chunk(sender, levels, len(levels) - 1, chunk, shares, seeds[-1])
        send_bytes(link.channel, message.view(np.uint8))
        party.progress("correlate", chunk + 1, levels[-1].chunks)
    return seeds


def _encode_spans(sender: vole.Sender, level: vole.Level, seeds: Sequence[U64], spans: Sequence[slice]) -> U64:
    """The sender's planes of the last level, which hold anything outside of the spans."""
    level.code  # noqa: B018 (as in _receive_level)
    planes = np.empty((2, level.chunks * level.chunk_outputs), np.uint64)

    def work(chunks: slice) -> None:
        vole.encode_wanted(sender, level, chunks.start, seeds[chunks.start], spans, planes)

    spread(work, level.chunks, 1)
    return planes


def _await(work: Sequence[Future[None]], party: Party[VoleParams]) -> None:
    for done, future in enumerate(work, 1):
        future.result()
        party.progress("correlate", done, len(work))


def prefix_bits(x: int, y: int, pairs: int = 1) -> int:
    """Bits of a tag beyond 64, for `pairs` pairs of sets of `x` and `y` keys: 40 + log2 pairs + log2 x + log2 y in
    all, rounded up, at least 64.
    """
    return max(0, STATISTICAL_BITS + (pairs * x * y - 1).bit_length() - _WORD_BITS)


def cut_tags(outputs: U64, places: I64, bits: int, *, column: int = 0) -> Tags:
    """The tags of PRF outputs (n x 4 words) of keys at `places`: `bits` bits of prefix, then 64 more.

    They are cut from the words in `column` and the next. The outputs are put in the order of their tags.
    """
    from mpc.kernels.tags import cut

    count = len(outputs)
    order = sort_rows(outputs, column, np.empty_like(outputs), places)
    tags = Tags(np.empty(count, np.uint64), np.empty(count, np.uint64), order)
    cut(outputs, column, bits, tags.high, tags.low, order)
    return tags


def send_tags(link: steps.Link, tags: Tags) -> None:
    """The sender's tags, in ascending order, so that they say nothing about its rows."""
    bits = prefix_bits(link.theirs + CANARIES, len(tags.high), link.pairs)
    if bits:
        flags = np.zeros(_prefix_places(len(tags.high), bits), np.bool_)
        flags[tags.high.astype(np.int64) + np.arange(len(tags.high))] = True
        send_bytes(link.channel, np.packbits(flags, bitorder="little"))
    send_bytes(link.channel, tags.low.view(np.uint8))


def receive_tags(link: steps.Link) -> tuple[U64, U64]:
    """The sender's tags, prefixes and remainders."""
    from mpc.kernels.tags import ascending, places_of_ones

    count = link.theirs + CANARIES
    bits = prefix_bits(link.own + CANARIES, count, link.pairs)
    if bits:
        high = np.empty(count + 8, np.uint64)
        packed = receive_bytes(link, "the prefixes of tags", -(-_prefix_places(count, bits) // 8))
        found, high = places_of_ones(packed, high), high[:count]
        if found != count or high[-1] >> np.uint64(bits):
            raise ProtocolError(f"{link.peer}: sent prefixes of other than {count} tags")
    else:
        high = np.zeros(count, np.uint64)
    low = receive_bytes(link, "tags", 8 * count).view(np.uint64)
    if not ascending(high, low):
        raise ProtocolError(f"{link.peer}: sent tags that are not in ascending order")
    return high, low


def match(link: steps.Link, own: Tags, high: U64, low: U64) -> tuple[BOOL, BOOL]:
    """Which of the own and of the peer's tags are common, canaries included, in the order of the tags."""
    from mpc.kernels.tags import mark_common

    hits, other_hits = np.zeros(len(own.high), np.bool_), np.zeros(len(high), np.bool_)
    if not mark_common(own.high, own.low, high, low, hits, other_hits):
        raise _repeated(link)
    return hits, other_hits


def _repeated(link: steps.Link) -> ProtocolError:
    return ProtocolError(f"{link.peer}: tags repeat, so that it is not certain which keys are common")


def common_keys(link: steps.Link, tags: Tags, hits: BOOL) -> I64:
    """The own keys that are common, in the order of their tags; raises `ProtocolError` unless all canaries are."""
    return without_canaries(link, tags.order[hits])


def without_canaries(link: steps.Link, found: I64) -> I64:
    """The own keys among those found; raises `ProtocolError` unless all canaries were found."""
    keys = found[found < link.own]
    if len(found) - len(keys) != CANARIES:
        raise ProtocolError(
            f"{link.peer}: {CANARIES - len(found) + len(keys)} of the {CANARIES} keys that both added were not found",
            hint="the result would miss keys: report this together with both parties' releases",
        )
    return keys


def send_bytes(channel: Channel, data: U8) -> None:
    """A vector whose length the peer knows, in pieces."""
    for start in range(0, len(data), PIECE_BYTES):
        channel.send_bulk(psi_vole_pb2.Piece(), data[start : start + PIECE_BYTES].data)


def receive_bytes(link: steps.Link, what: str, size: int) -> U8:
    """The peer's vector of `size` bytes, writable; raises `ProtocolError` for a piece of another length."""
    data = np.empty(size, np.uint8)
    for start in range(0, size, PIECE_BYTES):
        due = min(PIECE_BYTES, size - start)
        other = link.channel.recv_bulk(psi_vole_pb2.Piece(), data[start : start + due].data)
        if other is not None:
            raise ProtocolError(f"{link.peer}: sent {len(other.data)} bytes of {what} where {due} were due")
    return data


def base_choices(secret: bytes) -> list[bool]:
    """The bits of `secret`, as choices."""
    return np.unpackbits(np.frombuffer(secret, np.uint8), bitorder="little").astype(bool).tolist()


def wire_bytes(params: VoleParams, receiver_keys: int, sender_keys: int, pairs: int = 1) -> tuple[int, int]:
    """Bytes of vectors and points, without framing, that the receiver and the sender send for one of `pairs` pairs of
    sets; canaries excluded from the arguments and included in the result. The verdict is not in it.
    """
    x, y = receiver_keys + CANARIES, sender_keys + CANARIES
    levels, bits = plan(params, x), prefix_bits(x, y, pairs)
    by_receiver = 32 + 2 * NONCE_BYTES + vole.request_bytes(levels) + 8 * okvs.columns(x)
    correlation = sum(level.chunks * 8 * level.message_words for level in levels)
    prefixes = -(-_prefix_places(y, bits) // 8) if bits else 0
    return by_receiver, 32 * vole.BASE_COUNT + NONCE_BYTES + correlation + prefixes + 8 * y


def _prefix_places(count: int, bits: int) -> int:
    """The bits in which ascending prefixes are sent (Elias-Fano): for each value a one for every tag that has it, and a
    zero between two values, so that tag i with prefix h is the one at place h + i.
    """
    return count + (1 << bits) - 1
