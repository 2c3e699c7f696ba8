"""Minimum, maximum and quantiles of one party's values in released groups, by bisection on shares.

For each value that is sought, its owner guesses the middle of what is left; the number of joined rows at or below the
guess is counted on shares and compared with the rank there, and only the owner learns on which side of the guess the
value lies. So the owner ends with the values of its own rows that the receivers are given, and nobody sees a count.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mpc.reports.expressions import Polynomial
from mpc.reports.measures import declared
from mpc.reports.ranks import Sought, argument_of, decimals_of, interval
from mpc.reports.sides import BOOL, I64, Side
from mpc.reports.tally import Brought, Tally
from mpc.sharing.values import Secret


def find(tally: Tally, sought: Sequence[Sought]) -> I64:
    """The values sought, at their owner; zeros elsewhere. All are of one aggregate."""
    aggregate, params = sought[0].aggregate, tally.params
    (owner,) = argument_of(aggregate).parties
    low, high = interval(params, aggregate)
    search = _Search(tally, owner, sought, np.full(len(sought), low), np.full(len(sought), high))
    for _ in range((high - low).bit_length()):
        search.step()
    return search.low if tally.engine.name == owner else np.zeros(len(sought), np.int64)


@dataclass
class _Search:
    """Bisection of all that is sought at once. `low` and `high` are meaningful at the owner only."""

    tally: Tally
    owner: str
    sought: Sequence[Sought]
    low: I64 = field(repr=False)
    high: I64 = field(repr=False)

    def __post_init__(self) -> None:
        parties, extents = self.tally.plan.parties, self.tally.extents
        cells = np.array([each.cell for each in self.sought])
        numbers = np.unravel_index(cells, [extents[party].groups for party in parties])
        self._group = dict(zip(parties, numbers, strict=True))
        self._others = [party for party in (self.tally.asker, *self.tally.others) if party != self.owner]
        self._ranks = np.array([each.rank for each in self.sought])
        if self.tally.engine.name == self.owner:
            self._values, self._valid = values_of(self.tally.own.side, argument_of(self.sought[0].aggregate))

    def step(self) -> None:
        """Halve what is left of every interval."""
        middle = (self.low + self.high) // 2
        reached = self.tally.engine.open_to(self.owner, self._counts(middle) >= self._ranks)
        if reached is not None:
            self.high = np.where(reached, middle, self.high)
            self.low = np.where(reached, self.low, np.minimum(middle + 1, self.high))

    def _counts(self, middle: I64) -> Secret:
        """How many joined rows of each cell sought have a value of at most `middle` there."""
        tally, count = self.tally, len(self.sought)
        if tally.keyed and self.owner == tally.asker:
            return self._counts_known(middle)
        most = tally.extents[self.owner].rows_of_key
        below = tally.bring(self.owner, Brought("below", self._below(middle), (count,), 0, most))
        if not tally.keyed:
            return tally.products(below, tally.rows(self._others))[np.arange(count), self._number(self._others)]
        rest = self._others[1:]  # the first is the asker, who knows each row's group
        if rest:
            below = below * tally.rows(rest)[:, self._number(rest)]
        return tally.by_known_group(below)[self._group[tally.asker], np.arange(count)]

    def _number(self, parties: Sequence[str]) -> I64:
        """The number of each cell sought among the combinations of those parties' groups."""
        sizes = [self.tally.extents[party].groups for party in parties]
        return np.ravel_multi_index([self._group[party] for party in parties], sizes).astype(np.int64)

    def _counts_known(self, middle: I64) -> Secret:
        """The same where the asker owns the values and knows each row's group: it picks the rows."""
        tally, counts, order = self.tally, [], []
        rows = tally.rows(self._others)
        for (group, _), indices in self._layers.items():
            kept = None
            if tally.engine.name == self.owner:
                limits = np.full(tally.extents[self.owner].groups, np.iinfo(np.int64).min)
                limits[self._group[self.owner][indices]] = middle[indices]
                own = tally.own
                chosen = (self._values[own.counted] <= limits[own.side.groups[own.counted]]) & self._valid[own.counted]
                kept = tally.placed(own.by_key(chosen.astype(np.int64))) > 0
            sums = tally.by_known_group(rows[:, group : group + 1], kept)
            counts.append(sums[self._group[self.owner][indices], 0])
            order += indices
        return tally.engine.concatenate(counts)[np.argsort(order)]

    @property
    def _layers(self) -> dict[tuple[int, int], list[int]]:
        """What is sought by the others' groups and by how often its cell was named before."""
        found: dict[tuple[int, int], list[int]] = {}
        seen: Counter[int] = Counter()
        numbers = self._number(self._others)
        for index, each in enumerate(self.sought):
            found.setdefault((int(numbers[index]), seen[each.cell]), []).append(index)
            seen[each.cell] += 1
        return found

    def _below(self, middle: I64) -> Callable[[], I64]:
        def count() -> I64:
            own = self.tally.own
            values, valid = self._values[own.counted], self._valid[own.counted]
            groups = own.side.groups[own.counted]
            columns = [
                own.by_key(((values <= limit) & valid & (groups == group)).astype(np.int64))
                for limit, group in zip(middle.tolist(), self._group[self.owner].tolist(), strict=True)
            ]
            return np.stack(columns, axis=1)

        return count


def values_of(side: Side, argument: Polynomial) -> tuple[I64, BOOL]:
    """A polynomial of the party's columns for each row, in units of its decimals, and where it is not NULL."""
    decimals = decimals_of(side.params, argument)
    rows = len(side.keep)
    total, valid = np.zeros(rows, object), np.ones(rows, np.bool_)
    for column in argument.columns:
        valid &= side.numbers(column.name)[1]
    for monomial, factor in argument.terms:
        unit = sum(declared(side.params, column).decimals for column in monomial)
        product = np.full(rows, int(factor * 10 ** (decimals - unit)), object)
        for column in monomial:
            product = product * side.numbers(column.name)[0].astype(object)
        total = total + product
    total[~valid | ~side.keep] = 0
    return total.astype(np.int64), valid
