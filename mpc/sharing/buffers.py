"""Memory for arrays that is used again, because the first touch of new memory costs more than filling it."""

from sys import getrefcount

import numpy as np

from mpc.sharing.ring import U64

_LEAST_WORDS = 2**15  # smaller arrays come from memory that the process has touched before
_MOST_WORDS = 2**26  # that are kept; what is beyond goes back at once
_UNUSED = 3  # references to an array that nobody else has: the list's, the loop's and the count's own


class Buffers:
    """Arrays of words. One that nobody refers to any more, not even by a view, is given out again.

    For one thread.
    """

    def __init__(self) -> None:
        self._kept: list[U64] = []
        self._words = 0

    def empty(self, *shape: int) -> U64:
        """An array with any content."""
        count = int(np.prod(shape, dtype=np.int64))
        if count < _LEAST_WORDS:
            return np.empty(shape, np.uint64)
        size = _rounded(count)
        found = self._unused(size)
        if found is not None:
            return found[:count].reshape(shape)
        made = np.empty(size, np.uint64)
        if self._words + size > _MOST_WORDS:
            self._drop_unused()
        if self._words + size <= _MOST_WORDS:
            self._kept.append(made)
            self._words += size
        return made[:count].reshape(shape)

    def _unused(self, size: int) -> U64 | None:
        for kept in self._kept:
            if len(kept) == size and getrefcount(kept) == _UNUSED:
                return kept
        return None

    def _drop_unused(self) -> None:
        self._kept = [kept for kept in self._kept if getrefcount(kept) > _UNUSED]
        self._words = sum(len(kept) for kept in self._kept)


def _rounded(count: int) -> int:
    """Up to three significant bits, so that arrays of similar sizes share memory."""
    unit = 1 << max(count.bit_length() - 3, 0)
    return -(-count // unit) * unit
