"""Products in GF(2^64) against carry-less multiplication of Python integers."""

import numpy as np
from gf64_reference import MODULUS, product
from hypothesis import given
from hypothesis import strategies as st

from mpc.kernels import gf64

WORDS = st.integers(0, 2**64 - 1)


@given(constant=WORDS, factors=st.lists(WORDS, max_size=5), start=WORDS)
def test_products_with_a_constant_are_added(constant: int, factors: list[int], start: int) -> None:
    sums = np.full(len(factors), start, np.uint64)
    gf64.add_products(sums, np.array(factors, np.uint64), gf64.table_of(constant))
    assert sums.tolist() == [start ^ product(constant, factor) for factor in factors]


def test_the_modulus_is_irreducible() -> None:
    """X^(2^64) = X, and X^(2^32) - X has no common factor with the modulus (Rabin's test; 64 has one prime, 2)."""

    def remainder(a: int, b: int) -> int:
        while a.bit_length() >= b.bit_length():
            a ^= b << (a.bit_length() - b.bit_length())
        return a

    power = 2
    for i in range(64):
        power = product(power, power)
        if i == 31:
            a, b = MODULUS, power ^ 2
            while b:
                a, b = b, remainder(a, b)
            assert a == 1
    assert power == 2


@given(rows=st.lists(WORDS, min_size=64, max_size=64))
def test_bits_of_a_factor_recombine_by_powers_of_x(rows: list[int]) -> None:
    sums = np.empty(1, np.uint64)
    gf64.sum_of_shifts(np.array(rows, np.uint64).reshape(64, 1), sums)
    expected = 0
    for i, row in enumerate(rows):
        expected ^= product(1 << i, row)
    assert sums[0] == expected
