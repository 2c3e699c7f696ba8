"""Local steps of products of shared values, in one pass over memory each.

Bits are packed into words.
"""

import numpy as np
import numpy.typing as npt

from mpc.kernels.jit import kernel

I64 = npt.NDArray[np.int64]
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
    "void(const uint64[:, ::1], const uint64[:, ::1], const int64[:, ::1], int64, int64, const uint64[::1], "
    "const uint64[::1], uint64[:, ::1])"
)
def replicated_conjunctions(
    own: U64, other: U64, gates: I64, start: int, stop: int, one: U64, two: U64, out: U64
) -> None:
    """out[g] = x & y ^ z from both parts of rows, for each gate (x, y, z), z being no row if it is -1.

    Of the columns from `start` below `stop`; `one` and `two` hold masks for them, gate by gate.
    """
    width = stop - start
    for gate in range(gates.shape[0]):
        x, y, z = gates[gate, 0], gates[gate, 1], gates[gate, 2]
        for i in range(start, stop):
            at = gate * width + i - start
            first = own[y, i]
            out[gate, i] = (own[x, i] & (first ^ other[y, i])) ^ (other[x, i] & first) ^ one[at] ^ two[at]
        if z >= 0:
            for i in range(start, stop):
                out[gate, i] ^= own[z, i]


@kernel("void(const uint64[:, ::1], uint64[:, ::1])")
def thresholds(planes: U64, out: U64) -> None:
    """out[3·d + t - 1] = whether digit d of two bits is at least t, for t from 1 to 3.

    Of an odd number of planes the first is the higher bit of its digit, whose lower bit is zero.
    """
    pad = planes.shape[0] & 1
    for digit in range(out.shape[0] // 3):
        high = 2 * digit + 1 - pad
        for i in range(planes.shape[1]):
            b1 = planes[high, i]
            b0 = planes[high - 1, i] if high else np.uint64(0)
            out[3 * digit, i] = b1 | b0
            out[3 * digit + 1, i] = b1
            out[3 * digit + 2, i] = b1 & b0


@kernel("void(const uint64[:, ::1], const uint64[:, ::1], uint64, const uint64[::1], uint64[:, ::1])")
def carries(planes: U64, shared: U64, one: np.uint64, masks: U64, out: U64) -> None:
    """Parts of whether a digit, of which `shared` are parts of the `thresholds`, and a known one, with `planes`, carry.

    Row d of `out`: they sum up to 4 or more; then, for all digits d but the lowest, row digits + d - 1: to 3. All are
    masked by `masks`. Of an odd number of planes the first is the higher bit of its digit, whose lower bit is one.
    `one` has all bits set at one party, and none at the other.
    """
    digits, columns = shared.shape[0] // 3, planes.shape[1]
    pad = planes.shape[0] & 1
    for digit in range(digits):
        high = 2 * digit + 1 - pad
        for i in range(columns):
            b1 = planes[high, i]
            b0 = planes[high - 1, i] if high else ~np.uint64(0)
            t1, t2, t3 = shared[3 * digit, i], shared[3 * digit + 1, i], shared[3 * digit + 2, i]
            four = (b1 & (t2 ^ (b0 & (t1 ^ t2)))) | (~b1 & b0 & t3)
            out[digit, i] = four ^ masks[digit * columns + i]
            if digit:
                three = (b1 & (t1 ^ (b0 & (one ^ t1)))) | (~b1 & (t3 ^ (b0 & (t2 ^ t3))))
                row = digits + digit - 1
                out[row, i] = four ^ three ^ masks[row * columns + i]


@kernel(
    "void(const uint64[:, ::1], const uint64[:, ::1], const uint64[::1], const uint64[::1], const uint64[::1], "
    "uint64, uint64[::1])"
)
def opened_products(mine: U64, theirs: U64, a: U64, b: U64, c: U64, first: np.uint64, out: U64) -> None:
    """out = d·b + a·e + c + first·d·e, the rows of mine + theirs being d and e."""
    for i in range(out.shape[0]):
        d, e = mine[0, i] + theirs[0, i], mine[1, i] + theirs[1, i]
        out[i] = d * (b[i] + first * e) + a[i] * e + c[i]


@kernel(
    "void(const uint64[:, ::1], const uint64[:, ::1], const uint64[::1], const uint64[:, ::1], const uint64[:, ::1], "
    "uint64, uint64[:, ::1])"
)
def opened_conjunctions(mine: U64, theirs: U64, a: U64, b: U64, c: U64, first: np.uint64, out: U64) -> None:
    """out = d & b ^ a & e ^ c ^ first & d & e, for each row e of mine ^ theirs but the first, which is d.

    `first` has no bit set, or all.
    """
    for row in range(out.shape[0]):
        for i in range(out.shape[1]):
            d, e = mine[0, i] ^ theirs[0, i], mine[row + 1, i] ^ theirs[row + 1, i]
            out[row, i] = (d & (b[row, i] ^ (first & e))) ^ (a[i] & e) ^ c[row, i]


@kernel(
    "void(const uint64[::1], const uint64[::1], const uint64[::1], const uint64[::1], const uint64[::1], uint64[::1])"
)
def dealt_products(a0: U64, a1: U64, b0: U64, b1: U64, c0: U64, out: U64) -> None:
    """out = (a0 + a1)·(b0 + b1) - c0."""
    for i in range(out.shape[0]):
        out[i] = (a0[i] + a1[i]) * (b0[i] + b1[i]) - c0[i]
