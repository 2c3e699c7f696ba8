"""Parties in one process on the functions of `parties.jobs`: their databases are real, their links are this module.

What the server, the workers and the transport would do is done by calling `Desk`, `Books` and `outbox` directly, in
any order that a test likes, with a clock of the test's own.
"""

import io
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest import mock

from mpc.job import Job, Member
from parties import datasets
from parties.books import Books
from parties.datasets import Column, Dataset
from parties.evidence.verify import verify
from parties.home import Home
from parties.identity import keys
from parties.jobs import outbox
from parties.jobs.control import Desk
from parties.jobs.endings import held_result
from parties.jobs.failure import Failure
from parties.jobs.records import JobRecord, find, in_states
from parties.jobs.states import State
from parties.leftovers import Leftovers
from parties.node import Node
from parties.workers import Ended
from protos import control_pb2

NAMES = ("ann", "bob", "cam", "dan")


def make_parties(folder: Path, names: tuple[str, ...] = NAMES) -> None:
    """Folders of nodes that know each other, each with a dataset "auto", granted, and "ask", for a person to allow."""
    nodes = {name: Node.create(folder / name, name) for name in names}
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            _, reply = nodes[other].accept(nodes[name].invite())
            nodes[name].accept(reply)
    for name, node in nodes.items():
        columns = (Column("id", "integer", False), Column("v", "integer", True))
        for dataset in ("auto", "ask"):
            path = folder / name / f"{dataset}.parquet"
            with node.home.store().transaction() as db:
                known = Dataset(dataset, path, "parquet", columns, ("id",), 8, bytes(32), "0" * 64, time.time())
                datasets.save(db, known)
            for other in set(names) - {name}:
                node.grant(
                    other, "*", dataset, ["*"], purpose="*", receivers=["*"], min_result=0, automatic=dataset == "auto"
                )
    for node in nodes.values():
        node.close()


@dataclass
class PartyInMemory:
    """One party; `released` counts how often each job's result was released here."""

    home: Home
    clock: "Clock"

    def __post_init__(self) -> None:
        self.identity = keys.load(self.home.identity)
        self.store = self.home.store()
        self.desk = Desk(self.store, self.identity, self.home.results, self.home.settings)
        self.books = Books(self.home, self.store, self.identity)
        self.leftovers = Leftovers(self.home, self.store, self.identity)
        self.node = Node(self.home.path)
        self.home.results.mkdir(exist_ok=True)

    @property
    def name(self) -> str:
        return self.identity.name

    @property
    def fingerprint(self) -> str:
        return self.identity.fingerprint

    def job(self, job_id: str) -> JobRecord | None:
        return find(self.store.connection(), job_id)

    def jobs(self) -> list[JobRecord]:
        return in_states(self.store.connection())

    def hear(self, peer: "PartyInMemory", data: bytes, *, takes_work: bool = True) -> control_pb2.Envelope:
        """A control message of `peer` arrives."""
        return self.desk.apply(peer.fingerprint, data, takes_work, self.clock.now).envelope

    def pending(self, peer: "PartyInMemory") -> list[tuple[int, bytes]]:
        return outbox.pending(self.store.connection(), peer.fingerprint, 0, 1000)

    def start_jobs(self) -> None:
        """What the server does when all links are up."""
        everybody = [peer.fingerprint for peer in self.books.peers()]
        while self.books.start_next(everybody):
            pass

    def deliver(self, record: JobRecord, dropped: tuple[str, ...] = (), rows: int = 1) -> None:
        """The own worker of a running attempt ends well."""
        if record.party(self.fingerprint).name in record.job.receivers:
            held_result(self.home.results, record.id).write_bytes(b"a table")
        self.books.record_end(Ended(record.id, record.attempt, {"rows": rows}, None, dropped))

    def stop(self, record: JobRecord, kind: int) -> None:
        """The own worker of a running attempt ends without result."""
        self.books.record_end(Ended(record.id, record.attempt, None, Failure(kind, "its worker ended")))

    def restart(self) -> None:
        """kill -9, and start again."""
        self.books.recover()
        self.leftovers.clean_after_start()

    def tick(self) -> None:
        self.books.pass_deadlines()
        self.leftovers.clean()

    def export(self) -> bytes:
        return b"".join(self.node.export_evidence())

    def evidence(self, kind: str) -> list[Mapping[str, str | int]]:
        return [entry.fields for entry in self.node.evidence() if entry.kind == kind]

    def close(self) -> None:
        self.store.close()
        self.node.close()


@dataclass
class Clock:
    now: float = field(default_factory=time.time)


@dataclass
class World:
    """All parties, and the messages between them, which arrive when told to."""

    parties: dict[str, PartyInMemory]
    clock: Clock

    def __getitem__(self, name: str) -> PartyInMemory:
        return self.parties[name]

    def carry(self, sender: str, receiver: str, count: int = 1000, *, confirm: bool = True, busy: bool = False) -> int:
        """Bring what `sender` has for `receiver`, from the oldest unconfirmed message on; gives how many there were.

        Without `confirm` the answer is lost, so that the same messages come again.
        """
        source, target = self.parties[sender], self.parties[receiver]
        messages = source.pending(target)[:count]
        for _number, data in messages:
            envelope = target.hear(source, data, takes_work=not busy)
            if confirm:
                answer = control_pb2.Confirm(epoch=envelope.epoch, id=envelope.id)
                source.hear(target, control_pb2.Envelope(confirm=answer).SerializeToString())
        return len(messages)

    def job_state(self, name: str, job_id: str) -> State | None:
        record = self.parties[name].job(job_id)
        return None if record is None else record.state

    def settle(self) -> None:
        """Bring everything until nobody has anything left to say."""
        names = list(self.parties)
        while sum(self.carry(one, other) for one in names for other in names if one != other):
            pass

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        for party in self.parties.values():
            party.tick()

    def verify_evidence(self) -> None:
        trusted = [party.fingerprint for party in self.parties.values()]
        for party in self.parties.values():
            verify(io.BytesIO(party.export()), trusted)


@contextmanager
def world(template: Path, folder: Path) -> Iterator[World]:
    """A copy of the parties in `template` below `folder`, with a clock that only the test moves."""
    shutil.copytree(template, folder)
    clock = Clock()
    with mock.patch("time.time", lambda: clock.now):
        parties = {path.name: PartyInMemory(Home.load(path), clock) for path in sorted(folder.iterdir())}
        try:
            yield World(parties, clock)
        finally:
            for party in parties.values():
                party.close()
            shutil.rmtree(folder)


def psi_job(initiator: str, other: str, *, dataset: str = "auto", **fields: object) -> Job:
    """`initiator` learns which of its rows `other` has; the other's is the dataset that needs approval, or not."""
    job = Job(
        "psi.ecdh",
        {
            initiator: Member("receiver", "auto", {"key": ("id",)}),
            other: Member("sender", dataset, {"key": ("id",)}),
        },
        (initiator,),
    )
    return replace(job, **fields)  # type: ignore[arg-type]


def sum_job(initiator: str, names: tuple[str, ...] = NAMES, *, survive: int = 0, dataset: str = "auto") -> Job:
    """All sum the column v for `initiator`."""
    return Job(
        "sum.masked",
        {
            name: Member("party", "auto" if name == initiator else dataset, {"value": ("v",)})
            for name in (initiator, *(name for name in names if name != initiator))
        },
        (initiator,),
        {"values": [{"name": "v", "lower": "0", "upper": "9"}], "minimum_group": 0, "survive_dropouts": survive},
    )
