"""Plaintexts: arrays (count, words) of the little-endian 64-bit words of integers in [0, n).

Signed numbers stand as their residues: a negative v is n - |v|.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError
from mpc.primitives.paillier.keys import PublicKey

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

_ALL_ONES = np.uint64(2**64 - 1)


def words_from_ints(values: Sequence[int], public: PublicKey) -> U64:
    """Plaintexts of integers from -n/2 to n - 1; raises `InputError` for others."""
    n, size = public.n, 8 * public.words
    if any(not -n < 2 * value < 2 * n for value in values):
        raise InputError("a plaintext is not an integer from -n/2 to n - 1 of the Paillier key")
    data = b"".join((int(value) % n).to_bytes(size, "little") for value in values)
    return np.frombuffer(data, np.uint64).reshape(len(values), public.words).copy()


def ints_from_words(words: U64) -> list[int]:
    """The integers, not negative, that rows of words stand for."""
    size = 8 * words.shape[1]
    data = np.ascontiguousarray(words).tobytes()
    return [int.from_bytes(data[at : at + size], "little") for at in range(0, len(words) * size, size)]


def words_from_int64(values: I64, public: PublicKey) -> U64:
    """Plaintexts of signed numbers."""
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


def above(words: U64, limit: int) -> NDArray[np.bool_]:
    """Which rows stand for more than `limit`."""
    bound = constant_words(limit, words.shape[1])
    more = np.zeros(len(words), np.bool_)
    for column in range(words.shape[1]):
        more = (words[:, column] > bound[column]) | ((words[:, column] == bound[column]) & more)
    return more


def add_constant(words: U64, constant: int) -> U64:
    """Rows plus a constant, modulo 2^(64·words)."""
    addend = constant_words(constant, words.shape[1])
    out = np.empty_like(words)
    carry = np.zeros(len(words), np.uint64)
    for column in range(words.shape[1]):
        partial = words[:, column] + addend[column]
        out[:, column] = partial + carry
        carry = ((partial < addend[column]) | (out[:, column] < partial)).astype(np.uint64)
    return out


def constant_words(value: int, words: int) -> U64:
    """The words of an integer modulo 2^(64·words)."""
    return np.frombuffer((value % (1 << 64 * words)).to_bytes(8 * words, "little"), np.uint64)
