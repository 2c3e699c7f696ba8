"""Reading jobs from the database, and the one place that changes a job's state."""

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mpc.errors import InputError, ProtocolError
from mpc.job import Job, Member
from parties.jobs.states import OPEN, Event, State, next_state

_JSON = {"grants", "dropped", "facts"}  # columns that hold JSON
_REASON_CHARACTERS = 500


@dataclass(frozen=True)
class PartyRecord:
    """What is known of one member of a job."""

    fingerprint: str
    name: str
    decision: str
    approval: str
    rows: int | None
    done: int
    lost: int
    signature: str


@dataclass(frozen=True)
class JobRecord:
    """A job as this node has it: the columns of the table `jobs`, and its parties."""

    id: str
    digest: str
    spec: bytes = field(repr=False)
    initiator: str
    state: State
    deadline: int
    awaited: int
    attempt: int
    retries: int
    not_before: float
    session: bytes | None
    started_at: int
    dropped: tuple[str, ...]
    commitment: str
    grants: tuple[str, ...]
    reason: str
    detail: str
    hint: str
    facts: Mapping[str, int]
    result: str | None
    receipt: str | None
    created_at: float
    updated_at: float
    parties: tuple[PartyRecord, ...]

    @cached_property
    def job(self) -> Job:
        """What was proposed; raises `InputError` when it was forgotten."""
        if self.forgotten:
            raise InputError(
                f"what job {self.id} was is forgotten here; it {self.state}",
                hint=f"what stays: `sealane job receipt {self.id}`, `sealane evidence list --job {self.id}`",
            )
        return Job.from_bytes(self.spec)

    @property
    def forgotten(self) -> bool:
        """Whether only what evidence and peers rest on is left of it: see `parties.jobs.retention`."""
        return not self.spec

    @property
    def ended(self) -> bool:
        return self.state not in OPEN

    def party(self, fingerprint: str) -> PartyRecord:
        """The member with that fingerprint; raises `InputError` if it takes no part."""
        for party in self.parties:
            if party.fingerprint == fingerprint:
                return party
        raise InputError(f"job {self.id}: a party that takes no part in it")

    def others(self, fingerprint: str) -> list[PartyRecord]:
        """All members but one."""
        return [party for party in self.parties if party.fingerprint != fingerprint]

    @property
    def undecided(self) -> list[str]:
        """Names of the members whose decision is awaited."""
        return [party.name for party in self.parties if not party.decision]


def own_part(record: JobRecord, me: str) -> tuple[str, Member]:
    """The name and part in a job of the party with fingerprint `me`."""
    name = record.party(me).name
    return name, record.job.members[name]


def find(db: sqlite3.Connection, job_id: str) -> JobRecord | None:
    """The job of that id, if this node has it."""
    row = db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return None if row is None else _record(db, row)


def get(db: sqlite3.Connection, job_id: str) -> JobRecord:
    """The job whose id starts with `job_id`; raises `InputError` if that is none or several."""
    rows = db.execute("SELECT * FROM jobs WHERE id GLOB ? LIMIT 2", (_literal(job_id) + "*",)).fetchall()
    if len(rows) != 1:
        problem = "no job" if not rows else "several jobs"
        raise InputError(f"{problem} with id {job_id[:40]!r}", hint="see them with `sealane job list`")
    return _record(db, rows[0])


def coordinated(db: sqlite3.Connection, me: str, peer: str, job_id: str) -> JobRecord:
    """The job that `peer` speaks of to its coordinator `me`; raises `ProtocolError` if that does not fit."""
    record = find(db, job_id)
    if record is None or record.initiator != me:
        raise ProtocolError("spoke of a job that was not proposed here")
    if all(party.fingerprint != peer for party in record.parties):
        raise ProtocolError("spoke of a job that it takes no part in")
    return record


def led_by(db: sqlite3.Connection, peer: str, job_id: str) -> JobRecord:
    """The job that its coordinator `peer` speaks of; raises `ProtocolError` if it coordinates no such job."""
    record = find(db, job_id)
    if record is None or record.initiator != peer:
        raise ProtocolError("spoke as the coordinator of a job that it does not coordinate")
    return record


