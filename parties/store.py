"""The node's one database: SQLite in WAL mode, flushed to disk at every commit.

Everything that must not be lost, and everything that must change together, is in it: peers, datasets, grants, jobs,
messages still to be delivered, the evidence log. The commands and the running node are separate processes that meet
only here, so a command works whether or not the node is up, and what it was told is committed is kept.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from mpc.errors import InputError, SealaneError

#: What makes a database, in order; the database's version is how many of them it has had. A release adds files to the
#: end and never changes one that an earlier release had.
_SCRIPTS = (Path(__file__).with_name("schema.sql"),)
_BUSY_S = 10.0


class StoreError(SealaneError):
    """The database cannot be written: disk full, locked for too long, failing storage. Nothing was acknowledged."""


class Store:
    """Connections to one database file, one a thread.

    `transaction` is the only way to write: it takes the write lock at once, so that what is read inside is still
    true when the writes commit. To open a database of an earlier release brings it up to this one.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise InputError(f"no node's database at {path}", hint="make a node first: sealane init")
        self._path = path
        self._local = threading.local()
        try:
            if self._schema_version() < len(_SCRIPTS):
                with self.transaction() as db:
                    _bring_up(db, self._schema_version())  # another process may have done it meanwhile
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, path: Path) -> "Store":
        """A new, empty database at `path`, readable by its owner only."""
        path.touch(mode=0o600, exist_ok=False)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("BEGIN")
            _bring_up(db, 0)
            db.execute("COMMIT")
        return cls(path)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or none: commits at the end, rolls back if the block raises."""
        try:
            db = self.connection()
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.DatabaseError as error:
            raise explained(error) from error
        try:
            yield db
            db.execute("COMMIT")
        except BaseException as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            if is_unusable(error):
                raise explained(error) from error
            raise

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, for reading; rows are `sqlite3.Row`."""
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = sqlite3.connect(self._path, isolation_level=None, timeout=_BUSY_S)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            self._local.db = db
        return db

    def version(self) -> int:
        """A number that changes when another connection has committed; cheap enough to poll."""
        return int(self.connection().execute("PRAGMA data_version").fetchone()[0])

    def check_writable(self) -> None:
        """Raises `StoreError` unless something can be committed now."""
        with self.transaction() as db:
            db.execute(f"PRAGMA user_version = {len(_SCRIPTS)}")  # as it is: it is written all the same

    def _schema_version(self) -> int:
        try:
            empty = self._path.stat().st_size == 0
            version = 0 if empty else int(self.connection().execute("PRAGMA user_version").fetchone()[0])
        except sqlite3.OperationalError as error:
            raise explained(error) from error
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_NOTADB:
                raise explained(error) from error
            version = 0
        if version == 0:  # a database that was made has at least 1
            raise InputError(f"{self._path} is not a node's database", hint="restore it from a backup")
        if version > len(_SCRIPTS):
            raise InputError(
                f"{self._path} was written by a newer release (version {version}, this one knows {len(_SCRIPTS)})",
                hint="install that release again, or restore a backup from before it",
            )
        return version

    def close(self) -> None:
        """Close this thread's connection."""
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is not None:
            db.close()
            self._local.db = None


def _bring_up(db: sqlite3.Connection, version: int) -> None:
    """Run the scripts that a database of that version lacks; `db` is in a transaction."""
    for script in _SCRIPTS[version:]:
        for statement in script.read_text().split(";\n"):
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {len(_SCRIPTS)}")


def is_unusable(error: BaseException) -> TypeGuard[sqlite3.DatabaseError]:
    """Whether SQLite says that the file or the disk is at fault; the other kinds of `sqlite3.Error` are bugs."""
    return type(error) in (sqlite3.OperationalError, sqlite3.DatabaseError)


def explained(error: sqlite3.DatabaseError) -> StoreError:
    """What SQLite says, for an operator."""
    kind = error.sqlite_errorname
    if kind.startswith("SQLITE_CORRUPT"):
        return StoreError(
            "the node's database is damaged",
            hint="stop the node and check the disk; docs/operating.md says what may be restored from a copy",
        )
    hint = "free space or check the disk"
    if kind.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        hint = "make the node's folder and sealane.db writable for its user, on a file system that is not read-only"
    elif kind.startswith("SQLITE_BUSY"):
        hint = "another process has locked it for long"
    return StoreError(
        f"the node's database could not be written: {error}", hint=f"nothing was recorded; {hint}, then try again"
    )
