"""Sums over the common keys of all parties, by group, on shares.

Each party has, for each common row and each of its own groups, what its rows of that key and group add up to. A sum
over the joined rows of a cell is then a sum of products of all parties' numbers, whatever the number of rows of a key
on any side.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import product
from operator import and_
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mpc.joins.joined import I64, Joined
from mpc.reports.expressions import Column
from mpc.reports.limbs import Extent, limb_bits, limb_count, limb_most
from mpc.reports.measures import ONE, Factor, Measure, declared, largest, needed
from mpc.reports.params import Params
from mpc.reports.plan import Comparison, Plan
from mpc.sharing.engine import Engine
from mpc.sharing.values import Bits, Secret

if TYPE_CHECKING:  # pricing a report needs no Arrow
    from mpc.reports.columns import OwnColumns

BOOL = NDArray[np.bool_]


@dataclass(frozen=True)
class Limb:
    """Limb `index` of `bits` bits of a factor."""

    factor: Factor
    bits: int
    index: int


#: One limb a party other than the asker, in their order.
Limbs = tuple[Limb, ...]


@dataclass(frozen=True)
class Brought:
    """What a party brings to the sums under a name: an own array with an entry a key, of `shape` each. `one`: it is 1
    in every common row."""

    name: str
    values: Callable[[], I64] = field(repr=False)
    shape: tuple[int, ...]
    low: int
    high: int
    one: bool = False
    scale: int = 1  # of what is compared: its unit in units of the column

    @property
    def columns(self) -> list[str]:
        """What it is called as columns of a join."""
        return [f"{self.name}/{index}" for index in range(self.shape[0])] if self.shape else [self.name]


@dataclass
class Tally:
    """One party's side of the sums. `asker` and `others` are all parties, `extents` what each brings.

    Before `joined` is set, `hidden` says what a party must bring to a join that hides from it which rows are common:
    it can place nothing there later.
    """

    engine: Engine
    plan: Plan
    params: Params
    asker: str
    others: tuple[str, ...]
    extents: Mapping[str, Extent]
    brings: "OwnColumns | None" = field(repr=False)  # None: this party has no table
    joined: Joined = field(init=False, repr=False)
    flags: Bits | None = field(default=None, repr=False)
    #: What each party brought to comparisons: column, how often its unit is taken, how it was brought, shares.
    compared: dict[str, list[tuple[str, int, Brought, Secret]]] = field(default_factory=dict, repr=False)
    _cache: dict[tuple[tuple[str, str], ...], Secret] = field(default_factory=dict, repr=False)

    @property
    def own(self) -> "OwnColumns":
        """What this party, which has a table, brings."""
        assert self.brings is not None
        return self.brings

    @property
    def keyed(self) -> bool:
        """Whether the asker has one row a key and knows where, so that it knows the group of each common row.

        Who may cheat brings columns instead, once: it could name another group in each sum.
        """
        known = self.asker not in self.placed_before and self.extents[self.asker].rows_of_key == 1
        return known and not self.params.verified

    @property
    def placed_before(self) -> tuple[str, ...]:
        """Who does not learn where its rows are among the joined ones."""
        return {"J2": (self.asker, *self.others), "J3": self.others}.get(self.params.join, ())

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
        tests = []
        for comparison in comparisons:
            brought = self.comparison(comparison)
            left, right = (self._bring_compared(side, brought[side.party]) for side in comparison.sides)
            tests.append(_TESTS[comparison.operator](left, right))
        self.flags = reduce(and_, tests) if tests else None

    def _bring_compared(self, side: Column, brought: Brought) -> Secret:
        secret = self.bring(side.party, brought)
        self.compared.setdefault(side.party, []).append((side.name, brought.scale, brought, secret))
        return secret

    def people(self, rows: Secret) -> Secret:
        """How many different common keys each group has: shape (asker's groups, the others'), as `rows`, which are how
        many rows it has."""
        if not self.repeats:
            return rows
        theirs = self.together([(party, self.people_of(party)) for party in self.others])
        if self.keyed:
            return self.by_known_group(theirs)
        return self.products(self.column(self.asker, self.people_of(self.asker)), theirs)

    def totals(self, measures: Sequence[Measure]) -> dict[Measure, list[tuple[int, Secret]]]:
        """Each measure as (shift, secret) pairs whose sum of secret·2^shift it is, by (asker's, the others' groups)."""
        pairs = {measure: self.terms(measure) for measure in measures}
        wanted: dict[Limb, dict[Limbs, None]] = {}
        for ours, theirs, _ in (pair for found in pairs.values() for pair in found):
            wanted.setdefault(ours, {})[theirs] = None
        sums: dict[tuple[Limb, Limbs], Secret] = {}
        groups = math.prod(self.extents[party].groups for party in self.others)
        for ours, many in wanted.items():  # one product for all that one column is multiplied with
            columns = self.engine.concatenate([self.together(self.brought(limbs)) for limbs in many], axis=1)
            found = self._sum(ours, columns)
            for index, limbs in enumerate(many):
                sums[ours, limbs] = found[:, index * groups : (index + 1) * groups]
        return {m: [(shift, sums[ours, theirs]) for ours, theirs, shift in found] for m, found in pairs.items()}

    def most(self, measure: Measure) -> list[int]:
        """What one joined row adds at most, in absolute value, to each of a measure's secrets in `totals`."""
        parties = (self.asker, *self.others)
        return [
            math.prod(self._most(party, limb) for party, limb in zip(parties, (ours, *theirs), strict=True))
            for ours, theirs, _ in self.terms(measure)
        ]

    def _most(self, party: str, limb: Limb) -> int:
        return limb_most(self.largest(party, limb.factor), limb.bits, limb.index)

    def largest(self, party: str, factor: Factor) -> int:
        """The largest absolute value that a factor has."""
        return largest(self.params, party, factor)

    def is_last(self, party: str, limb: Limb) -> bool:
        """Whether a limb is its factor's highest, which has the sign."""
        return limb.index == limb_count(self.largest(party, limb.factor), limb.bits) - 1

    def _sum(self, ours: Limb, columns: Secret) -> Secret:
        """Columns of the others times a limb of the asker's, by the asker's groups."""
        if not self.keyed:
            return self.products(self.column(self.asker, self.limb(self.asker, ours)), columns)
        if ours.factor.is_one:
            return self.by_known_group(columns)
        high = 2**ours.bits
        own = self.bring(self.asker, Brought("own", lambda: self.own.by_key(self._own(ours)), (), -high, high))
        return self.by_known_group(columns * own.reshape(-1, 1))

    def terms(self, measure: Measure) -> list[tuple[Limb, Limbs, int]]:
        """The limbs of all parties' factors that are multiplied for a measure, and the shift of each product."""
        factors = dict(zip(self.plan.parties, measure, strict=True))
        bits = limb_bits(tuple(self.extents.values()), sum(bool(factor.columns) for factor in measure))
        limbs = [self._limbs(party, factors[party], bits) for party in (self.asker, *self.others)]
        return [
            (ours, tuple(theirs), bits * sum(each.index for each in (ours, *theirs)))
            for ours, *theirs in product(*limbs)
        ]

    def brought(self, limbs: Limbs) -> list[tuple[str, Brought]]:
        """What the parties other than the asker bring of limbs, one each."""
        return [(party, self.limb(party, limb)) for party, limb in zip(self.others, limbs, strict=True)]

    def together(self, brought: Sequence[tuple[str, Brought]]) -> Secret:
        """The product of what several parties bring, for each combination of their groups: shape (rows, groups)."""
        whole = without_ones(brought)
        key = tuple((party, each.name) for party, each in whole)
        if key not in self._cache and len(whole) == 1:
            self._cache[key] = self.bring(*whole[0])
        elif key not in self._cache:
            first, last = self.together(whole[:-1]), self.together(whole[-1:])
            rows, left, right = self.joined.rows, first.shape[1], last.shape[1]  # there may be no rows
            both = first.reshape(rows, left, 1) * last.reshape(rows, 1, right)
            self._cache[key] = both.reshape(rows, left * right)
        return self._cache[key]

    def _limbs(self, party: str, factor: Factor, bits: int) -> list[Limb]:
        if not factor.columns:
            bits = 1  # 0 or 1 a row, whatever the other factor is
        count = limb_count(largest(self.params, party, factor), bits)
        return [Limb(factor, bits, index) for index in range(count)]

    @property
    def counted(self) -> bool:
        """Whether every key has a row that counts."""
        return self.params.noise is None

    @property
    def repeats(self) -> bool:
        """Whether a key has several rows anywhere."""
        return any(extent.rows_of_key > 1 for extent in self.extents.values())

    def rows(self, parties: Sequence[str]) -> Secret:
        """How many rows of each combination of those parties' groups each common row is: shape (rows, groups)."""
        return self.together([(party, self.limb(party, self._limbs(party, ONE, 1)[0])) for party in parties])

    def is_brought(self, party: str, brought: Brought) -> bool:
        """Whether a column was brought so far."""
        return ((party, brought.name),) in self._cache

    def in_order(self, secret: Secret) -> Secret:
        """A value by (asker's, the others' groups) as one by cell, in the order of the plan's tables."""
        sizes = [self.extents[party].groups for party in (self.asker, *self.others)]
        places = np.arange(math.prod(sizes)).reshape(sizes)
        return secret.ravel()[np.moveaxis(places, 0, self.plan.parties.index(self.asker)).ravel()]

    def _is(self, party: str) -> bool:
        return self.engine.name == party

    def column(self, party: str, brought: Brought) -> Secret:
        """What one party brings over the common rows, by its groups: shape (rows, groups)."""
        return self.together([(party, brought)])

    def limb(self, party: str, limb: Limb) -> Brought:
        extent, factor = self.extents[party], limb.factor
        high = min(largest(self.params, party, factor), 1 << limb.bits) * extent.rows_of_key
        low = -high if factor.columns else 0
        name = f"{'*'.join(factor.columns)}/{'*'.join(factor.present)}/{limb.bits}/{limb.index}"
        one = factor.is_one and extent.groups == extent.rows_of_key == 1 and self.counted
        return Brought(name, lambda: self.own.sums(self._own(limb)), (extent.groups,), low, high, one)

    def people_of(self, party: str) -> Brought:
        groups = self.extents[party].groups
        return Brought("people", lambda: self.own.people(), (groups,), 0, 1, groups == 1 and self.counted)

    def _own(self, limb: Limb) -> I64:
        return self.own.limb(limb.factor, limb.bits, limb.index)

    def _compared(self, side: Column, decimals: int) -> Brought:
        bounds = declared(self.params, side)
        scale = 10 ** (decimals - bounds.decimals)

        def values() -> I64:
            return self.own.by_key(self.own.side.numbers(side.name)[0][self.own.counted] * scale)

        low, high = min(bounds.scaled_lower * scale, 0), max(bounds.scaled_upper * scale, 0)
        return Brought(f"compare/{side.name}/{decimals}", values, (), low, high, scale=scale)

    def comparison(self, comparison: Comparison) -> dict[str, Brought]:
        """What the two parties bring to a comparison, in the same unit."""
        sides = (comparison.left, comparison.right)
        decimals = max(declared(self.params, side).decimals for side in sides)
        return {side.party: self._compared(side, decimals) for side in sides}

    def hidden(self, party: str) -> list[Brought]:
        """All that a party brings to the sums of the plan's measures and to its comparisons."""
        terms = [term for measure in needed(self.plan) for term in self.terms(measure)]
        found = [self.limb(party, ours) for ours, _, _ in terms if party == self.asker]
        shared = [self.brought(theirs) for _, theirs, _ in terms]
        if self.repeats:
            shared.append([(other, self.people_of(other)) for other in self.others])
            found += [self.people_of(party)] if party == self.asker else []
        found += [each for brought in shared for name, each in without_ones(brought) if name == party]
        compared = [self.comparison(each) for each in self.plan.comparisons]
        found += [sides[party] for sides in compared if party in sides]
        return list({each.name: each for each in found}.values())

    def bring(self, party: str, brought: Brought) -> Secret:
        """What a party brings, over the common rows: shape (rows, ...)."""
        if party in self.placed_before:
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


def without_ones(brought: Sequence[tuple[str, Brought]]) -> list[tuple[str, Brought]]:
    """What is to be multiplied: nothing is 1 everywhere, unless all are."""
    return [each for each in brought if not each[1].one] or list(brought[:1])


_TESTS: Mapping[str, Callable[[Secret, Secret], Bits]] = {
    "=": lambda x, y: x == y,
    "<>": lambda x, y: x != y,
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y,
}
