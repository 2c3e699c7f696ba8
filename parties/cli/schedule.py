"""Schedules: jobs that this node proposes again and again."""

from typing import TYPE_CHECKING, Any

import click

from parties.cli.command import Session, command
from parties.cli.job_text import SHORT
from parties.cli.output import cell, say, show_table
from parties.cli.units import iso_time, show_time

if TYPE_CHECKING:
    from parties.schedules import Schedule


@click.group()
def schedule() -> None:
    """Jobs proposed again and again, e.g. a monthly report.

    Each run needs its grants and approvals.
    """


@command("add", schedule)
@click.argument("job_id", metavar="ID")
@click.option("--every", required=True, help="'daily HH:MM', 'weekly DAY HH:MM' or 'monthly DAY HH:MM', in UTC.")
def add(session: Session, job_id: str, every: str) -> None:
    """Propose the job ID again at these times, under new ids.

    \b
    Examples:
      sealane schedule add 4f2a --every "monthly 1 06:00"
      sealane schedule add 4f2a --every "monthly last 22:30"
    """
    made = session.node().schedule(job_id, every)
    session.answer(_document(made), lambda: say(f"schedule {made.id}: next on {show_time(made.next_at)}"))


@command("list", schedule)
def list_(session: Session) -> None:
    """Show the schedules, the next first.

    \b
    Example:
      sealane schedule list
    """
    found = session.node().schedules()

    def show() -> None:
        if not found:
            say("no schedules; `sealane schedule add` makes one of a job")
            return
        show_table(
            ("ID", "EVERY", "PROTOCOL", "PURPOSE", "NEXT", "LAST JOB", ""),
            [
                (
                    each.id,
                    each.every,
                    each.job.protocol,
                    each.job.purpose,
                    show_time(each.next_at),
                    each.last[:SHORT] or "none yet",
                    cell(each.problem, "red"),
                )
                for each in found
            ],
        )

    session.answer([_document(each) for each in found], show)


@command("remove", schedule)
@click.argument("schedule_id", metavar="ID")
def remove(session: Session, schedule_id: str) -> None:
    """Propose nothing more by a schedule; jobs that it proposed go on.

    \b
    Example:
      sealane schedule remove 0123456789abcdef
    """
    session.node().unschedule(schedule_id)
    session.answer({"removed": schedule_id}, lambda: say(f"schedule {schedule_id} is removed."))


def _document(made: "Schedule") -> dict[str, Any]:
    return {
        "id": made.id,
        "every": made.every,
        "protocol": made.job.protocol,
        "purpose": made.job.purpose,
        "next_at": iso_time(made.next_at),
        "last": made.last,
        "problem": made.problem,
    }
