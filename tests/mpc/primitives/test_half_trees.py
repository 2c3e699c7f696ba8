"""A punctured tree agrees with the whole one everywhere but at its point, where the two differ by the offset."""

import numpy as np
import pytest

from mpc.kernels import aes
from mpc.primitives import half_trees

TREES = half_trees.Trees.of_session(bytes(16))
OFFSET = np.array([0x0123456789ABCDEF, 0xFEDCBA9876543210], np.uint64)

WAYS = [(half_trees.portable_plant, half_trees.portable_puncture)]
if aes.AVAILABLE:
    WAYS += [(half_trees.plant, half_trees.puncture)]


def known_sums(sums: np.ndarray, points: np.ndarray, depth: int) -> np.ndarray:
    """Of the side off the path at each level."""
    on_right = (points[:, None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.where(on_right[:, :, None] == 0, sums ^ OFFSET, sums)


@pytest.mark.parametrize(("plant", "puncture"), WAYS)
@pytest.mark.parametrize("depth", [1, 2, 3, 5, 6])
def test_all_leaves_but_one_come_back_and_that_one_with_the_offset(plant, puncture, depth):
    size = 1 << depth
    firsts = np.random.default_rng(depth).integers(0, 2**64, (size, 2), np.uint64)
    leaves, regrown = np.empty((2, size, size, 2), np.uint64)
    sums = plant(TREES, firsts, OFFSET, depth, leaves)
    points = np.arange(size)
    puncture(TREES, points, known_sums(sums, points, depth), depth, regrown)
    difference = leaves ^ regrown
    assert (difference[points, points] == OFFSET).all()
    difference[points, points] = 0
    assert not difference.any()
    assert not (leaves[:, :, 0] & np.uint64(1)).any()


@pytest.mark.skipif(not aes.AVAILABLE, reason="this processor has no AES instructions")
@pytest.mark.parametrize("depth", [1, 2, 4, 7])
def test_both_ways_to_grow_are_the_same(depth):
    firsts = np.random.default_rng(3).integers(0, 2**64, (5, 2), np.uint64)
    found = []
    for plant, _ in WAYS:
        leaves = np.empty((5, 1 << depth, 2), np.uint64)
        sums = plant(TREES, firsts, OFFSET, depth, leaves)
        found.append((leaves.tobytes(), sums.tobytes()))
    assert found[0] == found[1]


def test_leaves_are_distinct_and_depend_on_the_session():
    firsts = np.array([[1, 2], [3, 4]], np.uint64)
    seen = []
    for session in (bytes(16), b"\1" * 16):
        leaves = np.empty((2, 256, 2), np.uint64)
        half_trees.plant(half_trees.Trees.of_session(session), firsts, OFFSET, 8, leaves)
        seen.append(leaves.reshape(-1, 2))
    assert len(np.unique(np.concatenate(seen), axis=0)) == 1024


def test_without_the_sum_of_its_side_a_leaf_stays_unknown():
    """Other offsets leave the known leaves as they are: nothing of the offset is in them."""
    depth, points = 4, np.arange(16)
    firsts = np.random.default_rng(5).integers(0, 2**64, (16, 2), np.uint64)
    leaves, regrown = np.empty((2, 16, 16, 2), np.uint64)
    sums = half_trees.plant(TREES, firsts, OFFSET, depth, leaves)
    wrong = known_sums(sums, points, depth)
    wrong[:, -1] ^= np.uint64(8)
    half_trees.puncture(TREES, points, wrong, depth, regrown)
    assert ((leaves ^ regrown)[points, points] != OFFSET).any()
