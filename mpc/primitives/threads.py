"""Batches spread over threads: libsodium, AES and compiled loops work without holding the interpreter's lock."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import cache

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


def spread(work: Callable[[slice], None], count: int, piece: int) -> None:
    """Do `work` on `count` items, in slices of up to `piece`, on all cores at once; raises what a slice raised.

    The calling thread works too, and does all of it if the others are busy, or if it is itself at work on a slice: what
    spreads is spread once, at the outermost place.
    """
    slices = pieces(count, piece)
    helpers = 0 if _THREAD.__dict__.get("at_work") else min(usable_cores(), len(slices)) - 1
    if helpers <= 0:
        for each in slices:
            work(each)
        return
    remaining = iter(slices)
    failures: list[BaseException] = []

    def run() -> None:
        _THREAD.at_work = True
        try:
            for each in remaining:
                if failures:
                    break
                work(each)
        except BaseException as failure:  # raised below, by the calling thread
            failures.append(failure)
        finally:
            _THREAD.at_work = False

    started = [_helpers().submit(run) for _ in range(helpers)]
    run()
    for helper in started:
        if not helper.cancel():
            helper.result()
    if failures:
        raise failures[0]


def spread_in_order(work: Callable[[slice], None], count: int, piece: int, follow: Callable[[slice], None]) -> None:
    """As `spread`; meanwhile `follow`, in a thread of its own, is given each slice, in order, after the work on it."""
    done: list[Future[slice]] = [Future() for _ in pieces(count, piece)]

    def run(each: slice) -> None:
        work(each)
        done[each.start // piece].set_result(each)

    def follow_all() -> None:
        for each in done:
            follow(each.result())

    with ThreadPoolExecutor(1, "follow") as beside:
        following = beside.submit(follow_all)
        try:
            spread(run, count, piece)
        finally:
            for each in done:
                each.cancel()  # what will not be worked on any more: none, unless the work failed
        following.result()


_THREAD = threading.local()


@cache
def _helpers() -> ThreadPoolExecutor:
    """One thread fewer than there are cores, which wait for work as long as the process lives."""
    return ThreadPoolExecutor(max(1, usable_cores() - 1), "spread")


def pieces(count: int, piece: int) -> list[slice]:
    """Slices of up to `piece` items that make up `count`."""
    return [slice(at, min(at + piece, count)) for at in range(0, count, piece)]
