"""The programs that the operator has read and lets jobs run: their text, kept in the node's database under a name.

A job names a program by the SHA-256 of its text, so a changed file is another program. No text comes from a peer.
"""

import hashlib
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from mpc.errors import InputError
from mpc.job import check_name
from mpc.sharing.program import MAX_PROGRAM_BYTES, check_source


@dataclass(frozen=True)
class Program:
    """A registered program; `digest` is the SHA-256 of `source`, hexadecimal."""

    name: str
    digest: str
    source: bytes = field(repr=False)
    added_at: float


def read(name: str, file: Path, now: float) -> Program:
    """The program in `file`; raises `InputError` when it is none, or for a name that cannot be one."""
    check_name(name, "name")
    with file.open("rb") as opened:
        source = opened.read(MAX_PROGRAM_BYTES + 1)
    check_source(source)
    return Program(name, hashlib.sha256(source).hexdigest(), source, now)


def save(db: sqlite3.Connection, program: Program) -> None:
    """Register a program; raises `InputError` when its name is taken by another text."""
    assert db.in_transaction
    known = _named(db, program.name)
    if known is not None and known.digest != program.digest:
        raise InputError(
            f"another program is registered as {program.name}", hint="choose another name, or remove that one first"
        )
    db.execute(
        "INSERT OR REPLACE INTO programs (name, digest, source, added_at) VALUES (?, ?, ?, ?)",
        (program.name, program.digest, program.source, program.added_at),
    )


def find(db: sqlite3.Connection, digest: str) -> Program | None:
    """A program with exactly that digest, if one is registered."""
    row = db.execute("SELECT * FROM programs WHERE digest = ? LIMIT 1", (digest,)).fetchone()
    return None if row is None else Program(**row)


def get(db: sqlite3.Connection, name: str) -> Program:
    """The program of that name; raises `InputError` when there is none."""
    program = _named(db, name)
    if program is None:
        raise InputError(f"no program {name[:80]!r} is registered here", hint="see `sealane program list`")
    return program


def listed(db: sqlite3.Connection) -> tuple[Program, ...]:
    """All programs, by name."""
    return tuple(Program(**row) for row in db.execute("SELECT * FROM programs ORDER BY name").fetchall())


def remove(db: sqlite3.Connection, program: Program) -> None:
    """Forget a program."""
    assert db.in_transaction
    db.execute("DELETE FROM programs WHERE name = ?", (program.name,))


def _named(db: sqlite3.Connection, name: str) -> Program | None:
    row = db.execute("SELECT * FROM programs WHERE name = ?", (name,)).fetchone()
    return None if row is None else Program(**row)
