"""Arithmetic modulo 2^64 on uint64 arrays, and packed bits."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


def matmul(*pairs: tuple[U64, U64]) -> U64:
    """The sum of the matrix products of pairs of two-dimensional arrays, modulo 2^64."""
    from mpc.kernels.matrix_words import DEPTH, PANEL, add_product

    rows, columns = pairs[0][0].shape[0], pairs[0][1].shape[1]
    if rows == 1 or columns == 1:
        total: U64 = np.add.reduce([_thin(x, y) for x, y in pairs])
        return total
    panels = -(-columns // PANEL)
    out, scratch = np.zeros((rows, panels * PANEL), np.uint64), np.empty((panels, DEPTH, PANEL), np.uint64)
    for x, y in pairs:
        add_product(np.ascontiguousarray(x), np.ascontiguousarray(y), scratch, out)
    return np.ascontiguousarray(out[:, :columns])


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
    count = math.prod(shape)
    return np.unpackbits(words.view(np.uint8), count=count, bitorder="little").reshape(shape)


def signed(words: U64) -> I64:
    """The integers that words stand for."""
    return words.view(np.int64)


def as_words(values: Any) -> U64:
    """Integers as words modulo 2^64."""
    return np.ascontiguousarray(values, np.int64).view(np.uint64)
