"""Linear algebra of a random band matrix over GF(2): elimination, back substitution, decoding.

A row is a start column and 256 band bits (four uint64, bit 0 of the first word at the start column). All columns of
a band lie inside the matrix: start + 256 <= columns. Values are uint64, added bit by bit.
"""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from mpc.kernels.instructions import load, splat, trailing_zeros, vector, word
from mpc.kernels.jit import instruction, kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

_LANES = 4
_BAND_WORDS = 4

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_64 = np.uint64(64)


@kernel("int64(const uint64[:, ::1], const int64[::1], const uint64[::1], uint64[:, ::1], uint64[::1])")
def eliminate(bands: U64, starts: I64, values: U64, pivots: U64, sides: U64) -> int:
    """Bring rows into echelon form, one after the other; gives the number of rows that depended on earlier ones.

    `pivots` (columns x 4, zero at first) receives at each column the row that pivots there, shifted so that bit 0 is
    the pivot; `sides` its right-hand side. Rows may come in several calls, best in ascending order of their starts.
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
            solution[column] = _inner_product(pivots[column], solution[column:])  # the pivot's own bit adds the side


@kernel("void(const uint64[:, ::1], const int64[::1], const uint64[::1], const uint64[::1], uint64[:, ::1])")
def decode(bands: U64, starts: I64, low: U64, high: U64, out: U64) -> None:
    """The inner product of row i with a vector of pairs (low, high), as out[i, 0] and out[i, 1].

    `low` and `high` have at least as many entries as columns; the other words of `out` stay as they are.
    """
    for i in range(starts.shape[0]):
        _inner_products(bands[i], low[starts[i] :], high[starts[i] :], out[i])


@instruction("uint64(array, array)")
def _inner_product(builder: Any, band: Any, values: Any) -> Any:
    """The sum of the values at the bits of a band."""
    return _sums(builder, band, [values])[0]


@instruction("void(array, array, array, array)")
def _inner_products(builder: Any, band: Any, low: Any, high: Any, out: Any) -> None:
    """Write the sums of `low` and of `high` at the bits of a band to the first two places of `out`."""
    for i, total in enumerate(_sums(builder, band, [low, high])):
        builder.store(total, builder.gep(out, [word(i)]))


def _sums(builder: Any, band: Any, vectors: list[Any]) -> list[Any]:
    kind = vector(64, _LANES)
    totals = [ir.Constant(kind, None)] * len(vectors)
    for part in range(_BAND_WORDS):
        bits = splat(builder, builder.load(builder.gep(band, [word(part)])), _LANES)
        for first in range(0, 64, _LANES):
            own = ir.Constant(kind, [1 << first + lane for lane in range(_LANES)])
            chosen = builder.sext(builder.icmp_unsigned("==", builder.and_(bits, own), own), kind)
            for i, values in enumerate(vectors):
                here = load(builder, values, 64 * part + first, kind)
                totals[i] = builder.xor(totals[i], builder.and_(here, chosen))
    return [_sum_of_lanes(builder, total) for total in totals]


def _sum_of_lanes(builder: Any, value: Any) -> Any:
    lanes = [builder.extract_element(value, ir.IntType(32)(lane)) for lane in range(_LANES)]
    return functools.reduce(builder.xor, lanes)
