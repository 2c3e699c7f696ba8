"""Predictions on call between two warm nodes: seconds from asking to being told, beside an ordinary prediction job.

The nodes are real processes that speak mutual TLS on loopback. Thirty trees of depth three over default_credit's size,
30,000 rows and 13 + 10 columns of made-up numbers. What is told is compared with the batch job's predictions.
"""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import psutil
import pyarrow as pa

from benchmarks.harness import Row, main
from mpc.federated.jobs import prediction_job, serving_job
from mpc.job import Job, Member
from parties.asking import Questions
from parties.sandbox import Sandbox, sandbox

_MOST_SECONDS = 0.05  # the median of a call
_COLUMNS = {"bank": 13, "telecom": 10}


@dataclass(frozen=True)
class Size:
    rows: int
    trees: int
    calls: int


def rows(quick: bool) -> Iterator[Row]:
    size = Size(5_000, 10, 200) if quick else Size(30_000, 30, 1000)
    with sandbox("bank", "telecom") as nodes:
        for name, table in _tables(size.rows).items():
            nodes[name].node.add_dataset("rows", table, ["id"])
        for name, other in (("bank", "telecom"), ("telecom", "bank")):
            nodes[name].node.grant(other, "*", "rows", ["*"], purpose="*", receivers=["*"], automatic=True)
        for kind, training in (("trees", _trees(size)), ("regression", _regression())):
            nodes.run(training)
            yield from _serve(nodes, kind, training, size)


def _tables(count: int) -> dict[str, pa.Table]:
    rng = np.random.default_rng(1)
    numbers = {name: rng.normal(size=(count, columns)) for name, columns in _COLUMNS.items()}
    score = sum(x[:, :4].sum(axis=1) for x in numbers.values()) + rng.normal(size=count)
    tables = {
        name: pa.table({"id": np.arange(count)} | {f"x{i}": column for i, column in enumerate(x.T)})
        for name, x in numbers.items()
    }
    return tables | {"bank": tables["bank"].append_column("y", pa.array((score > 0).astype(int)))}


def _training(protocol: str, params: dict[str, object]) -> Job:
    columns = {name: tuple(f"x{i}" for i in range(count)) for name, count in _COLUMNS.items()}
    members = {
        "bank": Member("label_holder", "rows", {"key": ("id",), "label": ("y",), "feature": columns["bank"]}),
        "telecom": Member("feature_holder", "rows", {"key": ("id",), "feature": columns["telecom"]}),
    }
    return Job(protocol, members, ("bank",), {"key_bits": 2048, "encryption": "fast", **params})


def _trees(size: Size) -> Job:
    return _training("train.boosted_trees", {"trees": size.trees, "depth": 3, "bins": 32})


def _regression() -> Job:
    return _training("train.regression", {"epochs": 1, "sigmoid": "linear", "batch_rows": 4096})


def _serve(nodes: Sandbox, kind: str, training: Job, size: Size) -> Iterator[Row]:
    node = nodes["bank"].node
    began = time.perf_counter()
    table = nodes.run(prediction_job(training, ["bank"]))["bank"]
    yield Row(f"{kind}, a job for {size.rows:,} rows", "sealane", time.perf_counter() - began, 0, 0, 0, True)
    known = dict(zip(table["id"].to_pylist(), table["probability"].to_pylist(), strict=True))
    for asked in (1, 100):
        job = serving_job(training, "bank", calls=size.calls + 21, rows=asked * (size.calls + 21))
        record = node.propose(job)
        with node.questions(record.id) as questions:
            yield _row(nodes, f"{kind}, {asked} rows a call", questions, known, asked, size.calls)
            questions.finish()
        ended = node.wait(record.id)
        assert ended.facts["calls"] == size.calls + 20


def _row(nodes: Sandbox, work: str, questions: Questions, known: dict[int, float], asked: int, calls: int) -> Row:
    rng = np.random.default_rng(2)
    seconds, right = [], True
    for number in range(calls + 20):
        ids = rng.choice(len(known), asked, replace=False).tolist()
        if number == 20:  # the first calls fill caches
            spent = _cpu_seconds(nodes)
        began = time.perf_counter()
        told = questions.ask(ids)
        seconds.append(time.perf_counter() - began)
        right &= bool(np.allclose(told["probability"].to_numpy(), [known[i] for i in ids], rtol=0, atol=1e-9))
    spent, measured = _cpu_seconds(nodes) - spent, sorted(seconds[20:])
    median, late = statistics.median(measured), measured[int(0.99 * len(measured))]
    note = f"p50 {1000 * median:.1f} ms, p99 {1000 * late:.1f} ms of {calls} calls; CPU s a call"
    return Row(work, "sealane", median, spent / calls, 0, 0, right and median <= _MOST_SECONDS, note)


def _cpu_seconds(nodes: Sandbox) -> float:
    """Of the nodes and their workers."""
    found = 0.0
    for party in nodes.values():
        process = psutil.Process(party.process.pid)
        for each in (process, *process.children()):
            times = each.cpu_times()
            found += times.user + times.system
    return found


if __name__ == "__main__":
    main(rows)
