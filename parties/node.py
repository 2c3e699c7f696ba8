"""A node from its operator's side: everything the command line does, as methods.

`Node` works on the node's folder whether or not the node is running; what needs the running node or a peer says so.
All that is told here as done is committed.
"""

import os
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpc.errors import InputError
from mpc.job import Job
from mpc.psi.choose import FAMILY, Choice, resolve
from mpc.rng import system_rng
from mpc.tables import as_arrow
from parties import budgets, calls, choosing, column_rules, datasets, grants, memory, models, programs, schedules
from parties.addresses import check_own_address, dial_address
from parties.datasets import Dataset
from parties.evidence import log, receipt
from parties.evidence.export import export
from parties.evidence.log import Entry
from parties.evidence.receipt import Receipt
from parties.grants import Budget
from parties.home import Home
from parties.identity import invitations, keys, peers
from parties.identity.certificates import IdentityCertificate, read_identity
from parties.identity.invitations import Invitation
from parties.identity.peers import Peer
from parties.jobs import attempts, proposals, records, retention
from parties.jobs import evidence as jobs_evidence
from parties.jobs.preview import Preview, preview
from parties.jobs.records import JobRecord
from parties.jobs.states import State
from parties.jobs.watching import Progress, ended_badly, progress, watch
from parties.models import Model
from parties.policy import Grant
from parties.programs import Program
from parties.schedules import Schedule
from parties.sizes import Sizes
from parties.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.federated.scorecards import Scale, Scorecard
    from parties.asking import Questions


