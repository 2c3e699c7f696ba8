"""Privacy budgets as they are shown."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from parties import budgets
from parties.cli.output import show_table
from parties.policy import ANY

if TYPE_CHECKING:
    from parties.grants import Budget
    from parties.node import Node


def names(node: "Node") -> dict[str, str]:
    """The name of each fingerprint that is known here."""
    return {known.fingerprint: known.name for known in node.peers()} | {node.fingerprint: node.name, ANY: ANY}


def show_budgets(found: "Iterable[Budget]", known: Mapping[str, str]) -> None:
    """Print how budgets stand; `known` gives the name of each peer's fingerprint."""
    show_table(
        ("DATASET", "PEER", "PURPOSE", "BUDGET", "SPENT", "LEFT"),
        [
            (
                each.dataset,
                known.get(each.peer, each.peer[:16]),
                each.purpose,
                "(none)" if each.limit is None else budgets.written(each.limit),
                budgets.written(each.spent),
                "" if each.limit is None else budgets.written(max(each.limit - each.spent, 0)),
            )
            for each in found
        ],
        right=("BUDGET", "SPENT", "LEFT"),
    )


def budget_document(budget: "Budget", known: Mapping[str, str]) -> dict[str, Any]:
    """How a budget stands, for JSON; epsilons as text, exactly."""
    return {
        "dataset": budget.dataset,
        "peer": known.get(budget.peer, budget.peer),
        "purpose": budget.purpose,
        "budget": None if budget.limit is None else budgets.written(budget.limit),
        "spent": budgets.written(budget.spent),
    }
