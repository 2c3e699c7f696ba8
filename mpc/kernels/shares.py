"""Local steps of products of shared values, in one pass over memory each.

In products of bits one left operand goes with every row of a stack of right ones; words are packed bits.
"""

import numpy as np
import numpy.typing as npt

from mpc.kernels.jit import kernel

U64 = npt.NDArray[np.uint64]


@kernel(
    "void(const uint64[::1], const uint64[::1], const uint64[::1], const uint64[::1], const uint64[::1], "
    "const uint64[::1], uint64[::1])"
)
def replicated_products(x0: U64, x1: U64, y0: U64, y1: U64, plus: U64, minus: U64, out: U64) -> None:
    """out = x0·(y0 + y1) + x1·y0 + plus - minus."""
    for i in range(out.shape[0]):
        out[i] = x0[i] * (y0[i] + y1[i]) + x1[i] * y0[i] + plus[i] - minus[i]


@kernel(
    "void(const uint64[::1], const uint64[::1], const uint64[:, ::1], const uint64[:, ::1], const uint64[:, ::1], "
    "const uint64[:, ::1], uint64[:, ::1])"
)
def replicated_conjunctions(x0: U64, x1: U64, y0: U64, y1: U64, one: U64, other: U64, out: U64) -> None:
    """out = x0 & (y0 ^ y1) ^ x1 & y0 ^ one ^ other, for each row."""
    for row in range(out.shape[0]):
        for i in range(out.shape[1]):
            first = y0[row, i]
            out[row, i] = (x0[i] & (first ^ y1[row, i])) ^ (x1[i] & first) ^ one[row, i] ^ other[row, i]


@kernel(
    "void(const uint64[::1], const uint64[::1], const uint64[::1], const uint64[::1], const uint64[::1], uint64, "
    "uint64[::1])"
)
def opened_products(d: U64, e: U64, a: U64, b: U64, c: U64, first: np.uint64, out: U64) -> None:
    """out = d·b + a·e + c + first·d·e."""
    for i in range(out.shape[0]):
        out[i] = d[i] * (b[i] + first * e[i]) + a[i] * e[i] + c[i]


@kernel(
    "void(const uint64[::1], const uint64[:, ::1], const uint64[::1], const uint64[:, ::1], const uint64[:, ::1], "
    "uint64, uint64[:, ::1])"
)
def opened_conjunctions(d: U64, e: U64, a: U64, b: U64, c: U64, first: np.uint64, out: U64) -> None:
    """out = d & b ^ a & e ^ c ^ first & d & e, for each row; `first` has no bit set, or all."""
    for row in range(out.shape[0]):
        for i in range(out.shape[1]):
            opened = e[row, i]
            out[row, i] = (d[i] & (b[row, i] ^ (first & opened))) ^ (a[i] & opened) ^ c[row, i]
