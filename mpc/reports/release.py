"""Which groups are released, and what the receivers are given of them.

Whether a group has enough people is decided on shares; of the others nothing is opened. Counts and sums of released
groups are opened to the receivers alone, as are the values of extremes, which their owner has found. With noise (see
`mpc.reports.noise`) all that is decided by and made of noisy figures.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np

from mpc.errors import ProtocolError
from mpc.reports import extremes, noise, ranks
from mpc.reports.measures import Measure, count_measure, declared, needed, terms
from mpc.reports.plan import EXTREMES, Aggregate
from mpc.reports.results import Group
from mpc.reports.sides import I64
from mpc.reports.tally import Tally
from mpc.sharing.values import Secret

#: The limbs of each measure's totals: see `Tally.totals`.
Totals = Mapping[Measure, Sequence[tuple[int, Secret]]]


def release(tally: Tally, receivers: Sequence[str]) -> dict[int, Group | None]:
    """The released cells, with their figures at a receiver and None elsewhere."""
    plan, engine = tally.plan, tally.engine
    totals = tally.totals(needed(plan))
    ((_, counted),) = totals[needed(plan)[0]]
    counted_people = tally.people(counted)
    people = tally.in_order(counted_people)
    flat: Totals = {m: [(shift, tally.in_order(limb)) for shift, limb in limbs] for m, limbs in totals.items()}
    if tally.params.noise is not None:
        people, flat = noise.add(tally, people, flat, one_row=counted_people is counted)
    large = people >= tally.params.minimum_group
    if plan.having > 1:
        ((_, rows),) = flat[needed(plan)[0]]
        large = large & (rows >= plan.having)
    cells = np.flatnonzero(engine.open(large))
    if plan.limit is not None and len(cells) > plan.limit:
        cells = cells[_top(tally, flat, people, cells)]
    if not len(cells):
        return {}
    values = _open(tally, receivers, people[cells], {m: _at(limbs, cells) for m, limbs in flat.items()})
    found = _extremes(tally, receivers, flat, cells)
    if values is None:
        return dict.fromkeys(cells.tolist())
    return {
        cell: Group(int(values[0][i]), {m: total[i] for m, total in values[1].items()}, found.get(cell, {}))
        for i, cell in enumerate(cells.tolist())
    }


def _open(
    tally: Tally, receivers: Sequence[str], people: Secret, totals: Totals
) -> tuple[I64, dict[Measure, list[int]]] | None:
    """At a receiver: the people in each cell, and each measure's totals."""
    rows = [people, *(limb for limbs in totals.values() for _, limb in limbs)]
    opened = open_to_all(tally, receivers, tally.engine.concatenate([row.reshape(1, -1) for row in rows]))
    if opened is None:
        return None
    bounds = np.array([[row.low, row.high] for row in rows])
    if (opened < bounds[:, :1]).any() or (opened > bounds[:, 1:]).any():
        raise _impossible(tally, "figures that no data can have")
    if (opened[0] < tally.params.minimum_group).any():
        raise _impossible(tally, "a group with fewer people than it was released with")
    rest = iter(opened[1:].tolist())
    found = {}
    for measure, limbs in totals.items():
        shifted = [[value << shift for value in next(rest)] for shift, _ in limbs]
        found[measure] = [sum(each) for each in zip(*shifted, strict=True)]
    return opened[0], found


def open_to_all(tally: Tally, receivers: Sequence[str], secret: Secret) -> I64 | None:
    """The values at every receiver, None elsewhere."""
    own: I64 | None = None
    for receiver in receivers:
        opened = tally.engine.open_to(receiver, secret)
        own = own if opened is None else opened.astype(np.int64)
    return own


def _at(limbs: Sequence[tuple[int, Secret]], cells: I64) -> list[tuple[int, Secret]]:
    return [(shift, limb[cells]) for shift, limb in limbs]


def _top(tally: Tally, totals: Totals, people: Secret, cells: I64) -> I64:
    """Which of the released cells are among the first `limit`, by comparing all pairs; equals in the cells' order."""
    plan, first = tally.plan, tally.plan.order[0]
    aggregate = plan.aggregates[plan.outputs[first.output].index]
    values = _ranked(tally, aggregate, totals, people)[cells]
    present = np.ones(len(cells), np.bool_)
    if aggregate.function == "sum":  # of no value at all it is NULL, which comes last
        ((_, counts),) = totals[count_measure(plan, aggregate)]
        present = tally.engine.open(counts[cells] >= 1)
    left, right = np.triu_indices(len(cells), 1)
    behind = (
        tally.engine.open(values[left] < values[right])
        if first.descending
        else tally.engine.open(values[left] > values[right])
    )
    behind = np.where(present[left] == present[right], behind, present[right])
    rank = np.zeros(len(cells), np.int64)
    np.add.at(rank, left, behind)
    np.add.at(rank, right, ~behind)
    assert plan.limit is not None
    return np.flatnonzero(rank < plan.limit)


def _ranked(tally: Tally, aggregate: Aggregate, totals: Totals, people: Secret) -> Secret:
    """What is ordered by, in whole units."""
    plan, params = tally.plan, tally.params
    if aggregate.function == "people":
        return people
    if aggregate.argument is None or aggregate.function == "count":
        ((_, counts),) = totals[count_measure(plan, aggregate)]
        return counts
    argument = aggregate.argument
    unit = 10 ** argument.decimals(lambda column: declared(params, column).decimals)
    parts = [
        limb * int(factor * unit * 2**shift)
        for factor, measure in terms(plan, params, argument, argument.columns)
        for shift, limb in totals[measure]
    ]
    return sum(parts[1:], parts[0])


def _extremes(
    tally: Tally, receivers: Sequence[str], totals: Totals, cells: I64
) -> dict[int, dict[Aggregate, Decimal | float | None]]:
    """At a receiver: the extremes of each cell. How many values there are is opened to all parties."""
    found: dict[int, dict[Aggregate, Decimal | float | None]] = {}
    for aggregate in (each for each in tally.plan.aggregates if each.function in EXTREMES):
        ((_, secret),) = totals[count_measure(tally.plan, aggregate)]
        counts = dict(zip(cells.tolist(), tally.engine.open(secret[cells]).tolist(), strict=True))
        sought = [
            ranks.Sought(aggregate, cell, rank) for cell, n in counts.items() for rank in ranks.ranks(aggregate, n)
        ]
        values = _values(tally, receivers, sought)
        for cell, count in counts.items():
            its = [int(values[i]) for i, each in enumerate(sought) if each.cell == cell] if values is not None else []
            found.setdefault(cell, {})[aggregate] = ranks.assemble(tally.params, aggregate, count, its)
    return found


def _values(tally: Tally, receivers: Sequence[str], sought: Sequence[ranks.Sought]) -> I64 | None:
    if not sought:
        return None
    aggregate = sought[0].aggregate
    (owner,) = aggregate.argument.parties if aggregate.argument is not None else ("",)
    low, high = ranks.interval(tally.params, aggregate)
    own = extremes.find(tally, sought)
    mine = own if tally.engine.name == owner else None
    shared = tally.engine.share(owner, mine, shape=(len(sought),), low=low, high=high)
    values = open_to_all(tally, receivers, shared)
    if values is not None and ((values < low).any() or (values > high).any()):
        raise _impossible(tally, "a value outside its column's bounds")
    return values


def _impossible(tally: Tally, what: str) -> ProtocolError:
    peers = [name for name in (tally.asker, *tally.others) if name != tally.engine.name]
    return ProtocolError(f"{' or '.join(peers)}: {'their' if peers[1:] else 'its'} shares open {what}")
