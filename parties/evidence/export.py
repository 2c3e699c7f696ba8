"""Evidence as a file, for `verify`. JSON Lines, each an object in canonical form, in this order:

{"certificate": PEM, "kind": "sealane evidence", "version": 1}    whose log it is
{"body": {...}, "hash": hex, "signature": hex}                    each entry, from the first
{"certificate": PEM}                                              a party to the receipt that follows, once
{"receipt": {...}}                                                right after its receipt_completed
{"entries": n, "hash": hex, "signature": hex, "time": UTC}        the head, at the time of the export
"""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from mpc.errors import InputError
from mpc.job import canonical_json
from parties.evidence.log import format_time
from parties.evidence.receipt import Receipt
from parties.identity.keys import Identity

FILE_KIND = "sealane evidence"
VERSION = 1
HEAD_DOMAIN = b"sealane/evidence-head/1"
MAX_LINE_BYTES = 128 * 2**10
HEADER = {"certificate", "kind", "version"}
ENTRY = {"body", "hash", "signature"}
HEAD = {"entries", "hash", "signature", "time"}


def export(db: sqlite3.Connection, identity: Identity, now: datetime) -> Iterator[bytes]:
    """The lines of the file, one at a time, as of the moment the first entry is read.

    What the database holds is written as it is, for `verify` to judge; raises `InputError` only where it cannot even
    be read, or when the log is empty.
    """
    yield _line({"certificate": identity.certificate_pem.decode(), "kind": FILE_KIND, "version": VERSION})
    shown = {identity.fingerprint}
    last: sqlite3.Row | None = None
    # One statement is one snapshot, and what is read while it runs belongs to it.
    for row in db.execute("SELECT seq, body, hash, signature FROM evidence ORDER BY seq"):
        last = row
        try:
            body = json.loads(row["body"])
        except ValueError:
            raise InputError(
                f"entry {last['seq']} of the evidence is damaged in the database",
                hint="keep this database for the investigation, and restore a backup",
            ) from None
        yield _line({"body": body, "hash": row["hash"], "signature": row["signature"]})
        match body:
            case {"kind": "receipt_completed", "fields": {"job": str(job)}}:
                yield from _receipt_lines(db, job, shown)
    if last is None:
        raise InputError("there is no evidence yet")
    signed = {"entries": last["seq"], "hash": last["hash"], "time": format_time(now)}
    yield _line(signed | {"signature": identity.sign(HEAD_DOMAIN, canonical_json(signed)).hex()})


def _receipt_lines(db: sqlite3.Connection, job: str, shown: set[str]) -> Iterator[bytes]:
    """The receipt of `job`, after those of its parties' certificates that are not `shown` yet."""
    row = db.execute("SELECT receipt FROM jobs WHERE id = ?", (job,)).fetchone()
    if row is None or row["receipt"] is None:
        return
    receipt = Receipt.from_bytes(row["receipt"].encode())
    for fingerprint in sorted(set(receipt.signatures) - shown):
        peer = db.execute("SELECT certificate FROM peers WHERE fingerprint = ?", (fingerprint,)).fetchone()
        if peer is not None:
            shown.add(fingerprint)
            yield _line({"certificate": peer["certificate"].decode()})
    yield _line({"receipt": asdict(receipt)})


def _line(value: dict[str, Any]) -> bytes:
    return canonical_json(value) + b"\n"
