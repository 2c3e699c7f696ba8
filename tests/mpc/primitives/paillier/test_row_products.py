import numpy as np
import pytest

from mpc.errors import InputError
from mpc.primitives.paillier import Encryptor, PrivateKey, decrypt, ints_from_words, words_from_ints
from mpc.primitives.paillier.row_products import packed_row_products
from mpc.testing import InsecureSeededRng, insecure_paillier

RNG = InsecureSeededRng(b"row products")


@pytest.fixture(scope="module")
def key():
    with insecure_paillier():
        yield PrivateKey.generate(RNG, 512)


@pytest.mark.parametrize(("rows", "columns", "per"), [(1, 1, 1), (7, 3, 2), (300, 2, 5), (1500, 1, 6), (4, 700, 2)])
def test_rows_stand_in_their_slots(key, rows, columns, per):
    numbers = np.random.default_rng(rows)
    x = numbers.integers(-(2**15), 2**15, (rows, columns))
    x[0, 0], x[-1, -1] = 2**15 - 1, -(2**15)
    values = [int(v) for v in numbers.integers(0, 2**40, columns)]
    a = Encryptor(key, RNG).encrypt(words_from_ints(values, key.public))
    assert slots_of(packed_row_products(x, a, 80, per), key, per) == expected(x, values, per)


@pytest.mark.parametrize("most", [0, 1, 127, 128, 129, 255, 256])
def test_entries_of_few_digits_are_multiplied_by_small_tables(key, most):
    x = np.array([[0, most], [-most, 0], [most, -most], [0, 0], [0, 0]])
    a = Encryptor(key, RNG).encrypt(words_from_ints([3, 2**70], key.public))
    assert slots_of(packed_row_products(x, a, 80, 3), key, 3) == expected(x, [3, 2**70], 3)


def expected(x, values, per):
    products = [sum(int(c) * v for c, v in zip(row, values, strict=True)) for row in x]
    return products + [0] * (-len(products) % per)


def slots_of(packed, key, per):
    """The signed numbers in slots of 80 bits."""
    n, slots = key.public.n, []
    for value in ints_from_words(decrypt(key, packed)):
        whole = value - n if value > n // 2 else value
        for _ in range(per):
            slots.append((whole + 2**79) % 2**80 - 2**79)
            whole = (whole - slots[-1]) >> 80
        assert whole == 0
    return slots


def test_entries_and_shapes_that_do_not_fit_are_refused(key):
    a = Encryptor(key, RNG).encrypt(words_from_ints([1, 2], key.public))
    for x, per in (
        (np.full((1, 2), -(2**15) - 1), 1),
        (np.full((1, 2), 2**15), 1),
        (np.zeros((1, 3), int), 1),
        (np.zeros((1, 2), int), 7),
    ):
        with pytest.raises(InputError):
            packed_row_products(x, a, 80, per)
