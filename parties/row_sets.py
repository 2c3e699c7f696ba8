"""Which rows of own datasets the figures given to a peer were of; kept so that no two reports differ by a few people.

Sets belong to a dataset as it was registered, and never leave the node. What they are compared by is in
`parties.differencing`, which workers load.
"""

import hashlib
import sqlite3
from dataclasses import dataclass, field

from mpc import registry
from mpc.errors import PolicyDenied
from mpc.job import Job
from parties.datasets import Dataset

#: What all earlier sets of a dataset and its receivers may have together, packed: they are given to each worker.
MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Earlier:
    """The sets that figures of a dataset were of, packed, and up to which entry they were read."""

    sets: tuple[bytes, ...] = field(repr=False)
    seen: int


def receivers(job: Job, name: str) -> list[str]:
    """Fingerprints of the others that learn the result."""
    return [job.members[receiver].fingerprint for receiver in job.receivers if receiver != name]


def read(db: sqlite3.Connection, job: Job, name: str, dataset: Dataset | None) -> Earlier | None:
    """What the party's worker compares with; None where its protocol, its noise or its receivers need
    no comparing."""
    spec = registry.get(job.protocol)
    if dataset is None or spec.row_sets is None or spec.epsilon(spec.parse(job)) or not receivers(job, name):
        return None
    found: dict[str, bytes] = {}
    for peer in receivers(job, name):
        rows = db.execute(
            "SELECT digest, sets FROM row_sets WHERE commitment = ? AND peer = ? ORDER BY id",
            (dataset.commitment, peer),
        )
        found |= {row["digest"]: row["sets"] for row in rows}
    return Earlier(tuple(found.values()), _last(db))


def record(db: sqlite3.Connection, job: Job, name: str, commitment: str, sets: bytes, seen: int, now: float) -> None:
    """Note that the receivers are given figures of these sets, in the caller's transaction, before any is released.

    Raises `PolicyDenied` if other sets were noted since `seen`, with which these were not compared, or if there
    would be too many to compare with.
    """
    assert db.in_transaction
    digest = hashlib.sha256(sets).hexdigest()
    for peer in receivers(job, name):
        rows = db.execute(
            "SELECT id, digest, length(sets) AS size FROM row_sets WHERE commitment = ? AND peer = ?",
            (commitment, peer),
        ).fetchall()
        if any(row["id"] > seen and row["digest"] != digest for row in rows):
            raise PolicyDenied(
                "rule differencing: another report on the dataset was computed at the same time",
                hint="propose the report again",
            )
        if all(row["digest"] != digest for row in rows) and sum(row["size"] for row in rows) + len(sets) > MAX_BYTES:
            raise PolicyDenied(
                "rule differencing: too many different reports on the dataset to compare another one with",
                hint="ask for rows that were asked for before, or register the dataset's next version",
            )
        db.execute(
            "INSERT OR IGNORE INTO row_sets (commitment, peer, digest, sets, job, noted_at) VALUES (?, ?, ?, ?, ?, ?)",
            (commitment, peer, digest, sets, job.id, now),
        )


def _last(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(max(id), 0) FROM row_sets").fetchone()[0])
