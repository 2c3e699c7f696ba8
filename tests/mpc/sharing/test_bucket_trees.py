"""Trees that are summed as they grow: the same on every processor, and apart by a row's number at its bucket alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.kernels import aes
from mpc.primitives import ggm
from mpc.sharing.bucket_trees import Forest

TREES = ggm.Trees.of_session(bytes(16))


def forest(depth: int, keys: int) -> Forest:
    return Forest.empty(TREES, [bytes([i + 1]) * 16 for i in range(keys)], depth)


def words(random: np.random.Generator, *shape: int) -> Any:
    return random.integers(0, 2**64, shape, np.uint64)


def portable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aes, "AVAILABLE", False)


@pytest.mark.parametrize("depth", range(1, 9))
@pytest.mark.parametrize("keys", [1, 3])
def test_every_processor_makes_the_same_sums(depth: int, keys: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(depth)
    rows = 70
    seeds, pads = words(random, rows, 2), words(random, 2, rows, depth, 2)
    points = random.integers(0, 1 << depth, rows)
    chosen, by_row = words(random, rows, depth, 2), words(random, rows, keys, 2)
    found = []
    for _ in range(2):
        ours, theirs = forest(depth, keys), forest(depth, keys)
        for part in (slice(0, 50), slice(50, rows)):
            masked, sums = ours.hold(seeds[part], pads[0, part], pads[1, part])
            theirs.choose(points[part], chosen[part], masked, by_row[part])
            found.append([masked, sums])
        found.append([ours.by_bucket, theirs.by_bucket])
        portable(monkeypatch)
    for one, other in zip(found[:3], found[3:], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@given(st.integers(1, 8), st.integers(1, 2), st.lists(st.integers(0, 255), max_size=40))
def test_both_parties_sums_differ_by_the_numbers_of_each_bucket(depth: int, keys: int, buckets: list[int]) -> None:
    random = np.random.default_rng(len(buckets))
    points = np.array(buckets, np.int64) % (1 << depth)
    numbers = words(random, len(points), keys, 2)
    low, high = words(random, 2, len(points), depth, 2)
    ours, theirs = forest(depth, keys), forest(depth, keys)
    masked, by_row = ours.hold(words(random, len(points), 2), low, high)
    chosen = np.where(ggm.sides(points, depth)[:, :, None], high, low)
    theirs.choose(points, chosen, masked, by_row + numbers)
    expected = np.zeros((keys, 1 << depth, 2), np.uint64)
    for key in range(keys):
        np.add.at(expected[key], points, numbers[:, key])
    assert np.array_equal(theirs.by_bucket - ours.by_bucket, expected)
