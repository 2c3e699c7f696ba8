"""Paillier keys: n = p·q, and h_s, an n-th residue modulo n² whose powers are randomizers.

p and q are random primes of the same length, 3 modulo 4, whose p - 1 and q - 1 share no factor but 2: then -x² for a
random x generates, but for a negligible part of the x, nearly all of the residues of Jacobi symbol 1 modulo n, and
h_s = (-x²)^n (Damgard, Jurik, Nielsen, see the package's sources). For a key made elsewhere, h_s = x^n.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property

import gmpy2

from mpc.errors import InputError, ProtocolError
from mpc.primitives.paillier.residues import Residues, residues_of_square
from mpc.rng import Rng

PAILLIER_BITS = 3072  # of n: 128-bit security, NIST SP 800-57 part 1, table 2
MIN_BITS = 2048  # of n: 112-bit security, the same table
MAX_BITS = 8192  # bounds the work that a peer's key causes
_PRIME_ROUNDS = 40  # Miller-Rabin beside Baillie-PSW: error below 4^-40
_SMALL_PRIMES = math.prod(p for p in range(3, 2000, 2) if gmpy2.is_prime(p))


@dataclass(frozen=True)
class PublicKey:
    """What encrypts and computes. `randomizer_base` is h_s; keys are equal if they have the same n."""

    n: int = field(repr=False)
    randomizer_base: int = field(repr=False, compare=False)

    def __repr__(self) -> str:
        return f"PublicKey({self.bits} bits)"

    @property
    def bits(self) -> int:
        """Length of n."""
        return self.n.bit_length()

    @property
    def words(self) -> int:
        """64-bit words of a plaintext."""
        return -(-self.bits // 64)

    @property
    def ciphertext_bytes(self) -> int:
        """Length of one ciphertext as bytes: twice that of n in whole bytes."""
        return 2 * _bytes_of(self.bits)

    @cached_property
    def n_squared(self) -> int:
        return self.n**2

    @cached_property
    def residues(self) -> Residues:
        """Arithmetic modulo n²."""
        return residues_of_square(self.n)

    def to_bytes(self) -> bytes:
        """n, then h_s in twice its length, little-endian."""
        size = _bytes_of(self.bits)
        return self.n.to_bytes(size, "little") + self.randomizer_base.to_bytes(2 * size, "little")

    @classmethod
    def from_bytes(cls, data: bytes, bits: int) -> "PublicKey":
        """A peer's key, whose n must have `bits` bits, as agreed; raises `ProtocolError`."""
        check_bits(bits)
        size = _bytes_of(bits)
        if len(data) != 3 * size:
            raise ProtocolError(f"a Paillier key of {bits} bits has {3 * size} bytes, not {len(data)}")
        n = int.from_bytes(data[:size], "little")
        base = int.from_bytes(data[size:], "little")
        if n.bit_length() != bits:
            raise ProtocolError(f"a Paillier key has {n.bit_length()} bits instead of the agreed {bits}")
        if not _may_be_modulus(n):
            raise ProtocolError("a Paillier key's modulus is even, prime, a power, or has a small factor")
        if not 1 < base < n**2 or gmpy2.gcd(base, n) != 1:
            raise ProtocolError("a Paillier key's base of randomizers is no unit modulo n²")
        return cls(n, base)

    @classmethod
    def from_modulus(cls, n: int, rng: Rng) -> "PublicKey":
        """The key with the modulus of one made elsewhere, which has no h_s: it is drawn here.

        Raises `InputError` if n has fewer than `MIN_BITS` bits or cannot be a product of two large primes.
        """
        check_bits(n.bit_length())
        if not _may_be_modulus(n):
            raise InputError("the modulus of a Paillier key is even, prime, a power, or has a small factor")
        return cls(n, int(gmpy2.powmod(_random_unit(n, rng), n, n**2)))


@dataclass(frozen=True)
class PrivateKey:
    """What decrypts: the two primes, of the same length."""

    p: int = field(repr=False)
    q: int = field(repr=False)
    public: PublicKey

    def __post_init__(self) -> None:
        if self.p == self.q or self.p * self.q != self.public.n:
            raise InputError("the two primes of a Paillier key do not give its modulus")
        if self.p.bit_length() != self.q.bit_length():
            raise InputError("the primes of a Paillier key have different lengths")
        if not gmpy2.is_prime(self.p, _PRIME_ROUNDS) or not gmpy2.is_prime(self.q, _PRIME_ROUNDS):
            raise InputError("the factors of a Paillier key are not prime")

    @cached_property
    def residues(self) -> tuple[Residues, Residues]:
        """Arithmetic modulo p² and modulo q²."""
        return residues_of_square(self.p), residues_of_square(self.q)

    @classmethod
    def generate(cls, rng: Rng, bits: int = PAILLIER_BITS) -> "PrivateKey":
        """A fresh pair of keys with n of `bits` bits, even and at least `MIN_BITS`; else raises `InputError`."""
        check_bits(bits)
        while True:
            p, q = _prime(bits // 2, rng), _prime(bits // 2, rng)
            far_apart = abs(p - q).bit_length() > bits // 2 - 100  # FIPS 186-5, A.1.3: no factoring by Fermat
            if far_apart and gmpy2.gcd(p - 1, q - 1) == 2:
                break
        n = p * q
        h = -pow(_random_unit(n, rng), 2, n) % n
        return cls(p, q, PublicKey(n, int(gmpy2.powmod(h, n, n**2))))

    @classmethod
    def from_primes(cls, p: int, q: int, rng: Rng) -> "PrivateKey":
        """The key with the primes of one made elsewhere; raises `InputError`."""
        return cls(p, q, PublicKey.from_modulus(p * q, rng))


def check_bits(bits: int) -> None:
    """Raises `InputError` unless keys of so many bits are offered."""
    if not MIN_BITS <= bits <= MAX_BITS or bits % 2:
        raise InputError(f"a Paillier key of {bits} bits: give an even number from {MIN_BITS} to {MAX_BITS}")


def _bytes_of(bits: int) -> int:
    return -(-bits // 8)


def _prime(bits: int, rng: Rng) -> int:
    """A random prime, 3 modulo 4, whose two highest bits are set so that a product of two has all its bits."""
    size = _bytes_of(bits)
    while True:
        value = int.from_bytes(rng(size), "little") % (1 << bits)
        value |= 3 << (bits - 2) | 3
        if gmpy2.is_prime(value, _PRIME_ROUNDS):
            return value


def _random_unit(n: int, rng: Rng) -> int:
    while True:
        value = int.from_bytes(rng(_bytes_of(n.bit_length()) + 16), "little") % n  # 128 spare bits: bias below 2^-128
        if gmpy2.gcd(value, n) == 1:
            return value


def _may_be_modulus(n: int) -> bool:
    """Whether nothing that can be seen without the factors forbids that n is a product of two large primes."""
    return bool(n % 2 and gmpy2.gcd(n, _SMALL_PRIMES) == 1 and not gmpy2.is_power(n) and not gmpy2.is_prime(n))
