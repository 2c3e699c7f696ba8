"""The own parts of trained models: kept beside the results, signed, and used by later jobs under the training job's id.

A part is in `results/<job>.model`; the database holds its SHA-256 and this party's signature on it, so that a part that
was changed on disk is not used. Importing this module loads no library of numbers, nor of certificates: workers do.
"""

import hashlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mpc.errors import InputError

if TYPE_CHECKING:
    from parties.identity.keys import Identity

DOMAIN = b"sealane/model/1"
MAX_MODEL_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Model:
    """This party's part of the model that `job` trained; `digest` is the SHA-256 of its file, hexadecimal."""

    job: str
    job_digest: str
    protocol: str
    parties: tuple[str, ...]
    digest: str
    signature: str
    kept_at: float


def held(results: Path, job_id: str) -> Path:
    """Where a finished party keeps its part until the job ends."""
    return results / f".{job_id}.model.held"


def kept(results: Path, job_id: str) -> Path:
    """Where a part is once the job has succeeded."""
    return results / f"{job_id}.model"


def keep(
    db: sqlite3.Connection, me: "Identity", job_id: str, job_digest: str, protocol: str, results: Path, now: float
) -> str | None:
    """Keep the part that the successful job left here, if it left one; gives its digest.

    Safe to repeat: a crash before the commit leaves the file moved, and not kept.
    """
    assert db.in_transaction
    waiting, final = held(results, job_id), kept(results, job_id)
    if waiting.exists():
        waiting.replace(final)
    elif not final.exists():
        return None
    digest = hashlib.sha256(final.read_bytes()).hexdigest()
    signature = me.sign(DOMAIN, _signed(job_digest, digest)).hex()
    db.execute(
        "INSERT INTO models (job, job_digest, protocol, digest, signature, kept_at) VALUES (?, ?, ?, ?, ?, ?)",
        (job_id, job_digest, protocol, digest, signature, now),
    )
    return digest


def find(db: sqlite3.Connection, job_id: str) -> Model | None:
    """The part that the job of exactly that id trained, if this node has it."""
    row = db.execute("SELECT * FROM models WHERE job = ?", (job_id,)).fetchone()
    return None if row is None else _model(db, row)


def get(db: sqlite3.Connection, job_id: str) -> Model:
    """The part of the training job whose id starts with `job_id`; raises `InputError` if that is none or several."""
    found = [model for model in listed(db) if job_id and model.job.startswith(job_id)]
    if len(found) != 1:
        problem = "no model" if not found else "several models"
        raise InputError(f"{problem} of a job with id {job_id[:40]!r}", hint="see them with `sealane model list`")
    return found[0]


def listed(db: sqlite3.Connection) -> tuple[Model, ...]:
    """All parts, the oldest first."""
    rows = db.execute("SELECT * FROM models ORDER BY kept_at, job").fetchall()
    return tuple(_model(db, row) for row in rows)


def remove(db: sqlite3.Connection, model: Model) -> None:
    """Forget the part; its file goes with it. Jobs that were to use it do not start any more."""
    assert db.in_transaction
    db.execute("DELETE FROM models WHERE job = ?", (model.job,))


def check(certificate_pem: bytes, model: Model) -> None:
    """Raises `ProtocolError` unless the digest of the part is the one that this party signed when it kept it."""
    from parties.identity.keys import verify

    verify(certificate_pem, DOMAIN, _signed(model.job_digest, model.digest), bytes.fromhex(model.signature))


def read(path: Path, digest: str) -> bytes:
    """The bytes of a part; raises `InputError` unless they have that digest."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MODEL_BYTES + 1)
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() != digest:
        raise InputError(
            f"{path}: the part of a model in it is not as it was kept",
            hint="restore the file, or train the model again",
        )
    return data


def _signed(job_digest: str, digest: str) -> bytes:
    return bytes.fromhex(job_digest) + bytes.fromhex(digest)


def _model(db: sqlite3.Connection, row: sqlite3.Row) -> Model:
    names = db.execute("SELECT name FROM job_parties WHERE job = ? ORDER BY name", (row["job"],)).fetchall()
    return Model(
        job=row["job"],
        job_digest=row["job_digest"],
        protocol=row["protocol"],
        parties=tuple(name["name"] for name in names),
        digest=row["digest"],
        signature=row["signature"],
        kept_at=row["kept_at"],
    )
