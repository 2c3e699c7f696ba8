"""What the groups of a report are, as far as the parties declared it."""

from collections.abc import Sequence
from functools import reduce

from mpc.reports.params import Params
from mpc.reports.plan import GroupKey, Plan

#: What a group is called by one group key: a value, a bucket's number, or None for NULL.
Label = str | int | None
#: Stands for a text of a group key that its party has not declared and that no released group has; for an integer,
#: NULL does.
WITHHELD = "(withheld)"
MAX_LABEL_CHARACTERS = 200


def group_count(plan: Plan, params: Params, party: str) -> int | None:
    """How many groups a party has by what was declared, None if that depends on its data."""
    count = 1
    for key in plan.groups:
        if key.column.party != party:
            continue
        labels = labels_of(key, params)
        if labels is None:
            return None
        count *= len(labels)
    return count


def declared_labels(plan: Plan, params: Params, party: str) -> tuple[tuple[Label, ...], ...]:
    """The labels of a party's groups, all of which were declared."""
    return combined([labels_of(key, params) or [] for key in plan.groups if key.column.party == party])


def labels_of(key: GroupKey, params: Params) -> list[Label] | None:
    """The labels of a group key in their order, NULL last; None if they were not declared."""
    known = params.columns.get(str(key.column))
    null: list[Label] = [None] if known is not None and known.nulls else []
    if key.buckets is not None:
        return [*range(key.buckets.count + 2), *null]
    return [*known.values, *null] if known is not None and known.values else None


def combined(labels: Sequence[Sequence[Label]]) -> tuple[tuple[Label, ...], ...]:
    """All combinations of one label of each, the last changing fastest."""
    start: tuple[tuple[Label, ...], ...] = ((),)
    return reduce(lambda done, more: tuple((*each, label) for each in done for label in more), labels, start)
