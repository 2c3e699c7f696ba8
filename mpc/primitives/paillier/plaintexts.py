"""Plaintexts: arrays (count, words) of the little-endian 64-bit words of integers in [0, n).

Signed numbers stand as their residues: a negative v is n - |v|.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError
from mpc.primitives.paillier.keys import PublicKey
from mpc.primitives.paillier.words import U64, above, add_constant, rows_of_words

I64 = NDArray[np.int64]


def words_from_ints(values: Sequence[int], public: PublicKey) -> U64:
    """Plaintexts of integers from -n/2 to n - 1; raises `InputError` for others."""
    n = public.n
    if any(not -n < 2 * value < 2 * n for value in values):
        raise InputError("a plaintext is not an integer from -n/2 to n - 1 of the Paillier key")
    return rows_of_words((value % n for value in values), public.words)


def check_int64(values: I64) -> None:
    """Raise `InputError` unless these are a vector of int64, whose words are used as they lie in memory."""
    if values.dtype != np.int64 or values.ndim != 1:
        raise InputError(
            f"numbers are {values.dtype} of shape {values.shape}, not a vector of int64",
            hint="scale fractions to integers, and convert them by astype(np.int64)",
        )


def words_from_int64(values: I64, public: PublicKey) -> U64:
    """Plaintexts of signed numbers, a vector of int64; raises `InputError` for others."""
    check_int64(values)
    words = np.zeros((len(values), public.words), np.uint64)
    words[:, 0] = values.view(np.uint64)
    words[:, 1:] = (values >> np.int64(63)).view(np.uint64)[:, None]
    return from_twos_complement(words, public)


def int64_from_words(words: U64, public: PublicKey) -> I64:
    """The signed numbers that plaintexts stand for; raises `InputError` if one does not fit 64 bits."""
    signed = to_twos_complement(words, public)
    values = signed[:, 0].copy().view(np.int64)
    if (signed[:, 1:] != (values >> np.int64(63)).view(np.uint64)[:, None]).any():
        raise InputError("a decrypted number does not fit 64 bits", hint="use smaller scales or fewer additions")
    return values


def from_twos_complement(words: U64, public: PublicKey) -> U64:
    """Plaintexts of signed integers, within ±n/2, whose two's complement in 64·words bits is given."""
    negative = (words[:, -1] >> np.uint64(63)).astype(np.bool_)
    if not negative.any():
        return words
    out = words.copy()
    out[negative] = add_constant(words[negative], public.n)
    return out


def to_twos_complement(words: U64, public: PublicKey) -> U64:
    """Two's complement, in 64·words bits, of the signed integers within ±n/2 that plaintexts stand for."""
    negative = above(words, public.n // 2)
    if not negative.any():
        return words
    out = words.copy()
    out[negative] = add_constant(words[negative], -public.n)
    return out
