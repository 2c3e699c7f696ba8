"""What a grant lets become of each column: a pure decision, by rules that an operator names.

A column without a rule is never used. `join_key` columns are matched and their different values counted; `filter_only`
ones may stand in conditions; by `group_key` ones rows are grouped, and conditions may name them; `aggregate_only` ones
are counted and summed, and their extremes shown only for groups of two people or more; `open` ones may be shown.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from mpc.uses import Use

Rule = Literal["never", "join_key", "filter_only", "group_key", "aggregate_only", "open"]

RULES: tuple[Rule, ...] = get_args(Rule)
_ALLOWED: Mapping[Rule, frozenset[Use]] = {
    "never": frozenset(),
    "join_key": frozenset({"join"}),
    "filter_only": frozenset({"filter"}),
    "group_key": frozenset({"group", "filter"}),
    "aggregate_only": frozenset({"aggregate", "extreme"}),
    "open": frozenset(get_args(Use)),
}
_WORDS: Mapping[Use, str] = {
    "join": "joins on it",
    "filter": "has a condition on it",
    "group": "groups by it",
    "aggregate": "sums or counts it",
    "extreme": "shows a minimum, maximum or quantile of it",
}
_SMALLEST: Mapping[Use, Rule] = {
    "join": "join_key", "filter": "filter_only", "group": "group_key",
    "aggregate": "aggregate_only", "extreme": "aggregate_only",
}  # fmt: skip


def failures(
    rules: Mapping[str, tuple[Rule, ...]], uses: Mapping[str, frozenset[Use]], minimum_group: int
) -> list[str]:
    """What `uses` would do that `rules` do not allow, in words that follow the grant's name."""
    found = []
    for column, wanted in sorted(uses.items()):
        own = rules.get(column, ("never",))
        allowed = frozenset[Use]().union(*(_ALLOWED[rule] for rule in own))
        beyond = sorted(wanted - allowed)
        if beyond:
            deeds = " and ".join(_WORDS[use] for use in beyond)
            found.append(f"has column {column} as {', '.join(own)}; the job {deeds}")
        elif "extreme" in wanted and "open" not in own and minimum_group < 2:
            found.append(
                f"has column {column} as {', '.join(own)}; the job {_WORDS['extreme']} for groups of one person"
            )
    return found


def smallest(uses: Mapping[str, frozenset[Use]], minimum_group: int) -> dict[str, tuple[Rule, ...]]:
    """The least that allows `uses`."""
    return {column: _least(wanted, minimum_group) for column, wanted in sorted(uses.items())}


def parse(text: str) -> tuple[str, tuple[Rule, ...]]:
    """A column and its rules as an operator writes them, "balance:aggregate_only+filter_only"; without known rules
    after the last colon, the whole text is the column's name."""
    name, colon, written = text.rpartition(":")
    rules = [rule for rule in RULES if rule in written.split("+")]
    if not colon or not name or len(rules) != len(written.split("+")):
        return text, ()
    return name, tuple(rules)


def write(column: str, rules: Iterable[Rule]) -> str:
    """The reverse of `parse`."""
    joined = "+".join(rules)
    return f"{column}:{joined}" if joined else column


def _least(wanted: frozenset[Use], minimum_group: int) -> tuple[Rule, ...]:
    if "extreme" in wanted and minimum_group < 2:
        return ("open",)
    needed = {_SMALLEST[use] for use in wanted}
    if "group_key" in needed:
        needed.discard("filter_only")
    return tuple(rule for rule in RULES if rule in needed)
