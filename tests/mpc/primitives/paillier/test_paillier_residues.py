"""Every backend computes what Python's integers do."""

import random
from concurrent.futures import ThreadPoolExecutor
from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paillier_setup import BACKENDS, RUNNABLE

from mpc.primitives.paillier.residues_vector import VectorResidues
from mpc.primitives.paillier.words import above, add_constant, ints_from_words, rows_of_words

# Of roots: from one word to keys of 8192 bits; not whole words; limb counts that are and are not whole blocks of limbs;
# the sizes between which sums of 28-bit limbs must be carried on the way. Roots of all ones, so that every limb is.
SIZES = [64, 65, 100, 127, 257, 511, 512, 1024, 1100, 1536, 2230, 2250, 3461, 3480, 4096]


def roots(bits):
    generator = random.Random(bits)
    return [generator.getrandbits(bits) | 1 | 1 << bits - 1, (1 << bits) - 1]


def operands(modulus, words):
    """Boundaries, limbs of all ones at every length of a limb, and random integers of so many words."""
    generator = random.Random(modulus)
    ones = [(1 << bits) - 1 for limb in (28, 52) for bits in range(limb, modulus.bit_length(), 13 * limb)]
    stripes = sum(((1 << 28) - 1) << at for at in range(0, modulus.bit_length() - 28, 56))
    edges = [0, 1, 2, modulus - 1, modulus - 2, modulus // 2, modulus, (1 << 64 * words) - 1, stripes, *ones[-6:]]
    return edges + [generator.getrandbits(64 * words) for _ in range(6)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bits", SIZES)
def test_arithmetic_is_that_of_integers(backend, bits):
    for root in roots(bits):
        modulus = root**2
        residues = BACKENDS[backend](root)
        edges = [root, root - 1, root + 1, modulus - root, (root - 1) * root, (1 << bits) - 1]
        values = [*edges, *operands(modulus, residues.words)]
        rows = residues.affine(rows_of_words(values, residues.words), 1, 0)

        def left(found, residues=residues):
            return ints_from_words(residues.leave(found))

        reduced = [value % modulus for value in values]
        assert left(rows) == reduced
        factor, offset = values[-1], values[-2]
        shifted = residues.affine(rows_of_words(values, residues.words), factor, offset)
        again = residues.affine(rows_of_words(values, residues.words), factor, shifted)
        assert left(again) == [(2 * value * factor + offset) % modulus for value in values]
        assert left(residues.multiply(again, again)) == [pow(2 * v * factor + offset, 2, modulus) for v in values]
        for other in range(0, len(values), 1 if bits < 1000 else 5):
            turned = reduced[other:] + reduced[:other]
            found = residues.multiply(rows, np.roll(rows, -other, axis=0))
            assert left(found) == [x * y % modulus for x, y in zip(reduced, turned, strict=True)]
        for exponent in (0, 1, 2, 3, 3**20):
            assert left(residues.power(rows, exponent)) == [pow(value, exponent, modulus) for value in values]
        exponents = list(range(len(values)))
        found = residues.powers(rows, np.array(exponents, np.uint64))
        assert left(found) == [pow(value, e, modulus) for value, e in zip(values, exponents, strict=True)]
        lengths = np.array([0, 2, len(values) - 5, 3, 0])
        found = left(residues.products(rows, np.arange(len(values)), lengths))
        assert found[:2] == [1, reduced[0] * reduced[1] % modulus]
        assert found[3:] == [reduced[-3] * reduced[-2] * reduced[-1] % modulus, 1]
        plain = [value & ((1 << bits) - 1) for value in values]
        found = rows_of_words(plain, -(-bits // 64))
        again, expected = rows, reduced
        for _ in range(40 if bits < 1000 else 2):  # however often: parts of rows must not grow
            again = residues.shift(again, found)
            expected = [x * (1 + y * root) % modulus for x, y in zip(expected, plain, strict=True)]
        assert left(again) == expected
        assert left(residues.multiply(again, again)) == [x * x % modulus for x in expected]
        units = residues.affine(rows_of_words([2, 4, root + 2], residues.words), 1, 0)
        assert left(residues.invert(units)) == [pow(value, -1, modulus) for value in (2, 4, root + 2)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bits", [64, 511, 550, 1740, 3072])
def test_powers_are_those_of_integers(backend, bits):
    root = roots(bits)[0]
    modulus, residues = root**2, BACKENDS[backend](root)
    values = [value % modulus for value in operands(modulus, residues.words)]
    rows = residues.affine(rows_of_words(values, residues.words), 1, 0)
    for exponent in (0, 1, 2, 3, 15, 16, 17, 1 << 20, (1 << 40) - 1, 3**20):
        found = ints_from_words(residues.leave(residues.power(rows, exponent)))
        assert found == [pow(value, exponent, modulus) for value in values]
    exponents = [0, 1, 15, 16, 2**63, 2**64 - 1, *range(2, 2**32, 2**32 // len(values))][: len(values)]
    for each in ((exponents,) if bits < 2000 else ()) + ([0] * len(values), [3] * len(values)):
        found = ints_from_words(residues.leave(residues.powers(rows, np.array(each, np.uint64))))
        assert found == [pow(value, exponent, modulus) for value, exponent in zip(values, each, strict=True)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_powers_to_long_exponents_are_those_of_integers(backend):
    root = roots(150)[0]
    modulus, residues, generator = root**2, BACKENDS[backend](root), random.Random(1)
    values = [3, 5, modulus - 1, 1 << 149]
    rows = residues.affine(rows_of_words(values, residues.words), 1, 0)
    gaps = [(1 << at) + low for at in (63, 64, 300) for low in (0, 1, 2, 63, 64)]
    long = [generator.getrandbits(bits) << zeros for bits in (7, 90, 500, 1500) for zeros in (0, 1, 70)]
    for exponent in [*gaps, *long, (1 << 1024) - 1]:
        found = ints_from_words(residues.leave(residues.power(rows, exponent)))
        assert found == [pow(value, exponent, modulus) for value in values]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bits", [65, 257, 550, 1024, 2230])
def test_powers_by_tables_are_those_of_integers(backend, bits):
    for root in roots(bits):
        modulus, residues, generator = root**2, BACKENDS[backend](root), random.Random(bits)
        drawn = [generator.randrange(modulus) for _ in range(9)]
        units = [x for x in (2, root - 1, root + 1, modulus - 1, *drawn) if gcd(x, root) == 1]
        for width, factor in ((1, 1), (5, modulus - 2), (9, units[-1])):
            table = residues.table(units, width, factor)
            octets = -(-width * len(units) // 8)
            edges = [0, 1, (1 << width * len(units)) - 1, 1 << width * (len(units) - 1)]
            exponents = [*edges, *(generator.getrandbits(width * len(units)) for _ in range(20))]
            raw = np.array([list(exponent.to_bytes(octets, "little")) for exponent in exponents], np.uint8)
            plain = [[0, 1, root - 1, root // 2][at] if at < 4 else generator.randrange(root) for at in range(24)]
            expected = []
            for exponent in exponents:
                product = factor
                for at, unit in enumerate(units):
                    product *= pow(unit, exponent >> at * width & (1 << width) - 1, modulus)
                expected.append(product % modulus)
            found = residues.powers_of_table(table, width, raw, None)
            assert ints_from_words(residues.leave(found)) == expected
            found = residues.powers_of_table(table, width, raw, rows_of_words(plain, -(-bits // 64)))
            shifted = [x * (1 + w * root) % modulus for x, w in zip(expected, plain, strict=True)]
            assert ints_from_words(residues.leave(found)) == shifted
            assert ints_from_words(residues.leave(residues.multiply(found, found))) == [x**2 % modulus for x in shifted]


@pytest.mark.parametrize("backend", BACKENDS)
def test_sums_of_as_many_digits_as_there_may_be_fit(backend):
    root = (1 << 1024) - 1  # of which the registers leave the fewest bits free
    modulus, residues = root**2, BACKENDS[backend](root)
    unit = pow(2, 977, modulus) * (1 + (root - 1) * root) % modulus
    table = residues.table([unit] * 900, 1, 1)
    raw = np.full((2, 113), 255, np.uint8)
    words = rows_of_words([root - 1] * 2, 16)
    found = residues.powers_of_table(table, 1, raw, words)
    expected = pow(unit, 900, modulus) * (1 + (root - 1) * root) % modulus
    assert ints_from_words(residues.leave(found)) == [expected] * 2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bits", [64, 130, 272, 512, 1024, 1536])
def test_residues_are_joined_as_the_chinese_remainder_theorem_says(backend, bits):
    generator = random.Random(bits)
    for p in roots(bits):
        q = next(q for q in range(p - 2, 0, -2) if gcd(p, q) == 1 and q.bit_length() == bits)
        both = [BACKENDS[backend](root) for root in (p, q)]
        whole = BACKENDS[backend](p * q)
        joining = whole.joining(p, q)
        values = [0, 1, (p * q) ** 2 - 1, p, q, p**2, q**2, *(generator.randrange((p * q) ** 2) for _ in range(20))]
        rows = [
            field.affine(rows_of_words([v % field.modulus for v in values], field.words), factor, 0)
            for field, factor in zip(both, joining.factors, strict=True)
        ]
        rows = [field.multiply(each, field.power(each, 0)) for field, each in zip(both, rows, strict=True)]
        assert ints_from_words(whole.leave(whole.join(joining, *rows, None))) == values
        plain = [generator.randrange(p * q) for _ in values]
        found = whole.join(joining, *rows, rows_of_words(plain, -(-(p * q).bit_length() // 64)))
        expected = [v * (1 + w * p * q) % whole.modulus for v, w in zip(values, plain, strict=True)]
        assert ints_from_words(whole.leave(found)) == expected
        assert ints_from_words(whole.leave(whole.multiply(found, found))) == [v**2 % whole.modulus for v in expected]


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_that_share_a_modulus_keep_to_themselves(backend):
    root = roots(512)[0]
    modulus, residues = root**2, BACKENDS[backend](root)
    values = [pow(3, i + 400, modulus) for i in range(40)]
    rows = residues.affine(rows_of_words(values, residues.words), 1, 0)
    exponents = [3**40, 5**30, 7**20, 1 << 60]

    def work(exponent: int) -> list[list[int]]:
        return [ints_from_words(residues.leave(residues.power(rows, exponent))) for _ in range(20)]

    with ThreadPoolExecutor(len(exponents)) as pool:
        for exponent, found in zip(exponents, pool.map(work, exponents), strict=True):
            assert found == [[pow(value, exponent, modulus) for value in values]] * 20


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, 19), max_size=70), max_size=20), st.sampled_from(sorted(BACKENDS)))
def test_products_of_lists_are_those_of_integers(lists, backend):
    root = roots(150)[0]
    modulus, residues = root**2, BACKENDS[backend](root)
    values = [pow(3, i + 50, modulus) for i in range(20)]
    rows = residues.affine(rows_of_words(values, residues.words), 1, 0)
    index = np.array([item for each in lists for item in each], np.int64)
    found = residues.products(rows, index, np.array([len(each) for each in lists], np.int64))
    expected = [1] * len(lists)
    for at, each in enumerate(lists):
        for item in each:
            expected[at] = expected[at] * values[item] % modulus
    assert ints_from_words(residues.leave(found)) == expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_long_and_short_lists_beside_each_other_keep_to_themselves(backend):
    root = roots(128)[0]
    modulus, residues = root**2, BACKENDS[backend](root)
    rows = residues.affine(rows_of_words([3, 5, 7], residues.words), 1, 0)
    lengths = [0, 5000, 1, 0, 17, 16, 999, 0, 0, 2, 0]
    index = np.concatenate([np.full(length, at % 3) for at, length in enumerate(lengths)])
    found = residues.products(rows, index, np.array(lengths))
    expected = [pow((3, 5, 7)[at % 3], length, modulus) for at, length in enumerate(lengths)]
    assert ints_from_words(residues.leave(found)) == expected


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 9, 64])
def test_inverses_are_those_of_integers(backend, count):
    root = (2**127 - 1) * (2**89 - 1)
    modulus, residues = root**2, BACKENDS[backend](root)
    values = [pow(5, i + 1, modulus) for i in range(count)]
    rows = residues.affine(rows_of_words(values, residues.words), 1, 0)
    assert ints_from_words(residues.leave(residues.invert(rows))) == [pow(value, -1, modulus) for value in values]


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_rows_give_no_rows(backend):
    residues = BACKENDS[backend](roots(64)[0])
    none = residues.affine(np.zeros((0, 2), np.uint64), 3, 5)
    for found in (
        none,
        residues.multiply(none, none),
        residues.shift(none, np.zeros((0, 1), np.uint64)),
        residues.power(none, 5),
        residues.powers(none, np.zeros(0, np.uint64)),
        residues.invert(none),
        residues.products(none, np.zeros(0, np.int64), np.zeros(0, np.int64)),
    ):
        assert residues.leave(found).shape == (0, 2)
    assert ints_from_words(residues.leave(residues.products(none, np.zeros(0, np.int64), np.zeros(2, np.int64)))) == [
        1,
        1,
    ]


@given(st.lists(st.integers(0, 2**192 - 1), max_size=20), st.integers(0, 2**192 - 1))
def test_words_compare_and_add_as_integers(values, constant):
    words = rows_of_words(values, 3)
    assert ints_from_words(words) == values
    assert above(words, constant).tolist() == [value > constant for value in values]
    for addend in (constant, -constant):
        assert ints_from_words(add_constant(words, addend)) == [(value + addend) % 2**192 for value in values]


def test_words_that_differ_only_in_the_lowest_are_told_apart():
    values = [2**128 + 4, 2**128 + 5, 2**128 + 6]
    assert above(rows_of_words(values, 3), 2**128 + 5).tolist() == [False, False, True]


@pytest.mark.parametrize("machine", RUNNABLE, ids=lambda machine: machine.name)
@pytest.mark.parametrize("bits", [300, 2230, 2250, 3480, 8192])
def test_carries_are_right_for_rows_in_which_every_limb_is_all_ones(machine, bits):
    root = (1 << bits) - 1
    residues = VectorResidues(root, machine)
    limbs = machine.limbs(root)
    row = np.full((2, limbs), (1 << machine.limb_bits) - 1, f"uint{machine.row_bits}")
    row[:, bits // machine.limb_bits :] = 0
    number = sum(int(limb) << machine.limb_bits * at for at, limb in enumerate(row[0]))
    value = number * (1 + root) * pow(1 << machine.limb_bits * limbs, -1, root**2)
    pair = row.reshape(1, 2 * limbs)
    assert ints_from_words(residues.leave(pair)) == [value % root**2]
    assert ints_from_words(residues.leave(residues.multiply(pair, pair))) == [value**2 % root**2]
    assert ints_from_words(residues.leave(residues.power(pair, 2))) == [value**2 % root**2]
