"""The table that a report's receivers get: a row for each group, those that are too small marked, never left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Any

import pyarrow as pa

from mpc.reports.expressions import Column
from mpc.reports.groups import WITHHELD, Label
from mpc.reports.measures import Measure, declared, value_of
from mpc.reports.params import Params
from mpc.reports.plan import EXTREMES, Aggregate, Ordering, Plan

SUPPRESSED = "suppressed"


@dataclass(frozen=True)
class Group:
    """What was opened of one released group: different people, measures, and the extremes by aggregate."""

    people: int
    totals: Mapping[Measure, int]
    extremes: Mapping[Aggregate, Decimal | float | None]


def cell_labels(plan: Plan, labels: Mapping[str, Sequence[tuple[Label, ...]]]) -> list[tuple[Label, ...]]:
    """The labels of every cell, in GROUP BY's order; cells count the last party's groups fastest."""
    places: list[tuple[int, int]] = []
    seen = dict.fromkeys(plan.parties, 0)
    for key in plan.groups:
        places.append((plan.parties.index(key.column.party), seen[key.column.party]))
        seen[key.column.party] += 1
    cells = product(*(labels[party] for party in plan.parties))
    return [tuple(cell[party][position] for party, position in places) for cell in cells]


def result_table(
    plan: Plan, params: Params, cells: Sequence[tuple[Label, ...]], released: Mapping[int, Group]
) -> pa.Table:
    """The outputs in their order, then "suppressed". Released groups come first, sorted as ORDER BY says; then the
    others, whose aggregates are NULL. `released` maps a cell's number to what was opened of it."""
    rows: list[list[Any]] = []
    for cell, group in sorted(released.items(), key=lambda each: _sortable(cells[each[0]])):
        found = {each: _value(plan, params, each, group) for each in plan.aggregates}
        rows.append([_output(plan, index, cells[cell], found) for index in range(len(plan.outputs))] + [False])
    for ordering in reversed(plan.order):
        rows = _sorted(rows, ordering)
    hidden = [cells[cell] for cell in range(len(cells)) if cell not in released]
    for labels in sorted(hidden, key=_sortable):
        rows.append([labels[each.index] if each.kind == "group" else None for each in plan.outputs] + [True])
    columns = {}
    for index, output in enumerate(plan.outputs):
        kind, values = _type(plan, params, index, cells), [row[index] for row in rows]
        if output.kind == "group" and kind == pa.int64():
            values = [None if value == WITHHELD else value for value in values]
        columns[output.name] = pa.array(values, kind)
    return pa.table({**columns, SUPPRESSED: pa.array([row[-1] for row in rows], pa.bool_())})


def _value(plan: Plan, params: Params, aggregate: Aggregate, group: Group) -> Any:
    if aggregate.function in EXTREMES:
        return group.extremes[aggregate]
    return value_of(plan, params, aggregate, group.totals, group.people)


def _output(plan: Plan, index: int, labels: tuple[Label, ...], values: Mapping[Aggregate, Any]) -> Any:
    output = plan.outputs[index]
    return labels[output.index] if output.kind == "group" else values[plan.aggregates[output.index]]


def _sorted(rows: list[list[Any]], ordering: Ordering) -> list[list[Any]]:
    """`rows` by one column, stably; NULLs where SQL puts them."""
    index = ordering.output
    nulls = [row for row in rows if row[index] is None]
    others = [row for row in rows if row[index] is not None]
    others.sort(key=lambda row: row[index], reverse=ordering.descending)
    return nulls + others if ordering.nulls_first else others + nulls


def _sortable(labels: tuple[Label, ...]) -> tuple[tuple[bool, bool, int, str], ...]:
    """Texts by code points, integers by size, NULL and what is withheld last."""
    return tuple(
        (label is None, label == WITHHELD, label if isinstance(label, int) else 0, str(label)) for label in labels
    )


def _type(plan: Plan, params: Params, index: int, cells: Sequence[tuple[Label, ...]]) -> pa.DataType:
    output = plan.outputs[index]
    if output.kind == "group":
        return pa.int64() if any(isinstance(labels[output.index], int) for labels in cells) else pa.string()
    aggregate = plan.aggregates[output.index]
    if aggregate.argument is None or aggregate.function == "count":
        return pa.int64()
    if aggregate.function in ("sum", "min", "max", "quantile_disc"):

        def decimals(column: Column) -> int:
            return declared(params, column).decimals

        return pa.decimal128(38, aggregate.argument.decimals(decimals))
    return pa.float64()
