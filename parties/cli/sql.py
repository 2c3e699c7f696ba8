"""`sealane sql`: a joint report from its text."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mpc.errors import InputError
from parties.cli.budget_text import budget_document, names, show_budgets
from parties.cli.command import Session, command, yes_option
from parties.cli.job_text import show_policy
from parties.cli.output import heading, say, show_facts, show_table
from parties.cli.proposing import deadline_option, propose_shown, purpose_option
from parties.cli.units import show_bytes, show_duration

if TYPE_CHECKING:
    from mpc.job import Job
    from mpc.reports.explain import Explanation
    from parties.jobs.preview import Preview
    from parties.node import Node


@command("sql")
@click.argument("text", metavar="SELECT")
@click.option("--receiver", "receivers", multiple=True, required=True, metavar="NAME", help="Learns the report.")
@click.option(
    "--numbers", multiple=True, metavar="COLUMN=LOWER..UPPER", help="Bounds, with the column's decimals; repeat it."
)
@click.option("--values", multiple=True, metavar="COLUMN=A|B|...", help="What is grouped by; repeat it.")
@click.option("--asker", default="", metavar="NAME", help="May learn which of its keys match; else the first receiver.")
@click.option(
    "--join", type=click.Choice(["J0", "J1", "J2", "J3"]), help="Level of leaks; else J1 of two parties, J3 of more."
)
@click.option("--min-group", type=click.IntRange(min=1), default=10, show_default=True, help="People in a group.")
@click.option("--normalise", multiple=True, metavar="PROFILE", help="One a key column, e.g. national_id/1.")
@click.option("--person", multiple=True, metavar="PARTY.COLUMN", help="For a union: what tells people apart.")
@click.option("--separate-people", is_flag=True, help="For a union: no person has rows at two parties.")
@click.option("--in-memory", is_flag=True, help="No party writes rows or results to disk.")
@click.option("--verified", is_flag=True, help="Three compute, and who cheats ends the report; many times the bytes.")
@click.option("--computes", default="", metavar="NAME", help="With --verified of two parties: a third without a table.")
@click.option("--epsilon", help="Figures with noise, for this much of a privacy budget; needs --join J3.")
@click.option("--person-rows", multiple=True, metavar="PARTY=N", help="With --epsilon: most rows of a person; else 1.")
@click.option("--explain", "only_explain", is_flag=True, help="Show stages, costs and leaks, and propose nothing.")
@purpose_option
@deadline_option
@yes_option
def sql(session: Session, text: str, only_explain: bool, deadline: str | None, yes: bool, **report: Any) -> None:
    """Propose a joint report in SQL.

    It is over the rows that several parties have in common, or over the union of their rows. A table is written
    party.dataset. See docs/reports.md for what a report may be.

    \b
    Example:
      sealane sql 'SELECT hk.product, COUNT(*) AS n, SUM(cn.balance) AS total FROM hk.cards
        JOIN cn.accounts USING (document) GROUP BY hk.product' --receiver hk --purpose "wealth report" \\
        --numbers cn.balance=0.00..1000000.00 --values 'hk.product=cards|loans' --explain
    """
    from mpc.reports.explain import explain

    job = _job(text, **report)
    node = session.node()
    whole = node.complete(job)
    preview = node.preview(whole)
    explanation = explain(whole, preview.rows, node.name)

    def show() -> None:
        _show(explanation, preview, node)
        show_policy(preview)

    if only_explain:
        session.answer(_document(explanation, preview, node), show)
        return
    if not session.as_json:
        _show(explanation, preview, node)
        say()
    propose_shown(session, node, job, deadline, yes=yes)


def _job(
    text: str,
    *,
    receivers: tuple[str, ...],
    numbers: tuple[str, ...],
    values: tuple[str, ...],
    asker: str,
    join: Any,
    min_group: int,
    normalise: tuple[str, ...],
    person: tuple[str, ...],
    separate_people: bool,
    in_memory: bool,
    verified: bool,
    computes: str,
    epsilon: str | None,
    person_rows: tuple[str, ...],
    purpose: str | None,
) -> "Job":
    """The job that the options describe; raises `InputError` for those that are not for such a report."""
    from mpc.reports.compiling_unions import is_union
    from mpc.reports.query import job_of

    of_joins = {"--asker": asker, "--join": join, "--normalise": normalise, "--epsilon": epsilon or person_rows}
    of_unions = {"--person": person, "--separate-people": separate_people}
    union = is_union(text)
    for option, given in (of_joins if union else of_unions).items():
        if given:
            raise InputError(f"{option} is for reports on {'joins' if union else 'unions'}", hint="leave it out")
    if union:
        own: dict[str, Any] = {"people": _people(person), "separate_people": separate_people}
    else:
        noise = _noise(epsilon, person_rows)
        own = {"asker": asker, "join": join, "normalisation": normalise, "noise": noise}
    return job_of(
        text,
        receivers=receivers,
        columns=_declared(numbers, values),
        minimum_group=min_group,
        in_memory=in_memory,
        verified=verified,
        computes=computes,
        purpose=purpose or "",
        **own,
    )


def _declared(numbers: tuple[str, ...], values: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """What the options say that columns hold."""
    found: dict[str, dict[str, Any]] = {}
    for option in numbers:
        column, _, bounds = option.partition("=")
        lower, dots, upper = bounds.partition("..")
        if not dots or not lower or not upper:
            raise InputError("--numbers is written COLUMN=LOWER..UPPER", hint="e.g. cn.balance=0.00..1000000.00")
        found.setdefault(column, {}).update(lower=lower, upper=upper)
    for option in values:
        column, equals, listed = option.partition("=")
        if not equals or not listed:
            raise InputError("--values is written COLUMN=A|B|...", hint="e.g. hk.product=cards|loans")
        labels: list[Any] = listed.split("|")
        if all(label.removeprefix("-").isdecimal() for label in labels):
            labels = [int(label) for label in labels]
        found.setdefault(column, {}).update(values=labels)
    return found


def _people(options: tuple[str, ...]) -> dict[str, list[str]]:
    """The columns that tell people apart, by party."""
    found: dict[str, list[str]] = {}
    for option in options:
        party, dot, column = option.partition(".")
        if not dot or not party or not column:
            raise InputError("--person is written PARTY.COLUMN", hint="e.g. cn-bank.customer_id")
        found.setdefault(party, []).append(column)
    return found


def _noise(epsilon: str | None, person_rows: tuple[str, ...]) -> dict[str, Any] | None:
    """What the options say of noise."""
    if epsilon is None:
        if person_rows:
            raise InputError("--person-rows is for reports with noise", hint="add --epsilon")
        return None
    rows = {}
    for option in person_rows:
        party, equals, count = option.partition("=")
        if not equals or not count.isdecimal():
            raise InputError("--person-rows is written PARTY=N", hint="e.g. cn-bank=3")
        rows[party] = int(count)
    return {"epsilon": epsilon, "rows_of_person": rows}


def _document(explanation: "Explanation", preview: "Preview", node: "Node") -> dict[str, Any]:
    """What is explained, for JSON."""
    refusal, known = preview.refusal, names(node)
    return asdict(explanation) | {
        "refusal": None if refusal is None else {"message": str(refusal), "hint": refusal.hint},
        "budgets": [budget_document(each, known) for each in preview.budgets],
    }


def _show(explanation: "Explanation", preview: "Preview", node: "Node") -> None:
    show_facts({"plan": explanation.plan})
    heading(f"Stages, as {node.name} pays for them")
    show_table(
        ("STAGE", "COMPUTED BY", "ROUNDS", "SENDS", "RECEIVES", "TIME"),
        [
            (
                stage.name,
                stage.who,
                str(stage.rounds),
                show_bytes(stage.sent_bytes),
                show_bytes(stage.received_bytes),
                show_duration(stage.seconds),
            )
            for stage in explanation.stages
        ],
        right=("ROUNDS", "SENDS", "RECEIVES", "TIME"),
    )
    heading("What each party learns")
    show_table(("PARTY", "LEARNS"), sorted(explanation.reveals.items()))
    if explanation.epsilon:
        heading(f"Noise, for epsilon {explanation.epsilon} of each person's budget")
        show_table(
            ("FIGURE", "OFF BY ABOUT"), [(name, f"{size:,.4g}") for name, size in explanation.deviations.items()]
        )
        show_budgets(preview.budgets, names(node))
    say(explanation.suppression)
    say(explanation.integrity)
