import hashlib

import numpy as np
import pytest
from paillier_setup import BACKENDS, ENCRYPTOR, KEY, decrypted, encrypted, insecure_key

from mpc.errors import InputError
from mpc.primitives.paillier import (
    Encryptor,
    PrivateKey,
    PublicKey,
    decrypt,
    int64_from_words,
    ints_from_words,
    words_from_int64,
    words_from_ints,
)
from mpc.primitives.paillier import keys as keys_module
from mpc.testing import InsecureSeededRng

N = KEY.public.n
EDGES = [0, 1, 2, N - 1, N - 2, N // 2, N // 2 + 1, (1 << 256) - 1, 1 << 256, (1 << 511) - 1, KEY.p, KEY.q, N - KEY.p]


@pytest.fixture(params=BACKENDS)
def backend(request, monkeypatch):
    """Everything on one backend; keys are made anew, as they hold on to theirs."""
    monkeypatch.setattr(keys_module, "residues_of_square", BACKENDS[request.param])
    return request.param


@pytest.mark.parametrize("mode", ["strict", "fast"])
@pytest.mark.parametrize("owner", [True, False])
def test_every_plaintext_is_decrypted_to_itself(mode, owner):
    encryptor = Encryptor(KEY if owner else KEY.public, InsecureSeededRng(b"x"), mode)
    ciphertexts = encryptor.encrypt(words_from_ints(EDGES, KEY.public))
    assert ints_from_words(decrypt(KEY, ciphertexts)) == EDGES


@pytest.mark.parametrize("mode", ["strict", "fast"])
def test_the_ciphertexts_are_the_same_bytes_on_every_backend_with_either_key(backend, mode):
    made = insecure_key(1024)
    key = PrivateKey(made.p, made.q, PublicKey(made.public.n, made.public.randomizer_base))
    values = [0, 1, 2, key.public.n - 1, key.public.n // 2, key.p, 1 << 1000]
    for who in (key, key.public):
        ciphertexts = Encryptor(who, InsecureSeededRng(b"golden"), mode).encrypt(words_from_ints(values, key.public))
        assert hashlib.sha256(ciphertexts.to_bytes()).hexdigest()[:16] == GOLDEN[mode]
        assert ints_from_words(decrypt(key, ciphertexts)) == values


GOLDEN = {"strict": "b1f057ae0fcbaf72", "fast": "bad327f145e9f1b3"}


def test_ciphertexts_are_those_of_the_definition():
    def no_randomness(size):
        return bytes([1]) + bytes(size - 1)  # alpha = 1 for the first ciphertext, 0 for the others

    found = Encryptor(KEY.public, no_randomness, "fast").encrypt(words_from_ints([5, 7, N - 1], KEY.public)).to_ints()
    assert found == [(1 + 5 * N) * KEY.public.randomizer_base % N**2, 1 + 7 * N, (1 + (N - 1) * N) % N**2]


@pytest.mark.parametrize(("mode", "alpha_bytes"), [("strict", 1024 // 2 // 8), ("fast", 256 // 8)])
def test_each_ciphertext_takes_fresh_randomness_of_the_length_that_its_mode_says(mode, alpha_bytes):
    asked = []
    key = insecure_key(1024)

    def rng(size):
        asked.append(size)
        return bytes(size)

    encryptor = Encryptor(key, rng, mode)
    ciphertexts = encryptor.encrypt(words_from_ints([1, 2, 3], key.public))
    encryptor.rerandomise(ciphertexts[:1])
    assert sum(asked) == 4 * alpha_bytes


def test_exponents_are_strict_unless_chosen():
    assert Encryptor(KEY, InsecureSeededRng(b"x")).mode == "strict"


@pytest.mark.parametrize(("mode", "bits"), [("strict", 512), ("fast", 256)])
def test_randomizers_are_powers_of_the_base_with_the_random_exponents(mode, bits):
    key, alphas = insecure_key(1024), InsecureSeededRng(b"alphas")(3 * bits // 8)
    ciphertexts = Encryptor(key, lambda size: alphas[:size], mode).encrypt(words_from_ints([0, 0, 0], key.public))
    exponents = [int.from_bytes(alphas[at : at + bits // 8], "little") for at in range(0, len(alphas), bits // 8)]
    square = key.public.n_squared
    assert ciphertexts.to_ints() == [pow(key.public.randomizer_base, exponent, square) for exponent in exponents]


@pytest.mark.parametrize(("mode", "bits"), [("strict", 256), ("fast", 256)])
def test_randomizers_are_those_powers_however_many_were_asked_for_before(mode, bits):
    source, drawn = InsecureSeededRng(b"alphas"), []

    def rng(size):
        drawn.append(source(size))
        return drawn[-1]

    encryptor = Encryptor(KEY, rng, mode)
    for count in (1, 0, 3, 40, 600, 2):  # tables grow in between
        found = encryptor.encrypt(words_from_int64(np.zeros(count, np.int64), KEY.public)).to_ints()
        alphas = np.frombuffer(drawn[-1], np.uint8).reshape(count, bits // 8)
        exponents = [int.from_bytes(alpha.tobytes(), "little") for alpha in alphas]
        assert found == [pow(KEY.public.randomizer_base, exponent, N**2) for exponent in exponents]


def test_equal_plaintexts_have_different_ciphertexts():
    ciphertexts = encrypted([3] * 200).to_ints()
    assert len(set(ciphertexts)) == 200


def test_rerandomised_ciphertexts_differ_and_have_the_same_plaintexts():
    values = [0, 1, -1, 2**40] * 20
    before = encrypted(values)
    for encryptor in (ENCRYPTOR, Encryptor(KEY.public, InsecureSeededRng(b"x"))):
        after = encryptor.rerandomise(before)
        assert decrypted(after) == values
        assert not set(after.to_ints()) & set(before.to_ints())
        ratios = {x * pow(y, -1, N**2) % N**2 for x, y in zip(after.to_ints(), before.to_ints(), strict=True)}
        assert len(ratios) == len(values)  # each by a randomizer of its own


def test_randomizers_are_spread_over_residues():
    """A bit of c mod p, of a residue that is uniform but for its Jacobi symbol, is 1 about half of the time."""
    encryptor = Encryptor(KEY, InsecureSeededRng(b"spread"), "fast")
    ciphertexts = encryptor.encrypt(words_from_int64(np.zeros(2000, np.int64), KEY.public)).to_ints()
    for bit in (0, 3, 100, 200):
        ones = sum(c % KEY.p >> bit & 1 for c in ciphertexts)
        assert abs(ones - 1000) < 6 * (2000 * 0.25) ** 0.5


def test_randomizers_made_ahead_are_used_once():
    asked = []
    source = InsecureSeededRng(b"pool")

    def rng(size):
        asked.append(size)
        return source(size)

    encryptor = Encryptor(KEY, rng, "fast")
    encryptor.prepare(5)
    encryptor.prepare(0)
    encryptor.prepare(3)
    assert sum(asked) == 8 * 32
    zeros = words_from_int64(np.zeros(3, np.int64), KEY.public)
    made = [encryptor.encrypt(zeros).to_ints() for _ in range(3)]
    assert sum(asked) == 9 * 32
    assert len({c for ciphertexts in made for c in ciphertexts}) == 9
    assert decrypted(encryptor.rerandomise(encrypted([4, 5]))) == [4, 5]


def test_half_of_the_work_is_enough_for_small_plaintexts():
    values = [0, 1, 2**100 - 1, 2**255 - 1]
    ciphertexts = ENCRYPTOR.encrypt(words_from_ints(values, KEY.public))
    assert ints_from_words(decrypt(KEY, ciphertexts, plaintext_bits=255)) == values
    assert ints_from_words(decrypt(KEY, ciphertexts, plaintext_bits=256)) == values


@pytest.mark.parametrize("value", [N, N + 1, (1 << 512) - 1])
def test_a_plaintext_that_is_not_below_n_is_refused(value):
    words = np.frombuffer(value.to_bytes(64, "little"), np.uint64).reshape(1, 8)
    with pytest.raises(InputError, match="not below the modulus"):
        ENCRYPTOR.encrypt(words)


@pytest.mark.parametrize("shape", [(1, 7), (1, 9), (8,), (1, 8, 1)])
def test_plaintexts_of_another_shape_are_refused(shape):
    with pytest.raises(InputError, match="plaintexts have shape"):
        ENCRYPTOR.encrypt(np.zeros(shape, np.uint64))


def test_another_mode_is_refused():
    with pytest.raises(InputError, match="give 'strict' or 'fast'"):
        Encryptor(KEY, InsecureSeededRng(b"x"), "faster")


def test_ciphertexts_of_another_key_are_refused():
    other = insecure_key(1024)
    with pytest.raises(InputError, match="another Paillier key"):
        decrypt(other, encrypted([1]))
    with pytest.raises(InputError, match="different Paillier keys"):
        Encryptor(other, InsecureSeededRng(b"x"), "fast").rerandomise(encrypted([1]))


def test_no_plaintexts_give_no_ciphertexts():
    none = ENCRYPTOR.encrypt(words_from_ints([], KEY.public))
    assert len(none) == 0
    assert len(ENCRYPTOR.rerandomise(none)) == 0
    assert decrypt(KEY, none).shape == (0, 8)


def test_signed_numbers_stand_as_residues():
    values = np.array([0, 1, -1, 2**63 - 1, -(2**63)])
    words = words_from_int64(values, KEY.public)
    assert ints_from_words(words) == [int(value) % N for value in values]
    assert int64_from_words(words, KEY.public).tolist() == values.tolist()
    assert ints_from_words(words_from_ints([-5, N // 2, -(N // 2)], KEY.public)) == [N - 5, N // 2, N - N // 2]


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, N // 2, N // 2 + 1, 2**64])
def test_a_number_that_does_not_fit_64_bits_is_an_error(value):
    with pytest.raises(InputError, match="does not fit 64 bits"):
        int64_from_words(words_from_ints([1, value], KEY.public), KEY.public)


@pytest.mark.parametrize("value", [N, -N, -(N // 2) - 1, 2 * N])
def test_integers_outside_the_range_of_plaintexts_are_refused(value):
    with pytest.raises(InputError, match="not an integer from -n/2"):
        words_from_ints([0, value], KEY.public)
