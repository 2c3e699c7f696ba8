"""What is released of the sums over common keys: with or without noise, and with the extremes that their owners find.

With noise (see `mpc.reports.noise`) all that is released is decided by and made of noisy figures.
"""

from collections.abc import Sequence

from mpc.reports import extremes, legality, noise, ranks
from mpc.reports.deciding import I64, Extremes, Figures, Totals, decide, impossible, open_to_all
from mpc.reports.measures import count_measure, needed
from mpc.reports.plan import EXTREMES
from mpc.reports.results import Group
from mpc.reports.tally import Tally


def release(tally: Tally, receivers: Sequence[str]) -> dict[int, Group | None]:
    """The released cells, with their figures at a receiver and None elsewhere."""
    plan = tally.plan
    totals = tally.totals(needed(plan))
    ((_, counted),) = totals[needed(plan)[0]]
    counted_people = tally.people(counted)
    if tally.params.verified:
        legality.check(tally)
    people = tally.in_order(counted_people)
    flat: Totals = {m: [(shift, tally.in_order(limb)) for shift, limb in limbs] for m, limbs in totals.items()}
    if tally.params.noise is not None:
        people, flat = noise.add(tally, people, flat, one_row=counted_people is counted)
    large = people >= tally.params.minimum_group
    figures = Figures(plan, tally.params, tally.engine, (tally.asker, *tally.others), large, people, flat)
    return decide(figures, receivers, lambda cells: _extremes(tally, receivers, flat, cells))


def _extremes(tally: Tally, receivers: Sequence[str], totals: Totals, cells: I64) -> Extremes:
    """At a receiver: the extremes of each cell. How many values there are is opened to all parties."""
    found: Extremes = {}
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
    values = open_to_all(tally.engine, receivers, shared)
    if values is not None and ((values < low).any() or (values > high).any()):
        raise impossible((tally.asker, *tally.others), tally.engine.name, "a value outside its column's bounds")
    return values
