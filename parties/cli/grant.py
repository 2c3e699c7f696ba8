"""Grants: what a peer may compute with this party's data."""

import time
from typing import TYPE_CHECKING, Any

import click

from parties import budgets, column_rules
from parties.cli.budget_text import budget_document, names, show_budgets
from parties.cli.command import Session, command
from parties.cli.grant_remarks import remarks
from parties.cli.output import cell, say, show_facts, show_table
from parties.cli.units import iso_time, parse_moment, show_time
from parties.policy import ANY, Grant, unusable

if TYPE_CHECKING:
    from parties.node import Node


@click.group()
def grant() -> None:
    """What peers may compute with own data; nothing, unless granted."""


@command("add", grant)
@click.argument("peer")
@click.option("--protocol", required=True, help='As in `sealane protocol list`, or "*".')
@click.option("--dataset", default="", help="Own dataset; without it, take part without data.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    help='May be used; repeat it, or "*". For reports with its rules, e.g. balance:aggregate_only+filter_only: '
    "join_key, filter_only, group_key, aggregate_only, open.",
)
@click.option("--purpose", required=True, help='The purpose a job must give, word for word, or "*".')
@click.option("--receiver", "receivers", multiple=True, required=True, help='May learn the result; repeat it, or "*".')
@click.option("--expires", metavar="TIME", help="E.g. 7d, 2030-12-31 or 2030-12-31T18:00:00Z; without it, never.")
@click.option("--max-uses", type=click.IntRange(min=1), help="How many jobs; without it, any number.")
@click.option("--min-result", type=click.IntRange(min=0), default=0, help="Smallest minimum result a job may have.")
@click.option(
    "--epsilon", metavar="BUDGET", help="Only results with noise, that cost each person at most this together."
)
@click.option("--automatic", is_flag=True, help="Such jobs start without a person's approval.")
def add(
    session: Session,
    peer: str,
    protocol: str,
    dataset: str,
    columns: tuple[str, ...],
    purpose: str,
    receivers: tuple[str, ...],
    expires: str | None,
    max_uses: int | None,
    min_result: int,
    epsilon: str | None,
    automatic: bool,
) -> None:
    """Let PEER propose jobs on own data.

    Receivers are names; include your own if you may learn the result.

    \b
    Example:
      sealane grant add cn-bank --protocol psi.ecdh --dataset cards --column id --purpose "common customers" \\
        --receiver cn-bank --expires 7d --max-uses 1 --min-result 100
    """
    now = time.time()
    node = session.node()
    stored = node.grant(
        peer,
        protocol,
        dataset,
        columns,
        purpose=purpose,
        receivers=receivers,
        expires_at=None if expires is None else parse_moment(expires, now),
        max_uses=max_uses,
        min_result=min_result,
        automatic=automatic,
        epsilon=epsilon,
    )
    doubts = _remarks(node, stored, now)

    def show() -> None:
        _show(node, stored)
        for doubt in doubts:
            say(f"Note: {doubt}.")

    session.answer(_document(node, stored) | {"remarks": doubts}, show)


@command("list", grant)
@click.option("--all", "everything", is_flag=True, help="Also those that allow nothing any more.")
def list_(session: Session, everything: bool) -> None:
    """Show the grants that allow something.

    \b
    Example:
      sealane grant list --all
    """
    node = session.node()
    now = time.time()
    found = [each for each in node.grants() if everything or not unusable(each, now)]
    known = names(node)

    def show() -> None:
        if not found:
            say("no grants, so no job is allowed; `sealane grant add` makes one, `--all` shows those that have ended")
            return
        show_table(
            ("ID", "PEER", "ALLOWS", "PURPOSE", "RECEIVERS", "LIMITS"),
            [
                (
                    each.id,
                    known.get(each.peer, each.peer[:16]),
                    f"{each.protocol} on {each.dataset or 'no dataset'}: {', '.join(_columns(each)) or 'no columns'}",
                    each.purpose,
                    ", ".join(known.get(receiver, receiver[:16]) for receiver in each.receivers),
                    cell(unusable(each, now), "red") if unusable(each, now) else _limits(each),
                )
                for each in found
            ],
        )

    session.answer([_document(node, each) for each in found], show)


