"""Working memory that a thread uses again: the first touch of new memory costs more than most work in it."""

import threading

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]


class Scratch(threading.local):
    """One array a thread, as large as the largest that was asked for."""

    def __init__(self) -> None:
        self._words: U64 = np.empty(0, np.uint64)

    def words(self, count: int) -> U64:
        """An array with any content, valid until this thread's next call."""
        if len(self._words) < count:
            self._words = np.empty(count, np.uint64)
        return self._words[:count]
