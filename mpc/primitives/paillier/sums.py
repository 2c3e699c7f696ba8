"""Many sums over the same ciphertexts: by bins of features, and weighted by the columns of a matrix.

Both put every ciphertext into a bin by several keys at once and multiply it into that bin only; then the few bins are
multiplied together, key by key. Source of the weighted sums: Pippenger, FOCS 1976, doi.org/10.1109/SFCS.1976.21.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError
from mpc.primitives.paillier.arrays import Ciphertexts
from mpc.primitives.paillier.residues import Residues, Rows
from mpc.primitives.threads import spread

I64 = NDArray[np.int64]
Bins = NDArray[np.uint8] | NDArray[np.uint16]

_MAX_JOINT = 3  # features whose bins are combined
_MAX_CELLS = 2**16  # combinations of bins, so that they sort as numbers of 16 bits
_MAX_BIN_COUNT = 2**16
_MAX_ENTRY = 2**62  # of a matrix, so that its digits can be carried in 64 bits
_MAX_DIGIT_BITS = 12
_INDICES_AT_ONCE = 2**22  # bounds memory
_NONE = np.zeros(0, np.int64)


def sum_by_index(a: Ciphertexts, bins: Bins, bin_count: int, chosen: I64 | None = None) -> Ciphertexts:
    """The sum of each bin of each feature, features·bin_count ciphertexts: feature f's bin b is at f·bin_count + b.

    `bins`, of shape (rows, features), says in which bin, below `bin_count` and 2^16, a row is; row i is that of
    a[chosen[i]], or without `chosen` of a[i]. An empty bin's sum is a ciphertext of 0. Raises `InputError` for another
    shape and for a bin or an index out of range.
    """
    rows = len(a) if chosen is None else len(chosen)
    if bins.ndim != 2 or len(bins) != rows:
        raise InputError(f"bins have shape {bins.shape}, not ({rows}, features)")
    if chosen is not None and len(chosen) and not 0 <= int(chosen.min()) <= int(chosen.max()) < len(a):
        raise InputError(f"an index is not one of {len(a)} ciphertexts")
    if bins.dtype not in (np.uint8, np.uint16) or not 1 <= bin_count <= _MAX_BIN_COUNT:
        raise InputError(f"bins of {bins.dtype}, {bin_count} of them: give uint8 or uint16, and from 1 to 65536")
    if bins.size and int(bins.max()) >= bin_count:
        raise InputError(f"a bin is not below the number of bins, {bin_count}")
    together: list[Bins] = []
    while (at := sum(part.shape[1] for part in together)) < bins.shape[1]:
        together.append(bins[:, at : at + _features_together(bins[:, at:], bin_count)])
    step = max(1, _INDICES_AT_ONCE // max(1, len(bins)))
    pieces = [together[at : at + step] for at in range(0, len(together), step)]
    sums = [_joint_sums(a.public.residues, a.rows, chosen, piece, bin_count) for piece in pieces]
    return Ciphertexts(a.public, np.concatenate([a.rows[:0], *sums]))


def matrix_product(x: I64, a: Ciphertexts) -> Ciphertexts:
    """x^T·a: for each column of x, of shape (len(a), columns), the sum of all ciphertexts times their entries.

    Entries are signed, within ±2^62. Raises `InputError` for another shape and for larger entries.
    """
    if x.ndim != 2 or len(x) != len(a) or x.dtype != np.int64:
        raise InputError(f"the matrix is {x.dtype} of shape {x.shape}, not int64 of ({len(a)}, columns)")
    if x.size and (x.max() > _MAX_ENTRY or x.min() < -_MAX_ENTRY):
        raise InputError("an entry of the matrix is not within ±2^62", hint="use a smaller scale")
    digits = _Digits.cheapest(int(np.abs(x).max(initial=0)), len(x))
    step = max(1, _INDICES_AT_ONCE // max(1, len(x) * digits.places))
    pieces = [x[:, at : at + step] for at in range(0, x.shape[1], step)]
    sums = [_weighted_sums(a.public.residues, a.rows, piece, digits) for piece in pieces]
    return Ciphertexts(a.public, np.concatenate([a.rows[:0], *sums]))


def _lists(keys: Sequence[NDArray[np.uint16]], count: int) -> list[tuple[I64, I64]]:
    """For each of several arrays: indices in the order of their keys, below `count`, and how many have each key."""
    found: list[tuple[I64, I64]] = [(_NONE, _NONE)] * len(keys)

    def work(piece: slice) -> None:
        for at in range(piece.start, piece.stop):
            found[at] = np.argsort(keys[at], kind="stable"), np.bincount(keys[at], minlength=count)

    spread(work, len(keys), 1)
    return found


def _features_together(bins: Bins, bin_count: int) -> int:
    """How many of the first features to combine so that a feature takes the fewest multiplications."""
    best, cost = 1, float(len(bins))
    for size in range(2, min(_MAX_JOINT, bins.shape[1]) + 1):
        if bin_count**size > _MAX_CELLS:
            break
        cells = np.count_nonzero(np.bincount(_joint(bins[:, :size], bin_count), minlength=1))
        fewer = sum(bin_count**features for features in range(2, size))  # cells, at most, of all features but the last
        joint_cost = (len(bins) + 2 * cells + 2 * fewer) / size
        if joint_cost < cost:
            best, cost = size, joint_cost
    return best


def _joint(bins: Bins, bin_count: int) -> NDArray[np.uint16]:
    """One number for each combination of bins."""
    joint = bins[:, 0].astype(np.uint16)
    for feature in range(1, bins.shape[1]):
        joint = joint * np.uint16(bin_count) + bins[:, feature]
    return joint


def _joint_sums(residues: Residues, rows: Rows, chosen: I64 | None, together: Sequence[Bins], bin_count: int) -> Rows:
    """The sums of each bin of features, of a few together at once."""
    most = bin_count ** max(bins.shape[1] for bins in together)
    joint = _lists([_joint(bins, bin_count) for bins in together], most)
    occupied = [np.flatnonzero(lengths) for _, lengths in joint]
    every = zip(joint, occupied, strict=True)
    index, lengths = _joined((order, lengths[cells]) for (order, lengths), cells in every)
    sums = residues.products(rows, index if chosen is None else chosen[index], lengths)
    layer, feature, start = [], 0, 0
    for bins, cells in zip(together, occupied, strict=True):
        layer.append(_Cells(range(feature, feature + bins.shape[1]), cells, start))
        feature, start = feature + bins.shape[1], start + len(cells)
    found: dict[int, Rows] = {}
    while layer:
        sums, layer = _marginals(residues, sums, layer, bin_count, found)
    return np.concatenate([found[each] for each in range(feature)])


@dataclass(frozen=True)
class _Cells:
    """Sums of combinations of some features' bins, those that occur; they are rows from `start` on."""

    features: range
    occupied: I64
    start: int


