"""Orders against numpy's."""

import numpy as np
import pytest

from mpc.primitives.ordering import sort_rows, sort_tags

COUNTS = [0, 1, 2, 3, 100, 5000, 16_383, 16_384, 200_000]


def check(rows: np.ndarray, column: int) -> None:
    expected = np.argsort(rows[:, column], kind="stable")
    mine = rows.copy()
    order = sort_rows(mine, column, np.full_like(rows, 2**64 - 1))
    assert (mine == rows[expected]).all()
    assert (order == expected).all()


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("column", [0, 2])
def test_rows_are_in_the_order_of_a_word(count: int, column: int) -> None:
    check(np.random.default_rng(count).integers(0, 2**64, (count, 4), np.uint64), column)


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


def tags_of(rows: np.ndarray, column: int, bits: int) -> list[tuple[int, int]]:
    whole = [(int(row[column]) << 64 | int(row[column + 1])) >> 64 - bits for row in rows]
    return [(tag >> 64, tag & 2**64 - 1) for tag in whole]


@pytest.mark.parametrize("count", [*COUNTS[:-1], 70_000])
@pytest.mark.parametrize(("column", "bits"), [(0, 0), (0, 24), (1, 11), (2, 40)])
def test_tags_and_their_labels_are_in_order(count: int, column: int, bits: int) -> None:
    rng = np.random.default_rng(count)
    rows, labels = rng.integers(0, 2**64, (count, 4), np.uint64), rng.permutation(count).astype(np.int32) - 7
    rows[: min(count // 3, 500), column] = 9 << 60  # apart in the next word alone
    expected = sorted(zip(tags_of(rows, column, bits), labels.tolist(), strict=True), key=lambda each: each[0])
    high, low, order = sort_tags(rows, column, bits, labels)
    assert list(zip(high.tolist(), low.tolist(), strict=True)) == [tag for tag, _ in expected]
    assert order.tolist() == [label for _, label in expected]


@pytest.mark.parametrize("count", [1, 1000, 300_000])
def test_tags_are_followed_in_order_until_all_are_in_place(count: int) -> None:
    rows = np.random.default_rng(count).integers(0, 2**64, (count, 4), np.uint64)
    seen: list[tuple[np.ndarray, ...]] = []
    whole = sort_tags(
        rows, 0, 7, np.arange(count, dtype=np.int32), lambda *parts: seen.append(tuple(map(np.copy, parts)))
    )
    sizes = [len(parts[0]) for parts in seen]
    assert sizes == sorted(sizes)
    assert sizes[-1] == count
    assert len(sizes) > 1 or count < 100_000
    for parts in seen:
        assert all(np.array_equal(part, all_of[: len(part)]) for part, all_of in zip(parts, whole, strict=True))
