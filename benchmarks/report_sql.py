"""report.sql between two nodes at the levels J1 and J3: 100 groups, 4 aggregates. Targets at 1M x 1M rows: 10 s, 60 s.

The nodes are real processes that speak mutual TLS on loopback. A run is from the proposal to the released report; it is
compared with what DuckDB finds in the pooled data. CPU seconds are those of both nodes and all their workers; memory is
that of the largest worker.
"""

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import psutil
import pyarrow as pa

from benchmarks.harness import Row, main
from mpc.reports.query import report_job
from parties.sandbox import Sandbox, sandbox

GROUPS = 100
SQL = (
    "SELECT hk.branch, COUNT(*) AS n, SUM(cn.balance) AS total, AVG(cn.balance) AS mean, SUM(cn.fees) AS fees "
    "FROM hk.accounts AS hk JOIN cn.accounts AS cn USING (customer) GROUP BY hk.branch ORDER BY hk.branch"
)
MOST_SECONDS = {"J1": 10.0, "J3": 60.0}
TARGET_ROWS = 1_000_000


def rows(quick: bool) -> Iterator[Row]:
    size = 50_000 if quick else TARGET_ROWS
    tables = _tables(size)
    truth = _truth(tables)
    with sandbox("hk", "cn") as nodes:
        for name, table in tables.items():
            nodes[name].node.add_dataset("accounts", table, ["customer"])
        for level in ("J1", "J3"):
            yield _row(nodes, level, size, truth)


def _tables(size: int) -> dict[str, pa.Table]:
    random = np.random.default_rng(5)
    hk = {"customer": np.arange(size), "branch": random.integers(0, GROUPS, size)}
    cn = {
        "customer": np.arange(size // 2, size // 2 + size),
        "balance": random.integers(0, 10**6, size),
        "fees": random.integers(0, 10**3, size),
    }
    return {"hk": pa.table(hk), "cn": pa.table(cn)}


def _truth(tables: dict[str, pa.Table]) -> list[tuple[object, ...]]:
    db = duckdb.connect()
    for name, table in tables.items():
        db.register("registered", table)
        db.execute(f"CREATE SCHEMA {name}")
        db.execute(f"CREATE TABLE {name}.accounts AS SELECT * FROM registered")
        db.unregister("registered")
    return db.execute(SQL).fetchall()


def _row(nodes: Sandbox, level: str, size: int, truth: list[tuple[object, ...]]) -> Row:
    job = report_job(
        SQL,
        receivers=("hk",),
        columns={
            "hk.branch": {"values": list(range(GROUPS))},
            "cn.balance": {"lower": "0", "upper": "1000000"},
            "cn.fees": {"lower": "0", "upper": "1000"},
        },
        join=level,  # type: ignore[arg-type]
    )
    nodes.allow(job)
    spent, started = _cpu_seconds(nodes), time.monotonic()
    with _watching(nodes) as peaks:
        table = nodes.run(job)["hk"]
        seconds = time.monotonic() - started
    for name in nodes:
        nodes.await_receipt(name, job.id)
    cpu_seconds = _cpu_seconds(nodes) - spent
    progress = [nodes[name].node.progress(job.id) for name in ("hk", "cn")]
    sent = sum(each.sent_bytes for each in progress if each is not None)
    found = [tuple(row.values())[:-1] for row in table.to_pylist()]
    right = len(found) == len(truth) and all(
        all(abs(float(a) - float(b)) <= 1e-9 * abs(float(b)) for a, b in zip(ours, theirs, strict=True))
        for ours, theirs in zip(found, truth, strict=True)
    )
    in_time = seconds <= MOST_SECONDS[level] or size < TARGET_ROWS
    note = f"target at {TARGET_ROWS:,} rows: {MOST_SECONDS[level]:.0f} s"
    return Row(
        f"report, {level}, {size:,} x {size:,} rows",
        "sealane",
        seconds,
        cpu_seconds,
        sent,
        max(peaks.values()),
        right and in_time,
        note,
    )


def _node(nodes: Sandbox, name: str) -> psutil.Process:
    return psutil.Process(nodes[name].process.pid)


def _cpu_seconds(nodes: Sandbox) -> float:
    """Of the nodes and of their workers, those that have ended and those that wait."""
    processes = [_node(nodes, name) for name in nodes]
    processes += [child for process in processes for child in process.children()]
    times = [process.cpu_times() for process in processes]
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


@contextlib.contextmanager
def _watching(nodes: Sandbox) -> Iterator[dict[int, float]]:
    """The most memory of each worker so far, in MB by process."""
    peaks: dict[int, float] = {}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            for child in (child for name in nodes for child in _node(nodes, name).children()):
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    status = Path(f"/proc/{child.pid}/status").read_text()
                    found = re.search(r"VmHWM:\s*(\d+) kB", status)
                    peaks[child.pid] = int(found[1]) / 1024 if found else peaks.get(child.pid, 0.0)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks
    finally:
        ended.set()
        watcher.join()


if __name__ == "__main__":
    main(rows)
