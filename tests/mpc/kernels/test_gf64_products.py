"""Products in GF(2^64) against polynomials over GF(2), with the processor's instruction and without."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.kernels import gf64_products
from mpc.kernels.gf64 import REDUCTION
from mpc.kernels.gf64_products import add_bit_by_bit, fold, half_products, multiply, scaled_bits
from mpc.kernels.jit import kernel

WORD = st.integers(0, 2**64 - 1)


@kernel("void(uint64, uint64, uint64[::1])")
def portable_product(a, b, out):
    """Add the product of polynomials as processors without the instruction do; `out` has two words."""
    add_bit_by_bit(a, b, out)


def polynomial_product(a: int, b: int) -> int:
    total = 0
    for i in range(64):
        if b >> i & 1:
            total ^= a << i
    return total


def slow_product(a: int, b: int) -> int:
    total = polynomial_product(a, b)
    for i in range(126, 63, -1):
        if total >> i & 1:
            total ^= (1 << 64 | REDUCTION) << (i - 64)
    return total


@given(WORD, WORD)
def test_products_are_those_of_polynomials(a, b):
    out = np.zeros(2, np.uint64)
    portable_product(np.uint64(a), np.uint64(b), out)
    assert int(out[0]) | int(out[1]) << 64 == polynomial_product(a, b)
    assert multiply(a, b) == slow_product(a, b)


@pytest.mark.parametrize(("a", "b"), [(0, 5), (1, 2**64 - 1), (2**63, 2), (2**64 - 1, 2**64 - 1)])
def test_products_at_the_edges(a, b):
    assert multiply(a, b) == slow_product(a, b)


def test_summands_of_three_parties_add_up_to_the_inner_products():
    x, y = np.random.default_rng(1).integers(0, 2**64, (2, 3, 6), np.uint64)
    first = total = 0
    for party in range(3):
        out = np.empty(6, np.uint64)
        half_products(x[party], x[(party + 1) % 3], y[party], y[(party + 1) % 3], out)
        first, total = first ^ int(out[0]), total ^ int(out[1])
    a, b = np.bitwise_xor.reduce(x, axis=0).tolist(), np.bitwise_xor.reduce(y, axis=0).tolist()
    assert first == slow_product(a[0], b[0]) ^ slow_product(a[1], b[1]) ^ slow_product(a[2], b[2])
    sums = [slow_product(a[i] ^ a[3 + i], b[i] ^ b[3 + i]) for i in range(3)]
    assert total == sums[0] ^ sums[1] ^ sums[2]


def test_folding_evaluates_the_line_through_both_halves():
    values = np.random.default_rng(2).integers(0, 2**64, 8, np.uint64)
    folded, point = values.copy(), 0xDEADBEEF12345678
    fold(folded, np.uint64(point), np.empty(2, np.uint64))
    for i in range(4):
        a, b = int(values[i]), int(values[4 + i])
        assert int(folded[i]) == a ^ slow_product(a ^ b, point)


def test_bits_are_scaled_one_by_one():
    bits, factors = np.array([0b101], np.uint64), np.arange(1, 65, dtype=np.uint64)
    out = np.empty(64, np.uint64)
    scaled_bits(bits, factors, out)
    assert out[:3].tolist() == [1, 0, 3]
    assert not out[3:].any()


def test_both_ways_to_multiply_give_the_same(monkeypatch):
    vectors = np.random.default_rng(3).integers(0, 2**64, (4, 6), np.uint64)
    found, portable = np.empty((2, 6), np.uint64)
    half_products(*vectors, found)
    folded, slowly = vectors[0].copy(), vectors[0].copy()
    fold(folded, np.uint64(2**63 + 5), np.empty(2, np.uint64))
    monkeypatch.setattr(gf64_products, "_add_product", gf64_products.add_bit_by_bit)
    with np.errstate(over="ignore"):  # in the interpreter words wrap with a warning
        half_products.function(*vectors, portable)
        fold.function(slowly, np.uint64(2**63 + 5), np.empty(2, np.uint64))
    assert np.array_equal(found[:2], portable[:2])
    assert np.array_equal(folded, slowly)
