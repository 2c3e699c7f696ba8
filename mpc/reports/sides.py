"""One party's rows as the report takes them: filtered, each with its key and its group, its factors as integers.

What a report reads is checked here before anything is sent: a number out of its declared bounds, a group that was
not declared, a filter that leaves fewer people than the minimum, a grouping that is nearly one group a person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mpc.conditions import rows_where
from mpc.errors import InputError, PolicyDenied
from mpc.keys import Keys
from mpc.primitives.fixed_point import to_scaled
from mpc.reports.expressions import Column
from mpc.reports.groups import MAX_LABEL_CHARACTERS, WITHHELD, Label, combined, labels_of
from mpc.reports.measures import Factor, declared, largest
from mpc.reports.params import Params
from mpc.reports.plan import Buckets, GroupKey, Plan
from mpc.spec import Rows

I64: TypeAlias = NDArray[np.int64]
BOOL: TypeAlias = NDArray[np.bool_]

MAX_GROUPS = 10_000


@dataclass(frozen=True)
class Side:
    """A party's part. `keep` are the rows that count; `groups` gives each row's number among `labels`.

    `rows` are those of the dataset that the tables hold, None: all.
    """

    plan: Plan
    params: Params
    party: str
    tables: Mapping[str, pa.Table] = field(repr=False)
    keep: BOOL = field(repr=False)
    groups: I64 = field(repr=False)
    labels: tuple[tuple[Label, ...], ...] = field(repr=False)
    rows: Rows | None = field(default=None, repr=False)

    def values(self, factor: Factor) -> I64 | NDArray[np.object_]:
        """A factor of each row: int64 where it fits, else Python's integers."""
        exact = largest(self.params, self.party, factor) < 2**63
        rows = np.ones(len(self.keep), np.int64 if exact else object)
        for name in factor.columns:
            rows = rows * self.numbers(name)[0].astype(rows.dtype)
        for name in factor.present:
            rows = rows * self._valid(name).astype(rows.dtype)
        return rows

    def numbers(self, name: str) -> tuple[I64, BOOL]:
        """A column in units of its declared decimals, 0 where it is NULL, and where it is not.

        Raises `InputError`, naming the first such row, for a value out of its bounds among the rows that count.
        """
        if name not in self._numbers:
            bounds = declared(self.params, Column(self.party, name))
            column = self.tables["value"].column(name)
            values, valid = to_scaled(column, bounds.decimals, name, _numbers(self.rows))
            outside = np.flatnonzero(
                valid & self.keep & ((values < bounds.scaled_lower) | (values > bounds.scaled_upper))
            )
            if len(outside):
                raise InputError(
                    f"row {_number(self.rows, outside[0])} of column {name!r} is outside its declared bounds",
                    hint="correct or filter the row, or declare wider bounds",
                )
            self._numbers[name] = values, valid
        return self._numbers[name]

    @cached_property
    def _numbers(self) -> dict[str, tuple[I64, BOOL]]:
        return {}

    def _valid(self, name: str) -> BOOL:
        slot = "value" if "value" in self.tables and name in self.tables["value"].column_names else "count"
        return np.asarray(self.tables[slot].column(name).is_valid().to_numpy(), np.bool_)


def open_side(
    plan: Plan, params: Params, party: str, tables: Mapping[str, pa.Table], of_dataset: Rows | None = None
) -> Side:
    """The party's rows; raises `InputError` for data that do not fit the plan."""
    rows = tables["key"].num_rows
    keep = np.ones(rows, np.bool_)
    for condition in plan.filters.get(party, ()):
        keep &= rows_where(condition, tables["filter"]).to_numpy()
    for comparison in plan.comparisons:  # with NULL it does not hold
        for column in (comparison.left, comparison.right):
            if column.party == party:
                keep &= tables["value"].column(column.name).is_valid().to_numpy()
    keys = [key for key in plan.groups if key.column.party == party]
    found = [_codes(key, params, tables, keep, of_dataset) for key in keys]
    groups = np.zeros(rows, np.int64)
    for codes, labels in found:
        groups = groups * len(labels) + codes
    return Side(plan, params, party, tables, keep, groups, combined([labels for _, labels in found]), of_dataset)


