import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paillier_setup import ENCRYPTOR, KEY

from mpc.errors import InputError
from mpc.primitives.paillier import Packing, decrypt, ints_from_words, shift_and_pack, sum_by_index, words_from_ints

PUBLIC = KEY.public


@given(st.data())
def test_packed_numbers_come_back(data):
    packing = Packing(data.draw(st.integers(1, 7)), data.draw(st.integers(1, 2**50)), data.draw(st.integers(1, 2**12)))
    value = st.one_of(
        st.integers(-packing.max_abs, packing.max_abs), st.sampled_from([packing.max_abs, -packing.max_abs])
    )
    rows = data.draw(st.lists(st.lists(value, min_size=packing.slots, max_size=packing.slots), max_size=5))
    values = np.array(rows, np.int64).reshape(len(rows), packing.slots)
    words = packing.pack(values, PUBLIC)
    assert ints_from_words(words) == [
        sum(v << i * packing.slot_bits for i, v in enumerate(row)) % PUBLIC.n for row in rows
    ]
    assert packing.unpack(words, PUBLIC).tolist() == values.tolist()


@settings(max_examples=20)
@given(st.integers(1, 2**30), st.integers(1, 1000), st.sampled_from([1, -1]))
def test_as_many_additions_as_declared_of_the_largest_numbers_are_exact(max_abs, additions, sign):
    packing = Packing(3, max_abs, additions)
    one = ints_from_words(packing.pack(sign * np.array([[max_abs, -max_abs, max_abs]]), PUBLIC))[0]
    total = words_from_ints([one * additions % PUBLIC.n], PUBLIC)
    largest = sign * max_abs * additions
    assert packing.unpack(total, PUBLIC).tolist() == [[largest, -largest, largest]]


def test_histograms_of_packed_pairs_travel_many_in_one_ciphertext():
    generator = np.random.default_rng(1)
    rows, bin_count = 400, 6
    packing = Packing(2, 1000, rows)
    values = generator.integers(-1000, 1001, (rows, 2))
    bins = generator.integers(0, bin_count - 1, (rows, 2)).astype(np.uint8)  # the last bin is empty
    sums = sum_by_index(ENCRYPTOR.encrypt(packing.pack(values, PUBLIC)), bins, bin_count)
    per = packing.per_plaintext(PUBLIC)
    assert per == 510 // (2 * 20)
    packed = shift_and_pack(sums, packing.bits, per)
    assert len(packed) == 1
    found = packing.unpack(decrypt(KEY, packed), PUBLIC, per).reshape(-1, 2)[: 2 * bin_count]
    expected = np.zeros((2, bin_count, 2), np.int64)
    for feature in range(2):
        np.add.at(expected[feature], bins[:, feature], values)
    assert found.tolist() == expected.reshape(-1, 2).tolist()


@pytest.mark.parametrize("values", [[[11, 0]], [[0, -11]], [[0, 0], [2**63 - 1, 0]], [[-(2**63), 0]]])
def test_a_number_larger_than_declared_is_refused(values):
    with pytest.raises(InputError, match="larger than declared"):
        Packing(2, 10, 5).pack(np.array(values), PUBLIC)


@pytest.mark.parametrize(("max_abs", "additions"), [(2**63, 1), (2**40, 2**24), (1, 2**63)])
def test_sums_that_would_overflow_64_bits_are_refused_beforehand(max_abs, additions):
    with pytest.raises(InputError, match="more than 64"):
        Packing(2, max_abs, additions)
    assert Packing(1, 2**39 - 1, 2**24).slot_bits == 64


@pytest.mark.parametrize("arguments", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1)])
def test_packings_of_nothing_are_refused(arguments):
    with pytest.raises(InputError):
        Packing(*arguments)


def test_more_slots_than_fit_the_key_are_refused():
    packing = Packing(8, 2**62, 1)
    with pytest.raises(InputError, match="do not fit a Paillier key of 512 bits"):
        packing.pack(np.zeros((1, 8), np.int64), PUBLIC)
    with pytest.raises(InputError, match="do not fit a Paillier key of 512 bits"):
        Packing(4, 2**62, 1).unpack(words_from_ints([0], PUBLIC), PUBLIC, 2)


@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 1)])
def test_values_of_another_shape_are_refused(shape):
    with pytest.raises(InputError, match="values have shape"):
        Packing(2, 10, 5).pack(np.zeros(shape, np.int64), PUBLIC)


@pytest.mark.parametrize("beyond", [1 << 40, -(1 << 40), 1 << 500, -(1 << 500)])
def test_a_plaintext_larger_than_its_slots_is_an_error(beyond):
    packing = Packing(4, 2**4, 2**4)
    assert packing.bits == 40
    with pytest.raises(InputError, match="overflowed"):
        packing.unpack(words_from_ints([beyond], PUBLIC), PUBLIC)
