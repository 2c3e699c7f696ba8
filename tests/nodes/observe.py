"""What tests of real nodes share: jobs to propose, waiting for what happens, and what must hold at the end of a job."""

import contextlib
import io
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import psutil
import pyarrow as pa

from mpc.job import Job, Member
from parties.evidence.verify import verify
from parties.jobs.records import JobRecord
from parties.jobs.states import ENDED, State
from parties.sandbox import Party, Sandbox

T = TypeVar("T")

WITHIN_S = 90.0
_POLL_S = 0.02

#: Ann has 0..29, one of them twice; Bob has 20..59.
ANN_ROWS = pa.table({"id": [f"id-{i}" for i in [*range(30), 25]], "v": list(range(31))})
BOB_ROWS = pa.table({"id": [f"id-{i}" for i in range(20, 60)], "w": list(range(40))})


def until(what: Callable[[], T | None], within_s: float = WITHIN_S) -> T:
    """What `what` gives as soon as that is true; fails after `within_s`."""
    deadline = time.monotonic() + within_s
    while not (value := what()):
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(_POLL_S)
    return value


def psi(receiver: str = "ann", sender: str = "bob", **fields: Any) -> Job:
    """`receiver` learns which of its rows the other has."""
    output = {"ann": "v", "bob": "w"}
    job = Job(
        "psi.ecdh",
        {
            receiver: Member("receiver", "rows", {"key": ("id",), "output": (output[receiver],)}),
            sender: Member("sender", "rows", {"key": ("id",), "output": (output[sender],)}),
        },
        (receiver,),
    )
    return replace(job, **fields)


def in_state(party: Party, job: str, *states: State) -> JobRecord:
    """The job as soon as it is in one of `states` at `party`."""

    def look() -> JobRecord | None:
        return next((record for record in party.node.jobs(states) if record.id == job), None)

    return until(look)


def end_of(nodes: Sandbox, job: str, names: Sequence[str] = ()) -> dict[str, JobRecord]:
    """The job at each party once it has ended everywhere, alike and with a receipt, and left nothing behind."""
    names = names or list(nodes)
    for name in names:
        in_state(nodes[name], job, *ENDED)
        until(lambda name=name: nodes[name].node.job(job).receipt is not None)  # type: ignore[misc]
    # Until then a party may have given up by itself, for a reason of its own.
    records = {name: nodes[name].node.job(job) for name in names}
    assert len({(record.state, record.reason) for record in records.values()}) == 1, records
    for name in names:
        party = nodes[name]
        party.node.receipt(job)
        until(lambda party=party: not list(party.node.home.work.glob(f"{job}*")))  # type: ignore[misc]
        until(lambda party=party: not list(party.node.home.results.glob(f".{job}*")))  # type: ignore[misc]
        record = party.node.job(job)
        released = [fields for fields in evidence(party, "result_released") if fields["job"] == job]
        wanted = record.state is State.SUCCEEDED and name in record.job.receivers
        assert len(released) == wanted
        assert (record.result is not None) == wanted
        assert (party.node.home.results / f"{job}.parquet").exists() == wanted
        used = [fields["grant"] for fields in evidence(party, "grant_used") if fields["job"] == job]
        assert len(used) == len(set(used))
    return {name: nodes[name].node.job(job) for name in names}


def evidence(party: Party, kind: str) -> list[dict[str, Any]]:
    """The fields of all entries of that kind."""
    return [dict(entry.fields) for entry in party.node.evidence() if entry.kind == kind]


def verify_evidence(nodes: Sandbox) -> None:
    """Every party's exported evidence holds."""
    trusted = [party.node.fingerprint for party in nodes.values()]
    for party in nodes.values():
        verify(io.BytesIO(b"".join(party.node.export_evidence())), trusted)


def log_of(party: Party, event: str) -> list[dict[str, Any]]:
    """The entries of the node's log with that event, but for one that is just being written."""
    whole = party.log.read_bytes().rpartition(b"\n")[0].decode().splitlines()
    lines = [json.loads(line) for line in whole if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def worker_pid(party: Party, job: str, attempt: int = 1) -> int:
    """The process of the worker of an attempt, as soon as it is there."""

    def look() -> int | None:
        started = log_of(party, "worker started")
        return next((line["pid"] for line in started if (line["job"], line["attempt"]) == (job, attempt)), None)

    return until(look)


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that is stopped (SIGSTOP), and goes on or has gone afterwards."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def held_back(party: Party) -> Iterator[None]:
    """The worker that was started ahead for the party's next job stands still: no attempt can end meanwhile."""

    def spare() -> int | None:
        used = {line["pid"] for line in log_of(party, "worker started")}
        started = {line["pid"] for line in log_of(party, "spare worker started")}
        # Not one of the node before it was started again, nor another process that has got the number of such a one.
        mine = {child.pid for child in psutil.Process(party.process.pid).children()}
        return next(iter((started - used) & mine), None)

    with frozen(until(spare)):
        yield


def restart(nodes: Sandbox, name: str) -> None:
    """Start a node that was killed or stopped, and let the others find it."""
    nodes[name].start()
    nodes.connect()
