"""The levels of quicksort on many segments at once, where comparisons are made elsewhere."""

import numpy as np
import numpy.typing as npt

from mpc.kernels.jit import kernel

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]


@kernel("void(const int64[::1], const int64[:, ::1], int64[::1], int64[::1])")
def pairs(order: I64, segments: I64, left: I64, right: I64) -> None:
    """What to compare in each segment [start, end) of `order`: every entry but the middle one with that one."""
    at = 0
    for i in range(segments.shape[0]):
        middle = (segments[i, 0] + segments[i, 1]) // 2
        for j in range(segments[i, 0], segments[i, 1]):
            if j != middle:
                left[at], right[at] = order[j], order[middle]
                at += 1


@kernel("int64(int64[::1], const int64[:, ::1], const uint8[::1], int64[::1], int64[:, ::1])")
def partition(order: I64, segments: I64, below: U8, scratch: I64, found: I64) -> int:
    """Order each segment into what is below its middle entry, that entry, and the rest; `below` goes with `pairs`.

    `found` receives the segments of two or more entries that remain, and has room for twice as many; gives their
    number. `scratch` is as long as `order`.
    """
    at = 0
    remaining = 0
    for i in range(segments.shape[0]):
        start, end = segments[i, 0], segments[i, 1]
        middle = (start + end) // 2
        low = start
        high = 0
        for j in range(start, end):
            if j == middle:
                continue
            if below[at]:
                scratch[start + (low - start)] = order[j]
                low += 1
            else:
                high += 1
                scratch[end - high] = order[j]
            at += 1
        scratch[low] = order[middle]
        for j in range(start, end):
            order[j] = scratch[j]
        if low - start > 1:
            found[remaining, 0], found[remaining, 1] = start, low
            remaining += 1
        if end - low > 2:
            found[remaining, 0], found[remaining, 1] = low + 1, end
            remaining += 1
    return remaining
