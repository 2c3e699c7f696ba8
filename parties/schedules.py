"""Jobs that are proposed again and again: at a time of each day, week or month, in UTC.

A schedule keeps a job as it was once proposed here. Each run is an ordinary job under a new id, with its own grants,
approvals and evidence; a schedule allows nothing by itself. A run that was missed while the node was down is proposed
once when it is back, not for each time that has passed.
"""

import calendar
import re
import sqlite3
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from mpc.errors import InputError
from mpc.job import Job
from mpc.rng import Rng, system_rng

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY = re.compile(
    r"(?:daily|weekly (mon|tue|wed|thu|fri|sat|sun)|monthly ([1-9]|[12]\d|3[01]|last)) ([01]\d|2[0-3]):([0-5]\d)"
)
_ID_BYTES = 8


@dataclass(frozen=True)
class Schedule:
    """`every` is "daily HH:MM", "weekly mon HH:MM" or "monthly DAY HH:MM" (a day, or "last"); `next_at` is in seconds
    since 1970. `last` is the id of the last job it proposed, `problem` why the last could not be; both may be empty."""

    id: str
    every: str
    job: Job
    next_at: float
    last: str
    problem: str


def next_time(every: str, after: float) -> float:
    """The first moment after `after` that `every` names; raises `InputError` if it names none.

    A month without that day has its run on the last day.
    """
    match = _EVERY.fullmatch(every)
    if match is None:
        raise InputError(
            "a schedule is written: daily HH:MM, weekly DAY HH:MM or monthly DAY HH:MM, in UTC",
            hint="e.g. 'monthly 1 06:00', 'monthly last 22:30', 'weekly mon 06:00'",
        )
    weekday, day, hour, minute = match.groups()
    start = datetime.fromtimestamp(after, UTC)
    moment = start.replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)
    for ahead in range(63):  # a day of a month is at most two months away
        then = moment + timedelta(days=ahead)
        if then > start and _falls_on(then, weekday, day):
            return then.timestamp()
    raise AssertionError("every month has its day")


def add(db: sqlite3.Connection, job: Job, every: str, now: float, *, rng: Rng = system_rng) -> Schedule:
    """Propose `job` anew at these times; `db` is in a transaction."""
    assert db.in_transaction
    schedule = Schedule(rng(_ID_BYTES).hex(), every, job, next_time(every, now), "", "")
    db.execute(
        "INSERT INTO schedules (id, every, job, next_at, created_at) VALUES (?, ?, ?, ?, ?)",
        (schedule.id, every, job.to_bytes(), schedule.next_at, now),
    )
    return schedule


def listed(db: sqlite3.Connection) -> tuple[Schedule, ...]:
    """All schedules, the next first."""
    rows = db.execute("SELECT * FROM schedules ORDER BY next_at, id").fetchall()
    return tuple(map(_from_row, rows))


def remove(db: sqlite3.Connection, schedule_id: str) -> None:
    """Propose nothing more by it; raises `InputError` when there is none of that id."""
    assert db.in_transaction
    if db.execute("DELETE FROM schedules WHERE id = ?", (schedule_id,)).rowcount == 0:
        raise InputError(f"no schedule has the id {schedule_id[:80]!r}", hint="see `sealane schedule list`")


def due(db: sqlite3.Connection, now: float) -> tuple[Schedule, ...]:
    """The schedules whose time has come."""
    rows = db.execute("SELECT * FROM schedules WHERE next_at <= ? ORDER BY next_at, id", (now,)).fetchall()
    return tuple(map(_from_row, rows))


def run_of(schedule: Schedule, *, rng: Rng = system_rng) -> Job:
    """The job that the schedule proposes now: the same under a new id, with a new deadline."""
    return replace(schedule.job, id=rng(16).hex(), deadline=0)


def note(db: sqlite3.Connection, schedule: Schedule, job_id: str, problem: str, now: float) -> None:
    """It proposed the job of that id, or could not; it is due again at its next time."""
    assert db.in_transaction
    db.execute(
        "UPDATE schedules SET next_at = ?, last = CASE WHEN ? = '' THEN last ELSE ? END, problem = ? WHERE id = ?",
        (next_time(schedule.every, now), job_id, job_id, problem, schedule.id),
    )


def _falls_on(then: datetime, weekday: str | None, day: str | None) -> bool:
    if weekday is not None:
        return then.weekday() == _DAYS.index(weekday)
    if day is None:
        return True
    last = calendar.monthrange(then.year, then.month)[1]
    return then.day == (last if day == "last" else min(int(day), last))


def _from_row(row: sqlite3.Row) -> Schedule:
    return Schedule(row["id"], row["every"], Job.from_bytes(row["job"]), row["next_at"], row["last"], row["problem"])
