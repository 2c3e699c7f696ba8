"""Matching tags of two words: two ascending lists, or tags in any order with an ascending list that has an index."""

import numpy as np
import numpy.typing as npt

from mpc.kernels.jit import kernel

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
BOOL = npt.NDArray[np.bool_]

_ONE = np.uint64(1)


@kernel("void(const uint64[:, ::1], int64, int64, uint64[::1], uint64[::1], int64[::1])")
def cut(words: U64, column: int, bits: int, high: U64, low: U64, labels: I64) -> None:
    """Tags of `bits` and then 64 bits from two columns of `words`, `column` and the next, in ascending order.

    The rows are in the order of as much of the first of them as makes repetitions rare. `labels`, one a row, are put in
    the order of the tags.
    """
    up, down = np.uint64(bits), np.uint64(63 - bits)
    for i in range(words.shape[0]):
        first, second, label = words[i, column], words[i, column + 1], labels[i]
        upper = (first >> _ONE) >> down
        lower = (first << up) | ((second >> _ONE) >> down)
        at = i
        while at > 0 and (high[at - 1] > upper or (high[at - 1] == upper and low[at - 1] > lower)):
            high[at], low[at], labels[at] = high[at - 1], low[at - 1], labels[at - 1]
            at -= 1
        high[at], low[at], labels[at] = upper, lower, label


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
