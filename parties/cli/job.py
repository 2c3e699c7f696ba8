"""Jobs: propose, look at, decide, cancel."""

import time
from dataclasses import replace
from pathlib import Path

import click

from mpc.errors import InputError
from mpc.job import Job
from parties.cli import job_text
from parties.cli.command import Session, command, yes_option
from parties.cli.job_input import parse_members, parse_params, read_job
from parties.cli.output import say, show_table, tell_of_more
from parties.cli.proposing import deadline_option, propose_shown, purpose_option
from parties.cli.units import parse_moment, show_time
from parties.jobs.states import State


@click.group()
def job() -> None:
    """Joint computations: propose, decide, watch, take the result."""


@command("propose", job)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--protocol", help="As in `sealane protocol list`; psi: the one that finds common keys soonest.")
@click.option(
    "--member", "members", multiple=True, metavar="NAME:ROLE:DATASET:SLOT=COLUMN,...", help="Each party, also you."
)
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="As in `sealane protocol show`.")
@click.option("--receiver", "receivers", multiple=True, metavar="NAME", help="Learns the result; may be repeated.")
@purpose_option
@deadline_option
@click.option("--id", "job_id", metavar="HEX", help="32 digits; the same job under the same id is proposed once.")
@yes_option
def propose(
    session: Session,
    file: Path | None,
    protocol: str | None,
    members: tuple[str, ...],
    params: tuple[str, ...],
    receivers: tuple[str, ...],
    purpose: str | None,
    deadline: str | None,
    job_id: str | None,
    yes: bool,
) -> None:
    """Show a job, ask, and propose it to the others.

    What it reveals and costs is shown first. Proposing approves it here. The job comes from FILE (JSON) or from
    options. Columns with commas or colons in their names need a file.

    \b
    Examples:
      sealane job propose job.json
      sealane job propose --protocol psi.ecdh --purpose "common customers" --receiver hk-bank --deadline 2h \\
        --member hk-bank:receiver:cards:key=id --member cn-bank:sender:accounts:key=card --param min_result=100
    """
    described = (protocol, members, params, receivers, purpose)
    if file is not None and any(described):
        raise click.UsageError("give a FILE or options, not both")
    if file is None and protocol is None:
        raise click.UsageError("give a FILE, or --protocol with --member and --receiver")
    node = session.node()
    wanted = read_job(file) if file is not None else _from_options(protocol or "", members, params, receivers, purpose)
    if job_id is not None:
        wanted = replace(wanted, id=job_id)
    propose_shown(session, node, wanted, deadline, yes=yes)


@command("list", job)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([str(state) for state in State]),
    help="Only these; repeatable.",
)
@click.option("--peer", metavar="PEER", help="Only those with this peer.")
@click.option("--since", metavar="TIME", help="Only those that came since then, e.g. 7d (ago) or 2030-12-31.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many, the newest.")
def list_(session: Session, states: tuple[str, ...], peer: str | None, since: str | None, limit: int) -> None:
    """Show the newest jobs, the oldest of them first.

    That there are more is said on standard error.

    \b
    Examples:
      sealane job list --state proposed
      sealane job list --peer cn-bank --since 30d --limit 1000
    """
    node = session.node()
    found = node.jobs(
        frozenset(map(State, states)) or frozenset(State),
        peer=peer,
        since=None if since is None else parse_moment(since, time.time(), past=True),
        newest=limit + 1,
    )
    records = found[-limit:]

    def show() -> None:
        if not records:
            say("no jobs")
            return
        show_table(
            ("ID", "STATE", "PROTOCOL", "PROPOSED BY", "PARTIES", "PURPOSE", "SINCE"),
            [
                (
                    record.id[: job_text.SHORT],
                    job_text.state_cell(record),
                    record.job.protocol,
                    job_text.initiator(record),
                    ", ".join(party.name for party in record.parties),
                    record.job.purpose,
                    show_time(record.created_at),
                )
                for record in records
            ],
        )
        waiting = node.job_counts()[State.PROPOSED]
        if waiting:
            wait = "waits" if waiting == 1 else "wait"
            say(f"{waiting} {wait} for your decision: `sealane job show ID`, then `sealane job approve ID`")

    session.answer([job_text.describe_record(record) for record in records], show)
    if len(found) > limit:
        tell_of_more("--limit", limit)


