"""psi.vole_buckets between two processes over a socket pair, with little memory: input mapped, buckets in files.

`python -m benchmarks.psi.out_of_core --keys 100000000 --memory-mb 6144` matches two sets of any size; without options,
ten million keys in 1 GiB. The two processes share the machine's cores and its disk. Memory is that of the larger
process: what it allocated, which is what `memory_mb` bounds, and in the note with the pages of its mapped files, which
the system takes back when it needs them. Disk is input and spool of the larger party, at their largest.
"""

import multiprocessing
import resource
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.harness import Row, show
from benchmarks.pipes import SocketPipe
from mpc.channel import CountingPipe, MessageChannel
from mpc.job import Job, Member
from mpc.psi.vole_buckets import SPEC
from mpc.rng import system_rng
from mpc.session import SESSION_BYTES, run_role
from parties.spool import FileSpool

BATCH_ROWS = 2**17
SAMPLE_EVERY_S = 0.1
TOLD = 8  # times a step


@dataclass
class Watch:
    """Looks again and again at this process and at a folder: the most memory allocated and the most bytes in files;
    and when each step of the protocol was first heard of.
    """

    folder: Path
    memory_mb: float = 0.0
    disk_bytes: int = 0
    began: float = field(default_factory=time.perf_counter)
    steps: dict[str, float] = field(default_factory=dict)

    def start(self) -> None:
        threading.Thread(target=self._look, daemon=True).start()

    def progress(self, step: str, done: int, total: int) -> None:
        now = time.perf_counter() - self.began
        self.steps.setdefault(step, now)
        if self.folder.name == "a" and done * TOLD // total != (done - 1) * TOLD // total:
            print(f"{now:.0f} s: {step}: {done} of {total}", file=sys.stderr, flush=True)

    def _look(self) -> None:
        while True:
            status = Path("/proc/self/status").read_text()
            anonymous = next(line for line in status.splitlines() if line.startswith("RssAnon"))
            self.memory_mb = max(self.memory_mb, int(anonymous.split()[1]) / 1024)
            self.disk_bytes = max(self.disk_bytes, _bytes_below(self.folder))
            time.sleep(SAMPLE_EVERY_S)


@dataclass(frozen=True)
class Part:
    """What one party's process reports."""

    seconds: float
    cpu_seconds: float
    sent_bytes: int
    memory_mb: float
    resident_mb: float
    disk_bytes: int
    facts: dict[str, int]
    steps: dict[str, float]


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # removed meanwhile
            total += path.stat().st_size
    return total


def _write(path: Path, start: int, count: int) -> None:
    """Keys customer-N, N from `start` on, as an Arrow file."""
    schema = pa.schema({"id": pa.string()})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for first in range(start, start + count, BATCH_ROWS):
            numbers = pa.array(np.arange(first, min(first + BATCH_ROWS, start + count))).cast(pa.string())
            ids = pc.binary_join_element_wise("customer-", numbers, "")
            writer.write_batch(pa.record_batch([ids], schema=schema))


def _play(go: Connection, end: socket.socket, job: Job, name: str, folder: Path, session: bytes) -> None:
    pipe = SocketPipe(end)
    counted = CountingPipe(pipe)
    (peer,) = set(job.members) - {name}
    with pa.memory_map(str(folder / name / "input.arrow")) as file:
        table = pa.ipc.open_file(file).read_all()
    watch = Watch(folder / name)
    watch.start()
    channels = {peer: MessageChannel(counted)}
    spool = FileSpool(folder / name / "spool")
    outcome = run_role(SPEC, job, name, {"key": table}, channels, system_rng, watch.progress, session, spool=spool)
    seconds = time.perf_counter() - watch.began
    pipe.close()
    resident_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    facts, cpu_seconds = dict(outcome.facts), time.process_time()
    go.send(
        Part(
            seconds,
            cpu_seconds,
            counted.sent_bytes,
            watch.memory_mb,
            resident_mb,
            watch.disk_bytes,
            facts,
            watch.steps,
        )
    )


def measure(keys: int, memory_mb: int) -> Row:
    """Two sets of `keys` keys, half of them common; the input is written beforehand, and nothing is left behind."""
    members = {name: Member(role, columns={"key": ("id",)}) for name, role in (("a", "receiver"), ("b", "sender"))}
    job = Job("psi.vole_buckets", members, ("a", "b"), {"memory_mb": memory_mb})
    folder, shared = Path(tempfile.mkdtemp(prefix="sealane-bench-")), keys // 2
    try:
        for name, start in (("a", 0), ("b", keys - shared)):
            (folder / name).mkdir()
            _write(folder / name / "input.arrow", start, keys)
        parts = _run(job, folder)
    finally:
        shutil.rmtree(folder)
    facts = parts[0].facts
    right = all(part.facts["matched_distinct"] == part.facts["matched_rows"] == shared for part in parts)
    memory = max(part.memory_mb for part in parts)
    sent = sum(part.sent_bytes for part in parts)
    steps = ", ".join(f"{step} from {seconds:.0f} s" for step, seconds in parts[0].steps.items())
    return Row(
        f"PSI {keys:,} x {keys:,}, {memory_mb} MiB",
        "psi.vole_buckets",
        max(part.seconds for part in parts),
        sum(part.cpu_seconds for part in parts),
        sent,
        memory,
        right and memory <= memory_mb,
        f"{facts['buckets']} buckets, {max(part.disk_bytes for part in parts) / 1e9:.2f} GB of disk a party, "
        f"{max(part.resident_mb for part in parts):.0f} MB resident with mapped files, "
        f"{sent / keys:.1f} B a key; {steps}",
    )


def _run(job: Job, folder: Path) -> list[Part]:
    context = multiprocessing.get_context("spawn")
    session, ends = system_rng(SESSION_BYTES), socket.socketpair()
    reports, processes = [], []
    for name, end in zip("ab", ends, strict=True):
        ours, theirs = context.Pipe()
        process = context.Process(target=_play, args=(theirs, end, job, name, folder, session))
        process.start()
        theirs.close()
        end.close()  # so that a process that fails ends the other
        reports.append(ours)
        processes.append(process)
    parts = [report.recv() for report in reports]
    for process in processes:
        process.join()
    return parts


def rows(quick: bool) -> Iterator[Row]:
    """One size, in less memory than psi.vole would take."""
    yield measure(300_000, 512) if quick else measure(10_000_000, 1024)


@click.command()
@click.option("--keys", default=10_000_000, show_default=True)
@click.option("--memory-mb", default=1024, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a row.")
def main(keys: int, memory_mb: int, as_json: bool) -> None:
    """Match two sets of as many keys as told."""
    show([measure(keys, memory_mb)], as_json=as_json)


if __name__ == "__main__":
    main()
