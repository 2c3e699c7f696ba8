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
from mpc.primitives.threads import pieces, spread

BAND_BITS = 256
SEED_BYTES = 16

_SPARE_COLUMNS = 64
PIECE_ROWS = 2**15  # whose bands stay in the second-level cache

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


class Unsolvable(SealaneError):
    """The rows of these keys depend on each other under this seed: draw another and encode again."""


@dataclass(frozen=True)
class Rows:
    """The matrix rows of n keys, in ascending order of their start columns.

    `order` gives the index in the caller's list of the key of each row. `words` are the caller's: what a row is
    made of is fetched from them piece by piece, as memory would cost more.
    """

    order: I64 = field(repr=False)
    words: U64 = field(repr=False)
    positions: int

    def fetch(self, piece: slice) -> U64:
        """The words of some rows."""
        return np.take(self.words, self.order[piece], axis=0)

    def starts(self, words: U64) -> I64:
        """The start columns of rows: the third word as a fraction of the number of positions."""
        positions, half = np.uint64(self.positions), np.uint64(32)
        low = ((words[:, 2] & np.uint64(2**32 - 1)) * positions) >> half
        starts: I64 = (((words[:, 2] >> half) * positions + low) >> half).astype(np.int64)
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
    """The rows of n keys in a matrix of `total_columns`, from three or more uniform words each: key, key, start.

    `words` must stay as they are while the rows are used.
    """
    return Rows(np.argsort(words[:, 2]), words, total_columns - BAND_BITS + 1)


def encode(rows: Rows, values: U64, seed: bytes, free: U64) -> U64:
    """A vector whose inner product with row i is values[i].

    `seed` (16 bytes) draws the band bits. `free` holds uniform words, one a column; the entries that the keys leave
    free are taken from it, and its length is that of the vector. Raises `Unsolvable`.
    """
    from mpc.kernels import okvs

    bands = band_bits(seed)
    pivots = np.zeros((len(free), BAND_BITS // 64), np.uint64)
    sides = np.empty(len(free) + BAND_BITS, np.uint64)
    sides[: len(free)] = free
    for piece in pieces(len(values), PIECE_ROWS):
        words = rows.fetch(piece)
        if okvs.eliminate(bands(words), rows.starts(words), values[piece], pivots, sides):
            raise Unsolvable("the matrix of these keys is singular under this seed")
    okvs.back_substitute(pivots, sides)
    return sides[: len(free)]


def decode(rows: Rows, seed: bytes, low: U64, high: U64, out: U64) -> None:
    """Write to `out` (n x 4 words), in the order of the rows, the inner products with two vectors and the row's key."""
    from mpc.kernels import okvs

    bands = band_bits(seed)

    def work(piece: slice) -> None:
        words = rows.fetch(piece)
        out[piece, 2:] = words[:, :2]
        okvs.decode(bands(words), rows.starts(words), low, high, out[piece])

    spread(work, len(rows.order), PIECE_ROWS)


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
