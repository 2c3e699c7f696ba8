"""A punctured function agrees with the whole one everywhere but at its point."""

import numpy as np
import pytest

from mpc.primitives import ggm

TREES = ggm.Trees.of_session(bytes(16))


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_all_leaves_but_one_come_back(depth: int) -> None:
    rng = np.random.default_rng(depth)
    size = 1 << depth
    seeds = rng.integers(0, 2**64, (size, 2), np.uint64)
    leaves, sums = ggm.plant(TREES, seeds, depth)
    points = np.arange(size)
    side = ggm.sides(points, depth).astype(int)
    known = np.take_along_axis(sums, side[:, :, None, None], axis=2)[:, :, 0]
    regrown = ggm.puncture(TREES, points, np.ascontiguousarray(known), depth)
    for tree in range(size):
        others = points != tree
        assert (regrown[tree, others] == leaves[tree, others]).all()
        assert not regrown[tree, tree].any()


def test_leaves_are_distinct_and_depend_on_the_session() -> None:
    seeds = np.array([[1, 2], [3, 4]], np.uint64)
    leaves, _ = ggm.plant(TREES, seeds, 8)
    others, _ = ggm.plant(ggm.Trees.of_session(b"\1" * 16), seeds, 8)
    assert len(np.unique(np.concatenate([leaves, others]).reshape(-1, 2), axis=0)) == 1024
