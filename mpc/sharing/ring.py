"""Arithmetic modulo 2^64 on uint64 arrays, and packed bits."""

from typing import Any

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

_BLOCK = 512  # products of limbs below 2^21 in magnitude: 3·512·2^42 < 2^53, exact in float64


def matmul(x: U64, y: U64) -> U64:
    """The matrix product of two-dimensional arrays, modulo 2^64, by products of three limbs in float64."""
    from mpc.kernels.matrix_limbs import LIMB_BITS, add_shifted, split

    if x.shape[0] == 1 or y.shape[1] == 1:
        return _thin(x, y)
    out = np.zeros((x.shape[0], y.shape[1]), np.uint64)
    for start in range(0, x.shape[1], _BLOCK):
        left, right = (np.ascontiguousarray(part) for part in (x[:, start : start + _BLOCK], y[start : start + _BLOCK]))
        a, b = np.empty((3, *left.shape)), np.empty((3, *right.shape))
        split(left, a)
        split(right, b)
        add_shifted(a[0] @ b[0], 0, out)
        add_shifted(a[0] @ b[1] + a[1] @ b[0], LIMB_BITS, out)
        add_shifted(a[0] @ b[2] + a[1] @ b[1] + a[2] @ b[0], 2 * LIMB_BITS, out)
    return out


def _thin(x: U64, y: U64) -> U64:
    if y.shape[1] == 1:
        column = np.ascontiguousarray(y[:, 0])
        return np.array([[(row * column).sum(dtype=np.uint64)] for row in x], np.uint64).reshape(x.shape[0], 1)
    return _thin(np.ascontiguousarray(y.T), np.ascontiguousarray(x.T)).T


def sums_of(groups: I64, numbers: U64, count: int) -> U64:
    """Sums of rows of numbers by group, 0 to count - 1; rows of other groups are left out."""
    sums = np.zeros((count, numbers.shape[1]), np.uint64)
    inside = (groups >= 0) & (groups < count)
    order = np.argsort(groups[inside], kind="stable")
    running = np.concatenate([sums[:1] if count else sums, numbers[inside][order].cumsum(axis=0, dtype=np.uint64)])
    ends = np.searchsorted(groups[inside][order], np.arange(count), side="right")
    totals = running[ends]
    sums[:] = totals
    sums[1:] -= totals[:-1]
    return sums


def words_of(count: int) -> int:
    """Words that hold `count` packed bits."""
    return -(-count // 64)


def pack(bits: U8) -> U64:
    """Bits (0 or 1 an element, any shape) packed into words, filled up with zeros."""
    packed = np.packbits(bits.reshape(-1), bitorder="little")
    out = np.zeros(8 * words_of(bits.size), np.uint8)
    out[: len(packed)] = packed
    return out.view(np.uint64)


def unpack(words: U64, shape: tuple[int, ...]) -> U8:
    """The bits that `pack` packed."""
    count = int(np.prod(shape, dtype=np.int64))
    return np.unpackbits(words.view(np.uint8), count=count, bitorder="little").reshape(shape)


def signed(words: U64) -> I64:
    """The integers that words stand for."""
    return words.view(np.int64)


def as_words(values: Any) -> U64:
    """Integers as words modulo 2^64."""
    return np.ascontiguousarray(values, np.int64).view(np.uint64)
