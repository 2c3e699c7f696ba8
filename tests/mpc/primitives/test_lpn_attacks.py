"""The noise stands against the attacks that are known, in every level that is ever used."""

import numpy as np
import pytest

from mpc.primitives import binary_lpn, lpn, lpn_attacks, okvs, vole


def test_linear_tests_are_what_the_noise_is_chosen_by() -> None:
    standard, conservative = (lpn_attacks.linear_tests(distance, lpn.BLOCKS) for distance in (0.15, 0.20))
    assert standard == pytest.approx(129.4, abs=0.1)
    assert conservative == pytest.approx(177.7, abs=0.1)
    assert lpn_attacks.linear_tests(0.15, lpn.BLOCKS - 8) < lpn.SECURITY_BITS <= standard


@pytest.mark.parametrize("keys", [64, 10**4, 10**6, 2**24])
def test_all_other_attacks_cost_more_than_linear_tests_at_every_level(keys: int) -> None:
    levels = vole.levels(okvs.columns(keys), lpn.WEIGHT)
    for level in levels:
        assert lpn_attacks.algebraic(lpn.BLOCKS, 2**level.depth) > 500
    assert lpn_attacks.prange(lpn.BLOCKS) > 500


@pytest.mark.parametrize("depth", [7, 12])
def test_over_bits_linear_tests_are_the_cheapest_attack_too(depth: int) -> None:
    linear = lpn_attacks.linear_tests(0.15, binary_lpn.BLOCKS, binary=True)
    assert lpn.SECURITY_BITS <= linear == pytest.approx(131.7, abs=0.1)
    assert lpn_attacks.prange(binary_lpn.BLOCKS, 2**depth) > 240
    assert lpn_attacks.algebraic(binary_lpn.BLOCKS, 2**depth, binary=True) > 200


def test_less_noise_is_cheaper_to_solve() -> None:
    costs = [lpn_attacks.algebraic(blocks, 4) for blocks in (16, 64, 256)]
    assert costs == sorted(costs)
    assert costs[0] < 40


def test_coefficients_are_those_of_the_product() -> None:
    product = np.array([1], dtype=object)
    for factor in [[1, -1]] * 3 + [[1, 2]] * 4 + [[1, 5]]:
        product = np.convolve(product, np.array(factor, dtype=object))
    found = lpn_attacks._coefficients(3, [(2, 4), (5, 1)])
    assert [next(found) for _ in product] == product.tolist()
    assert next(found) == 0


def test_a_negative_power_is_a_geometric_series() -> None:
    found = lpn_attacks._coefficients(-1, [(1, 1)])
    assert [next(found) for _ in range(5)] == [1, 2, 2, 2, 2]