def _marginals(
    residues: Residues, sums: Rows, layer: Sequence[_Cells], bin_count: int, found: dict[int, Rows]
) -> tuple[Rows, list[_Cells]]:
    """Put the sums of each bin of the last features into `found`; gives those of combinations without them."""
    lasts = _lists([(cells.occupied % bin_count).astype(np.uint16) for cells in layer], bin_count)
    lists = [(order + cells.start, lengths) for cells, (order, lengths) in zip(layer, lasts, strict=True)]
    following = []
    start = len(layer) * bin_count
    for cells in layer:
        if len(cells.features) > 1:
            occupied, lengths = np.unique(cells.occupied // bin_count, return_counts=True)
            lists.append((np.arange(len(cells.occupied)) + cells.start, lengths))
            following.append(_Cells(cells.features[:-1], occupied, start))
            start += len(occupied)
    rows = residues.products(sums, *_joined(lists))
    for at, cells in enumerate(layer):
        found[cells.features[-1]] = rows[at * bin_count : (at + 1) * bin_count]
    return rows, following


def _joined(lists: Iterable[tuple[I64, I64]]) -> tuple[I64, I64]:
    """The indices and the lengths of all, one after another."""
    index, lengths = zip(*lists, strict=True)
    return np.concatenate(index), np.concatenate(lengths)


@dataclass(frozen=True)
class _Digits:
    """Signed digits of `bits` bits, from -2^(bits - 1) to 2^(bits - 1), each of two parts, `low_bits` in the lower."""

    bits: int
    places: int

    @classmethod
    def cheapest(cls, largest: int, rows: int) -> "_Digits":
        """Digits of integers within ±largest, such that sums of `rows` of them take the fewest multiplications."""
        signed_bits = max(0, largest - 1).bit_length() + 1  # the highest digit may be half of the base, too
        choices = [cls(bits, -(-signed_bits // bits)) for bits in range(2, _MAX_DIGIT_BITS + 1)]
        return min(choices, key=lambda digits: digits.places * (rows + 4 * digits.half))

    @property
    def half(self) -> int:
        """The largest digit."""
        return 1 << (self.bits - 1)

    @property
    def low_bits(self) -> int:
        return self.bits // 2

    def of(self, x: I64) -> I64:
        """The digits of integers, by place, the lowest first."""
        digits = np.empty((self.places, *x.shape), np.int64)
        for place in range(self.places - 1):
            digits[place] = ((x + self.half) & (2 * self.half - 1)) - self.half
            x = (x - digits[place]) >> self.bits
        digits[-1] = x
        return digits


def _weighted_sums(residues: Residues, rows: Rows, x: I64, digits: _Digits) -> Rows:
    """x^T·rows: the sum of the rows that have a digit, for each digit, and these times their digits."""
    columns, half = x.shape[1], digits.half
    signed = digits.of(x.T).reshape(digits.places * columns, len(x))
    key_of = np.r_[half : 2 * half][::-1], [2 * half], np.r_[:half]  # of -half to -1, of 0, and of 1 to half
    lists = _lists(list(np.concatenate(key_of).astype(np.uint16)[signed + half]), 2 * half + 1)
    index = np.concatenate([order[: len(order) - sizes[-1]] for order, sizes in lists])  # without those of digit 0
    sums = residues.products(rows, index, np.concatenate([sizes[:-1] for _, sizes in lists]))
    by_bit = _sums_by_bit(residues, sums, digits)
    weighted = by_bit[:, -1]
    for bit in reversed(range(digits.bits - 1)):
        weighted = residues.multiply(residues.multiply(weighted, weighted), by_bit[:, bit])
    by_place = weighted.reshape(digits.places, columns * 2, *rows.shape[1:])
    total = by_place[-1]
    for place in reversed(range(digits.places - 1)):
        total = residues.multiply(residues.power(total, 1 << digits.bits), by_place[place])
    return residues.multiply(total[0::2], residues.invert(total[1::2]))


def _sums_by_bit(residues: Residues, sums: Rows, digits: _Digits) -> Rows:
    """From the sums of digits 1 to `half`, one such after another, for each bit the sum of those that have it set.

    The digits' lower bits are told apart from their upper ones first, so that a sum goes into two others only.
    """
    runs, rows = len(sums) // digits.half, sums
    for members, lengths, taken in _halves_and_bits(digits):
        index = np.arange(runs)[:, None] * taken + members
        rows = residues.products(rows, index.ravel(), np.tile(lengths, runs))
    return rows.reshape(runs, digits.bits, *sums.shape[1:])


@cache
def _halves_and_bits(digits: _Digits) -> list[tuple[I64, I64, int]]:
    """The lists of each step of `_sums_by_bit`, their lengths, and how many sums the step takes."""
    values = np.arange(1, digits.half + 1)
    parts = values & ((1 << digits.low_bits) - 1), values >> digits.low_bits
    kinds = [(part, value) for part, found in enumerate(parts) for value in range(1, int(found.max()) + 1)]
    by_value = [np.flatnonzero(parts[part] == value) for part, value in kinds]
    bits = [(0, bit) for bit in range(digits.low_bits)] + [(1, bit) for bit in range(digits.bits - digits.low_bits)]
    by_bit = [
        np.array([at for at, (own, value) in enumerate(kinds) if own == part and value >> bit & 1], np.int64)
        for part, bit in bits
    ]
    return [
        (np.concatenate(lists), np.array([len(each) for each in lists]), taken)
        for lists, taken in ((by_value, len(values)), (by_bit, len(kinds)))
    ]
