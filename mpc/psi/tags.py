"""Tags of two sets' keys: cut from PRF outputs to as many bits as the sets need, put in order, sent, and compared.

They are sent in ascending order, so that they say nothing about the sender's rows: first the last 64 bits of each, then
the bits before those, of which there are few, in one vector for all (Elias-Fano).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mpc.errors import ProtocolError
from mpc.primitives.ordering import sort_tags
from mpc.psi import steps
from mpc.psi.canaries import CANARIES
from mpc.psi.vectors import PIECE_BYTES, U8, receive_bytes, send_bytes

STATISTICAL_BITS = 40

_WORD_BITS = 64

U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
BOOL = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Tags:
    """A party's tags in ascending order; `order` gives the key of each, canaries after the party's own keys."""

    high: U64 = field(repr=False)
    low: U64 = field(repr=False)
    order: I32 = field(repr=False)


def prefix_bits(x: int, y: int, pairs: int = 1) -> int:
    """Bits of a tag beyond 64, for `pairs` pairs of sets of `x` and `y` keys: 40 + log2 pairs + log2 x + log2 y in
    all, rounded up, at least 64.
    """
    return max(0, STATISTICAL_BITS + (pairs * x * y - 1).bit_length() - _WORD_BITS)


def prefix_bytes(count: int, bits: int) -> int:
    """The size of the vector in which the prefixes of that many tags are sent, `bits` bits each."""
    return -(-_prefix_places(count, bits) // 8) if bits else 0


def cut_tags(
    outputs: U64, places: I32, bits: int, *, column: int = 0, follow: Callable[[Tags], None] | None = None
) -> Tags:
    """The tags of PRF outputs (n x 4 words) of keys at `places`: `bits` bits of prefix, then 64 more.

    They are cut from the words in `column` and the next; they take the place of the outputs. Meanwhile `follow`, in a
    thread of its own, is given those that are in place so far, the first ones, again and again until it is all.
    """
    return Tags(*sort_tags(outputs, column, bits, places, follow and (lambda *parts: follow(Tags(*parts)))))


def cut_and_send(link: steps.Link, outputs: U64, places: I32) -> I32:
    """Cut tags of all of the sender's keys and send them, the first while the last are put in order; gives that order.

    Arguments are as in `cut_tags`.
    """
    count, sent = len(outputs), 0

    def send(tags: Tags) -> None:
        nonlocal sent
        ready = len(tags.low)
        ready -= 0 if ready == count else ready % (PIECE_BYTES // 8)
        send_bytes(link.channel, tags.low[sent:ready].view(np.uint8))
        sent = ready

    tags = cut_tags(outputs, places, prefix_bits(link.theirs + CANARIES, count, link.pairs), follow=send)
    _send_prefixes(link, tags.high)
    return tags.order


def send_tags(link: steps.Link, tags: Tags) -> None:
    """Tags that have been cut, for as many keys of the sender."""
    send_bytes(link.channel, tags.low.view(np.uint8))
    _send_prefixes(link, tags.high)


def _send_prefixes(link: steps.Link, high: U64) -> None:
    from mpc.kernels.tags import set_places

    bits = prefix_bits(link.theirs + CANARIES, len(high), link.pairs)
    if bits:
        packed = np.zeros(prefix_bytes(len(high), bits), np.uint8)
        set_places(high, packed)
        send_bytes(link.channel, packed)


def _receive_prefixes(link: steps.Link, bits: int) -> U8:
    """The vector of the sender's prefixes, of at least one bit each, one for each of its tags."""
    count = link.theirs + CANARIES
    packed = receive_bytes(link, "the prefixes of tags", prefix_bytes(count, bits))
    beyond = _prefix_places(count, bits) % 8
    if np.bitwise_count(packed).sum() != count or (beyond and packed[-1] >> beyond):
        raise ProtocolError(f"{link.peer}: sent prefixes of other than {count} tags")
    return packed


def receive_tags(link: steps.Link) -> tuple[U64, U64]:
    """The sender's tags, prefixes and remainders."""
    from mpc.kernels.tags import ascending, places_of_ones

    count = link.theirs + CANARIES
    bits = prefix_bits(link.own + CANARIES, count, link.pairs)
    low = receive_bytes(link, "tags", 8 * count).view(np.uint64)
    if bits:
        high = np.empty(count + 8, np.uint64)
        places_of_ones(_receive_prefixes(link, bits), high)
        high = high[:count]
    else:
        high = np.zeros(count, np.uint64)
    if not ascending(high, low):
        raise ProtocolError(f"{link.peer}: sent tags that are not in ascending order")
    return high, low


