"""What a party computes of its own columns alone: z-scores, weight of evidence, information value, stability."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mpc.errors import InputError
from mpc.federated.binning import Bins, make_bins
from mpc.federated.columns import Column, complete, read_columns, slots_of
from mpc.federated.model import Model

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

WOE_KIND = "woe"
WOE_VERSION = 1
_LEAST_SPREAD = 1e-150  # squares of less lose digits


def standardise(column: Column) -> F64:
    """The numbers less their mean, in units of their standard deviation (of the population).

    Raises `InputError` when a value is missing or all are the same.
    """
    values = complete(column.numbers, column.name, np.arange(len(column)))
    with np.errstate(over="ignore", invalid="ignore"):
        spread = values.std()
    if not np.isfinite(spread):
        raise InputError(f"column {column.name!r} has numbers so large that their squares overflow")
    if not spread > max(1e-12 * float(np.abs(values).max(initial=0)), _LEAST_SPREAD):
        raise InputError(
            f"column {column.name!r} has the same value in all common rows, or so nearly that it cannot be scaled",
            hint="leave the column out",
        )
    return np.asarray((values - values.mean()) / spread)


@dataclass(frozen=True)
class Grouped:
    """A column's bins put into groups of enough rows: `group_of_bin` gives each bin's group, `rows` their sizes."""

    bins: Bins
    group_of_bin: I64 = field(repr=False)
    rows: I64 = field(repr=False)

    @property
    def groups(self) -> int:
        return len(self.rows)

    def encode(self, column: Column) -> I64:
        """The group of each row."""
        return self.group_of_bin[self.bins.encode(column)]

    def names(self) -> list[str]:
        """What is in each group, for people."""
        bins = self.bins
        if bins.kind == "category":
            named = [*bins.categories, "others"]
        else:
            edges = [f"{edge:g}" for edge in bins.edges]
            named = [f"up to {edge}" for edge in edges] + [f"above {edges[-1]}" if edges else "all"]
        named.append("missing")
        parts = [
            [name for name, group in zip(named, self.group_of_bin, strict=True) if group == g]
            for g in range(self.groups)
        ]
        return [" or ".join(part) for part in parts]


def group_bins(column: Column, most: int, least_rows: int) -> Grouped:
    """Bins of a column in which each group has `least_rows` rows.

    Others and missing values that are fewer join the largest bin. Raises `InputError` when fewer than two groups are
    left.
    """
    bins = make_bins(column, np.ones(len(column), np.bool_), most, least_rows)
    rows = np.bincount(bins.encode(column), minlength=bins.count)
    kept = np.flatnonzero(rows >= max(least_rows, 1))
    if len(kept) < 2:
        raise InputError(
            f"column {column.name!r} leaves fewer than two bins of {least_rows} rows", hint="leave the column out"
        )
    place = np.full(bins.count, int(np.argmax(rows[kept])), np.int64)
    place[kept] = np.arange(len(kept))
    return Grouped(bins, place, np.bincount(place[bins.encode(column)], minlength=len(kept)))


def weight_of_evidence(rows: I64, events: I64, all_rows: int, all_events: int) -> tuple[F64, float]:
    """By group, ln of its share of all events over its share of all others; and the information value.

    A group without events, or with events alone, counts as if it had half a row of what it lacks (and of what it has).
    """
    others = rows - events
    lacking = (events == 0) | (others == 0)
    share = (events + 0.5 * lacking) / all_events
    rest = (others + 0.5 * lacking) / (all_rows - all_events)
    woe = np.log(share / rest)
    return woe, float(((share - rest) * woe).sum())


@dataclass(frozen=True)
class Evidence:
    """A column with the weight of evidence of each of its bins, and its information value."""

    bins: Bins
    woe: F64 = field(repr=False)  # by bin of `bins`
    information_value: float

    def encode(self, column: Column) -> F64:
        """The weight of evidence of each row."""
        return self.woe[self.bins.encode(column)]


def evidence_as_model(
    evidence: Sequence[Evidence],
) -> tuple[dict[str, list[list[str]]], dict[str, npt.NDArray[np.generic]]]:
    """Content and arrays of a `Model` of kind "woe"."""
    edges, woe = (
        [getattr(each, name) for each in found]
        for found, name in (([e.bins for e in evidence], "edges"), (evidence, "woe"))
    )
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "edges": np.concatenate([np.zeros(0), *edges]),
        "edge_counts": np.array([len(each) for each in edges], np.int64),
        "woe": np.concatenate([np.zeros(0), *woe]),
        "information_value": np.array([each.information_value for each in evidence], np.float64),
    }
    return {"categories": [list(each.bins.categories) for each in evidence]}, arrays


def evidence_from(model: Model) -> list[Evidence]:
    """The columns of a model of kind "woe", in the order of its features; raises `InputError` unless it is one."""
    count = len(model.features)
    sizes, values = model.array("edge_counts", "int64", (count,)), model.array("information_value", "float64", (count,))
    categories = model.content.get("categories")
    if not isinstance(categories, list) or len(categories) != count or (count and sizes.min() < 0):
        raise InputError("not a model of kind woe: its columns are not described one by one")
    edges, woe = model.array("edges", "float64", (int(sizes.sum()),)), model.array("woe", "float64", (-1,))
    found, at, taken = [], 0, 0
    for feature, size, names, value in zip(model.features, sizes.tolist(), categories, values.tolist(), strict=True):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"not a model of kind woe: the categories of column {feature.name!r} are no texts")
        bins = Bins(feature.name, feature.kind, edges[at : at + size], tuple(names))
        own = woe[taken : taken + bins.count]
        if len(own) != bins.count or (np.diff(bins.edges) <= 0).any():
            raise InputError(f"not a model of kind woe: the bins of column {feature.name!r} are damaged")
        found.append(Evidence(bins, own, value))
        at, taken = at + size, taken + bins.count
    return found


@dataclass(frozen=True)
class Stability:
    """How a column's values moved between two periods: rows by bin of each, and the population stability index."""

    names: tuple[str, ...]
    before: I64 = field(repr=False)
    after: I64 = field(repr=False)
    index: float


