"""Orders against numpy's."""

import numpy as np
import pytest

from mpc.primitives.ordering import sort_rows


def check(rows: np.ndarray, column: int, labels: np.ndarray | None = None) -> None:
    expected = np.argsort(rows[:, column], kind="stable")
    mine = rows.copy()
    order = sort_rows(mine, column, np.full_like(rows, 2**64 - 1), labels)
    assert (mine == rows[expected]).all()
    assert (order == (expected if labels is None else labels[expected])).all()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 100, 5000, 16_383, 16_384, 200_000])
@pytest.mark.parametrize("column", [0, 2])
def test_rows_and_their_labels_are_in_the_order_of_a_word(count: int, column: int) -> None:
    rng = np.random.default_rng(count)
    rows = rng.integers(0, 2**64, (count, 4), np.uint64)
    check(rows, column)
    check(rows, column, rng.permutation(count) - 7)


@pytest.mark.parametrize("cores", [1, 2, 3, 16])
def test_the_order_does_not_depend_on_the_cores(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpc.primitives.ordering.usable_cores", lambda: cores)
    rows = np.random.default_rng(3).integers(0, 2**64, (150_000, 4), np.uint64)
    rows[::5] = rows[0]
    check(rows, 1)


def test_rows_with_equal_words_keep_their_order() -> None:
    rows = np.array(
        [[7 << 60, 0, 0, 1], [5 << 60, 0, 0, 2], [7 << 60, 0, 0, 3], [0] * 4, [5 << 60, 0, 0, 5], [0] * 4],
        np.uint64,
    )
    assert sort_rows(rows, 0, np.empty((6, 4), np.uint64)).tolist() == [3, 5, 1, 4, 0, 2]


def test_words_that_are_close_are_in_order_too() -> None:
    """All in one part, apart in the last of the bits that are compared."""
    close = np.random.default_rng(1).permutation(1000).astype(np.uint64) << np.uint64(10)
    check(np.stack([close] * 4, axis=1), 0)
