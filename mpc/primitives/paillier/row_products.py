"""Products of a tall matrix and a short vector of ciphertexts, with several rows of the result in each ciphertext."""

import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError
from mpc.primitives.paillier.arrays import Ciphertexts
from mpc.primitives.paillier.residues import Residues, Rows

I64 = NDArray[np.int64]

ENTRY_BITS = 16
_WINDOWS = (4, 8)  # bits that index one row of a table
_PIECE = 512  # results at once: bounds the memory for indices
_TABLE_BYTES = 2**27


def packed_row_products(x: I64, a: Ciphertexts, slot_bits: int, per: int) -> Ciphertexts:
    """x·a for x of shape (rows, len(a)) with entries in [0, 2^16): ceil(rows / per) ciphertexts, in each of which row
    r of its group stands times 2^(r·slot_bits); slots that are left over are 0.

    Every power of a ciphertext that a row can ask for is looked up in a table, made once for all rows.
    """
    if x.ndim != 2 or x.shape[1] != len(a) or not len(a):
        raise InputError(f"the matrix has shape {x.shape}, not (rows, {len(a)})")
    if x.size and not 0 <= int(x.min()) <= int(x.max()) < 1 << ENTRY_BITS:
        raise InputError(f"an entry of the matrix is not in [0, 2^{ENTRY_BITS})")
    if per < 1 or per * slot_bits > a.public.bits:
        raise InputError(f"{per} slots of {slot_bits} bits do not fit a Paillier key of {a.public.bits} bits")
    groups = -(-len(x) // per)
    padded = np.zeros((groups * per, len(a)), np.int64)
    padded[: len(x)] = x
    by_group = padded.reshape(groups, per, len(a)).transpose(0, 2, 1)
    window = min(_WINDOWS, key=lambda bits: -(-ENTRY_BITS // bits) * (groups + 2**bits))
    residues = a.public.residues
    columns = max(1, _TABLE_BYTES // (8 * residues.words * per * (ENTRY_BITS // window) << window))
    result: Rows | None = None
    for start in range(0, len(a), columns):
        table = _table(residues, a.rows[start : start + columns], slot_bits, per, window)
        part = _look_up(residues, table, by_group[:, start : start + columns], window)
        result = part if result is None else residues.multiply(result, part)
    assert result is not None
    return Ciphertexts(a.public, result)


def _table(residues: Residues, rows: Rows, slot_bits: int, per: int, window: int) -> Rows:
    """Powers of each row, in order of row, slot, digit and value: to value·2^(slot·slot_bits + digit·window)."""
    digits = ENTRY_BITS // window
    starts, current = [], rows
    for slot in range(per):
        for digit in range(digits):
            starts.append(current)
            step = window if digit < digits - 1 else slot_bits - window * (digits - 1)
            if (slot, digit) != (per - 1, digits - 1):
                current = residues.power(current, 1 << step)
    firsts = np.stack(starts, axis=1)
    flat = firsts.reshape(-1, *firsts.shape[2:])
    table = np.stack([residues.power(flat, 0), flat], axis=1)
    while table.shape[1] < 1 << window:
        following = residues.multiply(table[:, -1], flat)
        values = table.shape[1]
        entries = table.reshape(-1, *table.shape[2:])
        more = residues.multiply(entries, np.repeat(following, values, axis=0))
        table = np.concatenate([table, more.reshape(table.shape)], axis=1)
    return np.ascontiguousarray(table.reshape(-1, *table.shape[2:]))


def _look_up(residues: Residues, table: Rows, by_group: I64, window: int) -> Rows:
    """The products of the powers that each group's entries, of shape (groups, columns, per), ask for."""
    digits = ENTRY_BITS // window
    shifts = np.arange(digits) * window
    lists = by_group.shape[1] * by_group.shape[2] * digits
    parts = []
    for start in range(0, len(by_group), _PIECE):
        piece = by_group[start : start + _PIECE]
        values = (piece[..., None] >> shifts & ((1 << window) - 1)).reshape(len(piece), lists)
        index = (np.arange(lists) << window) + values
        parts.append(residues.products(table, index.ravel(), np.full(len(piece), lists)))
    return np.concatenate(parts)
