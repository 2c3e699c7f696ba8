"""Two parties of a matching job in one process, with pipes that count, record or meddle."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from google.protobuf.message import Message

from mpc.channel import CountingPipe, Pipe, decode, encode
from mpc.job import Job, Member
from mpc.local import run_parties
from mpc.registry import get
from mpc.rng import Rng
from mpc.session import run_role
from mpc.spec import Outcome, Progress, no_progress
from mpc.testing import InsecureSeededRng, RecordingPipe

SESSION = bytes(range(16))
JOB_ID = "0" * 32


def pair_job(
    protocol: str,
    receivers: Sequence[str] = ("alice",),
    key: Sequence[str] = ("id",),
    output: Mapping[str, tuple[str, ...]] | None = None,
    **params: Any,
) -> Job:
    """A job of alice, the receiver, and bob, the sender."""
    roles = {"alice": "receiver", "bob": "sender"}
    columns = {name: {"key": tuple(key)} for name in roles}
    for name, names in (output or {}).items():
        columns[name]["output"] = names
    members = {name: Member(role, columns=columns[name]) for name, role in roles.items()}
    return Job(protocol, members, tuple(receivers), params, id=JOB_ID)


@dataclass
class Wire:
    """What passed each party's end: counted, and kept if asked for."""

    counts: dict[str, CountingPipe] = field(default_factory=dict)
    records: dict[str, RecordingPipe] = field(default_factory=dict)

    def wrap(self, name: str, _peer: str, pipe: Pipe) -> Pipe:
        self.records[name] = RecordingPipe(pipe)
        self.counts[name] = CountingPipe(self.records[name])
        return self.counts[name]


@dataclass
class Meddler:
    """Replaces what one party sends: `edit` maps each message to those sent instead of it."""

    inner: Pipe
    edit: Callable[[Message], Sequence[Message]]
    types: Mapping[str, type[Message]]

    def send_bytes(self, data: bytes, /) -> None:
        kind = self.types.get(data[1 : 1 + data[0]].decode())
        for message in [None] if kind is None else self.edit(decode(data, kind)):
            self.inner.send_bytes(data if message is None else encode(message))

    def recv_bytes(self) -> bytes:
        return self.inner.recv_bytes()


def run_pair(
    job: Job,
    tables: Mapping[str, pa.Table],
    *,
    wrap: Callable[[str, str, Pipe], Pipe] = lambda _name, _peer, pipe: pipe,
    progress: Progress = no_progress,
    seed: str = "",
) -> dict[str, Outcome]:
    """Run `job`, each party with a seeded source of its own, so that what it sends is the same in every run."""
    spec = get(job.protocol)

    def part(name: str) -> Callable[[Mapping[str, Any]], Outcome]:
        slots = {slot: tables[name].select(list(names)) for slot, names in job.members[name].columns.items()}
        rng: Rng = InsecureSeededRng(f"{seed}/{name}".encode())
        return lambda peers: run_role(spec, job, name, slots, peers, rng, progress, SESSION)

    return run_parties({name: part(name) for name in job.members}, wrap=wrap)
