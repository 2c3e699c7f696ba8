"""How every command proposes a job: it is shown with what it reveals and costs, confirmed, and sent to the others."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from mpc.errors import InputError
from mpc.job import Job
from parties.cli import job_text
from parties.cli.command import Session
from parties.cli.output import say
from parties.cli.units import is_duration, parse_moment

if TYPE_CHECKING:
    from parties.node import Node


def purpose_option(function: Callable[..., None]) -> Callable[..., None]:
    return click.option("--purpose", help="Why; grants are for a purpose.")(function)


def deadline_option(function: Callable[..., None]) -> Callable[..., None]:
    help_text = "E.g. 2h or 2030-12-31T18:00:00Z; without it, a day."
    return click.option("--deadline", metavar="TIME", help=help_text)(function)


def propose_shown(session: Session, node: "Node", wanted: Job, deadline: str | None, *, yes: bool) -> None:
    """Show the job and its preview, ask unless `yes`, propose it, and answer with how it stands."""
    wanted, choice = node.choose(wanted)
    whole = _completed(node, wanted, deadline)
    preview = node.preview(whole)
    if not session.as_json:
        if choice is not None:
            say(choice.reason)
        job_text.show_job(whole)
        job_text.show_members(whole, {})
        job_text.show_preview(preview, node)
        say()
    if preview.refusal is not None:
        raise preview.refusal
    session.confirm("Propose this job?", yes=yes)
    record = node.propose(whole)
    chosen = {} if choice is None else {"choice": {"protocol": choice.protocol, "reason": choice.reason}}
    session.answer(job_text.describe_record(record) | chosen, lambda: job_text.show_outcome(record))


def _completed(node: "Node", wanted: Job, deadline: str | None) -> Job:
    """The job with a deadline and the fingerprints of its members.

    A relative deadline, or none, gives way to that of a job proposed before under this id: so the same command line
    can be run again.
    """
    if deadline is not None:
        wanted = replace(wanted, deadline=parse_moment(deadline, time.time()))
    if not wanted.deadline or (deadline is not None and is_duration(deadline)):
        with suppress(InputError):  # it was not proposed before
            wanted = replace(wanted, deadline=node.job(wanted.id).job.deadline)
    whole = node.complete(wanted)
    for name, member in wanted.members.items():
        if member.fingerprint not in ("", whole.members[name].fingerprint):
            raise InputError(
                f"the job gives {name} another fingerprint than the peer of that name has",
                hint="compare with `sealane peer show`, or leave fingerprints out: they are filled in",
            )
    return whole
