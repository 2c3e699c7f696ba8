"""The library phe as oracle: keys and numbers travel both ways."""

import sys

import numpy as np
import phe
import pytest
from paillier_setup import KEY, decrypted, encrypted

from mpc.errors import InputError
from mpc.primitives.paillier import Encryptor, add, decrypt, ints_from_words, multiply_plain, negate, words_from_int64
from mpc.primitives.paillier.interop import (
    ciphertexts_from_phe,
    ciphertexts_to_phe,
    private_key_from_phe,
    private_key_to_phe,
    public_key_from_phe,
    public_key_to_phe,
)
from mpc.testing import InsecureSeededRng

VALUES = [0, 1, -1, 2**62, -(2**63), 123456789]


@pytest.fixture(scope="module")
def theirs():
    return phe.generate_paillier_keypair(n_length=2048)


def test_phe_decrypts_and_computes_with_our_ciphertexts():
    private = private_key_to_phe(KEY)
    numbers = ciphertexts_to_phe(encrypted(VALUES))
    assert [private.decrypt(number) for number in numbers] == VALUES
    assert [private.decrypt(number + number) for number in numbers] == [2 * value for value in VALUES]
    assert [private.decrypt(number * 3 + 7) for number in numbers] == [3 * value + 7 for value in VALUES]
    products = ciphertexts_to_phe(negate(multiply_plain(encrypted(VALUES), np.full(6, -5))))
    assert [private.decrypt(number) for number in products] == [5 * value for value in VALUES]


def test_exponents_travel_beside():
    private = private_key_to_phe(KEY)
    numbers = ciphertexts_to_phe(encrypted([3, 3, 3]), [0, -1, 2])
    assert [private.decrypt(number) for number in numbers] == [3, 3 / 16, 3 * 256]
    with pytest.raises(InputError, match="2 exponents for 3"):
        ciphertexts_to_phe(encrypted([3, 3, 3]), [0, 1])


def test_we_decrypt_and_compute_with_the_ciphertexts_of_phe():
    public = public_key_to_phe(KEY.public)
    numbers = [public.encrypt(value) for value in (5, -7, 2.5, -0.1)]
    ciphertexts, exponents = ciphertexts_from_phe(numbers, KEY.public)
    assert exponents[:3] == [0, 0, numbers[2].exponent]
    n = KEY.public.n
    signed = [value if value < n // 2 else value - n for value in ints_from_words(decrypt(KEY, ciphertexts))]
    assert [value * 16.0**exponent for value, exponent in zip(signed, exponents, strict=True)] == [5, -7, 2.5, -0.1]
    assert decrypted(add(ciphertexts[:2], encrypted([1, 1]))) == [6, -6]


def test_keys_of_phe_encrypt_and_decrypt(theirs):
    public, private = theirs
    ours = private_key_from_phe(private, InsecureSeededRng(b"x"))
    assert private_key_to_phe(ours) == private
    assert public_key_to_phe(ours.public) == public
    assert public_key_from_phe(public, InsecureSeededRng(b"y")) == ours.public
    for key in (ours, public_key_from_phe(public, InsecureSeededRng(b"y"))):
        for mode in ("strict", "fast"):
            encryptor = Encryptor(key, InsecureSeededRng(b"z"), mode)
            ciphertexts = encryptor.encrypt(words_from_int64(np.array(VALUES), ours.public))
            assert [private.raw_decrypt(c) for c in ciphertexts.to_ints()] == [value % public.n for value in VALUES]
    assert ints_from_words(decrypt(ours, ciphertexts)) == [value % public.n for value in VALUES]


def test_small_keys_and_numbers_of_other_keys_are_refused(theirs):
    small, _ = phe.generate_paillier_keypair(n_length=512)
    with pytest.raises(InputError, match="of 512 bits"):
        public_key_from_phe(small, InsecureSeededRng(b"x"))
    with pytest.raises(InputError, match="under another key"):
        ciphertexts_from_phe([small.encrypt(1)], KEY.public)


def test_what_makes_objects_of_phe_says_that_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "phe", None)
    with pytest.raises(InputError, match="phe is not installed"):
        public_key_to_phe(KEY.public)
