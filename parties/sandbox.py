"""Real nodes on this machine for a while: started, introduced to each other, and gone without a trace afterwards.

For researchers and tests. The nodes are separate processes with their own keys and databases that speak mutual TLS
on loopback, exactly as in production; only the operators' comparing of fingerprints is left out.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpc import registry
from mpc.errors import ChannelError, InputError
from mpc.job import Job
from parties import column_rules
from parties.evidence.receipt import Receipt
from parties.node import Node

_START_S = 30.0
_STOP_S = 40.0
_POLL_S = 0.05

LOOPBACK = "127.0.0.1:0"


@dataclass
class Party:
    """One running node of a sandbox. `node` is its operator's side; `log` the file of its structured log.

    `program` is what `start` runs, the `sealane` command by default.
    """

    node: Node
    log: Path
    program: tuple[str, ...] = (sys.executable, "-m", "parties.cli")
    process: "subprocess.Popen[bytes]" = field(init=False, repr=False)
    port: int = field(init=False)

    @property
    def name(self) -> str:
        return self.node.name

    def start(self) -> None:
        """Start the node process; returns when it accepts peers."""
        command = [*self.program, "--json", "--home", str(self.node.home.path), "serve"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 (our own command)
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise ChannelError(f"node {self.name} did not start", hint=f"its log: {self.log.read_text()[-2000:]}")
        self.port = json.loads(line)["port"]

    def stop(self) -> None:
        """End the node process as an operator would, and wait until it has gone."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self._close_output()

    def kill(self) -> None:
        """End the node process at once, as a crash would (SIGKILL)."""
        self.process.kill()
        self.process.wait()
        self._close_output()

    def _close_output(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()


@dataclass(frozen=True)
class Sandbox(Mapping[str, Party]):
    """Running parties by name; all are each other's peers."""

    parties: dict[str, Party]

    def __getitem__(self, name: str) -> Party:
        return self.parties[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.parties)

    def __len__(self) -> int:
        return len(self.parties)

    def nodes(self) -> dict[str, Node]:
        """The operators' sides by name."""
        return {name: party.node for name, party in self.parties.items()}

    def connect(self) -> None:
        """Tell every node where the others listen now (ports change when a node is started again)."""
        names = list(self.parties)
        for index, name in enumerate(names):
            for other in names[index + 1 :]:
                self.parties[other].node.set_peer_address(name, f"127.0.0.1:{self.parties[name].port}")

    def wait_connected(self, timeout_s: float = _START_S) -> None:
        """Return when every node is connected to every other."""

        def connected() -> bool:
            states = [link["state"] for party in self.parties.values() for link in party.node.links().values()]
            return states.count("connected") == len(self.parties) * (len(self.parties) - 1)

        _wait_until(connected, timeout_s, "the nodes did not find each other")

    def allow(self, job: Job, *, automatic: bool = True) -> None:
        """Grant each party's part of `job` to the other members; `automatic`: without a person's approval."""
        spec = registry.get(job.protocol)
        params = spec.parse(job)
        for name, member in job.members.items():
            columns = sorted({column for names in member.columns.values() for column in names})
            if spec.uses is not None:
                rules = column_rules.smallest(spec.uses(job, params, name), spec.minimum_result(params))
                columns = [column_rules.write(column, own) for column, own in rules.items()]
            for other in job.members:
                if other != name:
                    self.parties[name].node.grant(
                        other,
                        job.protocol,
                        member.dataset,
                        columns,
                        purpose=job.purpose,
                        receivers=job.receivers,
                        min_result=0,
                        automatic=automatic,
                    )

    def run(self, job: Job, timeout_s: float = 600.0) -> dict[str, Any]:
        """Propose `job` at its first member, wait until all have ended it, and give each receiver's table by name."""
        self.parties[next(iter(job.members))].node.propose(job)
        return self.results(job, timeout_s)

    def results(self, job: Job, timeout_s: float = 600.0) -> dict[str, Any]:
        """Wait until all members have ended the proposed `job`, and give each receiver's table by name."""
        for name in job.members:
            self.await_job(name, job.id)
            self.parties[name].node.wait(job.id, timeout_s)
        return {name: self.parties[name].node.result(job.id) for name in job.receivers}

    def await_job(self, name: str, job_id: str, timeout_s: float = _START_S) -> None:
        """Return when the proposal has reached the party `name`."""
        node = self.parties[name].node

        def arrived() -> bool:
            try:
                return bool(node.job(job_id))
            except InputError:
                return False

        _wait_until(arrived, timeout_s, f"the proposal did not reach {name}")

    def await_receipt(self, name: str, job_id: str, timeout_s: float = _START_S) -> Receipt:
        """The receipt of a job at the party `name`, once every party has signed how the job ended."""
        self.await_job(name, job_id, timeout_s)
        node = self.parties[name].node
        _wait_until(lambda: node.job(job_id).receipt is not None, timeout_s, "not every party signed for the job")
        return node.receipt(job_id)


def _wait_until(happened: Callable[[], bool], timeout_s: float, complaint: str) -> None:
    """Return once `happened` says so; raises `ChannelError` with the complaint after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not happened():
        if time.monotonic() > deadline:
            raise ChannelError(f"{complaint} within {timeout_s:.0f} s")
        time.sleep(_POLL_S)


@contextmanager
def sandbox(*names: str, folder: Path | None = None, settings: Mapping[str, Any] | None = None) -> Iterator[Sandbox]:
    """Start a node for each name, make all of them peers, and stop and delete them at the end.

    `settings` are added to each node's `settings.toml`. With `folder` the nodes are made there and kept.
    """
    root = Path(tempfile.mkdtemp(prefix="sealane-")) if folder is None else folder
    parties = Sandbox({})
    try:
        for name in names:
            node = Node.create(root / name, name, listen=LOOPBACK)
            _append_settings(node, settings or {})
            party = Party(Node(root / name), root / f"{name}.log")
            party.start()
            parties.parties[name] = party
        for index, name in enumerate(names):
            for other in names[index + 1 :]:
                _introduce(parties[name].node, parties[other].node)
        parties.connect()
        parties.wait_connected()
        yield parties
    finally:
        for party in parties.values():
            party.stop()
        if folder is None:
            for party in parties.values():
                shutil.rmtree(party.node.home.memory, ignore_errors=True)
            shutil.rmtree(root, ignore_errors=True)


def _introduce(one: Node, other: Node) -> None:
    _, reply = other.accept(one.invite())
    one.accept(reply)


def _append_settings(node: Node, settings: Mapping[str, Any]) -> None:
    with (node.home.path / "settings.toml").open("a") as file:
        for key, value in settings.items():
            file.write(f"{key} = {json.dumps(value)}\n")