def stability_table(before: pa.Table, after: pa.Table, most: int = 10) -> pa.Table:
    """`population_stability` of every column of `before`, which `after` has too: a row a bin, in the columns column,
    index (of the whole column, repeated), bin, before and after (rows in it).
    """
    missing = [name for name in before.column_names if name not in after.column_names]
    if missing:
        raise InputError(f"column {missing[0]!r} is missing in the later period")
    slots = slots_of(before, before.column_names)
    pairs = [read_columns({slot: t.select(list(names)) for slot, names in slots.items()}) for t in (before, after)]
    rows = [
        {"column": then.name, "index": found.index, "bin": name, "before": int(p), "after": int(q)}
        for then, now in zip(*pairs, strict=True)
        for found in [population_stability(then, now, most)]
        for name, p, q in zip(found.names, found.before, found.after, strict=True)
    ]
    kinds = [("column", pa.string()), ("index", pa.float64()), ("bin", pa.string()), ("before", pa.int64())]
    return pa.Table.from_pylist(rows, pa.schema([*kinds, ("after", pa.int64())]))


def population_stability(before: Column, after: Column, most: int = 10) -> Stability:
    """The population stability index of a column, in at most `most` bins of its earlier values.

    The sum over bins of (q - p)·ln(q / p), p and q being the shares of rows before and after; a bin that is empty in
    one period counts half a row there. Below 0.1 is commonly called stable, above 0.25 shifted.
    """
    if before.kind != after.kind:
        raise InputError(f"column {before.name!r} is a {before.kind} in one period and a {after.kind} in the other")
    if not len(before) or not len(after):
        raise InputError(f"column {before.name!r} has no rows in one of the periods")
    grouped = group_bins(before, most, 1)
    then, now = (np.bincount(grouped.encode(column), minlength=grouped.groups) for column in (before, after))
    p, q = (np.where(rows == 0, 0.5, rows) / rows.sum() for rows in (then, now))
    return Stability(tuple(grouped.names()), then, now, float(((q - p) * np.log(q / p)).sum()))
