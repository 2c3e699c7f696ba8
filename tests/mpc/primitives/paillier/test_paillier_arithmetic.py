import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paillier_setup import KEY, decrypted, encrypted, insecure_key

from mpc.errors import InputError
from mpc.primitives.paillier import (
    Encryptor,
    add,
    add_plain,
    decrypt,
    ints_from_words,
    matrix_product,
    multiply_plain,
    negate,
    shift_and_pack,
    sum_all,
    sum_by_index,
    words_from_int64,
    words_from_ints,
)
from mpc.testing import InsecureSeededRng

N = KEY.public.n
INT64 = st.integers(-(2**63), 2**63 - 1)
SMALL = st.integers(-(2**31), 2**31)
few = settings(max_examples=15)


def residues_of(ciphertexts):
    return ints_from_words(decrypt(KEY, ciphertexts))


@few
@given(st.lists(st.tuples(INT64, INT64), max_size=9))
def test_sums_and_products_are_those_of_integers(pairs):
    values, others = ([pair[side] for pair in pairs] for side in range(2))
    a, b = encrypted(values), encrypted(others)
    plain = np.array(others, np.int64)
    assert residues_of(add(a, b)) == [(x + y) % N for x, y in pairs]
    assert residues_of(add_plain(a, words_from_int64(plain, KEY.public))) == [(x + y) % N for x, y in pairs]
    assert residues_of(negate(a)) == [-x % N for x in values]
    assert residues_of(multiply_plain(a, plain)) == [x * y % N for x, y in pairs]
    assert residues_of(sum_all(a)) == [sum(values) % N]


