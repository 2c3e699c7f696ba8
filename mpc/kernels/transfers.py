"""Sums over the leaves of small trees, and a matrix of bits from rows to columns: the loops of OT extension."""

import numpy as np
import numpy.typing as npt

from mpc.kernels.jit import kernel

U64 = npt.NDArray[np.uint64]


@kernel("void(uint64[:, ::1], int64, uint64[:, ::1], uint64[::1])")
def fold(leaves: U64, offset: int, rows: U64, total: U64) -> None:
    """rows[b] = sum of leaves[x] over the x for which bit b of x ^ offset is set; total = sum of all leaves.

    Sums are exclusive or; `leaves` has 16 rows, `rows` 4.
    """
    for i in range(leaves.shape[1]):
        a = b = c = d = everything = np.uint64(0)
        for x in range(16):
            leaf = leaves[x, i]
            place = x ^ offset
            everything ^= leaf
            a ^= leaf * np.uint64(place & 1)
            b ^= leaf * np.uint64((place >> 1) & 1)
            c ^= leaf * np.uint64((place >> 2) & 1)
            d ^= leaf * np.uint64((place >> 3) & 1)
        rows[0, i], rows[1, i], rows[2, i], rows[3, i] = a, b, c, d
        total[i] = everything


@kernel("void(uint64[:, ::1], uint64[:, ::1], uint64[::1])")
def to_columns(rows: U64, columns: U64, block: U64) -> None:
    """Column j of a matrix of 128 rows of bits as columns[j], two words; `block` is scratch of 64 words."""
    for half in range(2):
        for i in range(rows.shape[1]):
            for j in range(64):
                block[j] = rows[64 * half + j, i]
            mask = np.uint64(0x00000000FFFFFFFF)
            width = 32
            while width:
                shift = np.uint64(width)
                for start in range(0, 64, 2 * width):
                    for j in range(start, start + width):
                        swap = ((block[j] >> shift) ^ block[j + width]) & mask
                        block[j] ^= swap << shift
                        block[j + width] ^= swap
                width >>= 1
                mask ^= mask << np.uint64(width)
            for j in range(64):
                columns[64 * i + j, half] = block[j]
