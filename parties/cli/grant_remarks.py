"""What may be a slip in a grant. None of it allows more than the grant says, so that nothing is refused for it."""

from collections.abc import Collection

from parties.datasets import Dataset
from parties.policy import ANY, Grant, unusable


def remarks(grant: Grant, dataset: Dataset | None, protocols: Collection[str], now: float) -> list[str]:
    """What its operator should look at again: names that are not there, and too little that limits it.

    `dataset` is the one that the grant names, if it is registered; `protocols` are those of this release.
    """
    found = []
    if ended := unusable(grant, now):
        found.append(f"it {ended}, so it allows nothing")
    if grant.protocol not in {*protocols, ANY}:
        found.append(f"this release has no protocol {grant.protocol}: see `sealane protocol list`")
    if grant.dataset and dataset is None:
        found.append(f"no dataset {grant.dataset} is registered yet")
    if dataset is not None:
        missing = [column for column in grant.columns if column not in {*dataset.column_names, ANY}]
        if missing:
            found.append(f"{dataset.name} has no column {', '.join(missing)}; it has {', '.join(dataset.column_names)}")
    without_rule = [column for column in grant.columns if not grant.rules.get(column)]
    if grant.protocol.startswith("report.") and without_rule:
        found.append(
            f"reports never use a column without a rule, here {', '.join(without_rule)}: add it, e.g. NAME:group_key"
        )
    if grant.automatic and grant.max_uses is None and grant.expires_at is None:
        found.append("such jobs start any number of times, for ever: limit it with --expires or --max-uses")
    return found
