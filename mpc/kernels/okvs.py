"""Linear algebra of a random band matrix over GF(2): elimination, back substitution, decoding.

A row is a start column and 256 band bits (four uint64, bit 0 of the first word at the start column). All columns of
a band lie inside the matrix: start + 256 <= columns. Values are uint64, added bit by bit.
"""

import numpy as np
import numpy.typing as npt

from mpc.kernels.instructions import trailing_zeros
from mpc.kernels.jit import kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

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
            total = solution[column]
            for word in range(4):
                bits = pivots[column, word]
                window = solution[column + 64 * word : column + 64 * word + 64]
                for j in range(64):
                    total ^= window[j] & (_ZERO - ((bits >> np.uint64(j)) & _ONE))
            solution[column] ^= total  # cancels the pivot's own bit, which the sum took along


@kernel("void(const uint64[:, ::1], const int64[::1], const uint64[::1], const uint64[::1], uint64[:, ::1])")
def decode(bands: U64, starts: I64, low: U64, high: U64, out: U64) -> None:
    """The inner product of row i with a vector of pairs (low, high), as out[i, 0] and out[i, 1].

    `low` and `high` have at least as many entries as columns; the other words of `out` stay as they are.
    """
    for i in range(starts.shape[0]):
        first = _ZERO
        second = _ZERO
        for word in range(4):
            bits = bands[i, word]
            at = starts[i] + 64 * word
            low_window = low[at : at + 64]
            high_window = high[at : at + 64]
            for j in range(64):
                mask = _ZERO - ((bits >> np.uint64(j)) & _ONE)
                first ^= low_window[j] & mask
                second ^= high_window[j] & mask
        out[i, 0] = first
        out[i, 1] = second
