"""Orders against numpy's."""

import numpy as np
import pytest

from mpc.kernels import radix
from mpc.primitives.ordering import order_of


@pytest.mark.parametrize("count", [0, 1, 2, 3, 100, 5000, 200_000])
def test_it_is_the_order_of_the_words(count: int) -> None:
    rows = np.random.default_rng(count).integers(0, 2**64, (count, 3), np.uint64)
    order = order_of(rows, 1)
    assert (rows[order, 1] == np.sort(rows[:, 1])).all()
    assert (np.sort(order) == np.arange(count)).all()


def test_rows_with_equal_words_keep_their_order() -> None:
    rows = np.array([[7 << 60], [5 << 60], [7 << 60], [0], [5 << 60], [0]], np.uint64)
    assert order_of(rows, 0).tolist() == [3, 5, 1, 4, 0, 2]


def test_words_that_are_close_are_in_order_too() -> None:
    """All in one part of either pass, apart in the last of the bits that are compared."""
    rows = (np.random.default_rng(1).permutation(1000).astype(np.uint64) << np.uint64(10))[:, None]
    assert (order_of(rows, 0) == np.argsort(rows[:, 0])).all()


def test_rows_are_taken_in_an_order() -> None:
    rng = np.random.default_rng(2)
    rows, order = rng.integers(0, 2**64, (300, 4), np.uint64), rng.permutation(300)
    out = np.empty_like(rows)
    radix.take(rows, order, out)
    assert (out == rows[order]).all()
