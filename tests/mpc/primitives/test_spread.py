"""Work spread over cores covers every item once, and its errors are not lost."""

import threading

import numpy as np
import pytest

from mpc.primitives.threads import spread, spread_in_order, usable_cores


@pytest.mark.parametrize("count", [0, 1, 7, 8, 100])
def test_every_item_is_worked_on_once(count: int) -> None:
    seen = np.zeros(count, int)

    def work(piece: slice) -> None:
        seen[piece] += 1

    spread(work, count, 8)
    assert (seen == 1).all()


def test_what_a_slice_raised_is_raised() -> None:
    def work(piece: slice) -> None:
        if piece.start == 16:
            raise ValueError("sixteen")

    with pytest.raises(ValueError, match="sixteen"):
        spread(work, 100, 8)


def test_what_a_slice_spreads_stays_on_its_thread() -> None:
    threads: list[set[int]] = []

    def work(piece: slice) -> None:
        within = {threading.get_ident()}
        spread(lambda _: within.add(threading.get_ident()), 8, 1)
        threads.append(within)

    spread(work, 16, 1)
    assert [len(within) for within in threads] == [1] * 16


def test_all_is_done_while_the_other_cores_are_taken() -> None:
    free, done = threading.Event(), threading.Event()
    seen: list[int] = []

    def occupy() -> None:
        spread(lambda _: free.wait(), usable_cores(), 1)
        done.set()

    occupied = threading.Thread(target=occupy)
    occupied.start()
    spread(lambda piece: seen.append(piece.start), 20, 1)
    assert sorted(seen) == list(range(20))
    assert not done.is_set()
    free.set()
    occupied.join()
    assert done.is_set()


@pytest.mark.parametrize("count", [0, 1, 8, 100])
def test_what_follows_sees_every_slice_in_order_after_the_work_on_it(count: int) -> None:
    worked = np.zeros(count, bool)
    seen: list[int] = []

    def work(piece: slice) -> None:
        worked[piece] = True

    def follow(piece: slice) -> None:
        assert worked[piece].all()
        seen.extend(range(piece.start, piece.stop))

    spread_in_order(work, count, 8, follow)
    assert seen == list(range(count))


def test_what_the_work_or_what_follows_raised_is_raised() -> None:
    def fail(piece: slice) -> None:
        if piece.start == 16:
            raise ValueError("sixteen")

    for work, follow in ((fail, lambda _piece: None), (lambda _piece: None, fail)):
        with pytest.raises(ValueError, match="sixteen"):
            spread_in_order(work, 100, 8, follow)
