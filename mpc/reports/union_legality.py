"""Whether what a party brought to a verified report on a union could be totals of a table's rows.

Of each group: no fewer than no rows and no more than a table may have; as many rows with values as there are rows at
most; a total between the bounds of so many values; no more people than rows. Security as in `mpc.reports.legality`.
"""

import numpy as np

from mpc.reports.legality import Claims, loose, times
from mpc.reports.measures import Factor, Measure, needed
from mpc.reports.union_totals import LIMB_BITS, MAX_ROWS, Layout
from mpc.sharing.engine import Engine
from mpc.sharing.values import Secret

_MOST_BITS = 62


def check_totals(engine: Engine, party: str, layout: Layout, words: Secret, *, people: bool) -> None:
    """Raise `ProtocolError` unless the totals, limb by limb and cell by cell, and then people, could be a party's."""
    claims_of(engine, party, layout, words, people=people).settle()


def claims_of(engine: Engine, party: str, layout: Layout, words: Secret, *, people: bool) -> Claims:
    """What must hold of the totals, limb by limb and cell by cell, and then people, that a party brought."""
    claims, own = Claims(engine, party), Layout(layout.union, layout.params, 1)
    measures = needed(layout.union.plan)
    limbs = sum(layout.limbs(measure) for measure in measures)
    by_cell = words.reshape(limbs + people, -1)
    place, counts = 0, {}
    for measure in measures:
        parts = []
        for index in range(layout.limbs(measure)):
            limb = by_cell[place + index]
            low, high = own.bounds(measure, index)
            claims.between(limb, _constant(limb, low), _constant(limb, high))
            parts.append(times(loose(limb), 1 << (LIMB_BITS * index)))
        counts[measure] = sum(parts[1:], parts[0])
        place += len(parts)
    rows = counts[measures[0]]
    for measure, total in counts.items():
        base = counts[_base(measure)]
        if not measure[0].columns:
            claims.between(total, None, rows)
            continue
        low, high = own.interval(measure)
        if max(abs(low), abs(high)) * MAX_ROWS < 2**_MOST_BITS:
            claims.between(total, loose(base) * low, loose(base) * high)
    claims.between(rows, None, _constant(rows, MAX_ROWS))
    if people:
        claims.between(by_cell[limbs], None, rows)
    return claims


def _base(measure: Measure) -> Measure:
    """What counts the rows in which a measure has values."""
    (factor,) = measure
    return (Factor((), tuple(sorted({*factor.columns, *factor.present}))),)


def _constant(like: Secret, value: int) -> Secret:
    return like.engine.constant(np.full(like.shape, value))
