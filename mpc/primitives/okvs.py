"""Oblivious key-value store from random band matrices (RB-OKVS).

`encode` finds a vector whose inner products with the rows of n keys are given values; with random values the vector
looks random, whatever the keys. A row is a random start column and 256 random bits from there on.

Sources: Bienstock, Patel, Seo, Yeo, USENIX Security 2023, eprint.iacr.org/2023/903; elimination as in Dillinger,
Walzer, Ribbon filter, arxiv.org/abs/2103.02515.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mpc.errors import SealaneError
from mpc.primitives.aes import FixedKey
from mpc.primitives.ordering import order_of
from mpc.primitives.threads import pieces, spread

BAND_BITS = 256
SEED_BYTES = 16

PIECE_ROWS = 2**13  # whose words and bands stay in the second-level cache
CACHED_COLUMNS = 2**14  # of which two vectors stay there too, wherever rows start

_SPARE_COLUMNS = 64

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


class Unsolvable(SealaneError):
    """The rows of these keys depend on each other under this seed: draw another and encode again."""


@dataclass(frozen=True)
class Rows:
    """The matrix rows of n keys.

    `order` gives the index in the caller's list of the key of each row, `words` what the row is made of.
    """

    order: I64 = field(repr=False)
    words: U64 = field(repr=False)
    positions: int

    def starts(self, piece: slice) -> I64:
        """The start columns of some rows: the third word as a fraction of the number of positions."""
        words, positions, half = self.words[piece, 2], np.uint64(self.positions), np.uint64(32)
        low = ((words & np.uint64(2**32 - 1)) * positions) >> half
        starts: I64 = (((words >> half) * positions + low) >> half).astype(np.int64)
        return starts


def columns(keys: int) -> int:
    """Length of the vector that stores `keys` values."""
    return keys + -(-keys // 10) + BAND_BITS + _SPARE_COLUMNS


def failure_bits(keys: int, band_bits: int = BAND_BITS) -> float:
    """-log2 of a bound on the probability that `keys` keys cannot be encoded under a random seed.

    Elimination is a queue: a column serves one row, rows arrive at random, n/m of them a column. It fails if more
    rows wait than a band is wide. The waiting line of such a queue (M/D/1) exceeds w with a probability that falls
    as exp(-theta·w), where (n/m)·(exp(theta) - 1) = theta; a union over the columns gives the bound. At ten columns
    for nine rows that is 0.27 bits a band bit, the slope that the authors measured (section 4 of the paper).
    """
    load = 1 / 1.1
    low, high = 1e-9, 1.0  # load·(exp(theta) - 1) - theta is negative at the one and positive at the other
    for _ in range(60):
        theta = (low + high) / 2
        low, high = (theta, high) if load * math.expm1(theta) < theta else (low, theta)
    return low * band_bits / math.log(2) - math.log2(columns(keys))


def arrange(words: U64, total_columns: int) -> Rows:
    """The rows of n keys in a matrix of `total_columns`, from four uniform words each: key, key, start, anything.

    They are in ascending order of their start columns, so that what works on one after the other finds its part of a
    vector in the cache.
    """
    from mpc.kernels import radix

    order = order_of(words, 2)
    arranged = np.empty_like(words)
    spread(lambda piece: radix.take(words, order[piece], arranged[piece]), len(order), PIECE_ROWS)
    return Rows(order, arranged, total_columns - BAND_BITS + 1)


def arrange_to_decode(words: U64, total_columns: int) -> Rows:
    """As `arrange`, in any order: that of the words, which are then used themselves, if all vectors fit the cache."""
    if total_columns > CACHED_COLUMNS:
        return arrange(words, total_columns)
    return Rows(np.arange(len(words)), words, total_columns - BAND_BITS + 1)


def encode(rows: Rows, values: U64, seed: bytes, free: U64, room: U64) -> U64:
    """A vector whose inner product with row i, of those that `arrange` gave, is values[i].

    `seed` (16 bytes) draws the band bits. `free` holds uniform words, one a column, and then `BAND_BITS` of any
    content; the entries that the keys leave free are taken from it, and the vector is made in it. `room` (columns x 4)
    is overwritten. Raises `Unsolvable`.
    """
    from mpc.kernels import okvs

    bands = band_bits(seed)
    room[:] = 0
    for piece in pieces(len(values), PIECE_ROWS):
        own = np.ascontiguousarray(values[piece])
        if okvs.eliminate(bands(rows.words[piece]), rows.starts(piece), own, room, free):
            raise Unsolvable("the matrix of these keys is singular under this seed")
    okvs.back_substitute(room, free)
    return free[: len(room)]


def decode(rows: Rows, piece: slice, bands: Callable[[U64], U64], low: U64, high: U64) -> U64:
    """For some rows, four words each: the inner products with two vectors, and the row's key.

    `bands` are the `band_bits` of the seed of both vectors.
    """
    from mpc.kernels import okvs

    words = rows.words[piece]
    out = np.empty_like(words)
    out[:, 2:] = words[:, :2]
    okvs.decode(bands(words), rows.starts(piece), low, high, out)
    return out


def band_bits(seed: bytes) -> Callable[[U64], U64]:
    """From rows' words to their band bits: AES of the key in the first two, and of that key with one bit flipped."""
    from mpc.kernels import aes

    if not aes.AVAILABLE:
        return portable_band_bits(seed)
    round_keys = aes.expand_key(seed)

    def bands(words: U64) -> U64:
        out = np.empty((len(words), BAND_BITS // 64), np.uint64)
        aes.bands(words, round_keys, out)
        return out

    return bands


def portable_band_bits(seed: bytes) -> Callable[[U64], U64]:
    """`band_bits` for every processor."""

    def bands(words: U64) -> U64:
        keys = words[:, :2]
        return FixedKey(seed).encrypt(np.concatenate([keys, keys ^ np.array([1, 0], np.uint64)], axis=1))

    return bands
