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
from mpc.primitives.ordering import sort_rows
from mpc.primitives.threads import pieces, spread, usable_cores

BAND_BITS = 256
SEED_BYTES = 16

PIECE_ROWS = 2**13  # whose words and bands stay in the second-level cache
CACHED_COLUMNS = 2**14  # of which two vectors stay there too, wherever rows start
_LEAST_PART_ROWS = 2**15  # to eliminate fewer takes no longer than to begin

_SPARE_COLUMNS = 64

U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


class Unsolvable(SealaneError):
    """The rows of these keys depend on each other under this seed: draw another and encode again."""


@dataclass(frozen=True)
class Rows:
    """The matrix rows of n keys.

    `order` gives the index in the caller's list of the key of each row, `words` what the row is made of.
    """

    order: I32 = field(repr=False)
    words: U64 = field(repr=False)
    positions: int

    def starts(self, piece: slice) -> I64:
        """The start columns of some rows: the third word as a fraction of the number of positions."""
        from mpc.kernels import okvs

        words = self.words[piece]
        starts = np.empty(len(words), np.int64)
        okvs.starts(words, self.positions, starts)
        return starts


def spans(rows: Rows) -> list[slice]:
    """The columns that the rows' bands are in, as slices in ascending order that do not meet."""
    starts = np.sort(rows.starts(slice(None)))
    gaps = np.flatnonzero(starts[1:] > starts[:-1] + BAND_BITS) + 1
    firsts = np.concatenate([starts[:1], starts[gaps]]).tolist()
    lasts = np.concatenate([starts[gaps - 1], starts[-1:]]).tolist()
    return [slice(first, last + BAND_BITS) for first, last in zip(firsts, lasts, strict=True)]


def columns(keys: int) -> int:
    """Length of the vector that stores `keys` values."""
    return keys + -(-keys // 10) + BAND_BITS + _SPARE_COLUMNS


def positions(total_columns: int) -> int:
    """How many columns a row may start at."""
    return total_columns - BAND_BITS + 1


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


def arrange(words: U64, total_columns: int, room: U64) -> Rows:
    """The rows of n keys in a matrix of `total_columns`, from four uniform words each: key, key, start, anything.

    They are put in ascending order of their start columns, in place, so that what works on one after the other finds
    its part of a vector in the cache. `room` (n x 4) is overwritten.
    """
    return Rows(sort_rows(words, 2, room), words, positions(total_columns))


def arrange_to_decode(words: U64, total_columns: int) -> Rows:
    """As `arrange`, but the words stay in their order if all vectors fit the cache."""
    if total_columns > CACHED_COLUMNS:
        return arrange(words, total_columns, np.empty_like(words))
    return Rows(np.arange(len(words), dtype=np.int32), words, positions(total_columns))


def encode(rows: Rows, values: U64, seed: bytes, free: U64, room: U64) -> U64:
    """A vector whose inner product with row i, of those that `arrange` gave, is values[i].

    `seed` (16 bytes) draws the band bits. `free` holds uniform words, one a column, and then `BAND_BITS` of any
    content; the entries that the keys leave free are taken from it, and the vector is made in it. `room` (columns x 4)
    is overwritten. Raises `Unsolvable`.

    Parts of the matrix are eliminated at once. What a row is reduced to depends on their number, the vector does not:
    pivots stand where the rows' span has leading columns, and the rest follows from the free choices.
    """
    from mpc.kernels import okvs

    bands = band_bits(seed)
    parts = pieces(len(values), max(_LEAST_PART_ROWS, -(-len(values) // usable_cores()))) or [slice(0, 0)]
    firsts = [0, *(int(rows.starts(slice(part.start, part.start + 1))[0]) for part in parts[1:]), len(room)]
    aside, counts = np.empty((len(parts), BAND_BITS, 6), np.uint64), np.zeros((len(parts), 1), np.int64)

    def eliminate(each: slice) -> None:
        index = each.start
        room[firsts[index] : firsts[index + 1]] = 0
        for piece in pieces(parts[index].stop - parts[index].start, PIECE_ROWS):
            here = slice(parts[index].start + piece.start, parts[index].start + piece.stop)
            own = np.ascontiguousarray(values[here])
            add(bands(rows.words[here]), rows.starts(here), own, firsts[index + 1], index)

    def add(bands: U64, starts: I64, values: U64, end: int, index: int) -> None:
        if okvs.eliminate(bands, starts, values, end, room, free, aside[index], counts[index]):
            raise Unsolvable("the matrix of these keys is singular under this seed")

    spread(eliminate, len(parts), 1)
    for index in range(len(parts)):  # the few that reach into the next part
        left = aside[index, : counts[index, 0]].copy()
        bands_left, values_left = np.ascontiguousarray(left[:, :4]), np.ascontiguousarray(left[:, 5])
        add(bands_left, left[:, 4].astype(np.int64), values_left, len(room), index)
    okvs.back_substitute(room, free)
    return free[: len(room)]


def decode(rows: Rows, piece: slice, bands: Callable[[U64], U64], low: U64, high: U64) -> U64:
    """For some rows, four words each: the inner products with two vectors, and the row's key.

    `bands` are the `band_bits` of the seed of both vectors.
    """
    from mpc.kernels import okvs

    words = rows.words[piece]
    out = np.empty_like(words)
    okvs.decode(words, bands(words), rows.positions, low, high, out)
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
