"""What whoever has the public key computes on ciphertexts.

Results are not re-randomised: see the package's security notes.
"""

import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError
from mpc.primitives.paillier.arrays import Ciphertexts, check_same_key
from mpc.primitives.paillier.plaintexts import check_int64
from mpc.primitives.paillier.words import U64, above

I64 = NDArray[np.int64]


def add(a: Ciphertexts, b: Ciphertexts) -> Ciphertexts:
    """Sums, item by item; either may have one item, added to all of the other."""
    check_same_key(a, b)
    if len(a) != len(b) and 1 not in (len(a), len(b)):
        raise InputError(f"{len(a)} ciphertexts cannot be added to {len(b)}")
    return Ciphertexts(a.public, a.public.residues.multiply(a.rows, b.rows))


def add_plain(a: Ciphertexts, words: U64) -> Ciphertexts:
    """Sums with plaintexts of shape (count, public.words), which are not hidden by this."""
    if words.shape != (len(a), a.public.words) or above(words, a.public.n - 1).any():
        raise InputError(f"plaintexts are not {len(a)} rows of {a.public.words} words, each below n")
    return Ciphertexts(a.public, a.public.residues.shift(a.rows, words))


def negate(a: Ciphertexts) -> Ciphertexts:
    """Ciphertexts of the negative numbers."""
    return Ciphertexts(a.public, a.public.residues.invert(a.rows))


def multiply_plain(a: Ciphertexts, factors: I64) -> Ciphertexts:
    """Products, item by item, with signed numbers, a vector of int64; raises `InputError` for others."""
    check_int64(factors)
    if factors.shape != (len(a),):
        raise InputError(f"{len(a)} ciphertexts take {len(a)} factors, not shape {factors.shape}")
    residues = a.public.residues
    negative = factors < 0
    rows = a.rows
    if negative.any():
        rows = rows.copy()
        rows[negative] = residues.invert(rows[negative])
    sizes = np.where(negative, -factors.view(np.uint64), factors.view(np.uint64))
    return Ciphertexts(a.public, residues.powers(rows, sizes))


def sum_all(a: Ciphertexts) -> Ciphertexts:
    """One ciphertext: the sum of all; of none it is 0."""
    return Ciphertexts(a.public, a.public.residues.products(a.rows, np.arange(len(a)), np.array([len(a)])))


def shift_and_pack(a: Ciphertexts, shift_bits: int, per: int) -> Ciphertexts:
    """Groups of `per` in one ciphertext each: the sum of a[i]·2^(i·shift_bits); the last group may be shorter.

    The sums must stay within ±n/2: `Packing.per_plaintext` says how many fit.
    """
    if per < 1 or shift_bits < 1 or per * shift_bits > a.public.bits:
        raise InputError(f"{per} numbers of {shift_bits} bits do not fit a Paillier key of {a.public.bits} bits")
    residues = a.public.residues
    groups = -(-len(a) // per)
    zeros = residues.power(a.rows[:1], 0)
    rows = np.concatenate([a.rows, np.repeat(zeros, groups * per - len(a), axis=0)])
    packed = rows[per - 1 :: per]
    for item in range(per - 2, -1, -1):
        packed = residues.multiply(residues.power(packed, 1 << shift_bits), rows[item::per])
    return Ciphertexts(a.public, packed)