def test_sums_wrap_at_n():
    a = Encryptor(KEY, InsecureSeededRng(b"x"), "fast").encrypt(words_from_ints([N - 1, N // 2], KEY.public))
    assert residues_of(add(a, a)) == [N - 2, N // 2 * 2]
    assert residues_of(multiply_plain(a, np.array([-1, 3]))) == [1, N // 2 * 3 % N]


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.uint64, np.float64, object])
def test_numbers_of_other_types_are_refused_not_read_as_int64(kind):
    numbers = np.arange(16).astype(kind)
    a = encrypted(range(16))
    for refused in (lambda: words_from_int64(numbers, KEY.public), lambda: multiply_plain(a, numbers)):
        with pytest.raises(InputError, match=r"of shape \(16,\), not a vector of int64"):
            refused()


def test_one_is_added_to_all():
    assert decrypted(add(encrypted([1, 2, 3]), encrypted([10]))) == [11, 12, 13]
    assert decrypted(add(encrypted([10]), encrypted([1, 2, 3]))) == [11, 12, 13]
    assert decrypted(add(encrypted([10]), encrypted([1]))) == [11]
    assert len(add(encrypted([10]), encrypted([]))) == 0


def test_the_sum_of_nothing_is_zero():
    assert decrypted(sum_all(encrypted([]))) == [0]


def test_arrays_of_different_lengths_or_keys_are_refused():
    other = insecure_key(1024)
    foreign = Encryptor(other, InsecureSeededRng(b"x"), "fast").encrypt(words_from_ints([1, 2], other.public))
    a = encrypted([1, 2])
    with pytest.raises(InputError, match="different Paillier keys"):
        add(a, foreign)
    with pytest.raises(InputError, match="2 ciphertexts cannot be added to 3"):
        add(a, encrypted([1, 2, 3]))
    with pytest.raises(InputError, match="2 ciphertexts take 2 factors"):
        multiply_plain(a, np.array([1]))
    with pytest.raises(InputError, match="not 2 rows"):
        add_plain(a, words_from_ints([1], KEY.public))
    with pytest.raises(InputError, match="below n"):
        add_plain(a, np.full((2, 8), 2**64 - 1, np.uint64))


@few
@given(st.data())
def test_sums_by_index_are_those_of_each_bin(data):
    bin_count = data.draw(st.sampled_from([1, 2, 7, 40, 300]))
    features, rows = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 40))
    kind = np.uint8 if bin_count <= 256 else np.uint16
    bins = np.array(
        data.draw(
            st.lists(
                st.lists(st.integers(0, bin_count - 1), min_size=features, max_size=features),
                min_size=rows,
                max_size=rows,
            )
        ),
        kind,
    ).reshape(rows, features)
    values = data.draw(st.lists(SMALL, min_size=rows, max_size=rows))
    expected = np.zeros((features, bin_count), np.int64)
    for row, value in zip(bins, values, strict=True):
        expected[np.arange(features), row] += value
    found = sum_by_index(encrypted(values), bins, bin_count)
    assert decrypted(found) == expected.ravel().tolist()


@pytest.mark.parametrize("features", [1, 2, 3, 4, 7])
def test_sums_by_index_are_right_when_features_are_combined_and_bins_are_empty(features):
    generator = np.random.default_rng(features)
    rows, bin_count = 3000, 5
    bins = generator.choice([0, 1, 3], size=(rows, features)).astype(np.uint8)  # 2 and 4 stay empty
    bins[:, -1] = 1
    values = generator.integers(-1000, 1000, 16)
    picked = generator.integers(0, 16, rows)
    ciphertexts = encrypted(values)
    sums = sum_by_index(ciphertexts[picked], bins, bin_count)
    assert sum_by_index(ciphertexts, bins, bin_count, picked).to_ints() == sums.to_ints()
    found = np.array(decrypted(sums)).reshape(features, bin_count)
    for feature in range(features):
        expected = np.bincount(bins[:, feature], values[picked], bin_count)
        assert (found[feature] == expected).all()


def test_an_empty_bin_is_a_ciphertext_like_any_other():
    sums = sum_by_index(encrypted([5, 6]), np.array([[1], [1]], np.uint8), 3)
    doubled = add(sums, sums)
    assert decrypted(doubled) == [0, 22, 0]
    rerandomised = Encryptor(KEY.public, InsecureSeededRng(b"x"), "fast").rerandomise(sums)
    assert decrypted(rerandomised) == [0, 11, 0]
    assert len(set(rerandomised.to_ints())) == 3


@pytest.mark.parametrize(
    ("bins", "bin_count"),
    [
        (np.zeros((3, 1), np.uint8), 4),
        (np.zeros(2, np.uint8), 4),
        (np.array([[0], [4]], np.uint8), 4),
        (np.zeros((2, 1), np.int64), 4),
        (np.zeros((2, 1), np.uint8), 0),
        (np.zeros((2, 1), np.uint8), 2**16 + 1),
    ],
)
def test_bins_that_do_not_fit_are_refused(bins, bin_count):
    with pytest.raises(InputError):
        sum_by_index(encrypted([1, 2]), bins, bin_count)


@pytest.mark.parametrize("chosen", [[0], [0, 1, 1], [0, 2], [-1, 0]])
def test_rows_that_are_not_there_cannot_be_chosen(chosen):
    with pytest.raises(InputError):
        sum_by_index(encrypted([1, 2]), np.zeros((2, 1), np.uint8), 4, np.array(chosen))


@few
@given(st.data())
def test_matrix_products_are_those_of_integers(data):
    rows, columns = data.draw(st.integers(0, 12)), data.draw(st.integers(0, 4))
    bound = data.draw(st.sampled_from([0, 1, 127, 128, 32767, 2**31, 2**62]))
    entries = data.draw(st.lists(st.integers(-bound, bound), min_size=rows * columns, max_size=rows * columns))
    x = np.array(entries, np.int64).reshape(rows, columns)
    values = data.draw(st.lists(SMALL, min_size=rows, max_size=rows))
    expected = [sum(int(e) * v for e, v in zip(column, values, strict=True)) % N for column in x.T]
    assert residues_of(matrix_product(x, encrypted(values))) == expected


@pytest.mark.parametrize("bound", [1, 2, 3, 100, 32767, 32768, 10**9])
def test_long_matrix_products_are_those_of_integers(bound):
    generator = np.random.default_rng(bound)
    x = generator.integers(-bound, bound + 1, (1500, 3))
    x[:4] = bound, -bound, bound
    x[:, 2] = np.where(generator.random(1500) < 0.99, 0, x[:, 2])
    values = generator.integers(-(10**6), 10**6, 16)
    picked = generator.integers(0, 16, 1500)
    assert decrypted(matrix_product(x, encrypted(values)[picked])) == (x.T @ values[picked]).tolist()


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((3, 1), np.int64),
        np.zeros(2, np.int64),
        np.zeros((2, 1)),
        np.array([[0], [2**62 + 1]]),
        np.array([[0], [-(2**63)]]),
    ],
)
def test_matrices_that_do_not_fit_are_refused(x):
    with pytest.raises(InputError):
        matrix_product(x, encrypted([1, 2]))


@few
@given(st.lists(st.integers(0, 2**40), max_size=20), st.integers(1, 7), st.sampled_from([1, 41, 64]))
def test_shift_and_pack_puts_groups_into_one(values, per, shift_bits):
    packed = residues_of(shift_and_pack(encrypted(values), shift_bits, per))
    groups = [values[at : at + per] for at in range(0, len(values), per)]
    assert packed == [sum(value << shift_bits * i for i, value in enumerate(group)) for group in groups]


@pytest.mark.parametrize(("shift_bits", "per"), [(64, 9), (0, 3), (3, 0), (513, 1), (-1, -1)])
def test_groups_that_cannot_fit_are_refused(shift_bits, per):
    with pytest.raises(InputError, match="do not fit"):
        shift_and_pack(encrypted([1, 2]), shift_bits, per)
