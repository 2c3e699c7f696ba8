"""What the specs of reports in SQL have in common."""

from mpc.spec import Slot


def slots(key: str) -> dict[str, Slot]:
    """The slots of a party's columns; `key` says what its key columns are for."""
    return {
        "key": Slot("key", least=1, most=8, doc=key),
        "group": Slot("any", most=6, doc="columns that are grouped by"),
        "value": Slot("number", most=32, doc="columns that are calculated with"),
        "count": Slot("any", most=32, doc="columns whose values are counted"),
        "filter": Slot("any", most=32, doc="columns of the party's own conditions"),
    }
