"""Decryption modulo p² and q² (Paillier, section 7): m mod p = L(c^(p-1) mod p²)·h_p, where L(x) = (x - 1)/p."""

import gmpy2

from mpc.errors import InputError
from mpc.primitives.paillier.arrays import Ciphertexts
from mpc.primitives.paillier.keys import PrivateKey
from mpc.primitives.paillier.residues import Residues
from mpc.primitives.paillier.words import U64, ints_from_words, rows_of_words, widened


def decrypt(private: PrivateKey, ciphertexts: Ciphertexts, plaintext_bits: int | None = None) -> U64:
    """The plaintexts, words of shape (count, public.words).

    `plaintext_bits` declares that each lies in [0, 2^plaintext_bits): if that is below p, half of the work is done.
    A plaintext that breaks the declaration comes out reduced modulo p. Raises `InputError` for ciphertexts of another
    key.
    """
    public, p, q = private.public, private.p, private.q
    if ciphertexts.public != public:
        raise InputError("ciphertexts are of another Paillier key than the private one")
    words = ciphertexts.to_words()
    modulo_p = _residues_of_plaintexts(words, private.residues[0], p, q)
    if plaintext_bits is not None and plaintext_bits < p.bit_length():
        plaintexts = modulo_p
    else:
        inverse = gmpy2.invert(q, p)
        modulo_q = _residues_of_plaintexts(words, private.residues[1], q, p)
        plaintexts = [y + q * ((x - y) * inverse % p) for x, y in zip(modulo_p, modulo_q, strict=True)]
    return rows_of_words(plaintexts, public.words)


def _residues_of_plaintexts(words: U64, field: Residues, p: int, q: int) -> list[gmpy2.mpz]:
    """The plaintexts modulo p, from ciphertexts modulo n²."""
    size = field.words
    low, high = words[:, :size], widened(words[:, size:], size)
    rows = field.affine(low, 1, field.affine(high, pow(2, 64 * size, field.modulus), 0))
    powers = field.leave(field.power(rows, p - 1))
    scale = gmpy2.invert((p - 1) * q % p, p)  # L((1 + n)^(p-1) mod p²) = (p - 1)·q mod p
    return [(gmpy2.mpz(power) - 1) // p * scale % p for power in ints_from_words(powers)]
