"""Arithmetic in GF(2^64) = GF(2)[X] / (X^64 + X^4 + X^3 + X + 1), elements as uint64 with bit i for X^i.

Source of the polynomial: Seroussi, Table of low-weight binary irreducible polynomials, HP Labs HPL-98-135.
"""

import numpy as np
import numpy.typing as npt

from mpc.kernels.jit import kernel

U64 = npt.NDArray[np.uint64]

REDUCTION = 0x1B  # X^64 = X^4 + X^3 + X + 1

_ONE = np.uint64(1)
_EIGHT = np.uint64(8)
_BYTE = np.uint64(0xFF)
_TOP = np.uint64(63)
_REDUCTION = np.uint64(REDUCTION)


@kernel("void(uint64, uint64[:, ::1])")
def multiples(constant: np.uint64, table: U64) -> None:
    """Fill `table` (8 x 256) so that a product a·constant is the sum of table[i, byte i of a]."""
    power = constant
    for i in range(8):
        table[i, 0] = 0
        for bit in range(8):
            step = 1 << bit
            for j in range(step):
                table[i, step + j] = table[i, j] ^ power
            power = (power << _ONE) ^ (_REDUCTION * (power >> _TOP))


@kernel("void(uint64[::1], const uint64[::1], const uint64[:, ::1])")
def add_products(sums: U64, factors: U64, table: U64) -> None:
    """sums[i] += factors[i]·constant, for the constant that filled `table`."""
    for i in range(factors.shape[0]):
        rest = factors[i]
        total = sums[i]
        for j in range(8):
            total ^= table[j, rest & _BYTE]
            rest >>= _EIGHT
        sums[i] = total


@kernel("void(uint64[:, ::1], const uint64[::1], const uint64[:, :, ::1])")
def add_pairs_of_products(pairs: U64, factors: U64, tables: U64) -> None:
    """pairs[i, 0] += factors[i]·a and pairs[i, 1] += factors[i]·b, for the constants a and b that filled `tables`."""
    for i in range(factors.shape[0]):
        rest = factors[i]
        first, second = pairs[i, 0], pairs[i, 1]
        for j in range(8):
            first ^= tables[0, j, rest & _BYTE]
            second ^= tables[1, j, rest & _BYTE]
            rest >>= _EIGHT
        pairs[i, 0], pairs[i, 1] = first, second


@kernel("void(const uint64[:, ::1], uint64[::1])")
def sum_of_shifts(rows: U64, sums: U64) -> None:
    """sums[j] = sum over i of X^i·rows[i, j], by Horner's rule."""
    sums[:] = 0
    for i in range(rows.shape[0] - 1, -1, -1):
        for j in range(rows.shape[1]):
            value = sums[j]
            sums[j] = (value << _ONE) ^ (_REDUCTION * (value >> _TOP)) ^ rows[i, j]


def table_of(constant: int) -> U64:
    """The table for products with `constant`."""
    table = np.empty((8, 256), np.uint64)
    multiples(np.uint64(constant), table)
    return table
