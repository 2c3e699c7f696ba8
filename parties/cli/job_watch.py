"""`sealane job watch`: how far a job is, until it has ended."""

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from parties.cli import job_text
from parties.cli.command import Session, command
from parties.cli.output import clean, console, print_json, say
from parties.cli.units import parse_duration, show_bytes, show_duration

if TYPE_CHECKING:
    from parties.jobs.records import JobRecord
    from parties.jobs.watching import Progress
    from parties.node import Node

    Moves = Iterable[tuple[JobRecord, Progress | None]]

_AFTER_DEADLINE_S = 60.0  # by then a running node has ended the job


@command("watch")
@click.argument("job_id", metavar="ID")
@click.option("--timeout", metavar="DURATION", help="E.g. 10m; without it, until the job's deadline.")
def watch(session: Session, job_id: str, timeout: str | None) -> None:
    """Watch a job until it has ended.

    Exits with 0 if it succeeded, 3 if it was denied, 6 if it ended otherwise. Ctrl-C stops watching; the job goes on.

    \b
    Example:
      sealane job watch 4f2a
    """
    from parties.jobs.watching import ended_badly

    node = session.node()
    record = node.job(job_id)
    left_s = max(record.job.deadline - time.time(), 0.0) + _AFTER_DEADLINE_S
    moves = node.watch(record.id, left_s if timeout is None else float(parse_duration(timeout)))
    if session.as_json:
        for record, progress in moves:
            print_json(_document(record, progress))
    elif sys.stdout.isatty():
        record = _draw(node, moves)
    else:
        record = _write(node, moves)
    error = ended_badly(record)
    if error is not None:
        raise error
    if not session.as_json:
        job_text.show_outcome(record)


def _draw(node: "Node", moves: "Moves") -> "JobRecord":
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[told]}", markup=False),
    )
    with Bar(*columns, console=console(), transient=True) as bar:
        task = bar.add_task("waiting", total=None, told="")
        for record, progress in moves:
            if progress is None:
                bar.update(task, description=clean(job_text.stands(node, record)))
            else:
                bar.update(
                    task,
                    description=clean(progress.step),
                    total=progress.total or None,
                    completed=progress.done,
                    told=_told(progress),
                )
    return record


def _write(node: "Node", moves: "Moves") -> "JobRecord":
    """One line each time the state or the step changes."""
    last = ""
    for record, progress in moves:
        line = job_text.stands(node, record)
        if progress is not None and record.state == "running":
            line = f"{line}: {progress.step}"
        if line != last and not record.ended:
            say(line)
        last = line
    return record


def _told(progress: "Progress") -> str:
    told = f"{show_bytes(progress.sent_bytes)} sent, {show_bytes(progress.received_bytes)} received"
    return told if progress.remaining_s is None else f"{told}, {show_duration(progress.remaining_s)} left"


def _document(record: "JobRecord", progress: "Progress | None") -> dict[str, Any]:
    return {
        "id": record.id,
        "state": str(record.state),
        "ended": record.ended,
        "decisions": job_text.decisions(record),
        "reason": record.reason,
        "hint": record.hint,
        "attempt": record.attempt,
        "step": progress.step if progress else None,
        "done": progress.done if progress else None,
        "total": progress.total if progress else None,
        "sent_bytes": progress.sent_bytes if progress else None,
        "received_bytes": progress.received_bytes if progress else None,
        "elapsed_s": progress.elapsed_s if progress else None,
        "remaining_s": progress.remaining_s if progress else None,
    }
