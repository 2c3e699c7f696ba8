"""Batches of group operations spread over threads: libsodium works without holding the interpreter's lock."""

import os
from collections.abc import Callable
from concurrent.futures import Executor

PIECE_ITEMS = 128  # items a task: long against the cost of a task, short against a batch


def usable_cores() -> int:
    """How many cores this process may run on: the size of a pool unless the caller chose one."""
    return len(os.sched_getaffinity(0))


def start(pool: Executor, work: Callable[[bytes], bytes], packed: bytes, width: int) -> Callable[[], bytes]:
    """Begin `work` on pieces of `packed`, items of `width` bytes; gives a function that waits for the joined results.

    That function raises what the first piece to fail, in order, raised.
    """
    step = PIECE_ITEMS * width
    pieces = [pool.submit(work, packed[start : start + step]) for start in range(0, len(packed), step)]
    return lambda: b"".join(piece.result() for piece in pieces)
