"""Oblivious key-value store from random band matrices (RB-OKVS).

`encode` finds a vector whose inner products with the rows of n keys are given values; with random values the vector
looks random, whatever the keys. A row is a random start column and 256 random bits from there on.

Sources: Bienstock, Patel, Seo, Yeo, USENIX Security 2023, eprint.iacr.org/2023/903; elimination as in Dillinger,
Walzer, Ribbon filter, arxiv.org/abs/2103.02515.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mpc.errors import SealaneError
from mpc.primitives.aes import FixedKey
from mpc.primitives.threads import pieces, spread

BAND_BITS = 256
SEED_BYTES = 16

_SPARE_COLUMNS = 64
_PIECE_ROWS = 2**15  # whose bands stay in the second-level cache

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


class Unsolvable(SealaneError):
    """The rows of these keys depend on each other under this seed: draw another and encode again."""


@dataclass(frozen=True)
class Rows:
    """The matrix rows of n keys, in ascending order of their start columns.

    `order` gives the index in the caller's list of the key of each row; `keys` are n x 2 words.
    """

    order: I64 = field(repr=False)
    starts: I64 = field(repr=False)
    keys: U64 = field(repr=False)


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
    """The rows of n keys in a matrix of `total_columns`, from three or more uniform words each: key, key, start."""
    positions, half = np.uint64(total_columns - BAND_BITS + 1), np.uint64(32)
    starts = np.empty(len(words), np.int64)
    for piece in pieces(len(words), _PIECE_ROWS):
        fractions = words[piece, 2]
        low = ((fractions & np.uint64(2**32 - 1)) * positions) >> half
        starts[piece] = ((fractions >> half) * positions + low) >> half
    order = np.argsort(starts)
    return Rows(order, starts[order], np.take(words[:, :2], order, axis=0))


def encode(rows: Rows, values: U64, seed: bytes, free: U64) -> U64:
    """A vector whose inner product with row i is values[i].

    `seed` (16 bytes) draws the band bits. `free` holds uniform words, one a column; the entries that the keys leave
    free are taken from it, and its length is that of the vector. Raises `Unsolvable`.
    """
    from mpc.kernels import okvs

    pivots = np.zeros((len(free), BAND_BITS // 64), np.uint64)
    sides = np.empty(len(free) + BAND_BITS, np.uint64)
    sides[: len(free)] = free
    for piece in pieces(len(values), _PIECE_ROWS):
        if okvs.eliminate(_bands(rows, seed, piece), rows.starts[piece], values[piece], pivots, sides):
            raise Unsolvable("the matrix of these keys is singular under this seed")
    okvs.back_substitute(pivots, sides)
    return sides[: len(free)]


def decode(rows: Rows, seed: bytes, low: U64, high: U64, out: U64) -> None:
    """Write the inner products of every row with two vectors to the first two columns of `out`, a row a row."""
    from mpc.kernels import okvs

    def work(piece: slice) -> None:
        okvs.decode(_bands(rows, seed, piece), rows.starts[piece], low, high, out[piece])

    spread(work, len(rows.starts), _PIECE_ROWS)


def _bands(rows: Rows, seed: bytes, piece: slice) -> U64:
    """The band bits of some rows: AES of a row's key, and of that key with one bit flipped."""
    keys = rows.keys[piece]
    return FixedKey(seed).encrypt(np.concatenate([keys, keys ^ np.array([1, 0], np.uint64)], axis=1))
