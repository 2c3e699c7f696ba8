"""Columns in bins, and the splits that a tree may choose between: what each party does with its own columns.

A column of numbers has at most `most` bins between quantiles of its values: with m values in ascending order the
edges are those at places ceil(k·m/most), k = 1 .. most - 1, each once, or all values but the largest if there are at
most `most` different ones. A bin holds its upper edge. Neighbours are merged, from below, until each has
`least_rows` rows. Missing values have a bin of their own; they go right in every split unless at least `least_rows`
training rows lack one, in which case both directions are candidates.

A column of categories has a bin for each of the `most` - 1 most frequent ones that have `least_rows` rows (ties in the
order of their text); all others, and those not seen in training, share one more, and missing values have their own.
Candidates send one category left, or the missing values, and all the rest right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from mpc.errors import InputError
from mpc.federated.columns import MISSING, Column

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
U16 = npt.NDArray[np.uint16]
BOOL = npt.NDArray[np.bool_]
T = TypeVar("T")

#: An edge that no number exceeds: missing values on one side, all others on the other.
EVERY_NUMBER = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Bins:
    """The bins of one column: `edges` of numbers, or `categories`; `missing`: whether enough training rows lack values.

    Numbers: bin i holds values up to edges[i], the next one those above, the last one is for missing values.
    Categories: bin i is for categories[i], the next one for others, the last one for missing values.
    """

    name: str
    kind: Literal["number", "category"]
    edges: F64 = field(default_factory=lambda: np.zeros(0), repr=False)
    categories: tuple[str, ...] = field(default=(), repr=False)
    missing: bool = False

    @property
    def values(self) -> int:
        """How many bins there are for values."""
        return (len(self.edges) if self.kind == "number" else len(self.categories)) + 1

    @property
    def count(self) -> int:
        """How many bins there are, that for missing values included."""
        return self.values + 1

    def encode(self, column: Column) -> U16:
        """The bin of each row."""
        if self.kind == "number":
            found = np.searchsorted(self.edges, column.numbers, side="left")
            return np.where(np.isnan(column.numbers), self.values, found).astype(np.uint16)
        place = {text: i for i, text in enumerate(self.categories)}
        of_code = [place.get(text, len(self.categories)) for text in column.texts]
        return np.array([*of_code, self.values], np.uint16)[np.where(column.codes == MISSING, -1, column.codes)]


def make_bins(column: Column, fitted: BOOL, most: int, least_rows: int = 1) -> Bins:
    """The bins of a column by its rows where `fitted`; raises `InputError` if those leave nothing to split by."""
    bins = _number_bins(column, fitted, most, least_rows)
    if column.kind == "category":
        bins = _category_bins(column, fitted, most, least_rows)
    if not splits_of(bins):
        raise InputError(
            f"column {column.name!r} has the same value in all training rows, or bins of too few rows",
            hint="leave the column out",
        )
    return bins


def _number_bins(column: Column, fitted: BOOL, most: int, least_rows: int) -> Bins:
    if column.kind != "number":
        return Bins(column.name, "number")
    own = column.numbers[fitted]
    values = np.sort(own[~np.isnan(own)])
    different = np.append(values[:1], values[1:][values[1:] > values[:-1]])
    if len(different) <= most:
        edges = different[:-1]
    else:
        places = -(-np.arange(1, most) * len(values) // most) - 1
        edges = np.unique(values[places])
        edges = edges[edges < values[-1]]
    return Bins(
        column.name,
        "number",
        _merge(edges, values, least_rows),
        missing=least_rows <= len(own) - len(values) < len(own),
    )


def _merge(edges: F64, values: F64, least_rows: int) -> F64:
    """The edges that are left when bins of fewer rows are joined to the next, and the last one to the one before."""
    kept: list[float] = []
    below, total = 0, len(values)
    for edge, up_to in zip(edges.tolist(), np.searchsorted(values, edges, side="right").tolist(), strict=True):
        if up_to - below >= least_rows and total - up_to >= least_rows:
            kept.append(edge)
            below = up_to
    return np.array(kept, np.float64)


def _category_bins(column: Column, fitted: BOOL, most: int, least_rows: int) -> Bins:
    codes = column.codes[fitted]
    rows = np.bincount(codes[codes != MISSING], minlength=len(column.texts))
    order = sorted(range(len(column.texts)), key=lambda code: (-rows[code], column.texts[code]))
    large = [code for code in order[: most - 1] if rows[code] >= max(least_rows, 1)]
    whole = len(codes) in (int(rows[code]) for code in large)  # one category alone splits nothing
    names = () if whole else tuple(column.texts[code] for code in large)
    lacking = int(np.count_nonzero(codes == MISSING))
    return Bins(column.name, "category", categories=names, missing=max(least_rows, 1) <= lacking < len(codes))


@dataclass(frozen=True)
class Split:
    """A decision by one column: values in bins up to `bin`, or just category `bin`, go left; the rest goes right.

    With `missing_left` missing values go left. For categories `bin` may be that of missing values.
    """

    feature: int
    bin: int
    missing_left: bool


def splits_of(bins: Bins, feature: int = 0) -> list[Split]:
    """The splits by one column that a tree may choose between, in the order in which the first of equals is chosen."""
    if bins.kind == "category":
        every = [Split(feature, i, False) for i in range(len(bins.categories))]
        return [*every, Split(feature, bins.values, True)] if bins.missing else every
    if not bins.missing:
        return [Split(feature, i, False) for i in range(len(bins.edges))]
    both = [Split(feature, i, left) for i in range(len(bins.edges)) for left in (False, True)]
    return [*both, Split(feature, len(bins.edges), False)]


@dataclass(frozen=True)
class Layout:
    """Where the sums of some columns' bins stand, and how those of the rows that splits send left are made of them.

    Sums by bin are one vector: column after column with `width` cells each. `splits` are of all columns, by position.
    """

    width: int
    columns: int
    splits: tuple[Split, ...]
    _start: I64 = field(
        repr=False
    )  # by split: its sum up to a bin, at bin * columns + column, or behind those its cell
    _with_missing: I64 = field(repr=False)  # the splits that missing values are to be added to
    _missing_cell: I64 = field(repr=False)  # their cells for missing values

    def left_sums(
        self,
        cells: T,
        add: Callable[[T, T], T],
        take: Callable[[T, I64], T],
        join: Callable[[Sequence[T]], T],
    ) -> T:
        """For each split the sum over the rows that go left, of whatever can be added: numbers or ciphertexts."""
        base = np.arange(self.columns, dtype=np.int64) * self.width
        upto = [take(cells, base)]
        for index in range(1, self.width):
            upto.append(add(upto[-1], take(cells, base + index)))
        sums = take(join([*upto, cells]), self._start)
        if len(self._with_missing) == 0:
            return sums
        both = add(take(sums, self._with_missing), take(cells, self._missing_cell))
        final = np.arange(len(self.splits), dtype=np.int64)
        final[self._with_missing] = len(self.splits) + np.arange(len(self._with_missing))
        return take(join([sums, both]), final)


def layout_of(bins: Sequence[Bins]) -> Layout:
    """The layout of columns with these bins; the features of its splits are positions in `bins`."""
    width = max(each.count for each in bins)
    splits = [split for feature, each in enumerate(bins) for split in splits_of(each, feature)]
    start, with_missing, missing_cell = [], [], []
    for index, split in enumerate(splits):
        each, cell = bins[split.feature], split.feature * width
        if each.kind == "category":
            start.append(width * len(bins) + cell + split.bin)
            continue
        start.append(split.bin * len(bins) + split.feature)
        if split.missing_left:
            with_missing.append(index)
            missing_cell.append(cell + each.values)
    places = (np.array(each, np.int64) for each in (start, with_missing, missing_cell))
    return Layout(width, len(bins), tuple(splits), *places)


def goes_left(split: Split, bins: Bins, binned: U16) -> BOOL:
    """Which rows a split by the column with these bins sends left; `binned` are the rows' bins of that column."""
    if bins.kind == "category":
        return np.asarray(binned == split.bin)
    left = binned <= split.bin
    missing = binned == bins.values
    return np.asarray(left & ~missing | missing & split.missing_left)