def match(link: steps.Link, own: Tags, high: U64, low: U64) -> tuple[BOOL, BOOL]:
    """Which of the own and of the peer's tags are common, canaries included, in the order of the tags."""
    from mpc.kernels.tags import mark_common

    hits, other_hits = np.zeros(len(own.high), np.bool_), np.zeros(len(high), np.bool_)
    if not mark_common(own.high, own.low, high, low, hits, other_hits):
        raise repeated(link)
    return hits, other_hits


def find_few(link: steps.Link, own: Tags) -> tuple[BOOL, I32]:
    """Find the few own tags among the sender's many while these arrive, of which only a piece is kept at a time.

    Gives which of the sender's tags are common, in the order in which they come, and the own key of each of those.
    """
    from mpc.kernels.tags import find_words

    count = link.theirs + CANARIES
    by_low = np.argsort(own.low)
    wanted = own.low[by_low]
    index_bits = len(wanted).bit_length()
    index = index_tags(np.zeros_like(wanted), wanted, 0, index_bits)
    room = np.empty(PIECE_BYTES, np.uint8)
    found = np.empty((len(wanted), 2), np.int64)
    candidates = [found[:0]]
    for start in range(0, 8 * count, PIECE_BYTES):
        low = receive_bytes(link, "tags", min(PIECE_BYTES, 8 * count - start), room).view(np.uint64)
        hits = find_words(low, index_bits, index, wanted, found)
        if hits > len(found):
            raise repeated(link)
        candidates.append(np.add(found[:hits], [start // 8, 0]))
    places, wanted_places = np.concatenate(candidates).T
    own_places = by_low[wanted_places]
    bits = prefix_bits(link.own + CANARIES, count, link.pairs)
    if bits:
        alike = own.high[own_places] == _prefixes_at(_receive_prefixes(link, bits), places)
        places, own_places = places[alike], own_places[alike]
    return marked(link, count, places, own.order[own_places])


def marked(link: steps.Link, count: int, places: I64, partners: I32) -> tuple[BOOL, I32]:
    """From places among the sender's `count` tags and the own key that each is of: what `find_few` gives."""
    if any(len(np.unique(each)) < len(each) for each in (places, partners)):
        raise repeated(link)
    hits = np.zeros(count, np.bool_)
    hits[places] = True
    return hits, partners[np.argsort(places)]


def index_tags(high: U64, low: U64, bits: int, index_bits: int) -> I64:
    """Where in ascending tags those begin whose leading `index_bits` bits, at most 64, are 0, 1, and so on."""
    both = max(bits - index_bits, 0), max(index_bits - bits, 0)
    leading = (high >> np.uint64(both[0])) << np.uint64(both[1])
    if both[1]:
        leading |= low >> np.uint64(64 - both[1])
    return np.searchsorted(leading, np.arange((1 << index_bits) + 1, dtype=np.uint64))


def repeated(link: steps.Link) -> ProtocolError:
    """The error of a peer whose tags do not tell its keys apart."""
    return ProtocolError(f"{link.peer}: tags repeat, so that it is not certain which keys are common")


def _prefix_places(count: int, bits: int) -> int:
    """The bits in which ascending prefixes are sent (Elias-Fano): for each value a one for every tag that has it, and a
    zero between two values, so that tag i with prefix h is the one at place h + i.
    """
    return count + (1 << bits) - 1


def _prefixes_at(packed: U8, indices: I64) -> U64:
    """The prefixes of some tags in the vector of all: of tag i, the number of zeros before the one numbered i."""
    ones = np.cumsum(np.bitwise_count(packed), dtype=np.int64)
    octets = np.searchsorted(ones, indices, side="right")
    bits = np.unpackbits(packed[octets, None], axis=1, bitorder="little")
    still = indices - ones[octets] + bits.sum(axis=1)  # how many ones of the octet are before it
    within = np.argmax(np.cumsum(bits, axis=1) > still[:, None], axis=1)
    prefixes: U64 = (8 * octets + within - indices).astype(np.uint64)
    return prefixes
