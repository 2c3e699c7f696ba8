"""What jobs that have ended leave in files without having released it, spools, parts of removed models: deleted."""

import os
import shutil
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path

from mpc import tally
from parties import memory
from parties.evidence import log
from parties.home import Home
from parties.identity.keys import Identity
from parties.jobs import evidence
from parties.jobs.records import find
from parties.jobs.states import OPEN
from parties.store import Store


@dataclass
class Leftovers:
    """All methods are called from the one thread that writes."""

    home: Home
    store: Store
    identity: Identity
    _clean_at: object = field(default=None, init=False, repr=False)  # what there was when nothing was left

    def clean_after_start(self) -> None:
        """No worker of the last run is left: delete what those left behind that were interrupted, then `clean`."""
        shutil.rmtree(self.home.work, ignore_errors=True)
        for attempt in self.home.memory.glob("*.[0-9]*"):
            shutil.rmtree(attempt, ignore_errors=True)
        for folder in (self.home.work, self.home.results):
            folder.mkdir(mode=0o700, exist_ok=True)
        self.clean()

    def clean(self) -> None:
        """Delete what is left of ended jobs. Cheap while nothing was recorded and no file came since all was clean."""
        db = self.store.connection()
        now = log.head(db), *map(_changed_at, (self.home.spool, self.home.results, self.home.memory))
        if now == self._clean_at:
            return
        open_jobs = {row["id"] for row in _open_jobs(db)}
        removed = self._clean_spools(open_jobs) + self._clean_results(db, open_jobs) + self._clean_memory(open_jobs)
        self._clean_at = None if removed else now  # once more, lest something be in use and come back

    def _clean_spools(self, open_jobs: set[str]) -> int:
        ended = [name for name in _names(self.home.spool) if name not in open_jobs]
        for name in ended:
            self._note_calls(self.home.spool / name)
            shutil.rmtree(self.home.spool / name, ignore_errors=True)
        return len(ended)

    def _clean_results(self, db: sqlite3.Connection, open_jobs: set[str]) -> int:
        # A crash between the two halves of a release leaves a file in its place, but not released.
        kept = {f"{row['job']}.model" for row in db.execute("SELECT job FROM models")}
        kept |= {row["result"] for row in db.execute("SELECT result FROM jobs WHERE result IS NOT NULL")}
        found = [
            name
            for name in _names(self.home.results)
            if name not in kept and name.lstrip(".").partition(".")[0] not in open_jobs
        ]
        for name in found:
            memory.remove(self.home.results / name)
        return len(found)

    def _clean_memory(self, open_jobs: set[str]) -> int:
        """Files that were kept there when a crash came before they had a place among the results."""
        found = [
            file
            for file in self.home.memory.glob("*.parquet")
            if not os.path.lexists(self.home.results / file.name) and file.stem not in open_jobs
        ]
        for file in found:
            file.unlink(missing_ok=True)
        return len(found)

    def _note_calls(self, spool: Path) -> None:
        """Put into the evidence what a job that has ended told while it ran, however it ended."""
        try:
            calls, rows = tally.count((spool / tally.NAME).read_bytes())
        except OSError:
            return
        with self.store.transaction() as db:
            record = find(db, spool.name)
            if record is not None:  # it is not where an older copy of the database was restored
                evidence.calls_answered(db, self.identity, record, calls, rows, time.time())


def _open_jobs(db: sqlite3.Connection) -> list[sqlite3.Row]:
    marks = ",".join("?" * len(OPEN))
    return db.execute(f"SELECT id FROM jobs WHERE state IN ({marks})", tuple(OPEN)).fetchall()  # noqa: S608


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 (names, of which there may be many)
    except FileNotFoundError:
        return []


def _changed_at(folder: Path) -> int:
    """When a file last came to the folder or went; 0 while there is none."""
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