@command("budgets", grant)
def budgets_(session: Session) -> None:
    """Show privacy budgets: what is spent and what is left.

    That is what results with noise have cost each dataset, by peer and purpose.

    \b
    Example:
      sealane grant budgets
    """
    node = session.node()
    found = node.privacy_budgets()
    known = names(node)

    def show() -> None:
        if not found:
            say("no privacy budgets; `sealane grant add --epsilon` makes one")
            return
        show_budgets(found, known)

    session.answer([budget_document(each, known) for each in found], show)


@command("revoke", grant)
@click.argument("grant_id", metavar="ID")
def revoke(session: Session, grant_id: str) -> None:
    """End a grant; jobs that it approved do not start any more.

    \b
    Example:
      sealane grant revoke 0123456789abcdef
    """
    node = session.node()
    revoked = node.revoke(grant_id)
    session.answer(_document(node, revoked), lambda: say(f"grant {revoked.id} is revoked."))


def _limits(found: Grant) -> str:
    """All that bounds a grant which still allows something, in a line."""
    return ", ".join(
        filter(
            None,
            (
                f"uses: {found.uses} of {found.max_uses}" if found.max_uses else f"uses: {found.uses}",
                f"until {show_time(found.expires_at)}" if found.expires_at is not None else "",
                f"results of {found.min_result:,} or more" if found.min_result else "",
                f"epsilon {budgets.written(found.epsilon_millionths)}" if found.epsilon_millionths else "",
                _mode(found),
            ),
        )
    )


def _columns(stored: Grant) -> list[str]:
    return [column_rules.write(column, stored.rules.get(column, ())) for column in stored.columns]


def _mode(stored: Grant) -> str:
    return "automatic" if stored.automatic else "asks you"


def _show(node: "Node", stored: Grant) -> None:
    known = names(node)
    show_facts(
        {
            "grant": stored.id,
            "peer": known[stored.peer],
            "protocol": "any" if stored.protocol == ANY else stored.protocol,
            "dataset": stored.dataset or "none: takes part without data",
            "columns": "any" if ANY in stored.columns else ", ".join(_columns(stored)),
            "purpose": "any" if stored.purpose == ANY else stored.purpose,
            "receivers": "anybody"
            if ANY in stored.receivers
            else ", ".join(known[receiver] for receiver in stored.receivers),
            "until": "it is revoked" if stored.expires_at is None else show_time(stored.expires_at),
            "uses": "any number" if stored.max_uses is None else f"{stored.max_uses}",
            "min. result": str(stored.min_result),
            "noise": "none"
            if stored.epsilon_millionths is None
            else f"required, for epsilon {budgets.written(stored.epsilon_millionths)} in all",
            "each job": "starts without you" if stored.automatic else "waits for your approval",
        }
    )


def _remarks(node: "Node", stored: Grant, now: float) -> list[str]:
    from mpc import registry

    dataset = next((each for each in node.datasets() if each.name == stored.dataset), None)
    return remarks(stored, dataset, registry.SPECS, now)


def _document(node: "Node", stored: Grant) -> dict[str, Any]:
    known = names(node)
    return {
        "id": stored.id,
        "peer": known.get(stored.peer, stored.peer),
        "protocol": stored.protocol,
        "dataset": stored.dataset,
        "columns": list(stored.columns),
        "rules": {column: list(rules) for column, rules in stored.rules.items()},
        "purpose": stored.purpose,
        "receivers": [known.get(receiver, receiver) for receiver in stored.receivers],
        "expires_at": iso_time(stored.expires_at),
        "max_uses": stored.max_uses,
        "min_result": stored.min_result,
        "epsilon": None if stored.epsilon_millionths is None else budgets.written(stored.epsilon_millionths),
        "automatic": stored.automatic,
        "uses": stored.uses,
        "revoked": stored.revoked,
        "unusable": unusable(stored, time.time()),
    }
