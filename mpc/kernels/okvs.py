"""Linear algebra of a random band matrix over GF(2): elimination, back substitution, decoding.

A row is a start column and 256 band bits (four uint64, bit 0 of the first word at the start column). All columns of
a band lie inside the matrix: start + 256 <= columns. Values are uint64, added bit by bit.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from mpc.kernels.instructions import load, shuffle, splat, trailing_zeros, vector, word
from mpc.kernels.jit import inline, instruction, kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

_LANES = 8
_BAND_WORDS = 4

BAND_BITS = 64 * _BAND_WORDS

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_64 = np.uint64(64)
_HALF = np.uint64(32)
_LOWER = np.uint64(0xFFFFFFFF)


@kernel("void(const uint64[:, ::1], int64, int64[::1])")
def starts(words: U64, positions: int, out: I64) -> None:
    """The start column of each row: its third word as a fraction of the number of positions."""
    for i in range(words.shape[0]):
        out[i] = _start(words[i, 2], np.uint64(positions))


@inline
def _start(fraction: np.uint64, positions: np.uint64) -> np.int64:
    low = ((fraction & _LOWER) * positions) >> _HALF
    return np.int64(((fraction >> _HALF) * positions + low) >> _HALF)


@kernel(
    "int64(const uint64[:, ::1], const int64[::1], const uint64[::1], int64, uint64[:, ::1], uint64[::1], "
    "uint64[:, ::1], int64[::1])"
)
def eliminate(
    bands: U64, starts: I64, values: U64, end: int, pivots: U64, sides: U64, aside: U64, count_aside: I64
) -> int:
    """Bring rows into echelon form, one after the other; gives the number of rows that depended on earlier ones.

    `pivots` (columns x 4, zero at first) receives at each column the row that pivots there, shifted so that bit 0 is
    the pivot; `sides` its right-hand side. Rows may come in several calls, best in ascending order of their starts.

    A row that has no pivot before column `end` is put behind the count_aside[0] rows of `aside` (256 x 6): its band,
    the column of its bit 0, its right-hand side. Of rows that start before `end` no more can be independent.
    """
    dependent = 0
    for i in range(starts.shape[0]):
        a, b, c, d = bands[i, 0], bands[i, 1], bands[i, 2], bands[i, 3]
        column = starts[i]
        value = values[i]
        while True:
            while a == _ZERO and (b | c | d) != _ZERO:
                a, b, c, d = b, c, d, _ZERO
                column += 64
            if a == _ZERO:
                dependent += 1
                break
            if a & _ONE == _ZERO:
                shift = trailing_zeros(a)
                back = _64 - shift
                a = (a >> shift) | (b << back)
                b = (b >> shift) | (c << back)
                c = (c >> shift) | (d << back)
                d >>= shift
                column += np.int64(shift)
            if column >= end:
                k = count_aside[0]
                if k == aside.shape[0]:
                    dependent += 1
                    break
                aside[k, 0], aside[k, 1], aside[k, 2], aside[k, 3] = a, b, c, d
                aside[k, 4], aside[k, 5] = np.uint64(column), value
                count_aside[0] = k + 1
                break
            if pivots[column, 0] == _ZERO:
                pivots[column, 0], pivots[column, 1], pivots[column, 2], pivots[column, 3] = a, b, c, d
                sides[column] = value
                break
            a ^= pivots[column, 0]
            b ^= pivots[column, 1]
            c ^= pivots[column, 2]
            d ^= pivots[column, 3]
            value ^= sides[column]
    return dependent


@kernel("void(const uint64[:, ::1], uint64[::1])")
def back_substitute(pivots: U64, solution: U64) -> None:
    """Solve the echelon form in place.

    `solution` (columns + 256) holds the right-hand side at each pivot column, a free choice at every other column,
    and anything in the last 256 places, which no band reaches.
    """
    for column in range(pivots.shape[0] - 1, -1, -1):
        if pivots[column, 0] != _ZERO:
            solution[column] = _pivot_value(pivots[column], solution[column:])  # the pivot's own bit adds the side


@kernel("void(const uint64[:, ::1], const uint64[:, ::1], int64, const uint64[::1], const uint64[::1], uint64[:, ::1])")
def decode(words: U64, bands: U64, positions: int, low: U64, high: U64, out: U64) -> None:
    """The inner product of row i with a vector of pairs (low, high), as out[i, 0] and out[i, 1]; then the row's key.

    Rows are made of `words`: key, key, start as in `starts`. `low` and `high` have an entry a column.
    """
    for i in range(words.shape[0]):
        start = _start(words[i, 2], np.uint64(positions))
        _inner_products(bands[i], low[start:], high[start:], out[i])
        out[i, 2], out[i, 3] = words[i, 0], words[i, 1]


@instruction("uint64(array, array)")
def _pivot_value(builder: Any, band: Any, values: Any) -> Any:
    """The sum of the values at the bits of a band whose first bit is set.

    The first values, of which some were written a moment ago, are read one by one: a vector that spans what is still
    on its way to the cache is not to be had before it is there.
    """
    total = _sums(builder, band, [values], _LANES)[0]
    bits = builder.load(builder.gep(band, [word(0)]))
    for i in range(_LANES - 1, 0, -1):
        chosen = builder.sub(word(0), builder.and_(builder.lshr(bits, word(i)), word(1)))
        total = builder.xor(total, builder.and_(builder.load(builder.gep(values, [word(i)])), chosen))
    return builder.xor(total, builder.load(builder.gep(values, [word(0)])))


@instruction("void(array, array, array, array)")
def _inner_products(builder: Any, band: Any, low: Any, high: Any, out: Any) -> None:
    """Write the sums of `low` and of `high` at the bits of a band to the first two places of `out`."""
    for i, total in enumerate(_sums(builder, band, [low, high], 0)):
        builder.store(total, builder.gep(out, [word(i)]))


def _sums(builder: Any, band: Any, vectors: list[Any], first_bit: int) -> list[Any]:
    """The sum of each vector's words at the bits of a band from `first_bit` on."""
    kind = vector(64, _LANES)
    none = ir.Constant(kind, None)
    totals = [none] * len(vectors)
    for part in range(_BAND_WORDS):
        bits = splat(builder, builder.load(builder.gep(band, [word(part)])), _LANES)
        for first in range(first_bit if part == 0 else 0, 64, _LANES):
            own = ir.Constant(kind, [1 << first + lane for lane in range(_LANES)])
            chosen = builder.icmp_unsigned("!=", builder.and_(bits, own), none)
            for i, values in enumerate(vectors):
                here = load(builder, values, 64 * part + first, kind)
                totals[i] = builder.xor(totals[i], builder.select(chosen, here, none))
    return [_sum_of_lanes(builder, total) for total in totals]


def _sum_of_lanes(builder: Any, value: Any) -> Any:
    lanes = _LANES
    while lanes > 1:
        lanes //= 2
        halves = [shuffle(builder, value, value, list(range(first, first + lanes))) for first in (0, lanes)]
        value = builder.xor(*halves)
    return builder.extract_element(value, ir.IntType(32)(0))
