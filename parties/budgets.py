"""Privacy budgets: what results with noise have cost the people of a dataset, for each peer and purpose.

An attempt at a job is debited once for each other member, in the transaction that starts it, before its worker is:
whatever dies afterwards, the debit stays, and no figure can be given away that was not paid for. A later attempt at the
same job draws new noise and is debited anew. A debit is given back only when the own worker itself reports that it
failed before it opened anything, in the transaction that records that failure.

A dataset is meant by its name: registering it anew, or removing it and its grants, gives nothing back.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from mpc.errors import InputError
from mpc.job import Job

MILLION = 10**6
#: No budget is larger; with an epsilon like that noise protects nobody.
MAX_EPSILON = 1000


@dataclass(frozen=True)
class Spent:
    """What a peer has cost a dataset for a purpose, in millionths of epsilon; `peer` is a fingerprint."""

    dataset: str
    peer: str
    purpose: str
    millionths: int


def spent(db: sqlite3.Connection, dataset: str, peer: str, purpose: str) -> int:
    """What was debited so far, in millionths of epsilon."""
    row = db.execute(
        "SELECT coalesce(sum(millionths), 0) FROM privacy_debits WHERE dataset = ? AND peer = ? AND purpose = ?",
        (dataset, peer, purpose),
    ).fetchone()
    return int(row[0])


def spent_by_peer(db: sqlite3.Connection, job: Job, name: str) -> Mapping[str, int]:
    """What was debited of the dataset that `name` brings, for the job's purpose, by each other member."""
    dataset = job.members[name].dataset
    others = [member.fingerprint for label, member in job.members.items() if label != name]
    return {peer: spent(db, dataset, peer, job.purpose) for peer in others} if dataset else {}


def debit(db: sqlite3.Connection, job: Job, name: str, attempt: int, millionths: int, now: float) -> None:
    """Debit an attempt at the job to each other member, in the caller's transaction; once, however often called.

    `name` is the own party; `millionths` of epsilon, 0 for an exact result.
    """
    assert db.in_transaction
    dataset = job.members[name].dataset
    if not dataset or not millionths:
        return
    db.executemany(
        "INSERT OR IGNORE INTO privacy_debits (job, attempt, peer, dataset, purpose, millionths, debited_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (job.id, attempt, member.fingerprint, dataset, job.purpose, millionths, now)
            for label, member in job.members.items()
            if label != name
        ],
    )


def give_back(db: sqlite3.Connection, job_id: str, attempt: int) -> None:
    """Undo the debit of an attempt whose own worker opened nothing, in the caller's transaction."""
    assert db.in_transaction
    db.execute("DELETE FROM privacy_debits WHERE job = ? AND attempt = ?", (job_id, attempt))


def listed(db: sqlite3.Connection) -> tuple[Spent, ...]:
    """Everything that was debited, by dataset, peer and purpose."""
    rows = db.execute(
        "SELECT dataset, peer, purpose, sum(millionths) AS millionths FROM privacy_debits "
        "GROUP BY dataset, peer, purpose ORDER BY dataset, peer, purpose"
    )
    return tuple(Spent(row["dataset"], row["peer"], row["purpose"], row["millionths"]) for row in rows)


def written(millionths: int) -> str:
    """E.g. "0.5"."""
    return f"{Decimal(millionths) / MILLION:f}"


def parse(text: str) -> int:
    """Millionths of an epsilon that is written e.g. "0.5"; raises `InputError`."""
    try:
        millionths = Decimal(text) * MILLION
        whole = int(millionths)
    except (InvalidOperation, ValueError, OverflowError):
        whole, millionths = 0, Decimal(-1)
    if whole != millionths or not 0 < whole <= MAX_EPSILON * MILLION:
        raise InputError(f"a privacy budget is a number up to {MAX_EPSILON} with at most 6 decimals", hint="e.g. 0.5")
    return whole
