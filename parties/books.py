"""What the running node reads from and writes to its database, each in one go: the synchronous half of the server."""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mpc import registry
from mpc.errors import InputError, PolicyDenied
from parties import budgets, datasets, models, programs, row_sets, schedules
from parties.evidence import log
from parties.home import Home
from parties.identity import peers
from parties.identity.keys import Identity
from parties.jobs import attempts, evidence, outbox, proposals
from parties.jobs.failure import Failure, Kind
from parties.jobs.records import JobRecord, count, get, own_part
from parties.jobs.states import State
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
        """After a start: no worker and no link of the last run is left."""
        with self.store.transaction() as db:
            db.execute("DELETE FROM links")
            db.execute("DELETE FROM calls")
            db.execute("DELETE FROM progress")
            attempts.interrupt_all(db, self.identity, time.time())

    def peers(self) -> tuple[peers.Peer, ...]:
        return peers.read_all(self.store.connection())

    def drop_peer(self, fingerprint: str) -> None:
        """A peer was removed: its jobs end."""
        with self.store.transaction() as db:
            attempts.drop_peer(db, self.identity, fingerprint, time.time())

    def start_next(self, connected: Collection[str]) -> bool:
        """Begin the next attempt at one job that is coordinated here and whose other members are `connected`.

        False if there is none, or no free worker for it.
        """
        # Looking is cheap and frequent, writing is not: take the write lock only if there is something to start.
        if self._next_to_start(self.store.connection(), connected) is None:
            return False
        with self.store.transaction() as db:
            job_id = self._next_to_start(db, connected)
            if job_id is not None:
                attempts.start(db, self.identity, job_id, time.time())
        return job_id is not None

    def _next_to_start(self, db: sqlite3.Connection, connected: Collection[str]) -> str | None:
        if attempts.running(db) >= self.home.settings.max_running_jobs:
            return None
        return attempts.next_to_start(db, self.identity, connected, time.time())

    def running(self) -> set[tuple[str, int]]:
        """The job and number of each attempt that is under way."""
        rows = self.store.connection().execute("SELECT id, attempt FROM jobs WHERE state = ?", (State.RUNNING,))
        return {(row["id"], row["attempt"]) for row in rows}

    def part(self, job_id: str) -> tuple[JobRecord, Inputs]:
        """A job, and what its worker reads here."""
        db = self.store.connection()
        record = get(db, job_id)
        name, member = own_part(record, self.me)
        dataset = datasets.find(db, member.dataset) if member.dataset else None
        earlier = row_sets.read(db, record.job, name, dataset)
        return record, Inputs(dataset, self._model(db, record), earlier, self._program(db, record, name))

    def _model(self, db: sqlite3.Connection, record: JobRecord) -> ModelFile | None:
        spec = registry.get(record.job.protocol)
        model = models.find(db, spec.model(spec.parse(record.job)))
        if model is None:
            return None
        return ModelFile(str(models.kept(self.home.results, model.job)), model.digest)

    def _program(self, db: sqlite3.Connection, record: JobRecord, name: str) -> bytes:
        spec = registry.get(record.job.protocol)
        program = programs.find(db, spec.program(record.job, spec.parse(record.job), name))
        return b"" if program is None else program.source

    def pass_deadlines(self) -> None:
        if attempts.overdue(self.store.connection(), self.identity, time.time()):
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

    def count_jobs(self) -> Counter[State]:
        """How many jobs are in each state."""
        return count(self.store.connection())
