"""The steps of psi.vole between messages: correlations, masked vectors, matches. Contract: `mpc.psi.vole`."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mpc.errors import InputError, ProtocolError
from mpc.primitives import lpn, okvs, oprf, vole
from mpc.primitives.threads import spread, usable_cores
from mpc.psi import steps, tags
from mpc.psi.canaries import CANARIES, NONCE_BYTES
from mpc.psi.params import VoleParams
from mpc.psi.vectors import receive_bytes, send_bytes
from mpc.spec import Party
from protos import psi_vole_pb2

if TYPE_CHECKING:
    import pyarrow as pa

# A party with this many times as many keys does not sort them to compare tags; a receiver whose encoding has this many
# times as many columns as the sender's keys have band bits leaves most of them unread.
_MUCH_LARGER = 16

_KEYS = b"sealane/psi.vole.keys/1\0"

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
BOOL = npt.NDArray[np.bool_]


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


@dataclass(frozen=True)
class Matches:
    """What the receiver finds among the sender's tags, canaries included.

    `their_hits` says which are common, and `partners` gives the own key of each of those, canaries after the own keys;
    `retries` is how often a seed was drawn in vain.
    """

    their_hits: BOOL = field(repr=False)
    partners: I32 = field(repr=False)
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
    bits = tags.prefix_bits(len(digests), link.theirs + CANARIES, link.pairs)
    own = tags.cut_tags(outputs, query.keys.rows.order, bits)
    party.progress("compare tags", 0, 1)
    if link.theirs + CANARIES >= _MUCH_LARGER * len(digests):
        their_hits, partners = tags.find_few(link, own)
    else:
        hits, their_hits = tags.match(link, own, *tags.receive_tags(link))
        partners = own.order[hits]
    party.progress("compare tags", 1, 1)
    return Matches(their_hits, partners, query.retries)


def _look_up(link: steps.Link, party: Party[VoleParams], keys: oprf.Keys, shares: U64) -> tuple[BOOL, I32]:
    """Compare each piece of the own tags with the few of the sender while it is in the cache: nothing is sorted."""
    from mpc.kernels.tags import look_up

    high, low = tags.receive_tags(link)
    bits = tags.prefix_bits(link.own + CANARIES, len(low), link.pairs)
    index_bits = len(low).bit_length()
    index = tags.index_tags(high, low, bits, index_bits)
    pieces: list[tuple[I64, I32]] = []

    def use(piece: slice, outputs: U64) -> None:
        found = np.empty((len(outputs), 2), np.int64)
        count = look_up(outputs, bits, index_bits, index, high, low, found)
        if count > len(found):
            raise tags.repeated(link)
        pieces.append((found[:count, 0], keys.rows.order[piece][found[:count, 1]]))

    party.progress("compare tags", 0, 1)
    oprf.each_receiver_output(keys, shares, use)
    party.progress("compare tags", 1, 1)
    places, partners = map(np.concatenate, zip(*pieces, strict=True))
    return tags.marked(link, len(low), places, partners)


def help_find(
    link: steps.Link,
    party: Party[VoleParams],
    keys: Sequence[bytes],
    secret: bytes,
    digests: U64,
    *,
    overwrite: bool,
) -> I32:
    """Send tags of the sender's keys and the canaries, with the base keys that it chose by the bits of `secret`.

    Gives the key of each tag, in the order in which they were sent. With `overwrite`, the memory of the digests is used
    for other things from then on.
    """
    arrange = partial(oprf.arrange, digests, overwrite=overwrite)
    arranged, outputs = evaluate(link, party, keys, secret, len(digests), arrange, overwrite=True)
    return tags.cut_and_send(link, outputs, arranged.rows.order)


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
    columns and a seed; with `overwrite` the outputs take their place. Other arguments are as in `help_find`.
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


def base_choices(secret: bytes) -> list[bool]:
    """The bits of `secret`, as choices."""
    return np.unpackbits(np.frombuffer(secret, np.uint8), bitorder="little").astype(bool).tolist()


def wire_bytes(params: VoleParams, receiver_keys: int, sender_keys: int, pairs: int = 1) -> tuple[int, int]:
    """Bytes of vectors and points, without framing, that the receiver and the sender send for one of `pairs` pairs of
    sets; canaries excluded from the arguments and included in the result. The verdict is not in it.
    """
    x, y = receiver_keys + CANARIES, sender_keys + CANARIES
    levels, bits = plan(params, x), tags.prefix_bits(x, y, pairs)
    by_receiver = 32 + 2 * NONCE_BYTES + vole.request_bytes(levels) + 8 * okvs.columns(x)
    correlation = sum(level.chunks * 8 * level.message_words for level in levels)
    return by_receiver, 32 * vole.BASE_COUNT + NONCE_BYTES + correlation + tags.prefix_bytes(y, bits) + 8 * y
