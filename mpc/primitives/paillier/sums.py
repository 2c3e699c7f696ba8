"""Many sums over the same ciphertexts: by bins of features, and weighted by the columns of a matrix.

Both put every ciphertext into a bin by several keys at once and multiply it into that bin only; then the few bins are
multiplied together, key by key. Source of the weighted sums: Pippenger, FOCS 1976, doi.org/10.1109/SFCS.1976.21.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError
from mpc.primitives.paillier.arrays import Ciphertexts
from mpc.primitives.paillier.residues import Residues, Rows

I64 = NDArray[np.int64]
Bins = NDArray[np.uint8] | NDArray[np.uint16]

_MAX_JOINT = 3  # features whose bins are combined
_MAX_CELLS = 2**16  # combinations of bins, so that they sort as numbers of 16 bits
_MAX_BIN_COUNT = 2**16
_MAX_ENTRY = 2**62  # of a matrix, so that its digits can be carried in 64 bits
_MAX_DIGIT_BITS = 12
_INDICES_AT_ONCE = 2**22  # bounds memory


def sum_by_index(a: Ciphertexts, bins: Bins, bin_count: int) -> Ciphertexts:
    """The sum of each bin of each feature, features·bin_count ciphertexts: feature f's bin b is at f·bin_count + b.

    `bins`, of shape (len(a), features), says in which bin, below `bin_count` and 2^16, a row is. An empty bin's sum
    is a ciphertext of 0. Raises `InputError` for another shape and for a bin out of range.
    """
    if bins.ndim != 2 or len(bins) != len(a):
        raise InputError(f"bins have shape {bins.shape}, not ({len(a)}, features)")
    if bins.dtype not in (np.uint8, np.uint16) or not 1 <= bin_count <= _MAX_BIN_COUNT:
        raise InputError(f"bins of {bins.dtype}, {bin_count} of them: give uint8 or uint16, and from 1 to 65536")
    if bins.size and int(bins.max()) >= bin_count:
        raise InputError(f"a bin is not below the number of bins, {bin_count}")
    residues = a.public.residues
    parts = [a.rows[:0]]
    at = 0
    while at < bins.shape[1]:
        size = _features_together(bins[:, at:], bin_count)
        parts.append(_joint_sums(residues, a.rows, bins[:, at : at + size], bin_count))
        at += size
    return Ciphertexts(a.public, np.concatenate(parts))


def matrix_product(x: I64, a: Ciphertexts) -> Ciphertexts:
    """x^T·a: for each column of x, of shape (len(a), columns), the sum of all ciphertexts times their entries.

    Entries are signed, within ±2^62. Raises `InputError` for another shape and for larger entries.
    """
    if x.ndim != 2 or len(x) != len(a) or x.dtype != np.int64:
        raise InputError(f"the matrix is {x.dtype} of shape {x.shape}, not int64 of ({len(a)}, columns)")
    if x.size and (x.max() > _MAX_ENTRY or x.min() < -_MAX_ENTRY):
        raise InputError("an entry of the matrix is not within ±2^62", hint="use a smaller scale")
    digits = _Digits.cheapest(int(np.abs(x).max(initial=0)).bit_length(), len(x))
    step = max(1, _INDICES_AT_ONCE // max(1, len(x) * digits.places))
    pieces = [x[:, at : at + step] for at in range(0, x.shape[1], step)]
    sums = [_weighted_sums(a.public.residues, a.rows, piece, digits) for piece in pieces]
    return Ciphertexts(a.public, np.concatenate([a.rows[:0], *sums]))


def _lists(keys: NDArray[np.unsignedinteger], count: int) -> tuple[I64, I64]:
    """Indices in the order of their keys, below `count`, and how many have each key."""
    return np.argsort(keys, kind="stable"), np.bincount(keys, minlength=count)


def _features_together(bins: Bins, bin_count: int) -> int:
    """How many of the first features to combine so that a feature takes the fewest multiplications."""
    best, cost = 1, float(len(bins))
    for size in range(2, min(_MAX_JOINT, bins.shape[1]) + 1):
        if bin_count**size > _MAX_CELLS:
            break
        cells = np.count_nonzero(np.bincount(_joint(bins[:, :size], bin_count), minlength=1))
        joint_cost = (len(bins) + size * cells) / size
        if joint_cost < cost:
            best, cost = size, joint_cost
    return best


def _joint(bins: Bins, bin_count: int) -> NDArray[np.uint16]:
    """One number for each combination of bins."""
    joint = bins[:, 0].astype(np.uint16)
    for feature in range(1, bins.shape[1]):
        joint = joint * np.uint16(bin_count) + bins[:, feature]
    return joint


def _joint_sums(residues: Residues, rows: Rows, bins: Bins, bin_count: int) -> Rows:
    """The sums of each bin of a few features."""
    features = bins.shape[1]
    if features == 1:
        return residues.products(rows, *_lists(bins[:, 0], bin_count))
    order, lengths = _lists(_joint(bins, bin_count), bin_count**features)
    occupied = np.flatnonzero(lengths)
    cells = residues.products(rows, order, lengths[occupied])
    marginals = [
        _lists((occupied // bin_count ** (features - 1 - feature) % bin_count).astype(np.uint16), bin_count)
        for feature in range(features)
    ]
    index, sizes = (np.concatenate(part) for part in zip(*marginals, strict=True))
    return residues.products(cells, index, sizes)


@dataclass(frozen=True)
class _Digits:
    """Signed digits of `bits` bits, from -2^(bits - 1) to 2^(bits - 1), each of two parts, `low_bits` in the lower."""

    bits: int
    places: int

    @classmethod
    def cheapest(cls, magnitude_bits: int, rows: int) -> "_Digits":
        """Digits of integers of so many bits and a sign, such that sums of `rows` take the fewest multiplications."""
        choices = [cls(bits, -(-(magnitude_bits + 1) // bits)) for bits in range(2, _MAX_DIGIT_BITS + 1)]
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
    keys = np.where(signed > 0, signed - 1, np.where(signed < 0, half - 1 - signed, 2 * half)).astype(np.uint16)
    lists = [_lists(row, 2 * half + 1) for row in keys]
    index = np.concatenate([order[: len(order) - sizes[-1]] for order, sizes in lists])  # without those of digit 0
    sums = residues.products(rows, index, np.concatenate([sizes[:-1] for _, sizes in lists]))
    weighted = _times_digits(residues, sums, digits)  # by place, column, sign
    by_place = weighted.reshape(digits.places, columns * 2, *weighted.shape[1:])
    total = by_place[-1]
    for place in range(digits.places - 2, -1, -1):
        total = residues.multiply(residues.power(total, 1 << digits.bits), by_place[place])
    return residues.multiply(total[0::2], residues.invert(total[1::2]))


def _times_digits(residues: Residues, sums: Rows, digits: _Digits) -> Rows:
    """From the sums of digits 1 to `half`, one such after another, the sum of each times its digit."""
    values = np.arange(1, digits.half + 1)
    high, low = values >> digits.low_bits, values & ((1 << digits.low_bits) - 1)
    runs = len(sums) // digits.half
    starts = np.arange(runs)[:, None] * digits.half
    parts = []
    for part in (high, low):
        order, sizes = _lists(part.astype(np.uint16), int(part.max()) + 1)
        order, sizes = order[sizes[0] :], sizes[1:]  # without those of part 0
        by_value = residues.products(sums, (starts + order).ravel(), np.tile(sizes, runs))
        parts.append(_times_position(residues, by_value.reshape(runs, len(sizes), *sums.shape[1:])))
    return residues.multiply(residues.power(parts[0], 1 << digits.low_bits), parts[1])


def _times_position(residues: Residues, rows: Rows) -> Rows:
    """For each run, the sum of its first, twice its second, three times its third, and so on."""
    running = total = rows[:, -1]
    for position in range(rows.shape[1] - 2, -1, -1):
        running = residues.multiply(running, rows[:, position])
        total = residues.multiply(total, running)
    return total
