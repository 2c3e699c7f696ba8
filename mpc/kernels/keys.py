"""Rows of text to messages, and rows with equal digests to numbers."""

import numpy as np
import numpy.typing as npt

from mpc.kernels.instructions import ask
from mpc.kernels.jit import kernel

BOOL = npt.NDArray[np.bool_]
U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

_AHEAD = 16  # rows for which memory is asked in advance
_EIGHT = np.uint64(8)
_EMPTY = np.uint64(0)
_LOWER = np.uint64(0xFFFFFFFF)
_UPPER = np.uint64(0xFFFFFFFF00000000)
_HALF = np.uint64(32)
_EMPTY_32 = np.uint32(0)


@kernel("void(const int64[::1], const int64[::1], const uint8[::1], int64[::1], uint8[::1])")
def append_framed(starts: I64, lengths: I64, data: U8, ends: I64, out: U8) -> None:
    """Write row i, data[starts[i] :][: lengths[i]] behind its length in 4 bytes, to out[ends[i] :]; move ends[i] on."""
    for i in range(starts.shape[0]):
        at, length = ends[i], lengths[i]
        rest = np.uint64(length)
        for j in range(4):
            out[at + j] = np.uint8(rest)
            rest >>= _EIGHT
        target = out[at + 4 : at + 4 + length]
        source = data[starts[i] : starts[i] + length]
        for j in range(length):
            target[j] = source[j]
        ends[i] = at + 4 + length


@kernel("int64(const uint64[:, ::1], const boolean[::1], uint64[::1], int64[::1], int64[::1])")
def number(digests: U64, usable: BOOL, table: U64, first_rows: I64, numbers: I64) -> int:
    """Number different digests (rows of four words) of usable rows in the order in which they first occur.

    numbers[i] becomes the number of row i, -1 if it is not usable; first_rows[n] the row where number n first occurs;
    the result is how many there are. `table`, all zero, has a power of two of places, more than there are rows, of
    which there are less than 2^32. Digests must look random, as their last word chooses a place in it.
    """
    mask = np.uint64(table.shape[0] - 1)
    count = 0
    last = digests.shape[0] - 1
    for i in range(digests.shape[0]):
        ask(table, np.int64(digests[min(i + _AHEAD, last), 3] & mask))
        if not usable[i]:
            numbers[i] = -1
            continue
        place = digests[i, 3] & mask
        upper = digests[i, 2] & _UPPER  # what stands beside a number in the table tells most other digests apart
        while True:
            entry = table[place]
            if entry == _EMPTY:
                table[place] = upper | np.uint64(count + 1)
                first_rows[count] = i
                numbers[i] = count
                count += 1
                break
            if entry & _UPPER == upper:
                found = np.int64(entry & _LOWER) - 1
                other = digests[first_rows[found]]
                same = True
                for j in range(4):
                    same &= other[j] == digests[i, j]
                if same:
                    numbers[i] = found
                    break
            place = (place + np.uint64(1)) & mask
    return count


@kernel("boolean(const uint64[:, ::1], int64, int64, uint32[::1])")
def all_differ(digests: U64, share: int, shares: int, table: U32) -> bool:
    """Whether certainly no two digests (rows of four words) are equal, of those in one of `shares` about equal shares.

    Equal ones are in one share. Of different ones that look random, about one in 2^31 spoils certainty. `table`, all
    zero, has a power of two of places; that it is full spoils certainty, too.
    """
    mask = np.uint64(table.shape[0] - 1)
    last = digests.shape[0] - 1
    free = table.shape[0] - 1
    for i in range(digests.shape[0]):
        ask(table, np.int64(digests[min(i + _AHEAD, last), 3] & mask))
        word = digests[i, 3]
        if np.int64(((word >> _HALF) * np.uint64(shares)) >> _HALF) != share:
            continue
        if free == 0:
            return False
        free -= 1
        place = word & mask
        mark = max(np.uint32(digests[i, 2] >> _HALF), np.uint32(1))
        while table[place] != _EMPTY_32:
            if table[place] == mark:
                return False
            place = (place + np.uint64(1)) & mask
        table[place] = mark
    return True
