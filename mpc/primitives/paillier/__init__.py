"""Paillier's cryptosystem on arrays: who holds only the public key adds numbers that only the key's owner can read.

    private = PrivateKey.generate(rng)              the owner's; `private.public` travels, as bytes
    Encryptor(private, rng).encrypt(words)          plaintexts are words of integers modulo n, see `plaintexts`
    add, add_plain, multiply_plain, sum_by_index, matrix_product, ...      on `Ciphertexts`, by anybody
    Encryptor(public, rng).rerandomise(ciphertexts) by whoever sends them back to the owner
    Encryptor.prepare(count)                        randomizers ahead of time, for the next so many of either
    decrypt(private, ciphertexts)                   the owner's

Numbers are signed where a function says so: a negative v stands as n - |v|, so sums are right while they stay within
±n/2. Nothing in a ciphertext can say that a sum left that range: `packing` counts additions beforehand.

Security: semi-honest parties. Ciphertexts are indistinguishable under chosen plaintexts if composite residuosity is
hard modulo n, and, as randomizers are h_s^alpha for a fixed h_s (Damgard, Jurik, Nielsen), if powers with such alpha
look like random elements of the group that h_s generates:

- `strict`, alpha of |n|/2 bits: follows from the hardness of factoring n (Goldreich and Rosen, J. Cryptology 16,
  2003; ECCC TR02-049);
- `fast`, alpha of 256 bits: an assumption of its own, that discrete logarithms with 256-bit exponents (short-exponent
  indistinguishability) are hard modulo the factors of n. The best generic attack takes 2^128 steps.

Results of additions and products have randomness that the owner can relate to what it encrypted: they must be
re-randomised before they go back to the owner.

Not protected: whoever can change a ciphertext can change what is in it; an owner who made a malformed key; local side
channels, as table look-ups and arithmetic depend on secrets in time and addresses.

Sources: Paillier, EUROCRYPT 1999, doi.org/10.1007/3-540-48910-X_16; Damgard, Jurik, Nielsen, Int. J. Inf. Secur. 9,
2010, doi.org/10.1007/s10207-010-0119-9.
"""

from mpc.primitives.paillier.arithmetic import (
    add,
    add_plain,
    multiply_plain,
    negate,
    shift_and_pack,
    sum_all,
)
from mpc.primitives.paillier.arrays import Ciphertexts
from mpc.primitives.paillier.decrypt import decrypt
from mpc.primitives.paillier.encrypt import Encryptor, Mode
from mpc.primitives.paillier.keys import PAILLIER_BITS, PrivateKey, PublicKey
from mpc.primitives.paillier.packing import Packing
from mpc.primitives.paillier.plaintexts import int64_from_words, words_from_int64, words_from_ints
from mpc.primitives.paillier.sums import matrix_product, sum_by_index
from mpc.primitives.paillier.words import ints_from_words

__all__ = [
    "PAILLIER_BITS",
    "Ciphertexts",
    "Encryptor",
    "Mode",
    "Packing",
    "PrivateKey",
    "PublicKey",
    "add",
    "add_plain",
    "decrypt",
    "int64_from_words",
    "ints_from_words",
    "matrix_product",
    "multiply_plain",
    "negate",
    "shift_and_pack",
    "sum_all",
    "sum_by_index",
    "words_from_int64",
    "words_from_ints",
]
