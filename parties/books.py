"""What the running node reads from and writes to its database, each in one go: the synchronous half of the server."""

import json
import os
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mpc import registry, tally
from mpc.errors import InputError, PolicyDenied
from parties import budgets, datasets, memory, models, programs, row_sets, schedules
from parties.evidence import log
from parties.home import Home
from parties.identity import peers
from parties.identity.keys import Identity
from parties.jobs import attempts, evidence, outbox, proposals
from parties.jobs.failure import Failure, Kind
from parties.jobs.records import JobRecord, get, in_states, own_part
from parties.jobs.states import OPEN, State
from parties.release import Release
from parties.store import Store
from parties.worker.task import ModelFile, Report
from parties.workers import Ended, Inputs
from protos import control_pb2

_CALL_LIFE_S = 60.0
_ENTRIES_AT_A_TIME = 1000


@dataclass(frozen=True)
class Books:
    """All methods are called from the one thread that writes."""

    home: Home
    store: Store
    identity: Identity

    @property
    def me(self) -> str:
        return self.identity.fingerprint

    def recover(self) -> None:
        """After a start: no worker and no link of the last run is left, and what they left behind goes."""
        shutil.rmtree(self.home.work, ignore_errors=True)
        for attempt in self.home.memory.glob("*.[0-9]*"):
            shutil.rmtree(attempt, ignore_errors=True)
        for folder in (self.home.work, self.home.results):
            folder.mkdir(mode=0o700, exist_ok=True)
        with self.store.transaction() as db:
            db.execute("DELETE FROM links")
            db.execute("DELETE FROM calls")
            db.execute("DELETE FROM progress")
            attempts.interrupt_all(db, self.identity, time.time())
        self.clean()

    def peers(self) -> tuple[peers.Peer, ...]:
        return peers.read_all(self.store.connection())

    def drop_peer(self, fingerprint: str) -> None:
        """A peer was removed: its jobs end."""
        with self.store.transaction() as db:
            attempts.drop_peer(db, self.identity, fingerprint, time.time())

    def startable(self) -> list[JobRecord]:
        """The jobs coordinated here that may start now, none while all workers are taken."""
        db = self.store.connection()
        if attempts.running(db) >= self.home.settings.max_running_jobs:
            return []
        return attempts.startable(db, self.identity, time.time())

    def start(self, job_id: str) -> None:
        """Begin the next attempt at a job that is coordinated here, if there is a worker for it."""
        with self.store.transaction() as db:
            if attempts.running(db) < self.home.settings.max_running_jobs:
                attempts.start(db, self.identity, job_id, time.time())

    def running(self) -> list[tuple[JobRecord, Inputs]]:
        """The jobs of which an attempt is under way, each with what it reads here."""
        db = self.store.connection()
        found = []
        for record in in_states(db, {State.RUNNING}):
            name, member = own_part(record, self.me)
            dataset = datasets.find(db, member.dataset) if member.dataset else None
            earlier = row_sets.read(db, record.job, name, dataset)
            program = self._program(db, record, name)
            found.append((record, Inputs(dataset, self._model(db, record), earlier, program)))
        return found

    def _model(self, db: sqlite3.Connection, record: JobRecord) -> ModelFile | None:
        spec = registry.get(record.job.protocol)
        model = models.find(db, spec.model(spec.parse(record.job)))
        if model is None:
            return None
        models.check(self.identity.certificate_pem, model)
        return ModelFile(str(models.kept(self.home.results, model.job)), model.digest)

    def _program(self, db: sqlite3.Connection, record: JobRecord, name: str) -> bytes:
        spec = registry.get(record.job.protocol)
        program = programs.find(db, spec.program(record.job, spec.parse(record.job), name))
        return b"" if program is None else program.source

    def pass_deadlines(self) -> None:
        db = self.store.connection()
        # Looking is cheap and frequent, writing is not: take the write lock only if something is overdue.
        if attempts.overdue(db, self.identity, time.time()):
            with self.store.transaction() as db:
                attempts.pass_deadlines(db, self.identity, time.time())

    def propose_scheduled(self) -> None:
        """Propose the jobs whose time has come; what cannot be proposed is noted with its schedule."""
        now = time.time()
        for schedule in schedules.due(self.store.connection(), now):
            job, problem = schedules.run_of(schedule), ""
            try:
                with self.store.transaction() as db:
                    whole = proposals.complete(db, self.identity, job, now)
                    proposals.propose(db, self.identity, whole, now)
                    schedules.note(db, schedule, job.id, "", now)
                continue
            except (InputError, PolicyDenied) as error:
                problem = str(error)
            with self.store.transaction() as db:
                schedules.note(db, schedule, "", problem, now)

    def heard(self, peer: str) -> control_pb2.Heard:
        return outbox.heard(self.store.connection(), peer)

    def pending(self, peer: str, after: int) -> list[tuple[int, bytes]]:
        return outbox.pending(self.store.connection(), peer, after)

    def record_end(self, ended: Ended) -> None:
        """A worker ended, with or without result."""
        now = time.time()
        with self.store.transaction() as db:
            failure = ended.failure or self._note_sets(db, ended, now)
            if failure is not None:
                attempts.stop(db, self.identity, ended.job, ended.attempt, failure, now)
                if not ended.opened:
                    budgets.give_back(db, ended.job, ended.attempt)
            else:
                facts = ended.facts or {}
                attempts.finish(
                    db, self.identity, ended.job, ended.attempt, facts, ended.dropped, self.home.results, now
                )
            for fingerprint in ended.misbehaved or self._blamed(ended):
                evidence.peer_misbehaved(db, self.identity, fingerprint, "session", now)

    def _note_sets(self, db: sqlite3.Connection, ended: Ended, now: float) -> Failure | None:
        """Note whose figures are to be released, or why they are not."""
        if not ended.sets:
            return None
        record = get(db, ended.job)
        name, _ = own_part(record, self.me)
        try:
            row_sets.record(db, record.job, name, record.commitment, ended.sets, ended.seen, now)
        except PolicyDenied as error:
            return Failure(Kind.POLICY, "its policy no longer allows the job", str(error), error.hint)
        return None

    def _blamed(self, ended: Ended) -> tuple[str, ...]:
        """Who broke the rules of a protocol, as far as that is certain: the one other party."""
        if ended.failure is None or ended.failure.kind != Kind.PROTOCOL:
            return ()
        others = get(self.store.connection(), ended.job).others(self.me)
        return (others[0].fingerprint,) if len(others) == 1 else ()

    def note_progress(self, job_id: str, report: Report, started: float) -> None:
        """Overwrite how far the job is."""
        with self.store.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    report.step,
                    report.done,
                    report.total,
                    report.sent_bytes,
                    report.received_bytes,
                    started,
                    time.time(),
                ),
            )

    def note_traffic(self, job_id: str, report: Report) -> None:
        """Overwrite how many bytes the job has moved in all."""
        with self.store.transaction() as db:
            db.execute(
                "UPDATE progress SET sent_bytes = ?, received_bytes = ? WHERE job = ?",
                (report.sent_bytes, report.received_bytes, job_id),
            )

    def note_link(self, peer: str, state: str, detail: str, release: Release) -> None:
        """Overwrite what is seen of a peer's link."""
        told = json.dumps(release.protocols)
        with self.store.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO links (peer, state, detail, release, protocols, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (peer, state, detail, release.release, told, time.time()),
            )

    def note_refusal(self, peer: str, rule: str) -> None:
        """A pinned party was refused by `rule`."""
        now = datetime.now(UTC)
        with self.store.transaction() as db:
            log.append(db, self.identity, "peer_refused", {"peer": peer, "rule": rule}, now)

    def evidence_after(self, seq: int) -> list[tuple[int, str, dict[str, str | int]]]:
        """Number, kind and fields of the evidence behind the entry `seq`, some at a time."""
        return log.after(self.store.connection(), seq, _ENTRIES_AT_A_TIME)

    def evidence_so_far(self) -> int:
        """The number of the last entry of evidence."""
        head = log.head(self.store.connection())
        return 0 if head is None else head[0]

    def questions(self) -> list[sqlite3.Row]:
        """The calls that have no answer yet."""
        return self.store.connection().execute("SELECT * FROM calls WHERE answer IS NULL ORDER BY id").fetchall()

    def answer(self, answers: Mapping[int, dict[str, Any]]) -> None:
        """Record answers to calls, and forget calls that nobody waits for."""
        with self.store.transaction() as db:
            for call, value in answers.items():
                db.execute("UPDATE calls SET answer = ? WHERE id = ?", (json.dumps(value), call))
            db.execute("DELETE FROM calls WHERE asked_at < ?", (time.time() - _CALL_LIFE_S,))

    def clean(self) -> None:
        """Delete what jobs left that have ended without releasing it, models that were removed, and spools."""
        db = self.store.connection()
        open_jobs = {record.id for record in in_states(db, OPEN)}
        for spool in self.home.spool.glob("*"):
            if spool.name not in open_jobs:
                self._note_calls(spool)
                shutil.rmtree(spool, ignore_errors=True)
        # A crash between the two halves of a release leaves a file in its place, but not released.
        kept = {f"{row['job']}.model" for row in db.execute("SELECT job FROM models")}
        kept |= {row["result"] for row in db.execute("SELECT result FROM jobs WHERE result IS NOT NULL")}
        for file in self.home.results.iterdir():
            if file.name not in kept and file.name.lstrip(".").partition(".")[0] not in open_jobs:
                memory.remove(file)
        for file in self.home.memory.glob("*.parquet"):  # kept there, and a crash came before it had a place
            if not os.path.lexists(self.home.results / file.name) and file.stem not in open_jobs:
                file.unlink(missing_ok=True)

    def _note_calls(self, spool: Path) -> None:
        """Put into the evidence what a job that has ended told while it ran, however it ended."""
        try:
            calls, rows = tally.count((spool / tally.NAME).read_bytes())
        except OSError:
            return
        with self.store.transaction() as db:
            evidence.calls_answered(db, self.identity, get(db, spool.name), calls, rows, time.time())

    def count_jobs(self) -> Counter[str]:
        """How many jobs are in each state."""
        rows = self.store.connection().execute("SELECT state, count(*) AS n FROM jobs GROUP BY state")
        return Counter({row["state"]: row["n"] for row in rows})
