"""Integers as rows of little-endian 64-bit words: arrays of shape (count, words)."""

import math
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mpc.primitives.threads import spread, usable_cores

U64 = NDArray[np.uint64]

LEAST_ROWS = 128  # in a piece: long against the cost of a piece
_MOST_ROWS = 2**10  # so that what a piece needs on the way stays in a core's caches
_CACHE_LINE = 64  # octets
_PIECES_A_CORE = 4  # at most, so that cores that started late or are slower do not hold up the others


def empty(shape: tuple[int, ...], kind: DTypeLike) -> NDArray[Any]:
    """An array that begins with a cache line: vectors of rows of whole lines then lie in one each, not across two."""
    dtype = np.dtype(kind)
    if dtype.hasobject:
        return np.empty(shape, dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _CACHE_LINE, np.uint8)
    start = -address(memory) % _CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """One or more arrays of rows, one after another; without a copy where one has them all."""
    some = [part for part in parts if len(part)] or parts[:1]
    if len(some) == 1:
        return some[0]
    whole = empty((sum(map(len, some)), *some[0].shape[1:]), some[0].dtype)
    return np.concatenate(some, out=whole)


def address(array: NDArray[Any]) -> int:
    """Where an array's memory begins."""
    found: int = array.__array_interface__["data"][0]
    return found


def in_pieces(work: Callable[[slice], NDArray[Any]], count: int, least: int = LEAST_ROWS) -> NDArray[Any]:
    """What `work` gives for `count` rows, done on all cores in pieces of `least` rows or more."""
    if count <= least:
        return work(slice(0, count))
    out: list[NDArray[Any]] = []
    lock = threading.Lock()

    def fill(piece: slice) -> None:
        found = work(piece)
        with lock:
            if not out:
                out.append(empty((count, *found.shape[1:]), found.dtype))
        out[0][piece] = found

    wanted = count // (least * _PIECES_A_CORE * usable_cores()) * least
    spread(fill, count, max(least, min(wanted, _MOST_ROWS)))
    return out[0]


def rows_of_words(values: Iterable[int], words: int) -> U64:
    """The words of integers in [0, 2^(64·words))."""
    data = bytearray().join(int(value).to_bytes(8 * words, "little") for value in values)
    return np.frombuffer(data, np.uint64).reshape(-1, words)


def ints_from_words(words: U64) -> list[int]:
    """The integers, not negative, that rows of words stand for."""
    size = 8 * words.shape[1]
    data = np.ascontiguousarray(words).tobytes()
    return [int.from_bytes(data[at : at + size], "little") for at in range(0, len(words) * size, size)]


def above(words: U64, limit: int) -> NDArray[np.bool_]:
    """Which rows stand for more than `limit`, which has no more words."""
    bound = rows_of_words([limit], words.shape[1])[0]
    if not (words[:, -1] >= bound[-1]).any():
        return np.zeros(len(words), np.bool_)
    highest = (
        words.shape[1] - 1 - (words != bound)[:, ::-1].argmax(axis=1)
    )  # word that differs, or the last if none does
    found: NDArray[np.bool_] = words[np.arange(len(words)), highest] > bound[highest]
    return found


def add_constant(words: U64, constant: int) -> U64:
    """Rows plus a constant, modulo 2^(64·words)."""
    width = words.shape[1]
    out = np.empty_like(words)
    carry = np.zeros(len(words), np.uint64)
    for column, addend in enumerate(rows_of_words([constant % (1 << 64 * width)], width)[0]):
        partial = words[:, column] + addend
        out[:, column] = partial + carry
        carry = ((partial < addend) | (out[:, column] < partial)).astype(np.uint64)
    return out


def bits_at(words: U64, at: int, count: int) -> U64:
    """The rows' `count` bits, up to 64, from bit `at` on."""
    column, shift = divmod(at, 64)
    found = words[:, column] >> np.uint64(shift)
    if shift and column + 1 < words.shape[1]:
        found |= words[:, column + 1] << np.uint64(64 - shift)
    return found & np.uint64((1 << count) - 1)
