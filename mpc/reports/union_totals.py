"""What one party brings to a report on a union: totals of its own rows by cell, in limbs whose sums cannot overflow."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError
from mpc.reports.compiling_unions import UnionPlan
from mpc.reports.limbs import limb_count
from mpc.reports.measures import Measure, interval_of, largest, needed
from mpc.reports.params import Params
from mpc.reports.plan import Aggregate
from mpc.reports.ranks import argument_of, interval

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.reports.sides import Side
    from mpc.spec import Rows

I64 = NDArray[np.int64]

MAX_ROWS = 2**30
LIMB_BITS = 48  # sums of 50 parties' limbs stay within 54
_HALF = 31


@dataclass(frozen=True)
class Layout:
    """How many limbs each measure's total has, and between what their sums over `parties` parties lie."""

    union: UnionPlan
    params: Params
    parties: int

    def limbs(self, measure: Measure) -> int:
        return limb_count(self._most(measure), LIMB_BITS)

    def bounds(self, measure: Measure, index: int) -> tuple[int, int]:
        """Of the sum of limb `index`: the last one has the sign."""
        if index < self.limbs(measure) - 1:
            return 0, self.parties * (2**LIMB_BITS - 1)
        high = self.parties * ((self._most(measure) >> (LIMB_BITS * index)) + 1)
        return -high if measure[0].columns else 0, high

    def interval(self, measure: Measure) -> tuple[int, int]:
        """Between what a measure is of one row that has values."""
        return interval_of(self.params, self.union.alias, measure[0])

    def _most(self, measure: Measure) -> int:
        """The largest absolute total of one party."""
        return largest(self.params, self.union.alias, measure[0]) * MAX_ROWS


@dataclass(frozen=True)
class OwnRows:
    """The own side of a union, and the person of each row that is of one (-1: of none)."""

    side: "Side"
    people: I64 = field(repr=False)

    @property
    def cells(self) -> int:
        return len(self.side.labels)

    def counted(self) -> I64:
        """The rows that count."""
        return np.flatnonzero(self.side.keep)

    def words(self, layout: Layout) -> NDArray[np.uint64]:
        """The limbs of all measures' totals, one after the other, each by cell."""
        parts = []
        for measure in needed(layout.union.plan):
            totals = self.totals(measure)
            count = layout.limbs(measure)
            for index in range(count):
                limbs = [total >> (LIMB_BITS * index) for total in totals]
                if index < count - 1:
                    limbs = [limb & (2**LIMB_BITS - 1) for limb in limbs]
                parts.append(np.array(limbs, np.int64).view(np.uint64))
        return np.concatenate(parts)

    def totals(self, measure: Measure) -> list[int]:
        """A measure's total in each cell, exactly."""
        rows = self.counted()
        values, groups = self.side.values(measure[0])[rows], self.side.groups[rows]
        if values.dtype == object:
            sums = np.zeros(self.cells, object)
            np.add.at(sums, groups, values)
            return [int(total) for total in sums]
        low, high = np.zeros(self.cells, np.int64), np.zeros(self.cells, np.int64)
        np.add.at(low, groups, values & (2**_HALF - 1))
        np.add.at(high, groups, values >> _HALF)
        return [a + (b << _HALF) for a, b in zip(low.tolist(), high.tolist(), strict=True)]

    def people_by_cell(self) -> I64:
        """How many different people each cell has."""
        from mpc.reports.people import distinct

        rows = np.flatnonzero(self.side.keep & (self.people >= 0))
        return distinct(self.side.groups[rows], self.people[rows], self.cells)

    def extreme(self, aggregate: Aggregate) -> I64:
        """The least or greatest value of each cell; where there is none, one that changes nothing of the others'."""
        from mpc.reports.extremes import values_of

        values, valid = values_of(self.side, argument_of(aggregate))
        low, high = interval(self.side.params, aggregate)
        rows = np.flatnonzero(self.side.keep & valid)
        if aggregate.function == "min":
            found = np.full(self.cells, high, np.int64)
            np.minimum.at(found, self.side.groups[rows], values[rows])
        else:
            found = np.full(self.cells, low, np.int64)
            np.maximum.at(found, self.side.groups[rows], values[rows])
        return found


def open_rows(
    union: UnionPlan, params: Params, party: str, tables: "Mapping[str, pa.Table]", of_dataset: "Rows | None" = None
) -> OwnRows:
    """The party's rows; raises `InputError` for data that do not fit the plan."""
    from mpc.reports.people import known, numbered
    from mpc.reports.sides import open_side

    rows = tables["key"].num_rows
    if rows > MAX_ROWS:
        raise InputError(f"{rows} rows are too many (at most {MAX_ROWS})")
    renamed = dict(tables)
    for slot, names in union.used().items():
        renamed[slot] = tables[slot].rename_columns(list(names))
    plan = replace(union.plan, filters={union.alias: union.source(party).conditions})
    side = open_side(plan, params, union.alias, renamed, of_dataset)
    people = np.where(known(tables["key"]), numbered(tables["key"]), -1)
    return OwnRows(side, people)
