"""From a party's columns to the integers that are summed, and from their sums to the table of statistics.

A cell is a (group, bin). For each cell a party adds up, in this order: its rows; for each value, its rows that are not
NULL, then if asked the sum of the scaled value, then if asked the sum of its square as limbs. NULL values are left
out of their own value's count, sum and square; with bins, of everything, for they fall into none. The variance is
the sample's: the sum of squared distances from the mean over count - 1, NULL below two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mpc.errors import InputError
from mpc.primitives.fixed_point import to_scaled, unscaled
from mpc.rng import Rng
from mpc.sharing import limbs
from mpc.sharing.masked_sum import largest_summand
from mpc.sharing.statistics_params import Params, Value


def contribution(params: Params, tables: Mapping[str, pa.Table], parties: int, rng: Rng) -> NDArray[np.int64]:
    """One party's summands, shape (cells, `params.width`), from its tables by slot ("value", "group").

    Raises `InputError`, naming the first such row (counted from 1) and its column, for a number that is no number or
    out of its bounds, and for a key that is NULL or not among the groups; naming the value, for sums that
    `parties` such parties could make overflow.
    """
    columns = [
        _column(tables["value"].column(i), tables["value"].column_names[i], value)
        for i, value in enumerate(params.values)
    ]
    rows = tables["group" if params.groups else "value"].num_rows
    cell = _group_of_rows(params, tables["group"]) if params.groups else np.zeros(rows, np.int64)
    if params.bins:
        numbers, valid = columns[0]
        cell, columns = cell[valid], [(numbers[valid], valid[valid])]
        cell = cell * params.bin_count + _bin_of_rows(params, columns[0][0])
    parts = [np.bincount(cell, minlength=params.cells).astype(np.int64)[:, None]]
    for value, (numbers, valid) in zip(params.values, columns, strict=True):
        parts += _value_parts(params, value, cell[valid], numbers[valid], parties, rng)
    return np.concatenate(parts, axis=1)


def result_table(params: Params, suppressed: NDArray[np.bool_], sums: NDArray[np.int64]) -> pa.Table:
    """The released table, a row for each cell, groups in their order and bins ascending within each.

    `sums` has one row for each cell that is not suppressed. Columns: "group" and "bin" if there are such,
    "suppressed", "rows" (int64), and for each value and statistic asked for its "NAME_count" (int64), "NAME_sum"
    (decimal128 of the value's decimals), "NAME_mean" and "NAME_variance" (float64, the exact fraction rounded once);
    NULL in suppressed cells.
    """
    released = iter(sums.tolist())
    cells = [None if gone else _Cell.of(params, next(released)) for gone in suppressed.tolist()]
    table: dict[str, pa.Array] = {}
    if params.groups:
        table["group"] = pa.array([group for group in params.groups for _ in range(params.bin_count)], pa.string())
    if params.bins:
        table["bin"] = pa.array(_bin_labels(params) * max(1, len(params.groups)), pa.string())
    table["suppressed"] = pa.array(suppressed)
    table["rows"] = pa.array([None if cell is None else cell.rows for cell in cells], pa.int64())
    for i, value in enumerate(params.values):
        kinds = {"count": pa.int64(), "sum": pa.decimal128(38, value.decimals)}
        for statistic in params.statistics:
            entries = [None if cell is None else cell.totals[i].get(statistic) for cell in cells]
            table[f"{value.name}_{statistic}"] = pa.array(entries, kinds.get(statistic, pa.float64()))
    return pa.table(table)


@dataclass(frozen=True)
class _Total:
    """A value's sums in one cell."""

    value: Value
    count: int = field(repr=False)
    total: int = field(repr=False)
    squares: int = field(repr=False)

    def get(self, statistic: str) -> object:
        """An entry of the result table."""
        if statistic == "count":
            return self.count
        if statistic == "sum":
            return unscaled(self.total, self.value.decimals)
        unit = 10**self.value.decimals
        if statistic == "mean":
            return float(Fraction(self.total, self.count * unit)) if self.count else None
        if self.count < 2:
            return None
        distances = self.squares - Fraction(self.total**2, self.count)
        return float(distances / ((self.count - 1) * unit**2))


@dataclass(frozen=True)
class _Cell:
    rows: int = field(repr=False)
    totals: list[_Total] = field(repr=False)

    @classmethod
    def of(cls, params: Params, numbers: Sequence[int]) -> "_Cell":
        rest = iter(numbers)
        rows = next(rest)
        totals = []
        for value in params.values:
            count = next(rest)
            total = next(rest) if params.takes_sums else 0
            squares = limbs.join([next(rest) for _ in range(limbs.LIMBS)]) if params.takes_squares else 0
            totals.append(_Total(value, count, total, squares))
        return cls(rows, totals)


def _column(column: pa.ChunkedArray, name: str, value: Value) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    numbers, valid = to_scaled(column, value.decimals, name)
    outside = np.flatnonzero(valid & ((numbers < value.scaled_lower) | (numbers > value.scaled_upper)))
    if len(outside):
        raise InputError(
            f"row {outside[0] + 1} of column {name!r} is outside the agreed bounds of {value.name!r}",
            hint="correct or leave out the row, or agree on wider bounds",
        )
    return numbers, valid


def _group_of_rows(params: Params, table: pa.Table) -> NDArray[np.int64]:
    """Each row's position in the list of groups; keys are compared as text, exactly."""
    name = table.column_names[0]
    try:
        keys = table.column(0).cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(f"column {name!r} holds {table.column(0).type}, which cannot be read as text") from None
    found = pc.index_in(keys, pa.array(params.groups, pa.string())).combine_chunks()
    unknown = np.flatnonzero(found.is_null().to_numpy(zero_copy_only=False))
    if len(unknown):
        raise InputError(
            f"row {unknown[0] + 1} of column {name!r} has a key that is not among the agreed groups",
            hint="agree on all keys, or map the others to one that is, such as 'other'",
        )
    return np.asarray(found.to_numpy(zero_copy_only=False), np.int64)


def _bin_of_rows(params: Params, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    edges = np.array(params.scaled_bins, np.int64)
    return np.minimum(np.searchsorted(edges, numbers, side="right") - 1, params.bin_count - 1)


def _bin_labels(params: Params) -> list[str]:
    """ "[a, b)", and "[a, b]" for the last."""
    labels = [f"[{a}, {b})" for a, b in pairwise(params.bins)]
    return [*labels[:-1], labels[-1][:-1] + "]"]


def _value_parts(
    params: Params, value: Value, cell: NDArray[np.int64], numbers: NDArray[np.int64], parties: int, rng: Rng
) -> list[NDArray[np.int64]]:
    """A value's count, sum and limbs of squares, each of shape (cells, any)."""
    size = np.bincount(cell, minlength=params.cells)
    parts = [size.astype(np.int64)[:, None]]
    if params.takes_sums:
        low = value.scaled_lower
        above = numbers.view(np.uint64) - np.uint64(low % 2**64)  # at least 0, below 2^64
        sums = [s + low * n for s, n in zip(_exact_sums(cell, above, params.cells), size.tolist(), strict=True)]
        if max(map(abs, sums)) > largest_summand(parties):
            raise _overflow(value, "sum", parties)
        parts.append(np.array(sums, np.int64)[:, None])
    if params.takes_squares:
        try:
            split = [limbs.split(square, rng) for square in _exact_squares(cell, numbers, params.cells)]
        except OverflowError:
            raise _overflow(value, "sum of squares", parties) from None
        parts.append(np.array(split, np.int64))
    return parts


def _overflow(value: Value, what: str, parties: int) -> InputError:
    return InputError(
        f"value {value.name!r}: the {what} of a cell is too large for a sum over {parties} parties",
        hint="keep fewer decimals, or use larger units",
    )


def _exact_sums(cell: NDArray[np.int64], numbers: NDArray[np.uint64], cells: int) -> list[int]:
    """The sum of `numbers` in each cell, without overflow: halves of 32 bits are summed apart."""
    totals = []
    for half in (numbers & np.uint64(2**32 - 1), numbers >> np.uint64(32)):
        sums = np.zeros(cells, np.uint64)
        np.add.at(sums, cell, half)
        totals.append(sums.tolist())
    return [low + (high << 32) for low, high in zip(*totals, strict=True)]


def _exact_squares(cell: NDArray[np.int64], numbers: NDArray[np.int64], cells: int) -> list[int]:
    """The sum of the squares of `numbers` in each cell, without overflow."""
    size = np.abs(numbers).view(np.uint64)
    low, high = size & np.uint64(2**32 - 1), size >> np.uint64(32)
    products = (_exact_sums(cell, product, cells) for product in (low * low, low * high, high * high))
    return [a + (b << 33) + (c << 64) for a, b, c in zip(*products, strict=True)]
