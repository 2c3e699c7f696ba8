"""Who takes part in a report, and in what role."""

from collections.abc import Sequence

from mpc.errors import InputError
from mpc.job import Job
from mpc.reports.plan import Plan

COMPUTES = "computes"  # the role of a party without a table


def listed(names: Sequence[str], last: str = "and") -> str:
    """Names in words."""
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def asker_of(job: Job) -> str:
    """The party that learns which of its keys are common, at J1."""
    return next(name for name, member in job.members.items() if member.role == "asker")


def computes_of(job: Job) -> str:
    """The party that computes and has no table, empty if there is none."""
    return next((name for name, member in job.members.items() if member.role == COMPUTES), "")


def computing(plan: Plan, asker: str, third: str = "") -> tuple[str, ...]:
    """Who computes on shares: two, two and a third without a table, or three of three and more."""
    return (asker, *[name for name in plan.parties if name != asker][:2], *([third] if third else []))


def check_members(parties: Sequence[str], job: Job, *, verified: bool) -> None:
    """Raise `InputError` unless the job's members are those with tables, and perhaps a third that computes with two of
    them, and can verify each other if they are to.
    """
    third = computes_of(job)
    if {*parties, third} - {""} != set(job.members) or third in parties:
        raise InputError(f"the report is over {', '.join(parties)}, and the job's members are {', '.join(job.members)}")
    if third and (len(parties) != 2 or not verified):
        raise InputError(
            f"{third} has no table: it computes with two others, in a verified report",
            hint="ask for a verified report of two parties, or leave it out",
        )
    if third in job.receivers:
        raise InputError(f"{third} has no table, and receives nothing", hint="name other receivers")
    if verified and len(job.members) < 3:
        raise InputError(
            "2 parties cannot verify each other's shares, only three can",
            hint="name a third that computes and has no table",
        )
