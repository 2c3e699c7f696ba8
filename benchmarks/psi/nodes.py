"""A matching job through two running nodes: a job between registered datasets, from the proposal to CSV files.

The nodes are processes that speak mutual TLS on loopback; a grant of each allows the job, so nobody has to approve.
"""

import re
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import psutil

from benchmarks.psi.pairs import Report
from benchmarks.psi.sets import Sets
from mpc.job import Job, Member
from mpc.rng import system_rng
from parties.results import export_result
from parties.sandbox import Sandbox, sandbox

_LOOK_EVERY_S = 0.1


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
        """One job; each operator waits for its end and exports the result as CSV."""
        job, before = replace(self._job, id=system_rng(16).hex()), self._cpu_seconds()
        with ThreadPoolExecutor(len(self._nodes)) as operators:
            self._nodes["a"].node.propose(job)
            exports = [operators.submit(self._export, name, job.id) for name in self._nodes]
            peak = 0.0
            while wait(exports, _LOOK_EVERY_S).not_done:
                peak = max(peak, self._workers_mb())
        for export in exports:
            export.result()
        progress: Any = self._nodes["a"].node.progress(job.id)
        return Report(self._cpu_seconds() - before, progress.sent_bytes + progress.received_bytes, peak)

    def _export(self, name: str, job_id: str) -> None:
        self._nodes.await_job(name, job_id)
        node = self._nodes[name].node
        node.wait(job_id)
        export_result(node.result_path(job_id), Path(self._sets.files(name)[1]), "csv")

    def _workers_mb(self) -> float:
        """The most memory that the larger worker had until now."""
        sizes = [0.0]
        for party in self._nodes.values():
            pid = party.process.pid
            for worker in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                with suppress(OSError):  # it has ended
                    status = Path(f"/proc/{worker}/status").read_text()
                    sizes += [float(kib) / 1024 for kib in re.findall(r"VmHWM:\s+(\d+) kB", status)]
        return max(sizes)

    def _cpu_seconds(self) -> float:
        """Of the nodes and of the workers that have ended."""
        times = [psutil.Process(party.process.pid).cpu_times() for party in self._nodes.values()]
        return sum(t.user + t.system + t.children_user + t.children_system for t in times)
