"""psi.ecdh between two processes over a socket pair, against the scalar multiplications alone on the same cores.

The multiplications are timed on a sample before and after the protocol, and scaled to its number of them. Target: the
protocol takes at most 1.2 times as long. The note gives the same ratio in CPU seconds, which a busy machine disturbs
less, and the two samples, which differ if the machine was not idle.
"""

import importlib
import os
import resource
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection

import pyarrow as pa

from benchmarks.harness import Row, main
from benchmarks.pipes import SocketPipe
from benchmarks.processes import Part, together
from mpc import ahead
from mpc.channel import CountingPipe, MessageChannel
from mpc.job import Job, Member
from mpc.primitives.ristretto import multiply_each, point_from_uniform, random_scalar
from mpc.primitives.threads import start, usable_cores
from mpc.psi.ecdh import SPEC
from mpc.rng import system_rng
from mpc.session import SESSION_BYTES, run_role
from mpc.spec import no_progress
from parties.worker.__main__ import NoPandas

TARGET = 1.2
SAMPLE = 10_000  # multiplications a process, before and after


def _multiplications(go: Connection) -> None:
    """Time SAMPLE multiplications spread over the cores, together with the other process."""
    scalar = random_scalar(system_rng)
    points = b"".join(point_from_uniform(os.urandom(64)) for _ in range(500)) * (SAMPLE // 500)
    with ThreadPoolExecutor(usable_cores()) as pool:
        go.send(None)
        go.recv()
        began, cpu = time.perf_counter(), time.process_time()
        start(pool, partial(multiply_each, scalar), points, 32)()
        go.send((time.perf_counter() - began, time.process_time() - cpu))


def _play(go: Connection, end: socket.socket, job: Job, name: str, table: pa.Table, session: bytes) -> None:
    for module in ahead.MODULES:  # as a node's waiting worker has
        importlib.import_module(module)
    sys.meta_path.insert(0, NoPandas())
    pipe = SocketPipe(end)
    counted = CountingPipe(pipe)
    (peer,) = set(job.members) - {name}
    go.send(None)
    go.recv()
    began, cpu = time.perf_counter(), time.process_time()
    channels = {peer: MessageChannel(counted)}
    outcome = run_role(SPEC, job, name, {"key": table}, channels, system_rng, no_progress, session)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    pipe.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    go.send(Part(seconds, cpu_seconds, counted.sent_bytes, peak, outcome.facts.get("matched_rows", 0)))


def _sample() -> tuple[float, float]:
    """Seconds and CPU seconds a multiplication, two processes at work, counted over both."""
    reports = together(_multiplications, [(), ()])
    return max(seconds for seconds, _ in reports) / (2 * SAMPLE), sum(cpu for _, cpu in reports) / (2 * SAMPLE)


def rows(quick: bool) -> Iterator[Row]:
    """One size: the protocol, and the multiplications it cannot do without."""
    size = 20_000 if quick else 100_000
    shared = size // 2
    job = Job(
        "psi.ecdh",
        {"a": Member("receiver", columns={"key": ("id",)}), "b": Member("sender", columns={"key": ("id",)})},
        ("a",),
    )
    tables = [pa.table({"id": [f"customer-{i:010d}" for i in range(at, at + size)]}) for at in (0, size - shared)]
    before = _sample()
    ends = socket.socketpair()
    session = system_rng(SESSION_BYTES)
    parts = together(
        _play, [(end, job, name, table, session) for end, name, table in zip(ends, "ab", tables, strict=True)]
    )
    after = _sample()
    multiplications = 4 * size
    floor, floor_cpu = (statistics.mean(pair) * multiplications for pair in zip(before, after, strict=True))
    work = f"PSI {size:,} x {size:,}"
    samples = f"{before[0] * 1e6:.0f} and {after[0] * 1e6:.0f} us each, before and after"
    yield Row(work, "scalar multiplications alone", floor, floor_cpu, 0, 0.0, True, samples)
    seconds = max(part.seconds for part in parts)
    cpu_seconds = sum(part.cpu_seconds for part in parts)
    yield Row(
        work,
        "psi.ecdh",
        seconds,
        cpu_seconds,
        sum(part.sent_bytes for part in parts),
        max(part.peak_mb for part in parts),
        parts[0].matched == shared and seconds <= TARGET * floor,
        f"{seconds / floor:.2f} times the multiplications, {cpu_seconds / floor_cpu:.2f} in CPU seconds",
    )


if __name__ == "__main__":
    main(rows)
