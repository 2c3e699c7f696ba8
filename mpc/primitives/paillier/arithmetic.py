"""What whoever has the public key computes on ciphertexts.

Results are not re-randomised: see the package's security notes.
"""

import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError
from mpc.primitives.paillier.arrays import Ciphertexts, check_same_key
from mpc.primitives.paillier.encrypt import encode
from mpc.primitives.paillier.words import U64, above

I64 = NDArray[np.int64]
Bins = NDArray[np.uint8] | NDArray[np.uint16]


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
    return Ciphertexts(a.public, a.public.residues.multiply(a.rows, encode(words, a.public)))


def negate(a: Ciphertexts) -> Ciphertexts:
    """Ciphertexts of the negative numbers."""
    return Ciphertexts(a.public, a.public.residues.invert(a.rows))


def multiply_plain(a: Ciphertexts, factors: I64) -> Ciphertexts:
    """Products, item by item, with signed numbers."""
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


def sum_by_index(a: Ciphertexts, bins: Bins, bin_count: int) -> Ciphertexts:
    """The sum of each bin of each feature, features·bin_count ciphertexts: feature f's bin b is at f·bin_count + b.

    `bins` has shape (len(a), features) and says which bin, below `bin_count`, holds a row. An empty bin is 0.
    """
    if bins.ndim != 2 or len(bins) != len(a):
        raise InputError(f"bins have shape {bins.shape}, not ({len(a)}, features)")
    if bins.size and int(bins.max()) >= bin_count:
        raise InputError(f"a bin is not below {bin_count}")
    columns = np.ascontiguousarray(bins.T)
    order = np.argsort(columns, axis=1, kind="stable").ravel()
    lengths = np.concatenate([np.bincount(column, minlength=bin_count) for column in columns] or [np.zeros(0, int)])
    return Ciphertexts(a.public, a.public.residues.products(a.rows, order, lengths))


def matrix_product(x: I64, a: Ciphertexts) -> Ciphertexts:
    """x^T·a: for each column of x, of shape (len(a), columns), the sum of all ciphertexts times their entries."""
    if x.ndim != 2 or len(x) != len(a):
        raise InputError(f"the matrix has shape {x.shape}, not ({len(a)}, columns)")
    parts = [sum_all(multiply_plain(a, np.ascontiguousarray(column))) for column in x.T]
    return Ciphertexts.concatenate(parts) if parts else a[:0]


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
