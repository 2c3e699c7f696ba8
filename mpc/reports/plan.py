"""The checked plan of a report: what every party makes of the same text, with one digest."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal

from mpc.conditions import Condition, columns_of, describe
from mpc.job import canonical_json
from mpc.reports.expressions import Column, Polynomial

PLAN_DOMAIN = b"sealane/report.sql/plan/1\0"

Function = Literal["rows", "people", "count", "sum", "avg", "var_samp", "var_pop", "stddev_samp", "stddev_pop",
                   "min", "max", "quantile_disc", "quantile_cont"]  # fmt: skip
#: Functions that show a value of one row.
EXTREMES: frozenset[Function] = frozenset({"min", "max", "quantile_disc", "quantile_cont"})
#: Functions calculated from counts and sums, and those that need the sums of squares too.
MOMENTS: frozenset[Function] = frozenset({"sum", "avg", "var_samp", "var_pop", "stddev_samp", "stddev_pop"})
SQUARES: frozenset[Function] = MOMENTS - {"sum", "avg"}


@dataclass(frozen=True)
class Table:
    """A party's dataset in the FROM clause, and its columns that are matched with the other tables', in order."""

    party: str
    dataset: str
    key: tuple[str, ...]


@dataclass(frozen=True)
class Buckets:
    """The buckets of `width_bucket(column, lower, upper, count)`: 0 below `lower`, `count` + 1 from `upper` on."""

    lower: Fraction
    upper: Fraction
    count: int


@dataclass(frozen=True)
class GroupKey:
    """A column that says to which group a row belongs, by its value or by the bucket it falls into."""

    column: Column
    buckets: Buckets | None = None


@dataclass(frozen=True)
class Aggregate:
    """`argument` is a column for "count" (of values that are not NULL), and else a polynomial, or None.

    `fraction` is that of a quantile.
    """

    function: Function
    argument: Polynomial | None = None
    fraction: Fraction = Fraction(0)


@dataclass(frozen=True)
class Output:
    """A column of the result: the group key or the aggregate of that number."""

    name: str
    kind: Literal["group", "aggregate"]
    index: int


@dataclass(frozen=True)
class Comparison:
    """A condition on the columns of two parties, which is checked on shares."""

    left: Column
    operator: Literal["=", "<>", "<", "<=", ">", ">="]
    right: Column

    @property
    def sides(self) -> tuple[Column, Column]:
        """Both columns."""
        return self.left, self.right


@dataclass(frozen=True)
class Ordering:
    """By which output released groups are sorted."""

    output: int
    descending: bool
    nulls_first: bool


@dataclass(frozen=True)
class Plan:
    """A report. `filters` are each party's own conditions; `having` is the least COUNT(*) of a released group."""

    tables: tuple[Table, ...]
    groups: tuple[GroupKey, ...]
    aggregates: tuple[Aggregate, ...]
    outputs: tuple[Output, ...]
    filters: Mapping[str, tuple[Condition, ...]]
    comparisons: tuple[Comparison, ...]
    having: int
    order: tuple[Ordering, ...]
    limit: int | None

    @property
    def parties(self) -> tuple[str, ...]:
        return tuple(table.party for table in self.tables)

    def table(self, party: str) -> Table:
        """The party's table."""
        return next(table for table in self.tables if table.party == party)

    def columns(self, party: str) -> dict[str, tuple[str, ...]]:
        """The party's columns by slot of its role, sorted within each but for the key; slots without any left out."""
        used: dict[str, set[str]] = {"group": set(), "value": set(), "count": set(), "filter": set()}
        for group in self.groups:
            if group.column.party == party:
                used["value" if group.buckets else "group"].add(group.column.name)
        for aggregate in self.aggregates:
            if aggregate.argument is not None:
                slot = "count" if aggregate.function == "count" else "value"
                used[slot] |= {column.name for column in aggregate.argument.columns if column.party == party}
        for condition in self.filters.get(party, ()):
            used["filter"] |= set(columns_of(condition))
        for comparison in self.comparisons:
            used["value"] |= {side.name for side in (comparison.left, comparison.right) if side.party == party}
        slots = {slot: tuple(sorted(names)) for slot, names in used.items() if names}
        return {"key": self.table(party).key, **slots}

    @cached_property
    def canonical(self) -> bytes:
        """Canonical JSON of all that determines the report's result."""
        return canonical_json(
            {
                "tables": [[table.party, table.dataset, *table.key] for table in self.tables],
                "groups": [[str(key.column), _buckets(key.buckets)] for key in self.groups],
                "aggregates": [
                    [each.function, _argument(each.argument), str(each.fraction)] for each in self.aggregates
                ],
                "outputs": [[output.name, output.kind, output.index] for output in self.outputs],
                "filters": {party: [describe(each) for each in parts] for party, parts in self.filters.items()},
                "comparisons": [[str(each.left), each.operator, str(each.right)] for each in self.comparisons],
                "having": self.having,
                "order": [[each.output, each.descending, each.nulls_first] for each in self.order],
                "limit": self.limit,
            }
        )

    @property
    def digest(self) -> bytes:
        """SHA-256 of a domain and the canonical bytes."""
        return hashlib.sha256(PLAN_DOMAIN + self.canonical).digest()


def _buckets(buckets: Buckets | None) -> Any:
    return None if buckets is None else [str(buckets.lower), str(buckets.upper), buckets.count]


def _argument(argument: Polynomial | None) -> Any:
    return None if argument is None else [argument.describe(), sorted(map(str, argument.columns))]
