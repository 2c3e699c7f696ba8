"""From a party's columns to the integers that a regression computes with, and the errors of columns that give none.

A number is standardised with the mean and the standard deviation of the party's own training rows, taken as at most
`CLIP` standard deviations from the mean, and held as round(x·2^FEATURE_FRACTION).
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

FEATURE_FRACTION = 13  # bits below the point
FEATURE_BITS = 16  # with the sign
CLIP = 2.0 ** (FEATURE_BITS - 1 - FEATURE_FRACTION) - 2.0**-FEATURE_FRACTION
ONE = 1 << FEATURE_FRACTION
_MAX_NUMBER = 2.0**500  # squares of these still have finite sums

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of each column, in the order of `names`."""

    names: tuple[str, ...]
    mean: F64 = field(repr=False)
    deviation: F64 = field(repr=False)


@dataclass(frozen=True)
class Encoded:
    """Integers, a row each, and how many numbers were clipped."""

    numbers: I64 = field(repr=False)
    clipped: int


def read_features(table: "pa.Table | None", rows: I64) -> F64:
    """The table's columns at `rows`, shape (rows, columns): (rows, 0) for no table.

    Raises `InputError`, naming column and row (counted from 1), for what is no number, missing at `rows`, infinite, or
    of a magnitude above 2^500.
    """
    from mpc.federated.columns import complete, read_numbers

    names = [] if table is None else table.column_names
    found = np.zeros((len(rows), len(names)))
    for i, name in enumerate(names):
        found[:, i] = complete(read_numbers(table, name), name, rows)
        large = np.flatnonzero(np.abs(found[:, i]) > _MAX_NUMBER)
        if len(large):
            raise InputError(f"column {name!r}, row {rows[large[0]] + 1}: a number is above 2^500 in magnitude")
    return found


def fit_scaling(numbers: F64, names: tuple[str, ...]) -> Scaling:
    """Mean and deviation of each column; raises `InputError` naming a column that is constant or cannot be scaled."""
    mean, deviation = numbers.mean(axis=0), numbers.std(axis=0)
    for name, centre, spread in zip(names, mean.tolist(), deviation.tolist(), strict=True):
        if not _differs(centre, spread):
            raise InputError(
                f"column {name!r} is constant in the common rows, or so nearly that it cannot be scaled",
                hint="leave it out",
            )
    return Scaling(names, mean, deviation)


def _differs(mean: float, deviation: float) -> bool:
    """Whether numbers can be told apart: rounding, or that their squares vanish, would else decide what they become."""
    return deviation > max(1e-12 * abs(mean), 1 / _MAX_NUMBER)


def encode(numbers: F64, scaling: Scaling) -> Encoded:
    """The columns in standard deviations from the mean, clipped, as integers of `FEATURE_BITS` bits."""
    standard = (numbers - scaling.mean) / scaling.deviation
    clipped = np.clip(standard, -CLIP, CLIP)
    return Encoded(np.rint(clipped * ONE).astype(np.int64), int((np.abs(standard) > CLIP).sum()))


@dataclass(frozen=True)
class Label:
    """The label as targets, shape (rows, outputs): 0 and 1 for classes; standardised numbers; or counts.

    `classes` are what the outputs stand for; `mean` and `deviation` those of a standardised label, else 0 and 1.
    """

    targets: F64 = field(repr=False)
    classes: tuple[float, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0


MAX_COUNT = 1000


def read_label(table: "pa.Table", rows: I64, family: str, classes: int) -> F64:
    """The label's column at `rows`; raises `InputError`, naming it, for labels that the family cannot have."""
    name = table.column_names[0]
    label = read_features(table, rows)[:, 0]
    if family == "logistic" and classes == 2:
        bad, what = (label != 0) & (label != 1), "neither 0 nor 1"
    elif family == "poisson":
        bad, what = (label < 0) | (label > MAX_COUNT) | (label != np.rint(label)), f"no count of 0 to {MAX_COUNT}"
    else:
        bad, what = np.zeros(len(label), np.bool_), ""
    if bad.any():
        raise InputError(f"label {name!r}, row {rows[np.flatnonzero(bad)[0]] + 1}: the value is {what}")
    return label


def encode_label(label: F64, name: str, family: str, classes: int) -> Label:
    """The targets of the common rows; raises `InputError` for a single value, or other classes than agreed."""
    found = np.unique(label)
    if len(found) < 2:
        raise InputError(f"the label {name!r} has a single {'class' if family == 'logistic' else 'value'}")
    if family == "logistic" and classes > 2:
        if len(found) != classes:
            raise InputError(f"the label {name!r} has {len(found)} classes, and {classes} were agreed")
        return Label((label[:, None] == found).astype(np.float64), tuple(found.tolist()))
    if family == "linear":
        mean, deviation = float(label.mean()), float(label.std())
        if not _differs(mean, deviation):
            raise InputError(f"the label {name!r} is so nearly constant that it cannot be scaled")
        return Label(((label - mean) / deviation)[:, None], (), mean, deviation)
    return Label(label[:, None])
