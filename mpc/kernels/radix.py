"""Rows in ascending order of a word that looks random: into parts that fit the cache, and within each.

Every row has a label, which moves with it.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mpc.kernels.instructions import load, store, vector, word
from mpc.kernels.jit import inline, instruction, kernel

U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

PART_ROWS = 2**13  # of a part, at most on average: they stay in the second-level cache while they are put in order


@kernel("void(const uint64[:, ::1], int64, int64, int64[::1])")
def count(rows: U64, column: int, bits: int, counts: I64) -> None:
    """Add to `counts` how many of the words rows[i, column] have each value of their top `bits` bits."""
    down = np.uint64(64 - bits)
    for i in range(rows.shape[0]):
        counts[np.int64(rows[i, column] >> down)] += 1


@kernel("void(const uint64[:, ::1], const int32[::1], int64, int64, int64[::1], uint64[:, ::1], int32[::1])")
def scatter(rows: U64, labels: I32, column: int, bits: int, places: I64, out: U64, out_labels: I32) -> None:
    """Copy each row of four words, and its label, to the next place that its word's top `bits` bits choose.

    places[part], one for each value of these bits, is where the next row of that part goes, and moves on.
    """
    down = np.uint64(64 - bits)
    for i in range(rows.shape[0]):
        part = np.int64(rows[i, column] >> down)
        at = places[part]
        places[part] = at + 1
        out_labels[at] = labels[i]
        _copy_row(rows, i, out, at)


@kernel("void(const uint64[:, ::1], const int32[::1], int64, int64, int64[::1], uint64[:, ::1], int32[::1])")
def scatter_pairs(rows: U64, labels: I32, column: int, bits: int, places: I64, out: U64, out_labels: I32) -> None:
    """As `scatter`, of the word in `column` and the next alone: rows of two words."""
    down = np.uint64(64 - bits)
    for i in range(rows.shape[0]):
        word = rows[i, column]
        part = np.int64(word >> down)
        at = places[part]
        places[part] = at + 1
        out_labels[at] = labels[i]
        out[at, 0], out[at, 1] = word, rows[i, column + 1]


@kernel(
    "void(const uint64[:, ::1], const int32[::1], int64, int64, int64, const int64[::1], uint64[::1], uint64[::1], "
    "int64[::1], uint64[:, ::1], int32[::1])"
)
def settle(
    rows: U64,
    labels: I32,
    column: int,
    bits: int,
    fine_bits: int,
    starts: I64,
    packed: U64,
    scratch: U64,
    places: I64,
    out: U64,
    out_labels: I32,
) -> None:
    """Copy rows of four words, and their labels, each part in ascending order of its words.

    The words of a part, rows from starts[p] to starts[p + 1], agree in their top `bits` bits, and should look random
    beyond. Rows whose words agree in all but the lowest bits, as many as it takes to number a part, keep their order.
    `packed` and `scratch` have room for a part, `places` for 2^fine_bits numbers.
    """
    low = numbering(starts)
    for part in range(starts.shape[0] - 1):
        first, size = starts[part], starts[part + 1] - starts[part]
        put_in_order(rows, column, first, size, bits, fine_bits, low, packed, scratch, places)
        for i in range(size):
            source = first + np.int64(packed[i] & low)
            out_labels[first + i] = labels[source]
            _copy_row(rows, source, out, first + i)


@inline
def numbering(starts: I64) -> np.uint64:
    """The lowest bits of a word, as many as it takes to number the rows of the largest part."""
    most = 0
    for part in range(starts.shape[0] - 1):
        most = max(most, starts[part + 1] - starts[part])
    low = np.uint64(1)
    while low < np.uint64(most):
        low <<= np.uint64(1)
    return low - np.uint64(1)


@inline
def put_in_order(
    rows: U64,
    column: int,
    first: int,
    size: int,
    bits: int,
    fine_bits: int,
    low: np.uint64,
    packed: U64,
    scratch: U64,
    places: I64,
) -> None:
    """The words of a part in `packed`, ascending, with the number of the row within the part in their `low` bits.

    Other arguments are as in `settle`.
    """
    up, fine = np.uint64(bits), np.uint64(64 - fine_bits)
    for place in range(1 << fine_bits):
        places[place] = 0
    for i in range(size):
        scratch[i] = ((rows[first + i, column] << up) & ~low) | np.uint64(i)
        places[np.int64(scratch[i] >> fine)] += 1
    at = 0
    for place in range(1 << fine_bits):
        here = places[place]
        places[place] = at
        at += here
    for i in range(size):
        target = np.int64(scratch[i] >> fine)
        packed[places[target]] = scratch[i]
        places[target] += 1
    for i in range(1, size):
        word = packed[i]
        j = i
        while j > 0 and packed[j - 1] > word:
            packed[j] = packed[j - 1]
            j -= 1
        packed[j] = word


@instruction("void(array, int64, array, int64)")
def _copy_row(builder: Any, rows: Any, i: Any, out: Any, at: Any) -> None:
    """out[at] = rows[i], rows of four words."""
    store(builder, load(builder, rows, builder.mul(i, word(4)), vector(64, 4)), out, builder.mul(at, word(4)))
