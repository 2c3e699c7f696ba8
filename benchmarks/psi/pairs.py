"""Two parties in two processes, from CSV to CSV: Sealane's and SPU's, run in turn and measured alike."""

import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.harness import Row, peer_environment
from benchmarks.psi.sets import Sets
from benchmarks.psi.slow_link import SlowLink
from mpc.rng import system_rng
from mpc.session import SESSION_BYTES

PEER = "spu==0.9.5"
SPU = "spu 0.9.5 RR22"

_SETTLE_S, _LOOK_S, _IDLE_PERCENT = 10.0, 1.0, 10.0

_SPU_SCRIPT = Path(__file__).parent / "parties" / "spu_rr22.py"


@dataclass(frozen=True)
class Report:
    """What a run of both parties says of itself: CPU time and bytes sent of both, and the memory of the larger."""

    cpu_seconds: float
    sent_bytes: int
    peak_mb: float


@dataclass(frozen=True)
class Run:
    """One run, from the start of the processes to their end, and whether its results are right."""

    seconds: float
    report: Report
    right: bool


def sealane(sets: Sets, link: SlowLink | None = None) -> Report:
    """psi.vole of this release, over a socket pair or a slow link."""
    session = system_rng(SESSION_BYTES).hex()
    ends = socket.socketpair() if link is None else link.sockets()
    before = 0 if link is None else link.carried_bytes
    module = [sys.executable, "-m", "benchmarks.psi.parties.sealane"]
    commands = [
        [*module, name, str(end.fileno()), *sets.files(name), session] for name, end in zip("ab", ends, strict=True)
    ]
    parts, cpu_seconds = _run(commands, [end.fileno() for end in ends])
    for end in ends:
        end.close()
    sent = sum(int(part["sent_bytes"]) for part in parts) if link is None else link.carried_bytes - before
    return Report(cpu_seconds, sent, max(part["peak_mb"] for part in parts))


def spu(sets: Sets, link: SlowLink | None = None) -> Report:
    """RR22 of SPU, over loopback or a slow link; only through the latter can its bytes be counted."""
    python = str(peer_environment("spu", [PEER]))
    direct = [free_port() for _ in range(2)]
    seen = list(direct)
    before = 0 if link is None else link.carried_bytes
    if link is not None:
        seen = [link.forward(port) for port in direct]
    addresses = [[f"127.0.0.1:{port}" for port in ports] for ports in ((direct[0], seen[1]), (seen[0], direct[1]))]
    parts, cpu_seconds = _run(
        [[python, str(_SPU_SCRIPT), str(rank), *addresses[rank], *sets.files(name)] for rank, name in enumerate("ab")]
    )
    sent = 0 if link is None else link.carried_bytes - before
    return Report(cpu_seconds, sent, max(part["peak_mb"] for part in parts))


def free_port() -> int:
    """A port of this machine that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(commands: Sequence[Sequence[str]], descriptors: Sequence[int] = ()) -> tuple[list[dict[str, float]], float]:
    """Start both parties and wait; gives what each said, among whatever else it printed, and their CPU seconds."""
    before = _children_cpu()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    processes = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=descriptors, env=environment
        )
        for command in commands
    ]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"a party failed: {commands[0][:3]}")
    said = [json.loads(next(line for line in output.splitlines() if line.startswith(b"{"))) for output in outputs]
    return said, _children_cpu() - before


def in_turn(runners: Mapping[str, Callable[[], Report]], right: Callable[[], bool], times: int) -> dict[str, list[Run]]:
    """Run each in turn, `times` times over; `right` judges what a run left behind."""
    runs: dict[str, list[Run]] = {name: [] for name in runners}
    for _ in range(times):
        for name, runner in runners.items():
            _settle()
            began = time.perf_counter()
            report = runner()
            runs[name].append(Run(time.perf_counter() - began, report, right()))
    return runs


def _settle() -> None:
    """Wait for what the last run left to do, as nodes start workers for their next job; not for other work for long."""
    deadline = time.monotonic() + _SETTLE_S
    while psutil.cpu_percent(_LOOK_S) > _IDLE_PERCENT and time.monotonic() < deadline:
        pass


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def median_seconds(runs: Sequence[Run]) -> float:
    return statistics.median(run.seconds for run in runs)


def median_cpu_seconds(runs: Sequence[Run]) -> float:
    return statistics.median(run.report.cpu_seconds for run in runs)


def row(work: str, who: str, runs: Sequence[Run], note: str, *, met: bool = True) -> Row:
    """The median of all but memory, of which it is the most; right if every run was, and the targets are met."""
    reports = [run.report for run in runs]
    return Row(
        work,
        who,
        median_seconds(runs),
        median_cpu_seconds(runs),
        int(statistics.median(report.sent_bytes for report in reports)),
        max(report.peak_mb for report in reports),
        met and all(run.right for run in runs),
        note,
    )
