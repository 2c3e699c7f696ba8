import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.primitives import ring128
from mpc.testing import InsecureSeededRng

ELEMENT = st.integers(-(2**127), 2**127 - 1) | st.sampled_from([0, 1, -1, 2**64, -(2**64), 2**64 - 1, -(2**127)])
FACTOR = st.integers(-(2**29) + 1, 2**29 - 1)


def signed(value):
    return (value + 2**127) % 2**128 - 2**127


def ring(values):
    return ring128.from_ints(values)


@given(st.lists(st.tuples(ELEMENT, ELEMENT, FACTOR), max_size=5), st.integers(1, 127))
def test_it_computes_as_integers_modulo_2_to_the_128(rows, right):
    a, b = ring(x for x, _, _ in rows), ring(y for _, y, _ in rows)
    factors = np.array([f for _, _, f in rows], np.int64)
    assert ring128.to_ints(ring128.add(a, b)) == [signed(x + y) for x, y, _ in rows]
    assert ring128.to_ints(ring128.subtract(a, b)) == [signed(x - y) for x, y, _ in rows]
    assert ring128.to_ints(ring128.negate(a)) == [signed(-x) for x, _, _ in rows]
    assert ring128.to_ints(ring128.times(a, factors)) == [signed(x * f) for x, _, f in rows]
    assert ring128.to_ints(ring128.shift_right(a, right)) == [x >> right for x, _, _ in rows]
    assert (ring128.from_bytes(ring128.to_bytes(a), len(rows)) == a).all()


@given(st.data(), st.integers(1, 4), st.integers(0, 5), st.integers(1, 3))
def test_a_matrix_product_is_exact(data, n, d, k):
    x = np.array(data.draw(st.lists(FACTOR, min_size=n * d, max_size=n * d)), np.int64).reshape(n, d)
    values = data.draw(st.lists(ELEMENT, min_size=d * k, max_size=d * k))
    product = ring128.product(x, ring(values).reshape(d, k, 2))
    expected = x.astype(object) @ np.array(values, object).reshape(d, k)
    assert ring128.to_ints(product.reshape(-1, 2)) == [signed(int(v)) for v in expected.reshape(-1)]


def test_a_product_of_more_terms_than_fit_one_sum_is_exact():
    rng = np.random.default_rng(0)
    x = rng.integers(-(2**29) + 1, 2**29, (1, 10_000))
    values = [int.from_bytes(rng.bytes(16), "little") for _ in range(10_000)]
    product = ring128.product(x, ring(values).reshape(-1, 1, 2))
    assert ring128.to_ints(product[0]) == [signed(sum(int(a) * b for a, b in zip(x[0], values, strict=True)))]


def test_factors_that_could_overflow_are_refused():
    for call in (ring128.times, lambda a, f: ring128.product(f[None], a.reshape(1, 1, 2))):
        with pytest.raises(ValueError, match="29 bits"):
            call(ring([1]), np.array([2**29]))


def test_random_elements_and_small_integers():
    a = ring128.random(InsecureSeededRng(b"r"), 3, 2)
    assert a.shape == (3, 2, 2)
    assert len(set(ring128.to_ints(a.reshape(-1, 2)))) == 6
    assert ring128.to_ints(ring128.from_int64(np.array([-5, 0, 2**62]))) == [-5, 0, 2**62]
    assert ring128.to_ints(ring128.total([ring([1]), ring([2]), ring([-4])])) == [-1]
