"""How far a job is, until it has ended, and what its end stands for."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mpc.errors import ChannelError, PolicyDenied, SealaneError
from parties.jobs import records
from parties.jobs.records import JobRecord
from parties.jobs.states import State
from parties.policy import TOLD_TO_PEER

_POLL_S = 0.02


class JobFailed(SealaneError):
    """A job ended without a result at any party."""


@dataclass(frozen=True)
class Progress:
    """How far a running job is; `remaining_s` is None while that cannot be told."""

    step: str
    done: int
    total: int
    sent_bytes: int
    received_bytes: int
    elapsed_s: float
    remaining_s: float | None


def ended_badly(record: JobRecord) -> SealaneError | None:
    """The error that an ended job stands for, None if it succeeded."""
    if record.state is State.SUCCEEDED:
        return None
    words = f"job {record.id} {record.state}: {record.reason}" + (f" ({record.detail})" if record.detail else "")
    return (PolicyDenied if record.state is State.DENIED else JobFailed)(words, hint=record.hint or advice(record))


def advice(record: JobRecord) -> str:
    """What to do about a job that ended badly, where its record has no hint; empty when nothing is known."""
    if record.reason.endswith(TOLD_TO_PEER):
        short = record.id[:12]
        return f"that party's operator sees why, and which grant would allow it, with `sealane job show {short}`"
    return ""


def progress(db: sqlite3.Connection, job_id: str) -> Progress | None:
    """How far a running job is here; None when nothing was heard of it yet."""
    row = db.execute("SELECT * FROM progress WHERE job = ?", (job_id,)).fetchone()
    if row is None:
        return None
    elapsed = max(row["updated_at"] - row["started_at"], 0.0)
    done, total = row["done"], row["total"]
    remaining = elapsed * (total - done) / done if 0 < done <= total else None
    return Progress(row["step"], done, total, row["sent_bytes"], row["received_bytes"], elapsed, remaining)


def watch(
    connection: Callable[[], sqlite3.Connection], job_id: str, timeout_s: float
) -> Iterator[tuple[JobRecord, Progress | None]]:
    """The job each time it has moved, until it has ended; raises `ChannelError` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    seen: object = None
    while True:
        record = records.get(connection(), job_id)
        state = record, progress(connection(), job_id)
        if state != seen:
            seen = state
            yield state
        if record.ended:
            return
        if time.monotonic() > deadline:
            waiting = ", ".join(record.undecided) or "the other parties"
            raise ChannelError(
                f"job {record.id} is {record.state} after {timeout_s:.0f} s, waiting for {waiting}",
                hint="it goes on; look at it with `sealane job show`",
            )
        time.sleep(_POLL_S)
