"""A matching job through two running nodes: a job between registered datasets, from the proposal to CSV files.

The nodes are processes that speak mutual TLS on loopback; a grant of each allows the job, so nobody has to approve.
"""

import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import psutil

from benchmarks.psi.pairs import Report
from benchmarks.psi.sets import Sets
from mpc.job import Job, Member
from mpc.rng import system_rng
from parties.jobs.states import ENDED
from parties.results import export_result
from parties.sandbox import Sandbox, sandbox

_POLL_S = 0.02


class Nodes:
    """Nodes a and b, each with its file of `sets` as a dataset; a context."""

    def __init__(self, sets: Sets) -> None:
        self._sets = sets
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._nodes: Sandbox = self._stack.enter_context(sandbox("a", "b"))
        for name in "ab":
            self._nodes[name].node.add_dataset("keys", Path(self._sets.files(name)[0]), ["id"])
        members = {name: Member(role, "keys", {"key": ("id",)}) for name, role in (("a", "receiver"), ("b", "sender"))}
        self._job = Job("psi.vole", members, ("a", "b"))
        self._nodes.allow(self._job)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self) -> Report:
        """One job; leaves both results as CSV."""
        job, before = replace(self._job, id=system_rng(16).hex()), self._cpu_seconds()
        self._nodes["a"].node.propose(job)
        peak = 0.0
        while not all(self._has_ended(name, job.id) for name in "ab"):
            peak = max(peak, self._workers_mb())
            time.sleep(_POLL_S)
        for name in "ab":
            result = self._nodes[name].node.result_path(job.id)
            export_result(result, Path(self._sets.files(name)[1]), "csv")
        progress: Any = self._nodes["a"].node.progress(job.id)
        return Report(self._cpu_seconds() - before, progress.sent_bytes + progress.received_bytes, peak)

    def _has_ended(self, name: str, job_id: str) -> bool:
        return any(record.id == job_id for record in self._nodes[name].node.jobs(ENDED))

    def _workers_mb(self) -> float:
        """Memory of the larger worker, until now."""
        sizes = [0.0]
        for party in self._nodes.values():
            for worker in psutil.Process(party.process.pid).children():
                with suppress(psutil.NoSuchProcess):
                    sizes.append(worker.memory_info().rss / 2**20)
        return max(sizes)

    def _cpu_seconds(self) -> float:
        """Of the nodes and of the workers that have ended."""
        times = [psutil.Process(party.process.pid).cpu_times() for party in self._nodes.values()]
        return sum(t.user + t.system + t.children_user + t.children_system for t in times)