class Node:
    """The node in one folder."""

    def __init__(self, home: Path) -> None:
        """Raises `InputError` when there is no node in `home`."""
        self.home = Home.load(home)
        self._identity = keys.load(self.home.identity, self.home.settings.name)
        self._store = self.home.store()

    @classmethod
    def create(
        cls, home: Path, name: str, *, listen: str = "", advertise: str = "", metrics_listen: str = ""
    ) -> "Node":
        """Make a node called `name` in the new folder `home`; addresses are host:port.

        `listen` is where it accepts peers (empty: it only dials out), `advertise` where peers reach it if that differs.
        """
        for address in (listen, advertise, metrics_listen):
            check_own_address(address)
        dial_address(listen, advertise)
        if home.exists() and any(home.iterdir()):
            raise InputError(f"{home} exists and is not empty", hint="choose another folder")
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        identity = keys.create(home / "identity", name, datetime.now(UTC))
        store = Store.create(home / "sealane.db")
        Home.write_settings(home, name=name, listen=listen, advertise=advertise, metrics_listen=metrics_listen)
        with store.transaction() as db:
            log.append(db, identity, "node_created", {"name": name, "fingerprint": identity.fingerprint}, _now())
        return cls(home)

    def close(self) -> None:
        """Close this thread's connection to the database."""
        self._store.close()

    @property
    def name(self) -> str:
        return self._identity.name

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the identity certificate, hexadecimal: what peers pin."""
        return self._identity.fingerprint

    @property
    def certificate(self) -> IdentityCertificate:
        """The own identity certificate."""
        return read_identity(self._identity.certificate_pem)

    # Peers.

    def invite(self) -> bytes:
        """An invitation file for one new peer, to be sent by any means; it works once, for seven days."""
        with self._store.transaction() as db:
            return invitations.invite(self._identity, db, self._dial_address, _now(), system_rng)

    def read_invitation(self, data: bytes) -> Invitation:
        """What an invitation or reply says, before it is accepted."""
        return invitations.read(data, _now())

    def accept(self, data: bytes) -> tuple[Peer, bytes]:
        """Pin the party that wrote an invitation or reply; gives it, and the reply file if it was an invitation.

        Compare the fingerprints aloud with the other operator before relying on it.
        """
        with self._store.transaction() as db:
            peer, reply = invitations.accept(self._identity, db, data, self._dial_address, _now())
            fields = {"fingerprint": peer.fingerprint, "name": peer.name}
            log.append(db, self._identity, "peer_added", fields, _now())
            return peer, reply

    def peers(self) -> tuple[Peer, ...]:
        """All peers, also removed ones."""
        return peers.read_all(self._store.connection())

    def peer(self, who: str) -> Peer:
        """The peer with that name or beginning of its fingerprint."""
        return peers.find(self._store.connection(), who)

    def remove_peer(self, who: str) -> Peer:
        """Cut the peer off: its link within a second, its open jobs, its grants."""
        with self._store.transaction() as db:
            peer = peers.remove(db, who)
            grants.revoke_all(db, peer.fingerprint, time.time())
            fields = {"fingerprint": peer.fingerprint, "name": peer.name}
            log.append(db, self._identity, "peer_removed", fields, _now())
            return peer

    def set_peer_address(self, who: str, address: str) -> Peer:
        """Where to dial the peer from now on (host:port, or empty: it dials us)."""
        with self._store.transaction() as db:
            return peers.set_address(db, who, address)

    def links(self) -> dict[str, dict[str, Any]]:
        """What the running node sees of each peer's link, by fingerprint; empty when it is not running."""
        rows = self._store.connection().execute("SELECT * FROM links")
        return {row["peer"]: {key: row[key] for key in row.keys() if key != "peer"} for row in rows}  # noqa: SIM118

    def stored_bytes(self) -> dict[str, int]:
        """How much the node keeps, by what for: see `Sizes.measure`."""
        return Sizes(self.home, self._store).measure()

    def running_jobs(self) -> int:
        """How many jobs have a worker here."""
        return attempts.running(self._store.connection())

    def diagnose(self, who: str) -> dict[str, Any]:
        """Measure the link to a peer: throughput there and back, clock difference. Needs the running node.

        Gives `sent_bytes`, `received_bytes` (by the peer) and `seconds` of the way there, `returned_bytes` and
        `return_seconds` of the way back, and `clock_offset_s`, positive when the peer's clock is ahead.
        """
        answer: dict[str, Any] = calls.ask(self._store, "diagnose", self.peer(who), 30.0)
        return answer

    # Data and grants.

    def add_dataset(self, name: str, source: "Path | str | Any", key: Sequence[str]) -> Dataset:
        """Register a CSV or Parquet file, or a table in memory (Arrow, pandas, polars), which is kept in the node.

        `key` names the columns that identify a person or a thing. The file is read from end to end; `InputError`
        names the file, row and column of what cannot be used.
        """
        from parties import reading  # loads DuckDB and Arrow, which a running node does without

        path = Path(source) if isinstance(source, str | os.PathLike) else self._keep(name, source)
        dataset = reading.examine(name, path, key, time.time())
        with self._store.transaction() as db:
            datasets.save(db, dataset)
            fields: dict[str, str | int] = {"name": name, "rows": dataset.rows, "commitment": dataset.commitment}
            log.append(db, self._identity, "dataset_registered", fields, _now())
        return dataset

    def datasets(self) -> tuple[Dataset, ...]:
        return datasets.listed(self._store.connection())

    def dataset(self, name: str) -> Dataset:
        """The dataset of that name; raises `InputError` when there is none."""
        return datasets.get(self._store.connection(), name)

    def remove_dataset(self, name: str) -> None:
        """Forget a dataset and revoke its grants; the file stays."""
        with self._store.transaction() as db:
            datasets.remove(db, name, time.time())
            log.append(db, self._identity, "dataset_removed", {"name": name}, _now())

    def catalogue(self, who: str) -> dict[str, Any]:
        """What a peer's grants let this party propose. Needs the running node."""
        offered: dict[str, Any] = calls.ask(self._store, "catalogue", self.peer(who), 25.0)
        return offered

    def grant(
        self,
        peer: str,
        protocol: str,
        dataset: str,
        columns: Sequence[str],
        *,
        purpose: str,
        receivers: Sequence[str],
        expires_at: int | None = None,
        max_uses: int | None = None,
        min_result: int = 1,
        automatic: bool = False,
        epsilon: str | None = None,
    ) -> Grant:
        """Allow a peer's jobs; `receivers` are names, this party's own included, and "*" stands for any.

        For reports, columns are given with their rules: "balance:aggregate_only" (see `parties.column_rules`). With
        `epsilon`, e.g. "2.5", they have noise, and cost no more than that together (see `parties.budgets`).
        """
        known = {known.name: known.fingerprint for known in self.peers()} | {self.name: self.fingerprint, "*": "*"}
        unknown = [name for name in receivers if name not in known]
        if unknown:
            raise InputError(f"{unknown[0]} is not a peer of this node", hint="see them with `sealane peer list`")
        rules = dict(map(column_rules.parse, columns))
        grant = Grant(
            peer=self.peer(peer).fingerprint,
            protocol=protocol,
            dataset=dataset,
            columns=tuple(rules),
            purpose=purpose,
            receivers=tuple(known[name] for name in receivers),
            expires_at=expires_at,
            max_uses=max_uses,
            min_result=min_result,
            automatic=automatic,
            rules={column: own for column, own in rules.items() if own},
            epsilon_millionths=None if epsilon is None else budgets.parse(epsilon),
        )
        with self._store.transaction() as db:
            stored = grants.add(db, grant, time.time())
            fields = {"grant": stored.id, "peer": stored.peer, "terms": grants.terms_digest(stored)}
            log.append(db, self._identity, "grant_added", fields, _now())
        return stored

    def grants(self) -> tuple[Grant, ...]:
        return grants.read(self._store.connection())

    def privacy_budgets(self) -> tuple[Budget, ...]:
        """What results with noise have cost each dataset, by peer and purpose, and what they may."""
        return grants.budgets_of(self._store.connection(), time.time())

    def revoke(self, grant_id: str) -> Grant:
        """End a grant; jobs that were approved by it do not start any more."""
        with self._store.transaction() as db:
            revoked = grants.revoke(db, grant_id, time.time())
            log.append(db, self._identity, "grant_revoked", {"grant": revoked.id, "peer": revoked.peer}, _now())
        return revoked

    # Jobs.

    def complete(self, job: Job) -> Job:
        """`job` with every member's fingerprint and a deadline, which is what is proposed."""
        return proposals.complete(self._store.connection(), self._identity, job, time.time())

    def choose(self, job: Job) -> tuple[Job, Choice | None]:
        """`job` as it is, or if its protocol is "psi", with the protocol that is done first, and why that one.

        Where both parties receive the result, it may swap their roles. Looks at both datasets' sizes, both parties'
        grants and the link to the peer, so it needs the running node. A job that was proposed before under this id
        keeps its protocol, without a `Choice`. Raises `InputError` when no protocol fits.
        """
        if job.protocol != FAMILY:
            return job, None
        whole = self.complete(job)
        known = records.find(self._store.connection(), job.id)
        if known is not None:
            swapped = any(known.job.members[name].role != job.members[name].role for name in job.members)
            return resolve(job, known.job.protocol, swapped=swapped), None
        others = [name for name in whole.members if name != self.name]
        if len(others) != 1:
            raise InputError("psi is for two parties", hint="see `sealane protocol list` for protocols for more")
        catalogue, measured = self.catalogue(others[0]), self.diagnose(others[0])
        db = self._store.connection()
        choice = choosing.choose_protocol(db, self.fingerprint, whole, catalogue, measured, time.time())
        return resolve(job, choice.protocol, swapped=choice.swapped), choice

    def preview(self, job: Job | str) -> Preview:
        """What a job, or the job of that id, reveals and costs, and whether the own policy allows it."""
        record = self.job(job) if isinstance(job, str) else None
        whole = record.job if record is not None else self.complete(job)  # type: ignore[arg-type]
        rows = {party.name: party.rows or 0 for party in record.parties} if record is not None else {}
        return preview(self._store.connection(), self.fingerprint, self.name, whole, rows, time.time())

    def propose(self, job: Job) -> JobRecord:
        """Approve the job here and ask the other members; it is committed when this returns.

        The same job again is the same job. Raises `PolicyDenied`, with the grants that would allow it, or `InputError`.
        """
        whole = self.complete(job)
        with self._store.transaction() as db:
            return proposals.propose(db, self._identity, whole, time.time())

    def schedule(self, job_id: str, every: str) -> Schedule:
        """Have the running node propose the job again at these times, under new ids: see `parties.schedules`.

        Raises `InputError` for a job that was not proposed here, and for times that cannot be read.
        """
        record = self.job(job_id)
        if record.initiator != self.fingerprint:
            raise InputError(f"job {record.id} was proposed by another party", hint="who proposed it can schedule it")
        with self._store.transaction() as db:
            return schedules.add(db, record.job, every, time.time())

    def schedules(self) -> tuple[Schedule, ...]:
        return schedules.listed(self._store.connection())

    def unschedule(self, schedule_id: str) -> None:
        """End a schedule; jobs that it proposed go on."""
        with self._store.transaction() as db:
            schedules.remove(db, schedule_id)

    def approve(self, job_id: str, digest: str) -> JobRecord:
        """Approve the job with exactly that digest."""
        with self._store.transaction() as db:
            return proposals.approve(db, self._identity, job_id, digest, time.time())

    def deny(self, job_id: str, reason: str = "") -> JobRecord:
        """Deny a proposed job; the other parties see `reason`."""
        with self._store.transaction() as db:
            return proposals.deny(db, self._identity, job_id, reason, time.time())

    def cancel(self, job_id: str) -> JobRecord:
        """End an open job for all parties."""
        with self._store.transaction() as db:
            return attempts.cancel(db, self._identity, job_id, time.time())

    def job(self, job_id: str) -> JobRecord:
        """The job whose id begins so."""
        return records.get(self._store.connection(), job_id)

    def jobs(
        self,
        states: Collection[State] = frozenset(State),
        *,
        peer: str | None = None,
        since: float | None = None,
        newest: int | None = None,
    ) -> list[JobRecord]:
        """The jobs in one of `states`, the oldest first.

        Only those with `peer` (as for `peer()`), only those that came here at `since` (seconds since 1970) or later,
        and only so many, the `newest`.
        """
        party = None if peer is None else self.peer(peer).fingerprint
        return records.in_states(self._store.connection(), states, peer=party, since=since, newest=newest)

    def job_counts(self) -> Counter[State]:
        """How many jobs are in each state."""
        return records.count(self._store.connection())

    def progress(self, job_id: str) -> Progress | None:
        """How far a running job is here; None when nothing was heard of it yet."""
        return progress(self._store.connection(), job_id)

    def watch(self, job_id: str, timeout_s: float) -> Iterator[tuple[JobRecord, Progress | None]]:
        """The job each time it has moved, until it has ended; raises `ChannelError` after `timeout_s`."""
        return watch(self._store.connection, job_id, timeout_s)

    def wait(self, job_id: str, timeout_s: float = 3600.0) -> JobRecord:
        """The job when it has ended; raises what it ended with unless it succeeded."""
        *_, (record, _progress) = self.watch(job_id, timeout_s)
        error = ended_badly(record)
        if error is not None:
            raise error
        return record

    def run(self, job: Job, timeout_s: float = 3600.0) -> "pa.Table | None":
        """Propose the job, wait until it has ended, and give this party's result (None: it is no receiver)."""
        record = self.wait(self.propose(job).id, timeout_s)
        return self.result(record.id) if record.result is not None else None

    def query(self, sql: str, *, timeout_s: float = 3600.0, **report: Any) -> "pa.Table | None":
        """Propose the joint report `sql`, wait until it has ended, and give this party's table (None: no receiver).

        `report` are the arguments of `mpc.reports.query.report_job`, or of `union_job` for a report on a union:
        receivers, columns, purpose and so on. Raises `InputError` with a sentence on what a report cannot be,
        `PolicyDenied`, or what the job ended with.
        """
        from mpc.reports.query import job_of

        return self.run(job_of(sql, **report), timeout_s)

    def result_path(self, job_id: str) -> Path:
        """The Parquet file of a released result; raises `InputError` when there is none."""
        record = self.job(job_id)
        if record.result is None:
            if record.state is State.SUCCEEDED and self.name in record.job.receivers:
                raise InputError(f"the result of job {record.id} was deleted here")
            if record.state is State.SUCCEEDED:
                receivers = ", ".join(record.job.receivers)
                raise InputError(f"job {record.id} has no result here", hint=f"its receivers are {receivers}")
            raise InputError(f"job {record.id} has no result: it is {record.state}", hint="see `sealane job show`")
        path = self.home.results / record.result
        if memory.is_lost(path):
            raise InputError(
                f"the result of job {record.id} was kept in memory only, and went when the machine was restarted"
            )
        return path

    def result(self, job_id: str) -> "pa.Table":
        """A released result."""
        import pyarrow.parquet as pq

        return pq.read_table(self.result_path(job_id))

    def delete_result(self, job_id: str) -> JobRecord:
        """Delete a released result; that the job took place, and its receipt, stay on record."""
        record = self.job(job_id)
        if record.result is None:
            self.result_path(job_id)  # says why
        with self._store.transaction() as db:
            record = records.get(db, job_id)
            if record.result is not None:
                db.execute("UPDATE jobs SET result = NULL WHERE id = ?", (record.id,))
                jobs_evidence.result_deleted(db, self._identity, record, time.time())
        if record.result is not None:
            memory.remove(self.home.results / record.result)
        return record

    def with_old_result(self, before: float) -> list[JobRecord]:
        """The jobs that ended before `before`, in seconds since 1970, and whose result is here."""
        return records.with_old_result(self._store.connection(), before)

    def old_jobs(self, before: float) -> int:
        """How many jobs `forget_jobs` would forget."""
        return retention.old(self._store.connection(), before)

    def forget_jobs(self, before: float) -> int:
        """Forget what jobs were that ended before `before`, in seconds since 1970; gives how many.

        Jobs stay whose result or model is here, and those that not every peer has signed. Evidence, receipts, privacy
        budgets and what reports are compared with stay of all: see `parties.jobs.retention`.
        """
        with self._store.transaction() as db:
            return retention.forget(db, self._identity, before, time.time())

    def questions(self, job_id: str, timeout_s: float = 60.0) -> "Questions":
        """Ask this party's worker of a job that answers questions while it runs, once it does.

        Raises `InputError` when the job answers no questions of this party or has ended, `ChannelError` after
        `timeout_s`.
        """
        from parties.asking import open_questions

        whole = self.job(job_id).id
        return open_questions(lambda: self.job(whole), self.name, self.home.work, timeout_s)

    # Models.

    def models(self) -> tuple[Model, ...]:
        """The own parts of all models that jobs trained here, the oldest first."""
        return models.listed(self._store.connection())

    def model(self, job_id: str) -> Model:
        """The own part of the model that the job whose id begins so trained; `InputError` when there is none."""
        return models.get(self._store.connection(), job_id)

    def model_part(self, job_id: str) -> bytes:
        """The bytes of that part, checked against this party's signature."""
        model = self.model(job_id)
        models.check(self._identity.certificate_pem, model)
        return models.read(models.kept(self.home.results, model.job), model.digest)

    def predict_alone(self, job_id: str, dataset: str, output: Sequence[str] = ()) -> "pa.Table":
        """Predictions for an own dataset by a model of which every party has the whole: no job, no other party.

        Gives the columns of `output`, then `probability` or `prediction`. Raises `InputError` for a model that others
        hold parts of.
        """
        from mpc.federated.model import Model as Part
        from mpc.federated.regression_horizontal_use import predict_alone
        from parties import reading

        part = Part.from_bytes(self.model_part(job_id))
        numbers = [feature.name for feature in part.features]
        table = reading.load(self.dataset(dataset), [*output, *numbers], numbers=numbers)
        found = predict_alone(part, table)
        return found.select([*output, found.column_names[-1]])

    def encode_evidence(self, woe_job: str, dataset: str, name: str) -> Dataset:
        """Register as `name` an own dataset with the columns of feature.woe's model as weights of evidence.

        That is what the regression of a scorecard is trained on; see `mpc.federated.scorecards`.
        """
        from mpc.federated.model import Model as Part
        from mpc.federated.scorecards import as_evidence
        from parties import reading

        known = self.dataset(dataset)
        table = reading.load(known, known.column_names)
        return self.add_dataset(name, as_evidence(Part.from_bytes(self.model_part(woe_job)), table), known.key)

    def scorecard(self, woe_job: str, regression_job: str, scale: "Scale | None" = None) -> "Scorecard":
        """This party's own scorecard, from its parts of both models; see `mpc.federated.scorecards`."""
        from mpc.federated.model import Model as Part
        from mpc.federated.scorecards import scorecard

        woe, regression = (Part.from_bytes(self.model_part(each)) for each in (woe_job, regression_job))
        return scorecard(woe, regression, scale)

    def stability(self, before: str, after: str, columns: Sequence[str]) -> "pa.Table":
        """The population stability index of columns between two own datasets, a row a bin: see `stability_table`."""
        from mpc.federated.features_local import stability_table
        from parties import reading

        return stability_table(*(reading.load(self.dataset(name), columns) for name in (before, after)))

    def remove_model(self, job_id: str) -> Model:
        """Forget the own part of a model, without which nobody can use the model any more."""
        with self._store.transaction() as db:
            model = models.get(db, job_id)
            models.remove(db, model)
            fields = {"job": model.job, "digest": model.job_digest, "model": model.digest}
            log.append(db, self._identity, "model_removed", fields, _now())
        models.kept(self.home.results, model.job).unlink(missing_ok=True)
        return model

    # Programs.

    def add_program(self, name: str, file: Path) -> Program:
        """Let jobs run the program in `file` here, as it is now; its operator answers for having read it.

        Raises `InputError` for a name that another program has, and for a file that is no program.
        """
        program = programs.read(name, file, time.time())
        with self._store.transaction() as db:
            programs.save(db, program)
            log.append(db, self._identity, "program_added", {"name": name, "program": program.digest}, _now())
        return program

    def programs(self) -> tuple[Program, ...]:
        """The registered programs, by name."""
        return programs.listed(self._store.connection())

    def program(self, name: str) -> Program:
        """The program of that name; raises `InputError` when there is none."""
        return programs.get(self._store.connection(), name)

    def remove_program(self, name: str) -> Program:
        """Forget a program: jobs that run it do not start here any more."""
        with self._store.transaction() as db:
            program = programs.get(db, name)
            programs.remove(db, program)
            log.append(db, self._identity, "program_removed", {"name": name, "program": program.digest}, _now())
        return program

    # Evidence.

    def evidence(self, *, job: str | None = None, newest: int | None = None) -> Iterator[Entry]:
        """The entries of the evidence log, from the first; see `evidence.verify` for whether they hold.

        Only those about the `job` whose id begins so, and only so many, the `newest`.
        """
        whole = "" if job is None else self.job(job).id
        return log.entries(self._store.connection(), job=whole, newest=newest)

    def receipt(self, job_id: str) -> Receipt:
        """What all parties signed about how a job ended, checked; raises `InputError` until all have signed."""
        record = self.job(job_id)
        if record.receipt is None:
            waiting = "has not ended" if not record.ended else "has ended, and not every party has signed that yet"
            raise InputError(f"job {record.id} {waiting}", hint="there is a receipt once all parties have signed")
        signed = Receipt.from_bytes(record.receipt.encode())
        certificates = {peer.fingerprint: peer.certificate_pem for peer in self.peers()}
        receipt.check(signed, certificates | {self.fingerprint: self._identity.certificate_pem})
        return signed

    def export_evidence(self) -> Iterator[bytes]:
        """The lines of the evidence log with all receipts, for `sealane evidence verify` anywhere."""
        return export(self._store.connection(), self._identity, _now())

    @property
    def _dial_address(self) -> str:
        return dial_address(self.home.settings.listen, self.home.settings.advertise)

    def _keep(self, name: str, table: Any) -> Path:
        from parties.results import write_result

        self.home.datasets.mkdir(mode=0o700, exist_ok=True)
        path = self.home.datasets / f"{name}.parquet"
        write_result(as_arrow(table), path)
        return path


def _now() -> datetime:
    return datetime.now(UTC)