@command("show", job)
@click.argument("job_id", metavar="ID")
def show(session: Session, job_id: str) -> None:
    """Show what a job reveals and costs, and how it stands.

    The first digits of ID are enough.

    \b
    Example:
      sealane job show 4f2a
    """
    node = session.node()
    record = node.job(job_id)
    if session.as_json:
        try:
            preview = job_text.describe_preview(node.preview(record.id), node)
        except InputError:
            preview = None
        session.answer(job_text.describe_record(record) | {"preview": preview}, lambda: None)
    else:
        job_text.show_record(node, record)
        if not record.ended:
            job_text.show_outcome(record)


@command("approve", job)
@click.argument("job_id", metavar="ID")
@click.option("--digest", metavar="HEX", help="Approve the job with this digest, and ask nothing.")
def approve(session: Session, job_id: str, digest: str | None) -> None:
    """Approve a proposed job, after showing it.

    With --digest, approve what was looked at before, and ask nothing.

    \b
    Examples:
      sealane job approve 4f2a
      sealane job approve 4f2a --digest 9c1e...
    """
    node = session.node()
    record = node.job(job_id)
    if digest is None:
        if session.as_json:
            raise InputError("with --json nothing is asked", hint="add --digest, from `sealane job show`")
        if record.state == State.PROPOSED:
            job_text.show_record(node, record)
            refusal = node.preview(record.id).refusal
            if refusal is not None:
                raise refusal
            session.confirm("Approve this job?", yes=False)
    approved = node.approve(record.id, digest.lower() if digest else record.digest)
    session.answer(job_text.describe_record(approved), lambda: job_text.show_outcome(approved))


@command("deny", job)
@click.argument("job_id", metavar="ID")
@click.option("--reason", default="", help="The other parties see it.")
def deny(session: Session, job_id: str, reason: str) -> None:
    """Deny a proposed job.

    \b
    Example:
      sealane job deny 4f2a --reason "not this quarter"
    """
    denied = session.node().deny(job_id, reason)
    session.answer(job_text.describe_record(denied), lambda: job_text.show_outcome(denied))


@command("cancel", job)
@click.argument("job_id", metavar="ID")
@yes_option
def cancel(session: Session, job_id: str, yes: bool) -> None:
    """End an open job for all parties.

    What it has computed so far is lost.

    \b
    Example:
      sealane job cancel 4f2a
    """
    node = session.node()
    record = node.job(job_id)
    others = " and ".join(party.name for party in record.others(node.fingerprint))
    if not record.ended:
        if not session.as_json:
            job_text.show_job(record.job, job_text.standing(node, record))
        session.confirm(f"End this job for {others} too?", yes=yes)
    cancelled = node.cancel(record.id)

    def show() -> None:
        if cancelled.ended:
            job_text.show_outcome(cancelled)
            say(f"Told to {others}: at once, or when connected again.")
        else:
            say(f"job {cancelled.id[: job_text.SHORT]} does not run here any more.")
            say(f"{job_text.initiator(cancelled)}, who proposed it, ends it for all once it is told.")

    session.answer(job_text.describe_record(cancelled), show)


def _from_options(
    protocol: str, members: tuple[str, ...], params: tuple[str, ...], receivers: tuple[str, ...], purpose: str | None
) -> Job:
    from mpc import registry
    from mpc.psi import choose
    from mpc.spec import describe_params

    if protocol == choose.FAMILY:
        version, schema = 1, choose.describe_params()
    else:
        spec = registry.get(protocol)
        version, schema = spec.version, describe_params(spec)
    return Job(
        protocol=protocol,
        version=version,
        members=parse_members(members),
        receivers=receivers,
        params=parse_params(params, schema),
        purpose=purpose or "",
    )
