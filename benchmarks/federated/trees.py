"""Boosted trees between a label holder and a feature holder: how well they fit beside xgboost, and what a tree costs.

The fit is measured on the rows trained on, with the same settings, beside xgboost in an environment of its own: AUC,
one class against the rest for several classes, R² for numbers; targets are differences of at most 0.002. The model is
that of the federated training of the same tables, with short keys, which change no tree; and it must have the very
trees of the same algorithm on pooled rows in the clear, and a fit within 1e-4 of theirs.

A tree's cost is that between two rounds of one job with both parties in one process: CPU time of all threads, and bytes
that both send. Tables have the shape of `default_credit` (30,000 rows, 13 columns at the label holder, 10 at the other;
depth 3), or a million rows and 20 + 20 columns (depth 5); 32 bins, keys of 2048 bits. Targets of time hold for
processors with AVX-512 IFMA; without it the rows say so and none is missed. Memory is that of both parties together.
Published for SecretFlow 1.14 on another machine, not measured here: 26.5 CPU s (Paillier), 3.6 (Okamoto-Uchiyama);
FATE 2.2: about 129.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.federated.costs import IFMA, Cost, between_nodes, in_process, peak_mb, shaped
from benchmarks.federated.real_data import DataSet, job_on
from benchmarks.harness import Row, main, peer_environment
from mpc.federated.columns import read_columns
from mpc.federated.model import Model
from mpc.federated.trees_boost import training_rows
from mpc.federated.trees_columns import PlainModel, fit_plain
from mpc.federated.trees_forest import forest_of, rules_as_model, rules_from
from mpc.federated.trees_objective import Target, area_under_curve, read_target
from mpc.federated.trees_params import TreesParams
from mpc.job import Job
from mpc.local import run_job
from mpc.spec import Outcome
from mpc.testing import insecure_paillier

LARGEST_DIFFERENCE = 0.002  # from xgboost
LARGEST_DIFFERENCE_IN_THE_CLEAR = 1e-4
XGBOOST = ("xgboost==2.1.4", "scikit-learn==1.6.1", "numpy==2.1.3")

BREAST = DataSet("breast_hetero", "id", "y")
QUICK_SETS = (BREAST, DataSet("default_credit_3000", "id", "y"))
DATA_SETS = (
    BREAST,
    DataSet("default_credit_hetero", "id", "y"),
    DataSet("vehicle_scale_hetero", "id", "y", {"objective": "multiclass", "classes": 4}),
    DataSet("motor_hetero", "idx", "motor_speed", {"objective": "regression"}),
)


@dataclass(frozen=True)
class Work:
    """A shape of table and tree, and what a tree may cost at the most; None: no target."""

    count: int
    own: int
    others: int
    depth: int
    mode: str = "fast"
    private_split: bool = False
    most_cpu_seconds: float | None = None
    most_sent_bytes: int | None = None
    most_mb: float | None = None

    @property
    def name(self) -> str:
        private = ", private_split" if self.private_split else ""
        return f"a tree, {self.count:,} x ({self.own}+{self.others}), depth {self.depth}, {self.mode}{private}"

    def job(self, tables: Mapping[str, pa.Table], trees: int) -> Job:
        params = {"trees": trees, "depth": self.depth, "key_bits": 2048, "encryption": self.mode}
        return job_on("train.boosted_trees", tables, "id", "y", {**params, "private_split": self.private_split})

    def targets(self) -> str:
        """In words."""
        found = []
        if self.most_cpu_seconds is not None:
            found.append(f"{self.most_cpu_seconds:g} CPU s with AVX-512 IFMA, {'present' if IFMA else 'absent'}")
        if self.most_sent_bytes is not None:
            found.append(f"{self.most_sent_bytes:,} bytes")
        if self.most_mb is not None:
            found.append(f"{self.most_mb:.0f} MB a party")
        return f"at most {'; '.join(found)}" if found else "no target"

    def met(self, cost: Cost) -> bool:
        """Whether a tree cost no more than it may."""
        slow = IFMA and self.most_cpu_seconds is not None and cost.cpu_seconds > self.most_cpu_seconds
        much = self.most_sent_bytes is not None and cost.sent_bytes > self.most_sent_bytes
        return not (slow or much or (self.most_mb is not None and peak_mb() > 2 * self.most_mb))


FAST = Work(30_000, 13, 10, 3, most_cpu_seconds=1.0)
STRICT = Work(30_000, 13, 10, 3, "strict", most_cpu_seconds=2.0)
LARGE = Work(1_000_000, 20, 20, 5, most_cpu_seconds=35.0, most_sent_bytes=520_000_000, most_mb=3000)


def rows(quick: bool) -> Iterator[Row]:
    """Fit beside xgboost and in the clear, then the cost of a tree in one process, and between nodes."""
    for data_set in QUICK_SETS if quick else DATA_SETS:
        yield from _fit(data_set, 10 if quick else 30)
    if quick:
        for mode in ("fast", "strict"):
            yield _cost(Work(5_000, 13, 10, 3, mode), 3)[0]
        return
    row, cost = _cost(FAST, 4)
    yield row
    yield _cost(STRICT, 4)[0]
    yield _cost(Work(30_000, 13, 10, 3, private_split=True), 2)[0]
    tables = _tables(FAST)
    yield from between_nodes(FAST.name, tables, lambda trees: FAST.job(tables, trees), (1, 4), cost)
    yield _cost(LARGE, 2)[0]


def _fit(data_set: DataSet, trees: int) -> Iterator[Row]:
    given = {"trees": trees, "min_bin_rows": 1, "min_node_rows": 2, **data_set.params}
    job = data_set.job("train.boosted_trees", {**given, "key_bits": 512, "encryption": "fast"})
    start, cpu = time.perf_counter(), time.process_time()
    with insecure_paillier():
        outcomes = run_job(job, data_set.tables())
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    params, work = TreesParams(**given), f"{data_set.name}, {trees} rounds"
    ours = _score(outcomes, data_set)
    theirs, their_cpu = _xgboost(data_set, params)
    yield Row(work, "xgboost", their_cpu, their_cpu, 0, 0, True, f"score {theirs:.5f}")
    note = f"{ours:.5f}, difference {ours - theirs:+.5f}, at most {LARGEST_DIFFERENCE}"
    yield Row(work, "sealane", seconds, cpu, 0, peak_mb(), abs(ours - theirs) <= LARGEST_DIFFERENCE, note)
    yield _in_the_clear(work, data_set, params, outcomes, ours)


def _in_the_clear(
    work: str, data_set: DataSet, params: TreesParams, outcomes: Mapping[str, Outcome], ours: float
) -> Row:
    """The same algorithm on the joined rows."""
    cpu, joined = time.process_time(), data_set.joined()
    parties = {who: read_columns({"feature": joined.select(names)}) for who, names in data_set.columns().items()}
    labels = data_set.labels()
    target, coded = read_target(params, data_set.label, labels, training_rows(params, len(labels)))
    plain = fit_plain(coded, target, parties, params)
    cpu = time.process_time() - cpu
    theirs = _measure(target, labels, target.predict(plain.fitted.scores))
    same = _same_trees({name: Model.from_bytes(outcome.model) for name, outcome in outcomes.items()}, plain)
    close = abs(ours - theirs) <= LARGEST_DIFFERENCE_IN_THE_CLEAR
    note = f"{theirs:.5f}, difference {ours - theirs:+.5f}, {'the same' if same else 'OTHER'} trees"
    return Row(work, "sealane in the clear", cpu, cpu, 0, peak_mb(), same and close, note)


def _same_trees(models: Mapping[str, Model], plain: PlainModel) -> bool:
    """Whether every node and rule is the same; weights may differ by rounding, as rows come in another order."""
    found, expected = models["bank"].arrays, plain.fitted.forest.arrays()
    exact = all(np.array_equal(found[name], expected[name]) for name in ("owner", "rule", "left", "right", "rows"))
    near = all(np.allclose(found[name], expected[name], rtol=1e-9, atol=1e-12) for name in ("weight", "start"))
    rules = all(
        np.array_equal(array, models[name].arrays[what])
        for name, own in plain.rules.items()
        for what, array in rules_as_model(own)[1].items()
    )
    return exact and near and rules


def _score(outcomes: Mapping[str, Outcome], data_set: DataSet) -> float:
    """How well the two parts of the model fit the joined rows."""
    models = {name: Model.from_bytes(outcome.model) for name, outcome in outcomes.items()}
    forest, joined = forest_of(models["bank"], 2), data_set.joined()
    decisions = {}
    for index, name in enumerate(("bank", "telco")):
        table = joined.select([feature.name for feature in models[name].features])
        decisions[index] = rules_from(models[name]).decide(read_columns({"feature": table}), slice(None))
    target = Target(models["bank"].parameters["objective"], tuple(models["bank"].content["classes"]))
    return _measure(target, data_set.labels(), target.predict(forest.scores(decisions, joined.num_rows)))


def _measure(target: Target, labels: np.ndarray, found: np.ndarray) -> float:
    if target.objective == "regression":
        return float(1 - ((labels - found[:, 0]) ** 2).sum() / ((labels - labels.mean()) ** 2).sum())
    if target.objective == "binary":
        return area_under_curve(labels, found[:, 0])
    areas = [area_under_curve((labels == value) * 1.0, found[:, i]) for i, value in enumerate(target.classes)]
    return float(np.mean(areas))


def _xgboost(data_set: DataSet, params: TreesParams) -> tuple[float, float]:
    python = peer_environment("xgboost", XGBOOST)
    with tempfile.TemporaryDirectory() as folder:
        paths = {"x": f"{folder}/x.npy", "y": f"{folder}/y.npy"}
        np.save(paths["x"], data_set.features())
        np.save(paths["y"], data_set.joined()[data_set.label].to_numpy())
        script = Path(__file__).parent / "xgboost_fit.py"
        task = json.dumps({**asdict(params), **paths})
        done = subprocess.run([str(python), str(script)], input=task, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return found["score"], found["cpu_seconds"]


def _tables(work: Work) -> dict[str, pa.Table]:
    return shaped(
        work.count, work.own, work.others, lambda own, others: own[:, 0] * others[:, 0] + own[:, 1] - others[:, 1]
    )


def _cost(work: Work, trees: int) -> tuple[Row, Cost]:
    """A tree's cost, both parties in one process."""
    tables = _tables(work)
    cost, outcomes = in_process(work.job(tables, trees), tables, "round")
    table = outcomes["bank"].table
    learned = table is not None and table["training_auc"][-1].as_py() > 0.7
    spent = cost.seconds, cost.cpu_seconds, cost.sent_bytes, peak_mb()
    return Row(work.name, "one process", *spent, work.met(cost) and learned, work.targets()), cost


if __name__ == "__main__":
    main(rows)
