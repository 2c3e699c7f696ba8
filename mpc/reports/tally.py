"""Sums over the common keys of two parties, by group, on shares.

Each party has, for each common row and each of its own groups, what its rows of that key and group add up to. A sum
over the joined rows of a cell is then a sum of products of one party's numbers and the other's, whatever the number of
rows of a key on either side.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mpc.joins.joined import Joined
from mpc.reports.columns import Extent, OwnColumns, limb_bits, limb_count, limb_most
from mpc.reports.expressions import Column
from mpc.reports.measures import ONE, Factor, Measure, declared, largest, needed
from mpc.reports.params import Params
from mpc.reports.plan import Comparison, Plan
from mpc.reports.sides import BOOL, I64
from mpc.sharing.engine import Engine
from mpc.sharing.values import Bits, Secret


@dataclass(frozen=True)
class _Limb:
    """Limb `index` of `bits` bits of a factor."""

    factor: Factor
    bits: int
    index: int


@dataclass(frozen=True)
class Brought:
    """What a party brings to the sums under a name: an own array with an entry a key, of `shape` each."""

    name: str
    values: Callable[[], I64] = field(repr=False)
    shape: tuple[int, ...]
    low: int
    high: int


@dataclass
class Tally:
    """One party's side of the sums. `asker` and `other` are the two parties, `extents` what each brings.

    Before `joined` is set, `hidden` says what the other party must bring to a join that hides which rows are common:
    nothing can be placed there later.
    """

    engine: Engine
    plan: Plan
    params: Params
    asker: str
    other: str
    extents: Mapping[str, Extent]
    own: OwnColumns = field(repr=False)
    joined: Joined = field(init=False, repr=False)
    flags: Bits | None = field(default=None, repr=False)
    _cache: dict[tuple[str, "_Limb"], Secret] = field(default_factory=dict, repr=False)

    @property
    def keyed(self) -> bool:
        """Whether the asker has one row a key, so that it knows the group of each common row."""
        return self.extents[self.asker].rows_of_key == 1

    def by_known_group(self, columns: Secret, kept: BOOL | None = None) -> Secret:
        """Sums of columns over the asker's groups: shape (groups, columns). It leaves out rows that are not `kept`."""
        if self.flags is not None:
            columns = columns * self.flags.integers().reshape(-1, 1)
        groups = None
        if self._is(self.asker):
            groups = self.placed(self.own.group_of_key + 1) - 1
            groups = groups if kept is None else np.where(kept, groups, -1)
        return self.engine.sums_by(self.asker, groups, self.extents[self.asker].groups, columns)

    def compare(self, comparisons: Sequence[Comparison]) -> None:
        """From now on only rows count for which all comparisons hold; needs one row a key on both sides."""
        for comparison in comparisons:
            brought = self._comparison(comparison)
            left, right = (self.bring(side.party, brought[side.party]) for side in (comparison.left, comparison.right))
            test = _TESTS[comparison.operator](left, right)
            self.flags = test if self.flags is None else self.flags & test

    def people(self, rows: Secret) -> Secret:
        """How many different common keys each group has: shape (asker's groups, other's groups), as `rows`, which are
        how many rows it has."""
        if self.extents[self.asker].rows_of_key == self.extents[self.other].rows_of_key == 1:
            return rows
        theirs = self.bring(self.other, self._people(self.other))
        if self.keyed:
            return self.by_known_group(theirs)
        return self.products(self.bring(self.asker, self._people(self.asker)), theirs)

    def totals(self, measures: Sequence[Measure]) -> dict[Measure, list[tuple[int, Secret]]]:
        """Each measure as (shift, secret) pairs whose sum of secret·2^shift it is, by (asker's, other's groups)."""
        pairs = {measure: self._pairs(measure) for measure in measures}
        wanted: dict[_Limb, dict[_Limb, None]] = {}
        for ours, theirs, _ in (pair for found in pairs.values() for pair in found):
            wanted.setdefault(ours, {})[theirs] = None
        sums: dict[tuple[_Limb, _Limb], Secret] = {}
        groups = self.extents[self.other].groups
        for ours, many in wanted.items():  # one product for all that one column is multiplied with
            columns = self.engine.concatenate([self._column(self.other, limb) for limb in many], axis=1)
            product = self._sum(ours, columns)
            for index, limb in enumerate(many):
                sums[ours, limb] = product[:, index * groups : (index + 1) * groups]
        return {m: [(shift, sums[ours, theirs]) for ours, theirs, shift in found] for m, found in pairs.items()}

    def most(self, measure: Measure) -> list[int]:
        """What one joined row adds at most, in absolute value, to each of a measure's secrets in `totals`."""
        return [
            self._most(self.asker, ours) * self._most(self.other, theirs) for ours, theirs, _ in self._pairs(measure)
        ]

    def _most(self, party: str, limb: "_Limb") -> int:
        return limb_most(largest(self.params, party, limb.factor), limb.bits, limb.index)

    def _sum(self, ours: "_Limb", columns: Secret) -> Secret:
        """Columns of the other party times a limb of the asker's, by the asker's groups."""
        if not self.keyed:
            return self.products(self._column(self.asker, ours), columns)
        if ours.factor.is_one:
            return self.by_known_group(columns)
        high = 2**ours.bits
        own = self.bring(self.asker, Brought("own", lambda: self.own.by_key(self._own(ours)), (), -high, high))
        return self.by_known_group(columns * own.reshape(-1, 1))

    def _pairs(self, measure: Measure) -> list[tuple["_Limb", "_Limb", int]]:
        """The limbs of both parties' factors that are multiplied for a measure, and the shift of each product."""
        ours, theirs = (measure[self.plan.parties.index(party)] for party in (self.asker, self.other))
        bits = limb_bits(self._both, both=bool(ours.columns and theirs.columns))
        return [
            (our, their, bits * (our.index + their.index))
            for our in self._limbs(self.asker, ours, bits)
            for their in self._limbs(self.other, theirs, bits)
        ]

    def _limbs(self, party: str, factor: Factor, bits: int) -> list["_Limb"]:
        if not factor.columns:
            bits = 1  # 0 or 1 a row, whatever the other factor is
        count = limb_count(largest(self.params, party, factor), bits)
        return [_Limb(factor, bits, index) for index in range(count)]

    @property
    def _both(self) -> tuple[Extent, Extent]:
        return self.extents[self.asker], self.extents[self.other]

    def rows(self, party: str) -> Secret:
        """How many rows of each of the party's groups each common row stands for: shape (rows, groups)."""
        (limb,) = self._limbs(party, ONE, 1)
        return self._column(party, limb)

    def in_order(self, secret: Secret) -> Secret:
        """A value by (asker's, other's groups) as one by cell, in the order of the plan's tables."""
        return (secret if self.plan.parties[0] == self.asker else secret.transpose()).ravel()

    def _is(self, party: str) -> bool:
        return self.engine.name == party

    def _column(self, party: str, limb: "_Limb") -> Secret:
        """A limb of a party's factor over the common rows, by its groups: shape (rows, groups)."""
        if (party, limb) not in self._cache:
            self._cache[party, limb] = self.bring(party, self._limb(party, limb))
        return self._cache[party, limb]

    def _limb(self, party: str, limb: "_Limb") -> Brought:
        extent, factor = self.extents[party], limb.factor
        high = min(largest(self.params, party, factor), 2**limb.bits) * extent.rows_of_key
        low = -high if factor.columns else 0
        name = f"{'*'.join(factor.columns)}/{'*'.join(factor.present)}/{limb.bits}/{limb.index}"
        return Brought(name, lambda: self.own.sums(self._own(limb)), (extent.groups,), low, high)

    def _people(self, party: str) -> Brought:
        return Brought("people", self.own.people, (self.extents[party].groups,), 0, 1)

    def _own(self, limb: "_Limb") -> I64:
        return self.own.limb(limb.factor, limb.bits, limb.index)

    def _compared(self, side: Column, decimals: int) -> Brought:
        bounds = declared(self.params, side)
        scale = 10 ** (decimals - bounds.decimals)

        def values() -> I64:
            return self.own.by_key(self.own.side.numbers(side.name)[0][self.own.counted] * scale)

        low, high = min(bounds.scaled_lower * scale, 0), max(bounds.scaled_upper * scale, 0)
        return Brought(f"compare/{side.name}/{decimals}", values, (), low, high)

    def _comparison(self, comparison: Comparison) -> dict[str, Brought]:
        """What the two parties bring to a comparison, in the same unit."""
        sides = (comparison.left, comparison.right)
        decimals = max(declared(self.params, side).decimals for side in sides)
        return {side.party: self._compared(side, decimals) for side in sides}

    def hidden(self) -> list[Brought]:
        """All that the other party brings to the sums of the plan's measures and to its comparisons."""
        measures = [(ONE,) * len(self.plan.tables), *needed(self.plan)]
        limbs = dict.fromkeys(theirs for measure in measures for _, theirs, _ in self._pairs(measure))
        found = [self._limb(self.other, limb) for limb in limbs]
        if max(extent.rows_of_key for extent in self.extents.values()) > 1:
            found.append(self._people(self.other))
        compared = [self._comparison(each)[self.other] for each in self.plan.comparisons]
        return found + list({each.name: each for each in compared}.values())

    def bring(self, party: str, brought: Brought) -> Secret:
        """What a party brings, over the common rows: shape (rows, ...)."""
        if self.params.join == "J3" and party == self.other:
            columns = self.joined.columns[party]
            if not brought.shape:
                return columns[brought.name]
            parts = [columns[f"{brought.name}/{i}"].reshape(-1, 1) for i in range(brought.shape[0])]
            return self.engine.concatenate(parts, axis=1)
        own = self.placed(brought.values()) if self._is(party) else None
        shape = (self.joined.rows, *brought.shape)
        return self.engine.share(party, own, shape=shape, low=brought.low, high=brought.high)

    def placed(self, per_key: I64) -> I64:
        """An own array with an entry a key, in the order of the common rows; 0 where there is no own key."""
        assert self.joined.own_rows is not None
        padded = np.concatenate([per_key, np.zeros((1, *per_key.shape[1:]), np.int64)])
        return padded[np.maximum(self.joined.own_rows, -1)]

    def products(self, ours: Secret, theirs: Secret) -> Secret:
        """ours^T theirs over the rows that count."""
        if self.flags is not None:
            ours = ours * self.flags.integers().reshape(-1, 1)
        return ours.transpose() @ theirs


_TESTS: Mapping[str, Callable[[Secret, Secret], Bits]] = {
    "=": lambda x, y: x == y,
    "<>": lambda x, y: x != y,
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y,
}
