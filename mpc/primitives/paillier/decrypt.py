"""Decryption modulo p² and q² (Paillier, section 7): m mod p = L(c^(p-1) mod p²)·h_p, where L(x) = (x - 1)/p."""

import gmpy2

from mpc.errors import InputError
from mpc.primitives.paillier.arrays import Ciphertexts
from mpc.primitives.paillier.keys import PrivateKey
from mpc.primitives.paillier.residues import Residues
from mpc.primitives.paillier.words import U64, in_pieces, ints_from_words, rows_of_words

_LEAST_ROWS = 32  # at once: a row takes long


def decrypt(private: PrivateKey, ciphertexts: Ciphertexts, plaintext_bits: int | None = None) -> U64:
    """The plaintexts, words of shape (count, public.words).

    `plaintext_bits` declares that each lies in [0, 2^plaintext_bits): if that is below p, half of the work is done.
    A plaintext that breaks the declaration comes out reduced modulo p. Raises `InputError` for ciphertexts of another
    key.
    """
    public, p, q = private.public, private.p, private.q
    if ciphertexts.public != public:
        raise InputError("ciphertexts are of another Paillier key than the private one")
    both = plaintext_bits is None or plaintext_bits >= p.bit_length()
    inverse = gmpy2.invert(q, p)

    def work(piece: slice) -> U64:
        words = public.residues.leave(ciphertexts.rows[piece])
        plaintexts = _residues_of_plaintexts(words, private.residues[0], p, q)
        if both:
            modulo_q = _residues_of_plaintexts(words, private.residues[1], q, p)
            plaintexts = [y + q * ((x - y) * inverse % p) for x, y in zip(plaintexts, modulo_q, strict=True)]
        return rows_of_words(plaintexts, public.words)

    return in_pieces(work, len(ciphertexts), _LEAST_ROWS)


def _residues_of_plaintexts(words: U64, field: Residues, p: int, q: int) -> list[gmpy2.mpz]:
    """The plaintexts modulo p, from ciphertexts modulo n²."""
    size = field.words
    low, high = words[:, :size], words[:, size:]
    rows = field.affine(low, 1, field.affine(high, pow(2, 64 * size, field.modulus), 0))
    powers = field.leave(field.power(rows, p - 1))
    scale = gmpy2.invert((p - 1) * q % p, p)  # L((1 + n)^(p-1) mod p²) = (p - 1)·q mod p
    return [(gmpy2.mpz(power) - 1) // p * scale % p for power in ints_from_words(powers)]
