"""The node's one database: SQLite in WAL mode, flushed to disk at every commit.

Everything that must not be lost, and everything that must change together, is in it: peers, datasets, grants, jobs,
messages still to be delivered, the evidence log. The commands and the running node are separate processes that meet
only here, so a command works whether or not the node is up, and what it was told is committed is kept.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mpc.errors import InputError, SealaneError

SCHEMA_VERSION = 1
_BUSY_S = 10.0


class StoreError(SealaneError):
    """The database cannot be written: disk full, locked for too long, failing storage. Nothing was acknowledged."""


class Store:
    """Connections to one database file, one a thread.

    `transaction` is the only way to write: it takes the write lock at once, so that what is read inside is still
    true when the writes commit.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise InputError(f"no node's database at {path}", hint="make a node first: sealane init")
        self._path = path
        self._local = threading.local()

    @classmethod
    def create(cls, path: Path) -> "Store":
        """A new, empty database at `path`, readable by its owner only."""
        path.touch(mode=0o600, exist_ok=False)
        store = cls(path)
        with store.transaction() as db:
            for statement in Path(__file__).with_name("schema.sql").read_text().split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        return store

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or none: commits at the end, rolls back if the block raises."""
        try:
            db = self.connection()
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise _explained(error) from error
        try:
            yield db
            db.execute("COMMIT")
        except BaseException as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise _explained(error) from error
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

    def close(self) -> None:
        """Close this thread's connection."""
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is not None:
            db.close()
            self._local.db = None


def _explained(error: sqlite3.OperationalError) -> StoreError:
    return StoreError(
        f"the node's database could not be written: {error}",
        hint="nothing was recorded; free space or check the disk, then try again",
    )
