"""Sums over the common keys of two parties, by group, on shares.

The asker is the party that knows which of its keys are common (levels J0 and J1). If it has one row a key, it also knows
the group of every common row, and a group's sum is one over rows that it alone picks. Otherwise, and where nobody knows
which keys are common, the sums are products of both parties' columns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from mpc.reports.columns import Extent, OwnColumns, limb_bits, limb_count
from mpc.reports.measures import ONE, Factor, Measure, declared, largest
from mpc.reports.params import Params
from mpc.reports.plan import Comparison, Plan
from mpc.reports.sides import I64
from mpc.sharing.engine import Engine
from mpc.sharing.grouping import Known, group_sums
from mpc.sharing.values import Bits, Secret

_CHUNK_ELEMENTS = 2**22  # of products of columns at once


class Joined(Protocol):
    """The common rows of a join, in an order that both parties share."""

    @property
    def rows(self) -> int: ...
    def place(self, per_key: I64, /) -> I64:
        """An own array with an entry a key, in the order of the common rows; 0 where there is no own key."""
        ...


@dataclass
class Tally:
    """One party's side of the sums. `asker` and `other` are the two parties, `extents` what each brings."""

    engine: Engine
    plan: Plan
    params: Params
    asker: str
    other: str
    extents: Mapping[str, Extent]
    own: OwnColumns = field(repr=False)
    joined: Joined = field(repr=False)
    flags: Bits | None = field(default=None, repr=False)
    _cache: dict[tuple[str, Factor, int], list[Secret]] = field(default_factory=dict, repr=False)

    @property
    def keyed(self) -> bool:
        """Whether the asker has one row a key, and so one group."""
        return self.extents[self.asker].rows_of_key == 1

    def compare(self, comparisons: Sequence[Comparison]) -> None:
        """From now on only rows count for which all comparisons hold; needs one row a key on both sides."""
        for comparison in comparisons:
            decimals = max(declared(self.params, side).decimals for side in (comparison.left, comparison.right))
            left, right = (self._compared(side.party, side.name, decimals) for side in (comparison.left, comparison.right))
            test = _TESTS[comparison.operator](left, right)
            self.flags = test if self.flags is None else self.flags & test

    def people(self) -> Secret:
        """How many different common keys each group has: shape (asker's groups, other's groups)."""
        if self.extents[self.asker].rows_of_key == self.extents[self.other].rows_of_key == 1:
            return self.count((ONE, ONE))
        groups = self.extents[self.other].groups
        theirs = self._share(self.other, lambda: self.own.people(by_group=True), (groups,), 0, 1)
        if self.keyed:
            return self._by_known_group(self.own.group_of_key if self._is(self.asker) else None, theirs)
        ours = self._share(
            self.asker, lambda: self.own.people(by_group=True), (self.extents[self.asker].groups,), 0, 1
        )
        return self._products(ours, theirs)

    def count(self, measure: Measure) -> Secret:
        """A measure without columns, which has one limb."""
        ((_, secret),) = self.totals(measure)
        return secret

    def totals(self, measure: Measure) -> list[tuple[int, Secret]]:
        """A measure as (shift, secret) pairs whose sum of secret·2^shift it is, each by (asker's, other's groups)."""
        factor = {party: measure[self.plan.parties.index(party)] for party in (self.asker, self.other)}
        both = all(each.columns for each in factor.values())
        bits = limb_bits((self.extents[self.asker], self.extents[self.other]), both=both)
        theirs = self._column(self.other, factor[self.other], bits)
        found = []
        if self.keyed and factor[self.asker].is_one:
            group = self.own.group_of_key if self._is(self.asker) else None
            return [(bits * index, self._by_known_group(group, limb)) for index, limb in enumerate(theirs)]
        ours = self._column(self.asker, factor[self.asker], bits)
        for i, our in enumerate(ours):
            for j, their in enumerate(theirs):
                if self.keyed:
                    group = self.own.group_of_key if self._is(self.asker) else None
                    found.append((bits * (i + j), self._by_known_group(group, _times(our, their))))
                else:
                    found.append((bits * (i + j), self._products(our, their)))
        return found

    def picked(self, groups: I64 | None, column: Callable[[], I64] | None) -> Secret:
        """For values that one side compares with thresholds: see `mpc.reports.extremes`."""
        raise NotImplementedError

    def _is(self, party: str) -> bool:
        return self.engine.name == party

    def _column(self, party: str, factor: Factor, bits: int) -> list[Secret]:
        """The limbs of a party's factor over the common rows: shape (rows,) of a keyed asker, else (rows, groups)."""
        if (party, factor, bits) not in self._cache:
            size = largest(self.params, party, factor)
            count = limb_count(size, bits)
            by_group = party == self.other or not self.keyed
            own: list[I64] = self.own.limbs(factor, bits, by_group=by_group) if self._is(party) else []
            extent = self.extents[party]
            high = min(size, 2**bits) * extent.rows_of_key
            shape = (extent.groups,) if by_group else ()
            low = -high if factor.columns else 0
            self._cache[party, factor, bits] = [
                self._share(party, lambda i=index: own[i], shape, low, high) for index in range(count)
            ]
        return self._cache[party, factor, bits]

    def _compared(self, party: str, name: str, decimals: int) -> Secret:
        from mpc.reports.expressions import Column

        bounds = declared(self.params, Column(party, name))
        scale = 10 ** (decimals - bounds.decimals)

        def values() -> I64:
            numbers = self.own.side.numbers(name)[0][self.own.counted] * scale
            return self.own.sums(numbers, by_group=False)

        low, high = min(bounds.scaled_lower * scale, 0), max(bounds.scaled_upper * scale, 0)
        return self._share(party, values, (), low, high)

    def _share(self, party: str, values: Callable[[], I64], shape: tuple[int, ...], low: int, high: int) -> Secret:
        own = self.joined.place(values()) if self._is(party) else None
        return self.engine.share(party, own, shape=(self.joined.rows, *shape), low=low, high=high)

    def _by_known_group(self, group_of_key: I64 | None, column: Secret) -> Secret:
        index = None if group_of_key is None else self.joined.place(group_of_key + 1) - 1
        known = Known(self.asker, index)
        groups = self.extents[self.asker].groups
        columns = [column[:, i] for i in range(column.shape[1])]
        sums = group_sums(self.engine, self.flags, known, groups, columns)
        return self.engine.concatenate([each.reshape(groups, 1) for each in sums], axis=1)

    def _products(self, ours: Secret, theirs: Secret) -> Secret:
        """ours^T theirs over the rows that count."""
        if self.flags is not None:
            ours = ours * self.flags.integers().reshape(-1, 1)
        return ours.transpose() @ theirs


def _times(ours: Secret, theirs: Secret) -> Secret:
    return ours.reshape(-1, 1) * theirs


_TESTS: Mapping[str, Callable[[Secret, Secret], Bits]] = {
    "=": lambda x, y: x == y,
    "<>": lambda x, y: x != y,
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y,
}