def in_states(
    db: sqlite3.Connection,
    states: Collection[State] = frozenset(State),
    *,
    peer: str | None = None,
    since: float | None = None,
    newest: int | None = None,
) -> list[JobRecord]:
    """The jobs in one of `states` that are not forgotten, oldest first; of them, those in which the party with
    fingerprint `peer` is a member, that came here at `since` or later, and no more than the `newest`."""
    asked = ["length(spec) > 0"]
    values: list[object] = []
    if frozenset(states) != frozenset(State):
        asked.append(f"state IN ({','.join('?' * len(states))})")
        values += states
    if peer is not None:
        asked.append("EXISTS (SELECT 1 FROM job_parties WHERE job = jobs.id AND fingerprint = ?)")
        values.append(peer)
    if since is not None:
        asked.append("created_at >= ?")
        values.append(since)
    rows = db.execute(
        f"SELECT * FROM jobs WHERE {' AND '.join(asked)} ORDER BY created_at DESC, id DESC LIMIT ?",  # noqa: S608 (only question marks)
        (*values, -1 if newest is None else newest),
    ).fetchall()
    return [_record(db, row) for row in reversed(rows)]


def with_old_result(db: sqlite3.Connection, before: float) -> list[JobRecord]:
    """The jobs that ended before `before` and whose result is here."""
    rows = db.execute("SELECT * FROM jobs WHERE result IS NOT NULL AND updated_at < ?", (before,)).fetchall()
    return [_record(db, row) for row in rows]


def count(db: sqlite3.Connection) -> Counter[State]:
    """How many jobs are in each state."""
    rows = db.execute("SELECT state, count(*) AS n FROM jobs GROUP BY state")
    return Counter({State(row["state"]): row["n"] for row in rows})


def overdue(db: sqlite3.Connection, me: str, now: float, grace_s: float) -> list[JobRecord]:
    """The open jobs past their deadline that `me` coordinates, and, `grace_s` later, those that it has not signed."""
    rows = db.execute(
        f"SELECT * FROM jobs WHERE state IN ({','.join('?' * len(OPEN))}) AND deadline <= ? "  # noqa: S608 (as above)
        "AND (initiator = ? OR (deadline <= ? AND state != ?))",
        (*OPEN, now, me, now - grace_s, State.FINISHED),
    ).fetchall()
    return [_record(db, row) for row in rows]


def decide(db: sqlite3.Connection, job_id: str, fingerprint: str, approval: str | None) -> None:
    """Note what a member decided: that it approved, with its signature in hexadecimal, or denied (None)."""
    db.execute(
        "UPDATE job_parties SET decision = ?, approval = coalesce(?, approval) WHERE job = ? AND fingerprint = ?",
        ("denied" if approval is None else "approved", approval, job_id, fingerprint),
    )
    awaited = "SELECT count(*) FROM job_parties WHERE job = jobs.id AND decision = ''"
    db.execute(f"UPDATE jobs SET awaited = ({awaited}) WHERE id = ?", (job_id,))  # noqa: S608 (own words)


def move(db: sqlite3.Connection, record: JobRecord, event: Event, now: float, **columns: Any) -> JobRecord:
    """Apply `event` to the job and set `columns` with it; gives the job as it is then."""
    columns |= {"state": next_state(record.state, event), "updated_at": now}
    for name in _JSON & columns.keys():
        columns[name] = json.dumps(columns[name])
    names = ", ".join(f"{name} = ?" for name in columns)
    db.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*columns.values(), record.id))  # noqa: S608 (own names)
    moved = find(db, record.id)
    assert moved is not None
    return moved


def clean(text: str) -> str:
    """A peer's words, bounded and without control characters, fit to be kept and shown."""
    return "".join(c if c.isprintable() else " " for c in text[:_REASON_CHARACTERS])


def _literal(text: str) -> str:
    kept = "".join(character for character in text if character in "0123456789abcdef")
    return kept if kept == text and text else "-"


def _record(db: sqlite3.Connection, row: sqlite3.Row) -> JobRecord:
    parties = db.execute("SELECT * FROM job_parties WHERE job = ? ORDER BY name", (row["id"],))
    fields = dict(row) | {
        "state": State(row["state"]),
        "grants": tuple(json.loads(row["grants"])),
        "dropped": tuple(json.loads(row["dropped"])),
        "facts": json.loads(row["facts"]),
        "parties": tuple(
            PartyRecord(**{key: value for key, value in dict(party).items() if key != "job"}) for party in parties
        ),
    }
    return JobRecord(**fields)
