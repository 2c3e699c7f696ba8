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
    x = numbers.integers(0, 2**16, (rows, columns))
    x[0, 0], x[-1, -1] = 2**16 - 1, 0
    values = [int(v) for v in numbers.integers(0, 2**40, columns)]
    a = Encryptor(key, RNG).encrypt(words_from_ints(values, key.public))
    found = ints_from_words(decrypt(key, packed_row_products(x, a, 80, per)))
    expected = [sum(int(c) * v for c, v in zip(row, values, strict=True)) for row in x]
    slots = [value >> 80 * slot & (2**80 - 1) for value in found for slot in range(per)]
    assert slots[:rows] == expected
    assert not any(slots[rows:])


def test_entries_and_shapes_that_do_not_fit_are_refused(key):
    a = Encryptor(key, RNG).encrypt(words_from_ints([1, 2], key.public))
    for x, per in (
        (np.full((1, 2), -1), 1),
        (np.full((1, 2), 2**16), 1),
        (np.zeros((1, 3), int), 1),
        (np.zeros((1, 2), int), 7),
    ):
        with pytest.raises(InputError):
            packed_row_products(x, a, 80, per)
