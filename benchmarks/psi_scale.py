"""psi.vole_buckets between two processes over a socket pair, with little memory: input mapped, buckets in files.

The two processes share the machine's cores and its disk. Peak memory is that of the larger process and counts pages of
its mapped input. Targets: memory stays within `memory_mb` beside input and result, and sets of which one is small take
at most a third of the time of two large ones.
"""

import multiprocessing
import resource
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.harness import Row, main
from benchmarks.pipes import SocketPipe
from mpc.channel import CountingPipe, MessageChannel
from mpc.job import Job, Member
from mpc.psi.vole_buckets import SPEC
from mpc.rng import system_rng
from mpc.session import SESSION_BYTES, run_role
from mpc.spec import no_progress
from parties.spool import FileSpool

BATCH_ROWS = 2**17
MOST_OF_LARGE = 1 / 3


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
    with pa.memory_map(str(folder / f"{name}.arrow")) as file:
        table = pa.ipc.open_file(file).read_all()
    began = time.perf_counter()
    outcome = run_role(
        SPEC,
        job,
        name,
        {"key": table},
        {peer: MessageChannel(counted)},
        system_rng,
        no_progress,
        session,
        spool=FileSpool(folder / f"{name}.spool"),
    )
    seconds = time.perf_counter() - began
    pipe.close()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    disk = sum(path.stat().st_size for path in (folder / f"{name}.spool").iterdir())
    go.send((seconds, time.process_time(), counted.sent_bytes, usage.ru_maxrss / 1024, dict(outcome.facts), disk))


def _measure(receiver_rows: int, sender_rows: int, memory_mb: int) -> tuple[Row, float]:
    members = {name: Member(role, columns={"key": ("id",)}) for name, role in (("a", "receiver"), ("b", "sender"))}
    job = Job("psi.vole_buckets", members, ("a", "b"), {"memory_mb": memory_mb})
    shared = min(receiver_rows, sender_rows) // 2
    folder = Path(tempfile.mkdtemp(prefix="sealane-bench-"))
    try:
        _write(folder / "a.arrow", 0, receiver_rows)
        _write(folder / "b.arrow", receiver_rows - shared, sender_rows)
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
    finally:
        shutil.rmtree(folder)
    seconds = max(part[0] for part in parts)
    facts = parts[0][4]
    row = Row(
        f"PSI {receiver_rows:,} x {sender_rows:,}, {memory_mb} MiB",
        "psi.vole_buckets",
        seconds,
        sum(part[1] for part in parts),
        sum(part[2] for part in parts),
        max(part[3] for part in parts),
        all(part[4]["matched_distinct"] == part[4]["matched_rows"] == shared for part in parts),
        f"{facts['buckets']} buckets, {max(part[5] for part in parts) / 1e6:,.0f} MB of files a party",
    )
    return row, seconds


def rows(quick: bool) -> Iterator[Row]:
    """Two large sets, and each of them with a small one."""
    large, memory_mb = (500_000, 512) if quick else (10_000_000, 1024)
    row, most = _measure(large, large, memory_mb)
    yield row
    for sizes in ((1000, large), (large, 1000)):
        row, seconds = _measure(*sizes, memory_mb)
        note = f"{row.note}, {seconds / most:.2f} of the time of two large ones"
        met = quick or seconds <= MOST_OF_LARGE * most  # at small sizes the start of each bucket hides the ratio
        yield Row(**(vars(row) | {"ok": row.ok and met, "note": note}))


if __name__ == "__main__":
    main(rows)
