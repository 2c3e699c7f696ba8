"""Tags of two words: cutting and ordering them; matching ascending lists, or any list with an indexed one."""

import numpy as np
import numpy.typing as npt

from mpc.kernels.jit import kernel
from mpc.kernels.radix import numbering, put_in_order

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
BOOL = npt.NDArray[np.bool_]

_ONE = np.uint64(1)
_THREE = np.uint64(3)
_SEVEN = np.uint64(7)


@kernel(
    "void(const uint64[:, ::1], const int32[::1], int64, int64, int64, const int64[::1], uint64[::1], uint64[::1], "
    "int64[::1], uint64[::1], uint64[::1], int32[::1])"
)
def cut(
    pairs: U64,
    labels: I32,
    prefix_bits: int,
    bits: int,
    fine_bits: int,
    starts: I64,
    packed: U64,
    scratch: U64,
    places: I64,
    high: U64,
    low: U64,
    out_labels: I32,
) -> None:
    """Tags of `prefix_bits` and then 64 bits from pairs of words, with their labels, each part in ascending order.

    Other arguments are as in `mpc.kernels.radix.settle`, for rows of two words.
    """
    up, down = np.uint64(prefix_bits), np.uint64(63 - prefix_bits)
    number = numbering(starts)
    for part in range(starts.shape[0] - 1):
        first, size = starts[part], starts[part + 1] - starts[part]
        put_in_order(pairs, 0, first, size, bits, fine_bits, number, packed, scratch, places)
        for i in range(size):
            source = first + np.int64(packed[i] & number)
            one, other, label = pairs[source, 0], pairs[source, 1], labels[source]
            upper, lower = (one >> _ONE) >> down, (one << up) | ((other >> _ONE) >> down)
            at = first + i  # words that agree in most bits are not in order yet
            while at > first and (high[at - 1] > upper or (high[at - 1] == upper and low[at - 1] > lower)):
                high[at], low[at], out_labels[at] = high[at - 1], low[at - 1], out_labels[at - 1]
                at -= 1
            high[at], low[at], out_labels[at] = upper, lower, label


@kernel("int64(const uint8[::1], uint64[::1])")
def places_of_ones(packed: U8, out: U64) -> int:
    """Where the bits of `packed`, lowest first, are ones: out[i] is the number of zeros before the one numbered i.

    Gives the number of ones; but stops, and gives a number above `most`, where there are more than that: `out` has
    room for `most` and 8 more, which receive anything.
    """
    most, count = out.shape[0] - 8, np.int64(0)
    for i in range(packed.shape[0]):
        if count > most:
            break
        octet, place = np.uint64(packed[i]), np.uint64(8 * i)
        for bit in range(8):  # every bit is written to where the next one goes, so that nothing is to be foretold
            out[count] = place + np.uint64(bit) - np.uint64(count)
            count += np.int64((octet >> np.uint64(bit)) & _ONE)
    return int(count)


@kernel("void(const uint64[::1], uint8[::1])")
def set_places(high: U64, packed: U8) -> None:
    """The inverse of `places_of_ones`, for ascending `high`: sets those bits of `packed`, all zero at first."""
    for i in range(high.shape[0]):
        place = high[i] + np.uint64(i)
        packed[np.int64(place >> _THREE)] |= np.uint8(_ONE << (place & _SEVEN))


@kernel("boolean(const uint64[::1], const uint64[::1])")
def ascending(high: U64, low: U64) -> bool:
    """Whether no tag (high, low) is less than the one before it."""
    for i in range(1, high.shape[0]):
        if high[i] < high[i - 1] or (high[i] == high[i - 1] and low[i] < low[i - 1]):
            return False
    return True


@kernel(
    "boolean(const uint64[::1], const uint64[::1], const uint64[::1], const uint64[::1], boolean[::1], boolean[::1])"
)
def mark_common(high: U64, low: U64, other_high: U64, other_low: U64, hits: BOOL, other_hits: BOOL) -> bool:
    """Set `hits` and `other_hits`, all false at first, where a tag is in both lists.

    Gives whether each common tag is in either list once, so that it is certain which of its keys match.
    """
    i = j = 0
    certain = True
    while i < high.shape[0] and j < other_high.shape[0]:
        if high[i] < other_high[j] or (high[i] == other_high[j] and low[i] < other_low[j]):
            i += 1
        elif high[i] > other_high[j] or low[i] > other_low[j]:
            j += 1
        else:
            hits[i] = True
            other_hits[j] = True
            if i + 1 < high.shape[0] and high[i + 1] == high[i] and low[i + 1] == low[i]:
                certain = False
            if j + 1 < other_high.shape[0] and other_high[j + 1] == other_high[j] and other_low[j + 1] == other_low[j]:
                certain = False
            i += 1
            j += 1
    return certain


@kernel(
    "int64(const uint64[:, ::1], int64, int64, const int64[::1], const uint64[::1], const uint64[::1], int64[:, ::1])"
)
def look_up(words: U64, bits: int, index_bits: int, index: I64, high: U64, low: U64, found: I64) -> int:
    """Find the tags that `cut` would make of the first columns in an ascending list; gives how often one is there.

    Tags whose leading bits, `index_bits` of them, at least 1, are i stand in the list from index[i] to index[i + 1].
    `found` (rows x 2) receives the first pairs of a place in the list and a row.
    """
    up, down, leading = np.uint64(bits), np.uint64(63 - bits), np.uint64(64 - index_bits)
    pairs = 0
    for i in range(words.shape[0]):
        first, second = words[i, 0], words[i, 1]
        part = np.int64(first >> leading)
        begin, end = index[part], index[part + 1]
        if begin == end:
            continue
        upper = (first >> _ONE) >> down
        lower = (first << up) | ((second >> _ONE) >> down)
        for j in range(begin, end):
            if low[j] == lower and high[j] == upper:
                if pairs < found.shape[0]:
                    found[pairs, 0], found[pairs, 1] = j, i
                pairs += 1
    return pairs


@kernel("int64(const uint64[::1], int64, const int64[::1], const uint64[::1], int64[:, ::1])")
def find_words(words: U64, index_bits: int, index: I64, wanted: U64, found: I64) -> int:
    """Find `words` in an ascending list; gives how often one is there.

    Those in the list whose leading bits, `index_bits` of them, at least 1, are i stand from index[i] to index[i + 1].
    `found` (rows x 2) receives the first pairs of an index of `words` and a place in the list.
    """
    leading = np.uint64(64 - index_bits)
    pairs = 0
    for i in range(words.shape[0]):
        part = np.int64(words[i] >> leading)
        for j in range(index[part], index[part + 1]):
            if wanted[j] == words[i]:
                if pairs < found.shape[0]:
                    found[pairs, 0], found[pairs, 1] = i, j
                pairs += 1
    return pairs
