"""The ascending order of rows by a word that looks random, and rows in an order."""

import numpy as np
import numpy.typing as npt

from mpc.kernels.instructions import ask
from mpc.kernels.jit import kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

MOST_BITS = 13  # of a pass: it writes to 2^13 places in turn at most
_AHEAD = 16  # rows for which memory is asked in advance


@kernel("void(const uint64[:, ::1], int64, int64, int64, int64, uint64[::1], uint64[::1], int64[::1], int64[::1])")
def order(
    rows: U64,
    column: int,
    index_bits: int,
    coarse_bits: int,
    fine_bits: int,
    packed: U64,
    scratch: U64,
    starts: I64,
    places: I64,
) -> None:
    """Put into `packed` the words rows[i, column], their lowest `index_bits` replaced by i, in ascending order.

    The first pass goes by the words' top `coarse_bits`, the second by the `fine_bits` after those, and what it leaves
    in disorder is inserted one by one: the words must look random. `scratch` is as long as `packed`; `starts` has
    2^coarse_bits + 1 entries, `places` 2^coarse_bits or 2^fine_bits, whichever is more.
    """
    count = rows.shape[0]
    indices = (np.uint64(1) << np.uint64(index_bits)) - np.uint64(1)
    coarse = np.uint64(64 - coarse_bits)
    starts[:] = 0
    for i in range(count):
        word = rows[i, column]
        packed[i] = (word & ~indices) | np.uint64(i)
        starts[np.int64(word >> coarse) + 1] += 1
    for part in range(1 << coarse_bits):
        starts[part + 1] += starts[part]
        places[part] = starts[part]
    for i in range(count):
        target = np.int64(packed[i] >> coarse)
        scratch[places[target]] = packed[i]
        places[target] += 1
    fine = np.uint64(64 - coarse_bits - fine_bits)
    within = (np.uint64(1) << np.uint64(fine_bits)) - np.uint64(1)
    for part in range(1 << coarse_bits):
        first, end = starts[part], starts[part + 1]
        for place in range(1 << fine_bits):
            places[place] = 0
        for i in range(first, end):
            places[np.int64((scratch[i] >> fine) & within)] += 1
        at = first
        for place in range(1 << fine_bits):
            here = places[place]
            places[place] = at
            at += here
        for i in range(first, end):
            target = np.int64((scratch[i] >> fine) & within)
            packed[places[target]] = scratch[i]
            places[target] += 1
        for i in range(first + 1, end):
            word = packed[i]
            j = i
            while j > first and packed[j - 1] > word:
                packed[j] = packed[j - 1]
                j -= 1
            packed[j] = word


@kernel("void(const uint64[:, ::1], const int64[::1], uint64[:, ::1])")
def take(rows: U64, order: I64, out: U64) -> None:
    """out[i] = rows[order[i]]."""
    last = order.shape[0] - 1
    for i in range(order.shape[0]):
        ask(rows, order[min(i + _AHEAD, last)] * rows.shape[1])
        for j in range(rows.shape[1]):
            out[i, j] = rows[order[i], j]