def check_sizes(side: Side, keys: Keys) -> None:
    """Raise `PolicyDenied` if the own filters leave too few people, or the own groups are nearly one a person."""
    minimum = side.params.minimum_group
    counted = keys.key_of_row[side.keep & (keys.key_of_row >= 0)]
    people = int(np.count_nonzero(np.bincount(counted)))
    if people < minimum and side.plan.filters.get(side.party):
        raise PolicyDenied(
            f"rule small_filter: the conditions on {side.party}'s own columns leave less people than the minimum group",
            hint=f"widen the conditions until at least {minimum} people are left",
        )
    free = [key for key in side.plan.groups if key.column.party == side.party and key.buckets is None]
    for key in free:
        if not side.params.columns.get(str(key.column)) and len(side.labels) * minimum > max(people, minimum):
            raise PolicyDenied(
                f"rule near_unique, column {key.column}: it has too many different values for groups of {minimum}",
                hint="group by something coarser, or declare its values",
            )


def _numbers(rows: Rows | None) -> I64 | None:
    return None if rows is None else rows.numbers


def _number(rows: Rows | None, at: int) -> int:
    """What errors call a row: its number in the dataset, from 1."""
    return int(at if rows is None else rows.numbers[at]) + 1


def _codes(
    key: GroupKey, params: Params, tables: Mapping[str, pa.Table], keep: BOOL, rows: Rows | None
) -> tuple[I64, Sequence[Label]]:
    """Each row's number among the labels of one group key, and the labels."""
    labels = labels_of(key, params)
    if key.buckets is not None:
        codes = _bucket_of(key, key.buckets, params, tables["value"].column(key.column.name), rows)
        present = np.asarray(tables["value"].column(key.column.name).is_valid().to_numpy(), np.bool_)
    else:
        text = _as_text(tables["group"].column(key.column.name), key.column)
        if labels is None:
            labels = _found_labels(tables["group"].column(key.column.name).filter(pa.array(keep)))
            if any(isinstance(each, str) and (len(each) > MAX_LABEL_CHARACTERS or each == WITHHELD) for each in labels):
                raise InputError(
                    f"column {key.column} has a value that no group can be called: one of more than "
                    f"{MAX_LABEL_CHARACTERS} characters, or {WITHHELD!r}"
                )
            if len(labels) > MAX_GROUPS:
                raise InputError(f"column {key.column} has more than {MAX_GROUPS} different values to group by")
        named = [str(label) for label in labels if label is not None]
        index = pc.index_in(text, pa.array(named, pa.large_string()))
        codes = pc.fill_null(index, -1).to_numpy().astype(np.int64)
        present = np.asarray(text.is_valid().to_numpy(), np.bool_)
    assert labels is not None
    if None in labels:
        codes[~present] = len(labels) - 1
    bad = np.flatnonzero(keep & ((codes < 0) | (~present & (None not in labels))))
    if len(bad):
        raise InputError(
            f"row {_number(rows, bad[0])} of column {key.column.name!r} is in none of the declared groups",
            hint="declare its value (or nulls), or leave such rows out by a condition",
        )
    codes[~keep] = 0
    return codes, labels


def _found_labels(column: pa.ChunkedArray) -> list[Label]:
    """The different values of a column, sorted, NULL last; integers stay integers, all else is text as Arrow's."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_boolean(kind):  # whose text is Python's with a capital
        column = column.cast(kind).cast(pa.large_string())
    values = pc.unique(column).to_pylist()
    kept = {value if type(value) is int else str(value) for value in values if value is not None}
    found: list[Label] = [*sorted(kept, key=lambda value: (value if isinstance(value, int) else 0, str(value)))]
    return [*found, None] if None in values or not found else found


def _bucket_of(key: GroupKey, buckets: Buckets, params: Params, column: pa.ChunkedArray, rows: Rows | None) -> I64:
    """The bucket of each row, exactly: each edge in units of the column's decimals, rounded up."""
    bounds = declared(params, key.column)
    values, _ = to_scaled(column, bounds.decimals, key.column.name, _numbers(rows))
    width = Fraction(buckets.upper - buckets.lower, buckets.count)
    edges = [-((-(buckets.lower + i * width) * 10**bounds.decimals) // 1) for i in range(buckets.count + 1)]
    limits = np.array([min(max(int(edge), -(2**62)), 2**62) for edge in edges], np.int64)
    return np.searchsorted(limits, values, side="right").astype(np.int64)


def _as_text(column: pa.ChunkedArray, name: Column) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not any(test(kind) for test in _GROUPABLE):
        raise InputError(
            f"column {name} holds {kind}, which nothing is grouped by",
            hint="cast times to dates: in pandas .dt.date" if pa.types.is_timestamp(kind) else "take its width_bucket",
        )
    return column.cast(kind).cast(pa.large_string())


_GROUPABLE = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean, pa.types.is_date)
