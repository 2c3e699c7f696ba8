"""Keys and numbers to and from the library phe (python-paillier), which uses the same cryptosystem.

phe holds a number as an integer and an exponent of 16: exponents travel beside the ciphertexts. phe itself is imported
only by what makes its objects.
"""

from collections.abc import Sequence
from typing import Any

from mpc.errors import InputError
from mpc.primitives.paillier.arrays import Ciphertexts
from mpc.primitives.paillier.keys import PrivateKey, PublicKey
from mpc.rng import Rng


def public_key_from_phe(key: Any, rng: Rng) -> PublicKey:
    """Of a `phe.PaillierPublicKey`."""
    return PublicKey.from_modulus(int(key.n), rng)


def private_key_from_phe(key: Any, rng: Rng) -> PrivateKey:
    """Of a `phe.PaillierPrivateKey`."""
    return PrivateKey.from_primes(int(key.p), int(key.q), rng)


def public_key_to_phe(key: PublicKey) -> Any:
    """A `phe.PaillierPublicKey`."""
    return _phe().PaillierPublicKey(key.n)


def private_key_to_phe(key: PrivateKey) -> Any:
    """A `phe.PaillierPrivateKey`."""
    return _phe().PaillierPrivateKey(public_key_to_phe(key.public), key.p, key.q)


def ciphertexts_from_phe(numbers: Sequence[Any], public: PublicKey) -> tuple[Ciphertexts, list[int]]:
    """The ciphertexts of `phe.EncryptedNumber`s under `public`, and the exponent of each; `InputError` for another key.

    Each stands for the decrypted signed integer times 16^exponent.
    """
    if any(number.public_key.n != public.n for number in numbers):
        raise InputError("a number of phe is encrypted under another key")
    ciphertexts = Ciphertexts.from_ints(public, [int(number.ciphertext()) for number in numbers])
    return ciphertexts, [int(number.exponent) for number in numbers]


def ciphertexts_to_phe(ciphertexts: Ciphertexts, exponents: Sequence[int] | int = 0) -> list[Any]:
    """`phe.EncryptedNumber`s that stand for each signed integer times 16^exponent; re-randomise before they leave."""
    phe, key = _phe(), public_key_to_phe(ciphertexts.public)
    each = [exponents] * len(ciphertexts) if isinstance(exponents, int) else exponents
    if len(each) != len(ciphertexts):
        raise InputError(f"{len(each)} exponents for {len(ciphertexts)} ciphertexts")
    return [phe.EncryptedNumber(key, c, exponent) for c, exponent in zip(ciphertexts.to_ints(), each, strict=True)]


def _phe() -> Any:
    try:
        from phe import paillier
    except ImportError:
        raise InputError("the library phe is not installed", hint="pip install phe") from None
    return paillier
