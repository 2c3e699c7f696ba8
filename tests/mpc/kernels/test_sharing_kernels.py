import platform

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.kernels import build
from mpc.kernels.bits import SIDE_BY_SIDE, to_planes
from mpc.kernels.matrix_words import add_product
from mpc.kernels.quicksort import pairs, partition
from mpc.kernels.shares import carries, replicated_conjunctions, thresholds
from mpc.sharing.ring import matmul, pack, sums_of, unpack


@given(seed=st.integers(0, 2**32), count=st.integers(0, 2000), rows=st.integers(1, 64))
@settings(max_examples=20)
def test_planes_hold_the_bits_of_words(seed, count, rows):
    words = np.random.default_rng(seed).integers(0, 2**64, count, np.uint64)
    planes = np.empty((rows, -(-count // 64)), np.uint64)
    to_planes(words, planes, np.empty((64, SIDE_BY_SIDE), np.uint64))
    for j in range(rows):
        bits = np.unpackbits(planes[j].view(np.uint8), bitorder="little")
        assert np.array_equal(bits[:count], ((words >> np.uint64(j)) & np.uint64(1)).astype(np.uint8))
        assert not bits[count:].any()


@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 1), (3, 1, 2), (2, 513, 3), (5, 1025, 4), (1, 700, 6), (6, 700, 1), (2, 0, 2), (17, 256, 16), (8, 257, 33)],
)
def test_the_matrix_product_is_exact_modulo_two_to_the_64(sizes):
    m, k, n = sizes
    rng = np.random.default_rng(3)
    for x, y in (
        (rng.integers(0, 2**64, (m, k), np.uint64), rng.integers(0, 2**64, (k, n), np.uint64)),
        (np.full((m, k), 2**64 - 1, np.uint64), np.full((k, n), 2**63, np.uint64)),
        (np.full((m, k), 2**21, np.uint64), np.full((k, n), 2**21, np.uint64)),
    ):
        assert np.array_equal(matmul((x, y)), x @ y)
        assert np.array_equal(matmul((x, y), (x[::-1], y)), x @ y + x[::-1] @ y)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="compiles for processors of this family")
@pytest.mark.parametrize(("processor", "product"), [("haswell", "vpmuludq"), ("skylake-avx512", "vpmullq")])
def test_matrix_products_take_the_vector_products_that_there_are(processor, product):
    code = build.assembly(add_product.function, add_product.signature, processor)
    assert product in code
    assert ("zmm" in code or "vpmullq" in code) == (processor != "haswell")


@given(bits=st.lists(st.booleans(), max_size=200))
def test_packed_bits_are_unpacked_again(bits):
    array = np.array(bits, np.uint8)
    assert np.array_equal(unpack(pack(array), array.shape), array)


@given(values=st.lists(st.integers(0, 50), min_size=2, max_size=60))
@settings(max_examples=30)
def test_levels_of_quicksort_sort(values):
    x = np.array(values) * 1000 + np.arange(len(values))
    order, scratch, segments = np.arange(len(x)), np.empty(len(x), np.int64), np.array([[0, len(x)]])
    levels = 0
    while len(segments):
        compared = int((segments[:, 1] - segments[:, 0] - 1).sum())
        left, right = np.empty((2, compared), np.int64)
        pairs(order, segments, left, right)
        found = np.empty((2 * len(segments), 2), np.int64)
        count = partition(order, segments, (x[left] < x[right]).astype(np.uint8), scratch, found)
        segments, levels = found[:count], levels + 1
        assert levels <= len(x)
    assert np.array_equal(x[order], np.sort(x))


@given(groups=st.lists(st.integers(-2, 6), max_size=50), count=st.integers(1, 5))
def test_sums_by_group_leave_out_other_groups(groups, count):
    keys, numbers = np.array(groups, np.int64), np.arange(2 * len(groups), dtype=np.uint64).reshape(-1, 2)
    want = [numbers[keys == group].sum(axis=0, dtype=np.uint64) for group in range(count)]
    assert np.array_equal(sums_of(keys, numbers, count), want)


@given(seed=st.integers(0, 2**32), bits=st.integers(1, 9), columns=st.integers(1, 5))
@settings(max_examples=30)
def test_digits_carry_when_their_sum_is_four_and_pass_on_when_it_is_three(seed, bits, columns):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 2**64, (2, bits, columns), np.uint64)
    digits = -(-bits // 2)
    known = np.empty((3 * digits, columns), np.uint64)
    thresholds(a, known)
    part = rng.integers(0, 2**64, known.shape, np.uint64)
    masks = rng.integers(0, 2**64, (2, (2 * digits - 1) * columns), np.uint64)
    out = np.empty((2, 2 * digits - 1, columns), np.uint64)
    for index, (mine, one) in enumerate(((part, 2**64 - 1), (part ^ known, 0))):
        carries(b, mine, np.uint64(one), masks[index], out[index])
    found = out[0] ^ out[1] ^ (masks[0] ^ masks[1]).reshape(out[0].shape)
    zeros, ones = np.zeros((bits % 2, columns), np.uint64), np.full((bits % 2, columns), 2**64 - 1, np.uint64)
    x, y = np.concatenate([zeros, a]).reshape(digits, 2, columns), np.concatenate([ones, b]).reshape(digits, 2, columns)
    p, g = x ^ y, x & y
    assert np.array_equal(found[:digits], g[:, 1] | (p[:, 1] & g[:, 0]))
    assert np.array_equal(found[digits:], (p[:, 1] & p[:, 0])[1:])


def test_gates_are_conjunctions_of_rows_with_what_is_added():
    rng = np.random.default_rng(1)
    x0, x1, x2 = rng.integers(0, 2**64, (3, 4, 20), np.uint64)
    gates = np.array([(0, 1, 2), (3, 3, -1), (2, 0, 3)])
    masks = rng.integers(0, 2**64, (3, 3 * 13), np.uint64)
    total = np.zeros((3, 20), np.uint64)
    for index, (own, other) in enumerate(((x0, x1), (x1, x2), (x2, x0))):
        out = np.zeros((3, 20), np.uint64)
        replicated_conjunctions(own, other, gates, 3, 16, masks[index], masks[index - 1], out)
        total ^= out
    x = x0 ^ x1 ^ x2
    want = np.stack([(x[0] & x[1]) ^ x[2], x[3], (x[2] & x[0]) ^ x[3]])
    want[:, :3] = want[:, 16:] = 0
    assert np.array_equal(total, want)
