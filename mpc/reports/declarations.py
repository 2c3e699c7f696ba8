"""What the specs of reports in SQL have in common."""

from typing import TYPE_CHECKING

from mpc.spec import Rows, Slot

if TYPE_CHECKING:
    from mpc.reports.sides import I64, Side


def slots(key: str) -> dict[str, Slot]:
    """The slots of a party's columns; `key` says what its key columns are for."""
    return {
        "key": Slot("key", least=1, most=8, doc=key),
        "group": Slot("any", most=6, doc="columns that are grouped by"),
        "value": Slot("number", most=32, doc="columns that are calculated with"),
        "count": Slot("any", most=32, doc="columns whose values are counted"),
        "filter": Slot("any", most=32, doc="columns of the party's own conditions"),
    }


def row_sets(side: "Side", rows: Rows | None) -> "I64":
    """Which group each row of the dataset counts in, -1 for none; `rows` are those of the dataset that `side` has."""
    import numpy as np

    sets = np.where(side.keep, side.groups, -1)
    return sets if rows is None else rows.spread(sets, -1)
