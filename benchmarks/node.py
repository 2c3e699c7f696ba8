"""The node: a small job between warm nodes, an idle node's memory, and two hundred queued jobs across a crash.

The nodes are real processes that speak mutual TLS on loopback. Targets: 1.5 s from the last approval to the result of
a private set intersection of 100 rows, 120 MB for an idle node, and no job lost when both nodes are killed while 200
wait. The node's memory is that of its own process; the worker that it keeps waiting is measured beside it. The small
job is run with a worker that has loaded what it needs on either side, and with workers that are started for it.
"""

import contextlib
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psutil
import pyarrow as pa

from benchmarks.harness import Row, main
from mpc.job import Job, Member
from parties.jobs.states import OPEN, State
from parties.sandbox import Party, Sandbox, sandbox
from tests.nodes.observe import in_state, log_of, until

MOST_SECONDS = 1.5
MOST_IDLE_MB = 120.0
ROWS = 100
QUEUED = 200


@dataclass(frozen=True)
class Timing:
    """Seconds from the last approval on: to the start of the workers, to their end, to the released result."""

    started: float
    played: float
    ended: float
    cpu_seconds: float
    sent_bytes: int
    right: bool


def rows(quick: bool) -> Iterator[Row]:
    with _warm(sandbox("hk", "cn")) as nodes:
        _wait_for_spares(nodes)
        spare_mb = max(_resident_mb(spare) for party in nodes.values() for spare in _spares(party))
        yield _memory_row(nodes, f"at most {MOST_IDLE_MB:.0f} MB; its waiting worker {spare_mb:.0f} MB")
        yield _job_row(nodes, "workers waiting", 3 if quick else 10)
        yield _crash_row(nodes)
    with _warm(sandbox("hk", "cn", settings={"spare_workers": 0})) as nodes:
        yield _job_row(nodes, "workers started", 3 if quick else 10)


@contextlib.contextmanager
def _warm(starting: AbstractContextManager[Sandbox]) -> Iterator[Sandbox]:
    with starting as nodes:
        for name, first in (("hk", 0), ("cn", ROWS // 2)):
            ids = [str(i) for i in range(first, first + ROWS)]
            for dataset in ("rows", "asked"):
                nodes[name].node.add_dataset(dataset, pa.table({"id": ids, "v": ids}), ["id"])
        nodes.allow(_job("rows"))
        nodes["cn"].node.grant("hk", "psi.ecdh", "asked", ["id"], purpose="", receivers=["hk"], min_result=0)
        yield nodes


def _memory_row(nodes: Sandbox, note: str) -> Row:
    idle_mb = max(_resident_mb(_process(party)) for party in nodes.values())
    return Row("an idle node", "sealane", 0, 0, 0, idle_mb, idle_mb <= MOST_IDLE_MB, note)


def _job(dataset: str) -> Job:
    hk = Member("receiver", "rows", {"key": ("id",), "output": ("v",)})
    return Job("psi.ecdh", {"hk": hk, "cn": Member("sender", dataset, {"key": ("id",)})}, ("hk",))


def _job_row(nodes: Sandbox, how: str, times: int) -> Row:
    _run(nodes)  # the first one fills the caches of the file system
    runs = []
    for _ in range(times):
        _wait_for_spares(nodes)
        runs.append(_run(nodes))
    started, played, ended = (
        statistics.median(getattr(run, part) for run in runs) for part in ("started", "played", "ended")
    )
    return Row(
        f"PSI of {ROWS} rows, approval to result, {how}",
        "sealane",
        ended,
        statistics.median(run.cpu_seconds for run in runs),
        runs[0].sent_bytes,
        max(_resident_mb(_process(party)) for party in nodes.values()),
        ended <= MOST_SECONDS and all(run.right for run in runs),
        f"approval to start {started:.2f} s, workers {played - started:.2f} s, to the release {ended - played:.2f} s; "
        f"at most {MOST_SECONDS} s",
    )


def _run(nodes: Sandbox) -> Timing:
    hk, cn = nodes["hk"], nodes["cn"]
    record = hk.node.propose(replace(_job("asked"), id=os.urandom(16).hex()))
    in_state(cn, record.id, State.PROPOSED)
    spent = _cpu_seconds(nodes)
    approved = time.time()
    cn.node.approve(record.id, record.digest)
    done = hk.node.wait(record.id, 60)
    table = hk.node.result(record.id)
    (launched,) = (line for line in log_of(hk, "worker started") if line["job"] == record.id)
    progress: Any = hk.node.progress(record.id)
    seen = hk.node.home.results / f"{record.id}.parquet"
    return Timing(
        started=datetime.fromisoformat(launched["timestamp"]).timestamp() - approved,
        played=seen.stat().st_mtime - approved,
        ended=done.updated_at - approved,
        cpu_seconds=_cpu_seconds(nodes) - spent,
        sent_bytes=progress.sent_bytes + progress.received_bytes,
        right=sorted(table["id"].to_pylist(), key=int) == [str(i) for i in range(ROWS // 2, ROWS)],
    )


def _crash_row(nodes: Sandbox) -> Row:
    hk, cn = nodes["hk"], nodes["cn"]
    began = time.monotonic()
    cn.stop()
    queued = {hk.node.propose(_job("asked")).id for _ in range(QUEUED)}
    hk.kill()
    hk.start()
    cn.start()
    nodes.connect()
    until(lambda: len(cn.node.jobs({State.PROPOSED})) >= QUEUED // 2)
    cn.kill()
    cn.start()
    nodes.connect()
    until(lambda: queued <= {record.id for record in cn.node.jobs({State.PROPOSED})})
    seconds = time.monotonic() - began
    lost = queued - {record.id for record in hk.node.jobs(OPEN)}
    size_mb = max(_resident_mb(_process(party)) for party in nodes.values())
    return Row(
        f"{QUEUED} queued jobs, both nodes killed", "sealane", seconds, 0, 0, size_mb, not lost, f"{len(lost)} lost"
    )


def _process(party: Party) -> psutil.Process:
    return psutil.Process(party.process.pid)


def _spares(party: Party) -> list[psutil.Process]:
    """The party's workers that wait for a task; only while no job runs."""
    return _process(party).children()


def _wait_for_spares(nodes: Sandbox) -> None:
    """Return when each node's spare workers have loaded what they load ahead."""
    for party in nodes.values():
        count = party.node.home.settings.spare_workers
        until(lambda party=party, count=count: len(_spares(party)) == count)  # type: ignore[misc]
        for spare in _spares(party):
            until(lambda spare=spare: _is_waiting(spare))  # type: ignore[misc]


def _is_waiting(process: psutil.Process) -> bool:
    """Whether it uses no CPU time."""
    before = process.cpu_times()
    time.sleep(0.2)
    return bool(process.cpu_times() == before and process.status() == psutil.STATUS_SLEEPING)


def _resident_mb(process: psutil.Process) -> float:
    return float(process.memory_info().rss / 2**20)


def _cpu_seconds(nodes: Sandbox) -> float:
    """Of the nodes and of their workers, also what these spent before they had a task."""
    processes = [process for party in nodes.values() for process in (_process(party), *_spares(party))]
    times = [process.cpu_times() for process in processes]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


if __name__ == "__main__":
    main(rows)
