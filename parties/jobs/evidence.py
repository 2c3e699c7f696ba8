"""The entries of the evidence log that jobs make, one function each, called in the transaction that makes them true."""

import sqlite3
from datetime import UTC, datetime

from parties.evidence import log
from parties.identity.keys import Identity
from parties.jobs.records import JobRecord


def job_proposed(db: sqlite3.Connection, me: Identity, record: JobRecord, now: float) -> None:
    job = record.job
    _append(db, me, "job_proposed", record, now, protocol=job.protocol, version=job.version)


def job_received(db: sqlite3.Connection, me: Identity, record: JobRecord, now: float) -> None:
    job = record.job
    _append(db, me, "job_received", record, now, peer=record.initiator, protocol=job.protocol, version=job.version)


def job_conflict(db: sqlite3.Connection, me: Identity, record: JobRecord, peer: str, other: str, now: float) -> None:
    """`other` is the digest that `peer` has or proposes for the same id."""
    _append(db, me, "job_conflict", record, now, peer=peer, other=other)


def job_approved(db: sqlite3.Connection, me: Identity, record: JobRecord, dataset: str, now: float) -> None:
    """Approved here, on the dataset whose commitment the record holds, by the grants it names."""
    on = {"dataset": dataset, "commitment": record.commitment} if dataset else {}
    _append(db, me, "job_approved", record, now, **on)
    for grant in record.grants:
        _append(db, me, "grant_used", record, now, grant=grant)


def approved_by(db: sqlite3.Connection, me: Identity, record: JobRecord, peer: str, now: float) -> None:
    """Another party approved."""
    _append(db, me, "job_approved", record, now, peer=peer)


def job_denied(db: sqlite3.Connection, me: Identity, record: JobRecord, rule: str, now: float) -> None:
    """Denied here: `rule` is "policy", "operator", "input" or "limit"."""
    _append(db, me, "job_denied", record, now, rule=rule)


def job_cancelled(db: sqlite3.Connection, me: Identity, record: JobRecord, now: float) -> None:
    _append(db, me, "job_cancelled", record, now)


def job_started(db: sqlite3.Connection, me: Identity, record: JobRecord, now: float) -> None:
    _append(db, me, "job_started", record, now, attempt=record.attempt)


def job_ended(db: sqlite3.Connection, me: Identity, record: JobRecord, now: float) -> None:
    _append(db, me, "job_ended", record, now, outcome=str(record.state), attempt=record.attempt)


def result_released(db: sqlite3.Connection, me: Identity, record: JobRecord, now: float) -> None:
    _append(db, me, "result_released", record, now)


def result_deleted(db: sqlite3.Connection, me: Identity, record: JobRecord, now: float) -> None:
    _append(db, me, "result_deleted", record, now)


def calls_answered(db: sqlite3.Connection, me: Identity, record: JobRecord, calls: int, rows: int, now: float) -> None:
    """A job that has ended answered so many calls while it ran, about so many rows."""
    _append(db, me, "calls_answered", record, now, calls=calls, rows=rows)


def model_kept(db: sqlite3.Connection, me: Identity, record: JobRecord, model: str, now: float) -> None:
    """`model` is the digest of this party's part."""
    _append(db, me, "model_kept", record, now, model=model)


def receipt_signed(db: sqlite3.Connection, me: Identity, record: JobRecord, statement: str, now: float) -> None:
    """`statement` is the hash of what this party signs about how the job ended."""
    _append(db, me, "receipt_signed", record, now, statement=statement)


def receipt_completed(db: sqlite3.Connection, me: Identity, record: JobRecord, statement: str, now: float) -> None:
    """`statement` is the hash of what all parties signed."""
    _append(db, me, "receipt_completed", record, now, statement=statement)


def peer_misbehaved(db: sqlite3.Connection, me: Identity, peer: str, rule: str, now: float) -> None:
    """A peer broke the protocol in a message or session of the kind `rule`."""
    log.append(db, me, "peer_misbehaved", {"peer": peer, "rule": rule}, moment(now))


def moment(now: float) -> datetime:
    """Seconds since 1970 as the log takes them."""
    return datetime.fromtimestamp(now, UTC)


def _append(
    db: sqlite3.Connection, me: Identity, kind: str, record: JobRecord, now: float, **fields: str | int
) -> None:
    whole = {"job": record.id, "digest": record.digest, **fields}
    log.append(db, me, kind, whole, moment(now))
