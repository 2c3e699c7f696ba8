"""Products of a tall matrix and a short vector of ciphertexts, with several rows of the result in each ciphertext.

An entry is high·2^8 + low, with digits from -2^7 to 2^7. Every power of a ciphertext that a digit's magnitude can ask
for is looked up in a table, made once for all rows: those of positive digits are multiplied together, those of negative
ones too, and the second product is inverted.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError
from mpc.primitives.paillier.arrays import Ciphertexts
from mpc.primitives.paillier.residues import Residues, Rows

I64 = NDArray[np.int64]

ENTRY_BITS = 16  # with the sign
_DIGIT_BITS = 8
_PIECE = 512  # results at once: bounds the memory for indices
_TABLE_BYTES = 2**26


def packed_row_products(x: I64, a: Ciphertexts, slot_bits: int, per: int) -> Ciphertexts:
    """x·a for x of shape (rows, len(a)) with entries in [-2^15, 2^15): ceil(rows / per) ciphertexts, in each of which
    row r of its group stands times 2^(r·slot_bits), signed; slots that are left over are 0.
    """
    if x.ndim != 2 or x.shape[1] != len(a) or not len(a):
        raise InputError(f"the matrix has shape {x.shape}, not (rows, {len(a)})")
    half = 1 << (ENTRY_BITS - 1)
    if x.size and not -half <= int(x.min()) <= int(x.max()) < half:
        raise InputError(f"an entry of the matrix is not in [-2^{ENTRY_BITS - 1}, 2^{ENTRY_BITS - 1})")
    if per < 1 or per * slot_bits > a.public.bits:
        raise InputError(f"{per} slots of {slot_bits} bits do not fit a Paillier key of {a.public.bits} bits")
    groups = -(-len(x) // per)
    padded = np.zeros((groups * per, len(a)), np.int64)
    padded[: len(x)] = x
    by_group = padded.reshape(groups, per, len(a))
    residues = a.public.residues
    columns = max(1, _TABLE_BYTES // (8 * residues.words * per * 2 << _DIGIT_BITS))
    products = [residues.power(a.rows[:1], 0)] * 2
    for start in range(0, len(a), columns):
        piece = slice(start, start + columns)
        low, high = _digits(by_group[:, :, piece].reshape(groups, -1))
        ones, rest = _bases(residues, a.rows[piece], slot_bits, per)
        tables = _table(residues, ones, _most(low)), _table(residues, rest, _most(high))
        parts = _look_up(residues, np.concatenate(tables), np.concatenate([low, high], axis=1), len(tables[0]))
        products = [residues.multiply(part, before) for part, before in zip(parts, products, strict=True)]
    positive, negative = products
    return Ciphertexts(a.public, residues.multiply(positive, residues.invert(negative)))


def _digits(entries: I64) -> tuple[I64, I64]:
    """The lower digit, below 2^7, and the higher."""
    half = 1 << (_DIGIT_BITS - 1)
    low = (entries + half & 2 * half - 1) - half
    return low, entries - low >> _DIGIT_BITS


def _most(digits: I64) -> int:
    return int(np.abs(digits).max(initial=0))


def _bases(residues: Residues, rows: Rows, slot_bits: int, per: int) -> tuple[Rows, Rows]:
    """Each row shifted to each slot, slot by slot, and the same shifted by one more digit."""
    starts: list[tuple[Rows, Rows]] = []
    for slot in range(per):
        low = residues.power(starts[-1][1], 1 << slot_bits - _DIGIT_BITS) if slot else rows
        starts.append((low, residues.power(low, 1 << _DIGIT_BITS)))
    ones, rest = zip(*starts, strict=True)
    return np.concatenate(ones), np.concatenate(rest)


def _table(residues: Residues, bases: Rows, most: int) -> Rows:
    """The powers 1 to `most` of all bases: first of all their first, then of all their second."""
    table = np.empty((most * len(bases), *bases.shape[1:]), bases.dtype)
    table[: len(bases)] = bases[: len(table)]
    done = 1
    while done < most:
        more = min(done, most - done)
        known = table[: done * len(bases)]
        steps = np.concatenate([known[-len(bases) :]] * more)  # rows may be arrays or single objects
        table[done * len(bases) : (done + more) * len(bases)] = residues.multiply(known[: len(steps)], steps)
        done += more
    return table


def _look_up(residues: Residues, table: Rows, digits: I64, second: int) -> tuple[Rows, Rows]:
    """By group the product of what its positive digits ask for, and of what its negative ones do.

    `digits`, of shape (groups, 2·bases), are the lower digits and the higher ones, whose table begins at `second`.
    """
    bases = digits.shape[1] // 2
    first = np.concatenate([np.arange(bases), second + np.arange(bases)]) - bases  # where a digit of 0 would be
    found = [_products(residues, table, first, bases, signed) for signed in _pieces(digits)]
    positive, negative = zip(*found, strict=True)
    return np.concatenate(positive), np.concatenate(negative)


def _pieces(digits: I64) -> Iterator[I64]:
    for start in range(0, max(1, len(digits)), _PIECE):
        yield digits[start : start + _PIECE]


def _products(residues: Residues, table: Rows, first: I64, step: int, digits: I64) -> tuple[Rows, Rows]:
    index, lengths = [], []
    for signed in (digits, -digits):
        asked = signed > 0
        index.append((first + signed * step)[asked])
        lengths.append(np.count_nonzero(asked, axis=1))
    both = residues.products(table, np.concatenate(index), np.concatenate(lengths))
    return both[: len(digits)], both[len(digits) :]
