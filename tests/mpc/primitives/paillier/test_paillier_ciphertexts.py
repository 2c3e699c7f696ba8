import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paillier_setup import ENCRYPTOR, KEY, decrypted, encrypted

from mpc.errors import InputError, ProtocolError
from mpc.primitives.paillier import (
    Ciphertexts,
    Encryptor,
    PrivateKey,
    PublicKey,
    decrypt,
    int64_from_words,
    words_from_int64,
)
from mpc.testing import InsecureSeededRng, insecure_paillier

PUBLIC = KEY.public
WIDTH = PUBLIC.ciphertext_bytes


def as_bytes(*values):
    return b"".join(value.to_bytes(WIDTH, "little") for value in values)


def test_ciphertexts_travel_as_bytes_of_fixed_width():
    ciphertexts = encrypted([0, 1, -1, 5])
    data = ciphertexts.to_bytes()
    assert len(data) == 4 * WIDTH == 4 * 128
    assert data == as_bytes(*ciphertexts.to_ints())
    again = Ciphertexts.from_bytes(PUBLIC, data, 4)
    assert again.to_ints() == ciphertexts.to_ints()
    assert decrypted(again) == [0, 1, -1, 5]
    assert Ciphertexts.from_bytes(PUBLIC, b"", 0).to_bytes() == b""


@pytest.mark.parametrize("bits", [514, 520, 574, 1026])
def test_keys_of_lengths_that_are_no_whole_words_or_bytes_do_as_well(bits):
    with insecure_paillier():
        key = PrivateKey.generate(InsecureSeededRng(b"odd"), bits)
    values = np.array([0, 1, -1, 2**63 - 1, -(2**63)])
    for owner in (key, key.public):
        ciphertexts = Encryptor(owner, InsecureSeededRng(b"x"), "fast").encrypt(words_from_int64(values, key.public))
        again = Ciphertexts.from_bytes(key.public, ciphertexts.to_bytes(), len(values))
        assert int64_from_words(decrypt(key, again), key.public).tolist() == values.tolist()
        with pytest.raises(ProtocolError, match="not below n²"):
            Ciphertexts.from_bytes(key.public, b"\xff" * key.public.ciphertext_bytes, 1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "no unit"),
        (PUBLIC.n, "no unit"),
        (KEY.p, "no unit"),
        (7 * KEY.q, "no unit"),
        (PUBLIC.n_squared - PUBLIC.n, "no unit"),
        (PUBLIC.n_squared, "not below n²"),
        (PUBLIC.n_squared + 1, "not below n²"),
        ((1 << 8 * WIDTH) - 1, "not below n²"),
    ],
)
@pytest.mark.parametrize("place", [0, 3, 8])
def test_one_malformed_ciphertext_among_others_is_refused(value, message, place):
    others = encrypted(range(8)).to_ints()
    with pytest.raises(ProtocolError, match=message):
        Ciphertexts.from_bytes(PUBLIC, as_bytes(*others[:place], value, *others[place:]), 9)


def test_the_largest_and_the_smallest_units_are_accepted():
    edges = [1, 2, PUBLIC.n_squared - 1, PUBLIC.n - 1, PUBLIC.n + 1]
    assert Ciphertexts.from_bytes(PUBLIC, as_bytes(*edges), 5).to_ints() == edges


@pytest.mark.parametrize(
    ("length", "count"), [(0, 1), (WIDTH, 0), (WIDTH - 1, 1), (WIDTH + 1, 1), (WIDTH, 2), (WIDTH, -1)]
)
def test_bytes_of_another_length_are_refused(length, count):
    with pytest.raises(ProtocolError, match="ciphertexts have"):
        Ciphertexts.from_bytes(PUBLIC, b"\1" * length, count)


@pytest.mark.parametrize("value", [0, -1, PUBLIC.n_squared])
def test_integers_out_of_range_are_refused(value):
    with pytest.raises(ProtocolError, match="not in"):
        Ciphertexts.from_ints(PUBLIC, [1, value])


def test_they_are_indexed_as_arrays():
    ciphertexts = encrypted(range(10))
    assert decrypted(ciphertexts[2:5]) == [2, 3, 4]
    assert decrypted(ciphertexts[[7, 7, -1]]) == [7, 7, 9]
    assert decrypted(ciphertexts[np.arange(10) % 3 == 0]) == [0, 3, 6, 9]
    assert len(ciphertexts[:0]) == 0
    assert decrypted(Ciphertexts.concatenate([ciphertexts[:2], ciphertexts[:0], ciphertexts[8:]])) == [0, 1, 8, 9]
    with pytest.raises(TypeError):
        ciphertexts[3]
    with pytest.raises(InputError):
        Ciphertexts.concatenate([])


def test_nothing_prints_a_ciphertext():
    ciphertexts = encrypted([5])
    assert repr(ciphertexts) == "Ciphertexts(public=PublicKey(512 bits))"
    assert repr(ENCRYPTOR) == "Encryptor(PublicKey(512 bits), 'fast')"


def test_long_arrays_keep_their_order_and_one_bad_ciphertext_in_a_later_piece_is_found():
    values = np.arange(9001) % 1000 - 500
    few = encrypted(range(-500, 500))
    many = ENCRYPTOR.rerandomise(few[values + 500])
    assert len(set(many.to_ints())) == 9001
    data = many.to_bytes()
    again = Ciphertexts.from_bytes(PUBLIC, data, 9001)
    assert again.to_bytes() == data
    places = [0, 4095, 4096, 8191, 8192, 9000]
    assert decrypted(again[places]) == values[places].tolist()
    for place in (4096, 9000):
        bad = data[: place * WIDTH] + as_bytes(KEY.p) + data[(place + 1) * WIDTH :]
        with pytest.raises(ProtocolError, match="no unit"):
            Ciphertexts.from_bytes(PUBLIC, bad, 9001)


@pytest.mark.fuzz
@given(st.binary(max_size=3 * WIDTH), st.integers(-1, 4))
def test_any_bytes_are_ciphertexts_or_refused(data, count):
    try:
        found = Ciphertexts.from_bytes(PUBLIC, data, count)
    except ProtocolError:
        return
    assert found.to_bytes() == data
    assert all(0 < c < PUBLIC.n_squared and math.gcd(c, PUBLIC.n) == 1 for c in found.to_ints())


@pytest.mark.fuzz
@given(st.binary(min_size=192, max_size=192))
def test_any_bytes_are_a_public_key_or_refused(data):
    with insecure_paillier():
        try:
            found = PublicKey.from_bytes(data, 512)
        except ProtocolError:
            return
    assert found.to_bytes() == data
    assert found.n % 2
    assert found.bits == 512
