"""Which groups are released, and what the receivers are given of them.

Whether a group has enough people is decided on shares; of the others nothing is opened. Counts and sums of released
groups are opened to the receivers alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from mpc.errors import ProtocolError
from mpc.reports.measures import Measure, count_measure, declared, needed, terms
from mpc.reports.params import Params
from mpc.reports.plan import Aggregate, Plan
from mpc.reports.results import Group
from mpc.sharing.engine import Engine
from mpc.sharing.values import Bits, Secret

I64 = NDArray[np.int64]
#: The limbs of each measure's totals: see `Tally.totals`.
Totals = Mapping[Measure, Sequence[tuple[int, Secret]]]
#: At a receiver: the extremes of each of some cells.
Extremes = dict[int, dict[Aggregate, Decimal | float | None]]


@dataclass(frozen=True)
class Figures:
    """What is shared of each cell, in the cells' order. `large` says which have enough people; `people` is what is
    opened as their number, no less than the minimum where a cell is large. `parties` are all that take part."""

    plan: Plan
    params: Params
    engine: Engine
    parties: tuple[str, ...]
    large: Bits = field(repr=False)
    people: Secret = field(repr=False)
    totals: Totals = field(repr=False)


def decide(figures: Figures, receivers: Sequence[str], extremes: Callable[[I64], Extremes]) -> dict[int, Group | None]:
    """The released cells, with their figures at a receiver and None elsewhere; `extremes` finds those of cells."""
    plan, large = figures.plan, figures.large
    if plan.having > 1:
        ((_, rows),) = figures.totals[needed(plan)[0]]
        large = large & (rows >= plan.having)
    cells = np.flatnonzero(figures.engine.open(large))
    if plan.limit is not None and len(cells) > plan.limit:
        cells = cells[_top(figures, cells)]
    if not len(cells):
        return {}
    values = _open(figures, receivers, cells)
    found = extremes(cells)
    if values is None:
        return dict.fromkeys(cells.tolist())
    return {
        cell: Group(int(values[0][i]), {m: total[i] for m, total in values[1].items()}, found.get(cell, {}))
        for i, cell in enumerate(cells.tolist())
    }


def _open(figures: Figures, receivers: Sequence[str], cells: I64) -> tuple[I64, dict[Measure, list[int]]] | None:
    """At a receiver: the people in each of the cells, and each measure's totals."""
    rows = [figures.people[cells], *(limb[cells] for limbs in figures.totals.values() for _, limb in limbs)]
    whole = figures.engine.concatenate([row.reshape(1, -1) for row in rows])
    opened = open_to_all(figures.engine, receivers, whole)
    if opened is None:
        return None
    bounds = np.array([[row.low, row.high] for row in rows])
    if (opened < bounds[:, :1]).any() or (opened > bounds[:, 1:]).any():
        raise impossible(figures.parties, figures.engine.name, "figures that no data can have")
    if (opened[0] < figures.params.minimum_group).any():
        raise impossible(figures.parties, figures.engine.name, "a group with fewer people than it was released with")
    rest = iter(opened[1:].tolist())
    found = {}
    for measure, limbs in figures.totals.items():
        shifted = [[value << shift for value in next(rest)] for shift, _ in limbs]
        found[measure] = [sum(each) for each in zip(*shifted, strict=True)]
    return opened[0], found


def open_to_all(engine: Engine, receivers: Sequence[str], secret: Secret) -> I64 | None:
    """The values at every receiver, None elsewhere."""
    own: I64 | None = None
    for receiver in receivers:
        opened = engine.open_to(receiver, secret)
        own = own if opened is None else opened.astype(np.int64)
    return own


def _top(figures: Figures, cells: I64) -> I64:
    """Which of the released cells are among the first `limit`, by comparing all pairs; equals in the cells' order."""
    plan, first = figures.plan, figures.plan.order[0]
    aggregate = plan.aggregates[plan.outputs[first.output].index]
    values = _ranked(figures, aggregate)[cells]
    present = np.ones(len(cells), np.bool_)
    if aggregate.function == "sum":  # of no value at all it is NULL, which comes last
        ((_, counts),) = figures.totals[count_measure(plan, aggregate)]
        present = figures.engine.open(counts[cells] >= 1)
    left, right = np.triu_indices(len(cells), 1)
    behind = (
        figures.engine.open(values[left] < values[right])
        if first.descending
        else figures.engine.open(values[left] > values[right])
    )
    behind = np.where(present[left] == present[right], behind, present[right])
    rank = np.zeros(len(cells), np.int64)
    np.add.at(rank, left, behind)
    np.add.at(rank, right, ~behind)
    assert plan.limit is not None
    return np.flatnonzero(rank < plan.limit)


def _ranked(figures: Figures, aggregate: Aggregate) -> Secret:
    """What is ordered by, in whole units."""
    plan, params = figures.plan, figures.params
    if aggregate.function == "people":
        return figures.people
    if aggregate.argument is None or aggregate.function == "count":
        ((_, counts),) = figures.totals[count_measure(plan, aggregate)]
        return counts
    argument = aggregate.argument
    unit = 10 ** argument.decimals(lambda column: declared(params, column).decimals)
    parts = [
        limb * int(factor * unit * 2**shift)
        for factor, measure in terms(plan, params, argument, argument.columns)
        for shift, limb in figures.totals[measure]
    ]
    return sum(parts[1:], parts[0])


def impossible(parties: Sequence[str], me: str, what: str) -> ProtocolError:
    """The error that the others' shares open what no data can have."""
    peers = [name for name in parties if name != me]
    their = "their" if peers[1:] else "its"
    return ProtocolError(f"{' or '.join(peers)}: {their} shares open {what}, in step 'open groups'")
