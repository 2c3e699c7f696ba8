"""Memory for arrays that is used again, because the first touch of new memory costs more than filling it."""

import math
import weakref
from collections import deque
from typing import Any

import numpy as np

from mpc.sharing.ring import U64

_LEAST_WORDS = 2**15  # smaller arrays come from memory that the process has touched before
_MOST_WORDS = 2**25  # that wait to be used again; the oldest beyond that go


class _Lease:
    """What an array that was given out, and so each view of it, keeps alive: it ends with the last of them."""

    __slots__ = ("__array_interface__", "__weakref__", "memory")

    def __init__(self, memory: U64) -> None:
        self.memory = memory
        self.__array_interface__: dict[str, Any] = memory.__array_interface__


class Buffers:
    """Arrays of words. The memory of one to which nobody refers any more, not even by a view, is given out again.

    For one thread, while arrays may go in any.
    """

    def __init__(self) -> None:
        self._returned: deque[U64] = deque()
        self._free: list[U64] = []

    def empty(self, *shape: int) -> U64:
        """An array with any content."""
        count = math.prod(shape)
        if count < _LEAST_WORDS:
            return np.empty(shape, np.uint64)
        memory = self._take(_rounded(count))
        lease = _Lease(memory)
        weakref.finalize(lease, self._returned.append, memory).atexit = False
        leased: U64 = np.asarray(lease)
        return leased[:count].reshape(shape)

    def _take(self, size: int) -> U64:
        while self._returned:
            self._free.append(self._returned.popleft())
        for index in reversed(range(len(self._free))):
            if len(self._free[index]) == size:
                return self._free.pop(index)
        while self._free and sum(map(len, self._free)) + size > _MOST_WORDS:
            del self._free[0]
        return np.empty(size, np.uint64)


def _rounded(count: int) -> int:
    """Up to three significant bits, so that arrays of similar sizes share memory."""
    unit = 1 << max(count.bit_length() - 3, 0)
    return -(-count // unit) * unit
