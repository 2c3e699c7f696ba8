"""The append-only log of one party: each entry covers the one before it and is signed.

An entry's body is canonical JSON: seq (1, 2, 3, ...), time (UTC), previous (the hash of the entry before; of the first
one the party's fingerprint), kind, fields. Its hash is SHA-256 over a domain and the body; the signature is the
party's over the hash. Who changes, removes, adds or reorders an entry has to sign all that follow anew, and cannot
take back the heads and receipts that others hold.
"""

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from mpc.errors import InputError
from mpc.job import canonical_json
from parties.evidence.kinds import check_fields
from parties.identity.keys import Identity, verify

DOMAIN = b"sealane/evidence/1"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"(?:[0-9a-f]{2})*")
_BODY_FIELDS = {"seq", "time", "previous", "kind", "fields"}


@dataclass(frozen=True)
class Entry:
    """One entry. `time` is UTC in ISO 8601 to the millisecond, by the party's own clock."""

    seq: int
    time: str
    previous: str
    kind: str
    fields: Mapping[str, str | int]
    signature: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.seq, bool) or not isinstance(self.seq, int) or self.seq < 1:
            raise InputError("an entry's seq is a number from 1")
        check_time(self.time)
        if not isinstance(self.previous, str) or not _DIGEST.fullmatch(self.previous):
            raise InputError("an entry's previous is not a digest")
        if not isinstance(self.kind, str) or not isinstance(self.fields, Mapping):
            raise InputError("an entry's kind is a text and its fields are an object")
        if not isinstance(self.signature, str) or not _SIGNATURE.fullmatch(self.signature):
            raise InputError("an entry's signature is not hexadecimal")
        check_fields(self.kind, self.fields)
        if (self.kind == "node_created") != (self.seq == 1):
            raise InputError("node_created is the first entry, and only that")

    @property
    def body(self) -> bytes:
        """What the hash covers."""
        return canonical_json({name: getattr(self, name) for name in sorted(_BODY_FIELDS)})

    @property
    def hash(self) -> str:
        """Hexadecimal SHA-256 over the domain and the body."""
        return hashlib.sha256(DOMAIN + b"\0" + self.body).hexdigest()

    @classmethod
    def from_json(cls, body: object, signature: str) -> "Entry":
        """The entry with this parsed body; raises `InputError` when its form is wrong. See `check_signature`."""
        if not isinstance(body, dict) or set(body) != _BODY_FIELDS:
            raise InputError("an entry's body does not have its five fields")
        return cls(**body, signature=signature)

    def check_signature(self, certificate_pem: bytes) -> None:
        """Raises `ProtocolError` unless the entry is signed by the certificate."""
        verify(certificate_pem, DOMAIN, bytes.fromhex(self.hash), bytes.fromhex(self.signature))


def append(
    db: sqlite3.Connection, identity: Identity, kind: str, fields: Mapping[str, str | int], now: datetime
) -> Entry:
    """The new last entry; `db` is in the transaction that also records what the entry is about.

    Raises `InputError` when `kind` does not have these `fields` or they hold what it does not allow.
    """
    assert db.in_transaction
    last = head(db)
    seq, previous = (last[0] + 1, last[1]) if last else (1, identity.fingerprint)
    unsigned = Entry(seq, format_time(now), previous, kind, dict(fields))
    signature = identity.sign(DOMAIN, bytes.fromhex(unsigned.hash)).hex()
    db.execute(
        "INSERT INTO evidence (seq, body, hash, signature) VALUES (?, ?, ?, ?)",
        (seq, unsigned.body.decode(), unsigned.hash, signature),
    )
    return replace(unsigned, signature=signature)


def head(db: sqlite3.Connection) -> tuple[int, str] | None:
    """The seq and hash of the last entry: what a verifier keeps to notice later that the log was cut or forked."""
    row = db.execute("SELECT seq, hash FROM evidence ORDER BY seq DESC LIMIT 1").fetchone()
    return (row["seq"], row["hash"]) if row else None


def after(db: sqlite3.Connection, seq: int, most: int) -> list[tuple[int, str, dict[str, str | int]]]:
    """Number, kind and fields of at most so many entries behind the entry `seq`."""
    rows = db.execute("SELECT seq, body FROM evidence WHERE seq > ? ORDER BY seq LIMIT ?", (seq, most)).fetchall()
    bodies = [(row["seq"], json.loads(row["body"])) for row in rows]
    return [(number, body["kind"], body["fields"]) for number, body in bodies]


def entries(db: sqlite3.Connection, *, job: str = "", newest: int | None = None) -> Iterator[Entry]:
    """The entries, oldest first; with `job` only those about the job of that id, and no more than the `newest`."""
    about = f'"job":"{job}"' if job else ""  # as canonical JSON has it, and nothing else
    first = 0
    if newest is not None:
        first = db.execute(
            "SELECT min(seq) FROM (SELECT seq FROM evidence WHERE instr(body, ?) ORDER BY seq DESC LIMIT ?)",
            (about, newest),
        ).fetchone()[0]
    rows = db.execute(
        "SELECT body, signature FROM evidence WHERE seq >= ? AND instr(body, ?) ORDER BY seq", (first, about)
    )
    for row in rows:
        yield Entry.from_json(json.loads(row["body"]), row["signature"])


def format_time(time: datetime) -> str:
    """UTC in ISO 8601 to the millisecond, e.g. 2026-03-01T12:00:00.000Z: the one form of a time in evidence."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_time(text: object) -> None:
    """Raises `InputError` unless `text` is a time as `format_time` writes it."""
    try:
        valid = isinstance(text, str) and format_time(datetime.fromisoformat(text)) == text
    except (ValueError, OverflowError):
        valid = False
    if not valid:
        raise InputError("a time of the evidence is not in its one form")
