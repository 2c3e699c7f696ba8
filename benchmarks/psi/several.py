"""psi.multi between three processes over socket pairs, beside psi.vole between two of the same size in the same run.

Runs of the two alternate; a row is the median. Every party learns the result; half of each set is common to all, and
as much again to neighbours only. Compiled loops are cached by a run beforehand and loaded within the time measured.
Target: three parties take at most three times as long as two.
"""

import itertools
import os
import resource
import socket
import statistics
import time
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection

import pyarrow as pa

from benchmarks.harness import Row, main
from benchmarks.pipes import SocketPipe
from benchmarks.processes import Part, together
from mpc import ahead
from mpc.channel import CountingPipe, MessageChannel
from mpc.job import Job, Member
from mpc.registry import get
from mpc.rng import system_rng
from mpc.session import SESSION_BYTES, run_role
from mpc.spec import no_progress

TARGET = 3.0
ROLES = {"psi.vole": ("receiver", "sender"), "psi.multi": ("party", "party", "party")}


def _play(
    go: Connection, ends: Mapping[str, socket.socket], job: Job, name: str, first: int, size: int, session: bytes
) -> None:
    ahead.keep_freed_memory()
    table = pa.table({"id": [f"customer-{i:010d}" for i in range(first, first + size)]})
    pipes = {peer: SocketPipe(end) for peer, end in ends.items()}
    counted = {peer: CountingPipe(pipe) for peer, pipe in pipes.items()}
    go.send(None)
    go.recv()
    began, cpu = time.perf_counter(), time.process_time()
    channels = {peer: MessageChannel(pipe) for peer, pipe in counted.items()}
    outcome = run_role(get(job.protocol), job, name, {"key": table}, channels, system_rng, no_progress, session)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    for pipe in pipes.values():
        pipe.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sent = sum(pipe.sent_bytes for pipe in counted.values())
    go.send(Part(seconds, cpu_seconds, sent, peak, outcome.facts["matched_rows"]))


def _run(protocol: str, size: int) -> tuple[list[Part], int]:
    """What each party reports, and how many keys are common."""
    names = "abc"[: len(ROLES[protocol])]
    members = {name: Member(role, columns={"key": ("id",)}) for name, role in zip(names, ROLES[protocol], strict=True)}
    job = Job(protocol, members, tuple(names))
    ends: dict[str, dict[str, socket.socket]] = {name: {} for name in names}
    for one, other in itertools.combinations(names, 2):
        ends[one][other], ends[other][one] = socket.socketpair()
    session, step = system_rng(SESSION_BYTES), size // 4
    parts = together(_play, [(ends[name], job, name, index * step, size, session) for index, name in enumerate(names)])
    for end in (end for mine in ends.values() for end in mine.values()):
        end.close()
    return parts, size - (len(names) - 1) * step


def rows(quick: bool) -> Iterator[Row]:
    """One size: two parties, then three."""
    size, repeats = (100_000, 1) if quick else (1_000_000, 5)
    _run("psi.multi", 1000)  # uses every loop that psi.vole does
    runs: dict[str, list[list[Part]]] = {protocol: [] for protocol in ROLES}
    right = dict.fromkeys(ROLES, True)
    for _ in range(repeats):
        for protocol in ROLES:
            parts, common = _run(protocol, size)
            runs[protocol].append(parts)
            right[protocol] &= all(part.matched == common for part in parts)
    seconds = {
        protocol: statistics.median(max(part.seconds for part in run) for run in runs[protocol]) for protocol in runs
    }
    ratio = seconds["psi.multi"] / seconds["psi.vole"]
    for protocol, done in runs.items():
        sent = statistics.median(sum(part.sent_bytes for part in run) for run in done)
        note = f"{sent / size:.1f} B a key of one party, {os.cpu_count()} cores"
        if protocol == "psi.multi":
            note = f"{ratio:.2f} times psi.vole, {note}"
        yield Row(
            f"PSI {' x '.join([f'{size:,}'] * len(ROLES[protocol]))}",
            protocol,
            seconds[protocol],
            statistics.median(sum(part.cpu_seconds for part in run) for run in done),
            int(sent),
            max(part.peak_mb for run in done for part in run),
            right[protocol] and (protocol == "psi.vole" or ratio <= TARGET),
            note,
        )


if __name__ == "__main__":
    main(rows)
