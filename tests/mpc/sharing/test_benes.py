"""Every order goes through the network, by the exchanges that it says."""

import itertools

import numpy as np
import pytest

from mpc.sharing import benes


def through(order: np.ndarray) -> np.ndarray:
    rows = np.arange(len(order))
    for half, swaps in zip(benes.halves(len(order)), benes.settings(order), strict=True):
        first, second = benes.pairs(len(order), half)
        rows[first], rows[second] = (
            np.where(swaps, rows[second], rows[first]),
            np.where(swaps, rows[first], rows[second]),
        )
    return rows


@pytest.mark.parametrize("places", [1, 2, 4])
def test_every_order_of_few_places(places):
    for order in itertools.permutations(range(places)):
        assert through(np.array(order)).tolist() == list(order)


@pytest.mark.parametrize("places", [8, 64, 1024, 2**14])
def test_random_orders_of_many_places(places):
    rng = np.random.default_rng(places)
    for _ in range(5):
        order = rng.permutation(places)
        assert np.array_equal(through(order), order)
    for order in (np.arange(places), np.arange(places)[::-1]):
        assert np.array_equal(through(order), order)


def test_levels_are_two_a_bit_less_one():
    assert [len(benes.halves(1 << bits)) for bits in range(5)] == [0, 1, 3, 5, 7]
    assert [benes.padded(rows) for rows in (0, 1, 2, 3, 5, 8)] == [1, 1, 2, 4, 8, 8]
