"""What a unit of training, a tree or an epoch, costs with both parties in one process, and between two nodes."""

import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import llvmlite.binding
import numpy as np
import pyarrow as pa

from benchmarks.harness import Row
from mpc.channel import CountingPipe, Pipe
from mpc.job import Job
from mpc.local import run_job
from mpc.spec import Outcome
from parties.sandbox import sandbox

MOST_SLOWDOWN = 1.5  # between nodes
IFMA = bool(llvmlite.binding.get_host_cpu_features().get("avx512ifma"))


@dataclass(frozen=True)
class Cost:
    """Of a unit, both parties together: seconds, CPU seconds of all threads, bytes sent."""

    seconds: float
    cpu_seconds: float
    sent_bytes: int


def in_process(job: Job, tables: Mapping[str, pa.Table], step: str, every: int = 1) -> tuple[Cost, dict[str, Outcome]]:
    """The median of all units but the first; a unit ends when `every` more of `step` are done at both parties."""
    pipes: list[CountingPipe] = []
    marks: dict[int, tuple[float, float, int]] = {}

    def wrap(_name: str, _peer: str, pipe: Pipe) -> CountingPipe:
        pipes.append(CountingPipe(pipe))
        return pipes[-1]

    def note(now: str, done: int, _total: int) -> None:
        if now == step and done % every == 0:
            marks[done] = (time.perf_counter(), time.process_time(), sum(pipe.sent_bytes for pipe in pipes))

    outcomes = run_job(job, tables, progress=note, wrap=wrap)
    seconds, cpu, sent = (statistics.median(np.diff([each[i] for each in marks.values()])) for i in range(3))
    return Cost(float(seconds), float(cpu), int(sent)), outcomes


def between_nodes(
    work: str, tables: Mapping[str, pa.Table], make: Callable[[int], Job], units: tuple[int, int], cost: Cost
) -> Iterator[Row]:
    """The same job in one process and between two nodes over mutual TLS, run in turns: seconds a unit.

    `make` gives a job of so many units; a unit's time is what `units[1]` take longer than `units[0]`, so that neither
    starting nor aligning counts. `cost` is what a unit in one process took before.
    """
    alone, apart = [], []
    jobs = [make(count) for count in units]
    with sandbox(*tables) as nodes:
        for name in nodes:
            nodes[name].node.add_dataset("rows", tables[name], ["id"])
        for job in jobs:
            nodes.allow(job)
        for _ in range(2):
            lasted = [_both(job, tables, nodes.run) for job in jobs]
            for index, times in enumerate((alone, apart)):
                times.append((lasted[1][index] - lasted[0][index]) / (units[1] - units[0]))
    ours, theirs = statistics.mean(apart), statistics.mean(alone)
    yield Row(f"{work}, in turns with the next", "one process", theirs, cost.cpu_seconds, cost.sent_bytes, 0, True)
    note = f"{ours / theirs:.2f} times that in one process, at most {MOST_SLOWDOWN}; sent as there"
    yield Row(work, "two nodes, mutual TLS", ours, 0, cost.sent_bytes, 0, ours <= MOST_SLOWDOWN * theirs, note)


def _both(job: Job, tables: Mapping[str, pa.Table], run: Callable[[Job], object]) -> tuple[float, float]:
    start = time.perf_counter()
    run_job(job, tables)
    middle = time.perf_counter()
    run(Job(job.protocol, job.members, job.receivers, job.params))
    return middle - start, time.perf_counter() - middle


def shaped(
    count: int, own: int, others: int, score: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> dict[str, pa.Table]:
    """Normal columns, `own` at the label holder, and labels that `score(own, others)` explains in part."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(count, own + others)).astype(np.float32)
    y = score(x[:, :own], x[:, own:]) + rng.logistic(size=count) > 1
    ids = np.arange(count)
    bank = {"id": ids, "y": y.astype(np.int64), **{f"b{i}": x[:, i] for i in range(own)}}
    telco = {"id": ids, **{f"t{i}": x[:, own + i] for i in range(others)}}
    return {"bank": pa.table(bank), "telco": pa.table(telco)}


def peak_mb() -> float:
    """The most memory that this process has used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
