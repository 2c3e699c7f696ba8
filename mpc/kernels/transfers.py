"""Sums over the leaves of small trees, and a matrix of bits from rows to columns: the loops of OT extension."""

import numpy as np
import numpy.typing as npt

from mpc.kernels.jit import kernel

U64 = npt.NDArray[np.uint64]


@kernel("void(const uint64[:, ::1], int64, uint64[:, ::1], uint64[::1])")
def fold(leaves: U64, offset: int, rows: U64, total: U64) -> None:
    """rows[b] = sum of leaves[x] over the x for which bit b of x ^ offset is set; total = sum of all leaves.

    Sums are exclusive or; `leaves` has 16 rows, `rows` 4.
    """
    for i in range(leaves.shape[1]):
        a0, a1, a2, a3 = leaves[offset, i], leaves[1 ^ offset, i], leaves[2 ^ offset, i], leaves[3 ^ offset, i]
        b0, b1, b2, b3 = leaves[4 ^ offset, i], leaves[5 ^ offset, i], leaves[6 ^ offset, i], leaves[7 ^ offset, i]
        c0, c1, c2, c3 = leaves[8 ^ offset, i], leaves[9 ^ offset, i], leaves[10 ^ offset, i], leaves[11 ^ offset, i]
        d0, d1, d2, d3 = leaves[12 ^ offset, i], leaves[13 ^ offset, i], leaves[14 ^ offset, i], leaves[15 ^ offset, i]
        rows[0, i] = a1 ^ a3 ^ b1 ^ b3 ^ c1 ^ c3 ^ d1 ^ d3
        a2, b2, c2, d2 = a2 ^ a3, b2 ^ b3, c2 ^ c3, d2 ^ d3
        rows[1, i] = a2 ^ b2 ^ c2 ^ d2
        a0, b0, c0, d0 = a0 ^ a1 ^ a2, b0 ^ b1 ^ b2, c0 ^ c1 ^ c2, d0 ^ d1 ^ d2
        rows[2, i] = b0 ^ d0
        rows[3, i] = c0 ^ d0
        total[i] = a0 ^ b0 ^ c0 ^ d0


LANES = 8  # words of a row that are transposed side by side


@kernel("void(const uint64[:, ::1], uint64[:, ::1], uint64[:, ::1])")
def to_columns(rows: U64, columns: U64, block: U64) -> None:
    """Column j of a matrix of 128 rows of bits as columns[j], two words; `block` is scratch of 64 rows of 8 words."""
    for half in range(2):
        for base in range(0, rows.shape[1], LANES):
            used = min(LANES, rows.shape[1] - base)
            for j in range(64):
                for lane in range(used):
                    block[j, lane] = rows[64 * half + j, base + lane]
            mask = np.uint64(0x00000000FFFFFFFF)
            width = 32
            while width:
                shift = np.uint64(width)
                for start in range(0, 64, 2 * width):
                    for j in range(start, start + width):
                        upper, lower = block[j], block[j + width]
                        for lane in range(LANES):
                            swap = ((upper[lane] >> shift) ^ lower[lane]) & mask
                            upper[lane] ^= swap << shift
                            lower[lane] ^= swap
                width >>= 1
                mask ^= mask << np.uint64(width)
            for lane in range(used):
                for j in range(64):
                    columns[64 * (base + lane) + j, half] = block[j, lane]
