import gmpy2
import pytest
from paillier_setup import KEY

from mpc.errors import InputError, ProtocolError
from mpc.primitives.paillier import PAILLIER_BITS, PrivateKey, PublicKey
from mpc.primitives.paillier import keys as keys_module
from mpc.testing import INSECURE_PAILLIER_BITS, InsecureSeededRng, insecure_paillier

N, BASE = KEY.public.n, KEY.public.randomizer_base


@pytest.fixture
def small_keys():
    with insecure_paillier():
        yield


def key_bytes(n, base, size=INSECURE_PAILLIER_BITS // 8):
    return n.to_bytes(size, "little") + base.to_bytes(2 * size, "little")


def test_a_generated_key_has_two_primes_of_half_its_length_that_suit_damgard_jurik_and_nielsen():
    for bits in (2048, 2050):
        key = PrivateKey.generate(InsecureSeededRng(b"key"), bits)
        assert key.public.bits == bits
        assert key.p * key.q == key.public.n
        for prime in (key.p, key.q):
            assert gmpy2.is_prime(prime, 50)
            assert prime.bit_length() == bits // 2
            assert prime % 4 == 3
        assert gmpy2.gcd(key.p - 1, key.q - 1) == 2
        assert abs(key.p - key.q).bit_length() > bits // 2 - 100


def test_keys_have_3072_bits_unless_chosen():
    assert PAILLIER_BITS == 3072
    assert PrivateKey.generate(InsecureSeededRng(b"key")).public.bits == 3072


def test_the_base_of_randomizers_is_an_nth_residue_and_no_small_power_of_it_is_one():
    order_of_residues = (KEY.p - 1) * (KEY.q - 1)
    assert pow(BASE, order_of_residues, N**2) == 1
    assert all(pow(BASE, exponent, N**2) != 1 for exponent in range(1, 1000))
    root = pow(BASE, pow(N, -1, order_of_residues), N)  # h itself, which is minus a square
    assert gmpy2.jacobi(root, N) == 1
    assert gmpy2.jacobi(root, KEY.p) == gmpy2.jacobi(root, KEY.q) == -1


def test_keys_are_drawn_from_the_randomness_that_is_given():
    drawn = [PrivateKey.generate(InsecureSeededRng(seed), 2048) for seed in (b"1", b"1", b"2")]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("bits", [0, -2, 512, 2046, 2049, 8194, 10**9])
def test_keys_of_other_lengths_are_refused(bits):
    with pytest.raises(InputError, match=f"a Paillier key of {bits} bits"):
        PrivateKey.generate(InsecureSeededRng(b"key"), bits)
    with pytest.raises(InputError, match=f"a Paillier key of {bits} bits"):
        PublicKey.from_bytes(b"", bits)


def test_insecure_keys_are_accepted_only_while_a_test_says_so():
    data = KEY.public.to_bytes()
    with insecure_paillier():
        assert PublicKey.from_bytes(data, INSECURE_PAILLIER_BITS) == KEY.public
    assert keys_module.MIN_BITS == 2048
    with pytest.raises(InputError):
        PublicKey.from_bytes(data, INSECURE_PAILLIER_BITS)


def test_a_public_key_travels_as_bytes(small_keys):
    found = PublicKey.from_bytes(KEY.public.to_bytes(), INSECURE_PAILLIER_BITS)
    assert (found.n, found.randomizer_base) == (N, BASE)


PRIME = int(gmpy2.next_prime(1 << 511))
HALF_PRIME = int(gmpy2.next_prime(3 << 254))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has 192 bytes, not 0"),
        (KEY.public.to_bytes()[:-1], "has 192 bytes, not 191"),
        (KEY.public.to_bytes() + b"\0", "has 192 bytes, not 193"),
        (key_bytes(N >> 2 | 1, BASE), "has 510 bits instead of the agreed 512"),
        (key_bytes(0, 2), "has 0 bits"),
        (key_bytes(N + 1, BASE), "is even, prime, a power, or has a small factor"),
        (key_bytes(PRIME, BASE), "is even, prime, a power, or has a small factor"),
        (key_bytes(HALF_PRIME**2, BASE), "is even, prime, a power, or has a small factor"),
        (key_bytes(1009 * (2**511 // 1009 + 2), BASE), "is even, prime, a power, or has a small factor"),
        (key_bytes(N, 0), "is no unit"),
        (key_bytes(N, 1), "is no unit"),
        (key_bytes(N, N**2), "is no unit"),
        (key_bytes(N, N**2 + 2), "is no unit"),
        (key_bytes(N, 5 * KEY.p), "is no unit"),
        (key_bytes(N, N), "is no unit"),
    ],
)
def test_a_malformed_key_is_refused(small_keys, data, message):
    with pytest.raises(ProtocolError, match=message):
        PublicKey.from_bytes(data, INSECURE_PAILLIER_BITS)


@pytest.mark.parametrize(
    ("p", "q"),
    [
        (KEY.p, KEY.q + 2),
        (KEY.p, KEY.p),
        (KEY.public.n, 1),
        (KEY.p * 3, KEY.q * 3),
    ],
)
def test_primes_that_make_no_key_are_refused(small_keys, p, q):
    with pytest.raises(InputError):
        PrivateKey(p, q, KEY.public)
    with pytest.raises(InputError):
        PrivateKey.from_primes(p, q, InsecureSeededRng(b"key"))


def test_nothing_prints_a_key():
    for shown in (repr(KEY), str(KEY), repr(KEY.public), repr(KEY.residues), repr(KEY.public.residues)):
        assert all(str(secret)[:8] not in shown for secret in (KEY.p, KEY.q, N, BASE))
        assert all(f"{secret:x}"[:8] not in shown for secret in (KEY.p, KEY.q, N, BASE))
