"""How predictions and labels agree: measures and curves, as plain data.

Rows with equal scores are never ordered: every curve has one point for each different score, so that no measure depends
on the order of rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

F64 = NDArray[np.float64]

Task = Literal["binary", "multiclass", "number", "count"]

MAX_POINTS = 200  # of a curve
_LEAST_PROBABILITY = 1e-15


@dataclass(frozen=True)
class Evaluation:
    """Measures by name; and curves and tables by name, each a list of equally long columns by name.

    Binary: measures auc, ks, ks_threshold, average_precision, log_loss, brier, positives, and at `threshold` accuracy,
    precision, recall, f1; tables roc, precision_recall, ks, gain (by tenths of the rows, highest scores first),
    calibration (by tenths of the rows), confusion. Multiclass: accuracy, log_loss, auc (unweighted mean, one class
    against the rest); tables classes (rows, recall, precision), confusion. Numbers: rmse, mae, r2; counts: these and
    deviance, the mean Poisson deviance; table calibration.
    """

    task: Task
    rows: int
    measures: Mapping[str, float]
    tables: Mapping[str, Mapping[str, list[float]]] = field(repr=False)

    def to_arrow(self) -> "pa.Table":
        """One row a number: columns "task", "table" ("measures" or a table's name), "row", "name" and "value"."""
        import pyarrow as pa

        rows = [(self.task, *entry) for entry in self._entries()]
        kinds = (pa.string(), pa.string(), pa.int64(), pa.string(), pa.float64())
        names = ("task", "table", "row", "name", "value")
        return pa.table({n: pa.array([row[i] for row in rows], kinds[i]) for i, n in enumerate(names)})

    @classmethod
    def from_arrow(cls, table: "pa.Table") -> "Evaluation":
        """What `to_arrow` wrote."""
        measures: dict[str, float] = {}
        tables: dict[str, dict[str, list[float]]] = {}
        for entry in table.to_pylist():
            if entry["table"] == "measures":
                measures[entry["name"]] = entry["value"]
            else:
                tables.setdefault(entry["table"], {}).setdefault(entry["name"], []).append(entry["value"])
        rows = int(measures.pop("rows"))
        return cls(table["task"][0].as_py(), rows, measures, tables)

    def _entries(self) -> Iterator[tuple[str, int, str, float]]:
        for name, value in {"rows": float(self.rows), **self.measures}.items():
            yield "measures", 0, name, value
        for table, columns in self.tables.items():
            for name, values in columns.items():
                yield from ((table, row, name, value) for row, value in enumerate(values))


def evaluate(
    labels: F64,
    predictions: F64,
    task: Task,
    threshold: float = 0.5,
    groups: int = 10,
    classes: Sequence[float] | None = None,
) -> Evaluation:
    """The evaluation of predictions of shape (rows,), or (rows, classes) for multiclass, where labels are indices.

    Binary labels are 0 and 1, and predictions probabilities. `classes` are the labels that stand in tables instead of
    indices. Raises `InputError` where the labels exclude the task.
    """
    if not len(labels) or len(labels) != len(predictions):
        raise InputError(f"{len(predictions)} predictions for {len(labels)} labels")
    if not (np.isfinite(labels).all() and np.isfinite(predictions).all()):
        raise InputError("a label or a prediction is not finite")
    measures: dict[str, float]
    if task == "binary":
        measures, tables = _binary(labels, predictions, threshold, groups)
    elif task == "multiclass":
        measures, tables = _multiclass(labels, predictions, classes)
    else:
        measures, tables = _numbers(labels, predictions, groups, counts=task == "count")
    return Evaluation(task, len(labels), measures, tables)


@dataclass(frozen=True)
class Ranked:
    """Rows by falling score: at each different score, how many positive and negative rows have it or a higher one."""

    thresholds: F64 = field(repr=False)
    positives: F64 = field(repr=False)
    negatives: F64 = field(repr=False)

    @property
    def recall(self) -> F64:
        """The share of the positive rows."""
        return np.asarray(self.positives / self.positives[-1])

    @property
    def fall_out(self) -> F64:
        """The share of the negative rows."""
        return np.asarray(self.negatives / self.negatives[-1])


def ranked(labels: F64, scores: F64) -> Ranked:
    """The rows ranked; raises `InputError` unless labels are 0 and 1, and both occur."""
    if not np.isin(labels, (0, 1)).all():
        raise InputError("a label is neither 0 nor 1")
    if labels.min() == labels.max():
        raise InputError("the labels have a single class, so nothing can be ranked")
    values, group = np.unique(-scores, return_inverse=True)
    positives = np.bincount(group, labels, len(values)).cumsum()
    return Ranked(-values, positives, np.bincount(group, minlength=len(values)).cumsum() - positives)


def auc(labels: F64, scores: F64) -> float:
    """The area under the ROC curve: the chance that a positive row has the higher score, ties counting half."""
    rank = ranked(labels, scores)
    return float(np.trapezoid(np.r_[0, rank.recall], np.r_[0, rank.fall_out]))


def ks(labels: F64, scores: F64) -> tuple[float, float]:
    """The Kolmogorov-Smirnov distance of the scores of positive and negative rows, and the score where it occurs."""
    rank = ranked(labels, scores)
    distance = rank.recall - rank.fall_out
    best = int(np.argmax(distance))
    return float(distance[best]), float(rank.thresholds[best])


def average_precision(labels: F64, scores: F64) -> float:
    """The mean precision over the steps of recall."""
    rank = ranked(labels, scores)
    precision = rank.positives / (rank.positives + rank.negatives)
    return float((np.diff(rank.recall, prepend=0) * precision).sum())


def poisson_deviance(counts: F64, means: F64) -> float:
    """The mean Poisson deviance of predicted means above 0: 2·mean(y·ln(y/m) - y + m)."""
    if (means <= 0).any() or (counts < 0).any():
        raise InputError("a count is negative, or a predicted mean is not above 0")
    logs = np.where(counts > 0, counts * np.log(np.where(counts > 0, counts, 1) / means), 0)
    return float(2 * (logs - counts + means).mean())


def _binary(
    labels: F64, scores: F64, threshold: float, groups: int
) -> tuple[dict[str, float], dict[str, dict[str, list[float]]]]:
    rank = ranked(labels, scores)
    distance, at = ks(labels, scores)
    clipped = np.clip(scores, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    called = scores >= threshold
    hits, misses = float(labels[called].sum()), float(labels[~called].sum())
    false_alarms, rejected = float(called.sum()) - hits, float((~called).sum()) - misses
    measures = {
        "auc": auc(labels, scores),
        "ks": distance,
        "ks_threshold": at,
        "average_precision": average_precision(labels, scores),
        "log_loss": float(-np.mean(labels * np.log(clipped) + (1 - labels) * np.log1p(-clipped))),
        "brier": float(np.mean((scores - labels) ** 2)),
        "positives": float(labels.sum()),
        "threshold": threshold,
        "accuracy": (hits + rejected) / len(labels),
        "precision": hits / (hits + false_alarms) if called.any() else 0.0,
        "recall": hits / (hits + misses),
        "f1": 2 * hits / (2 * hits + false_alarms + misses),
    }
    few = _thinned(len(rank.thresholds))
    recall, fall_out, thresholds = rank.recall[few], rank.fall_out[few], rank.thresholds[few]
    precision = (rank.positives / (rank.positives + rank.negatives))[few]
    tables = {
        "roc": _lists(fall_out=np.r_[0, fall_out], recall=np.r_[0, recall]),
        "precision_recall": _lists(recall=recall, precision=precision, threshold=thresholds),
        "ks": _lists(threshold=thresholds, positives=recall, negatives=fall_out),
        "gain": _gain(labels, scores, groups),
        "calibration": _calibration(labels, scores, groups),
        "confusion": _lists(
            label=np.array([0.0, 1.0]),
            called_0=np.array([rejected, misses]),
            called_1=np.array([false_alarms, hits]),
        ),
    }
    return measures, tables


def _gain(labels: F64, scores: F64, groups: int) -> dict[str, list[float]]:
    """By groups of rows, highest scores first: rows of equal scores share their positives evenly."""
    rank = ranked(labels, scores)
    rows = np.r_[0, rank.positives + rank.negatives]
    ends = np.linspace(0, len(labels), groups + 1)[1:]
    found = np.interp(ends, rows, np.r_[0, rank.positives]) / rank.positives[-1]
    share = ends / len(labels)
    return _lists(share=share, gain=found, cumulative_lift=found / share, lift=np.diff(found, prepend=0) * groups)


def _calibration(labels: F64, predictions: F64, groups: int) -> dict[str, list[float]]:
    """By groups of rows with rising predictions, equal ones together: their mean prediction and mean label."""
    edges = np.unique(np.quantile(predictions, np.linspace(0, 1, groups + 1)[1:-1], method="higher"))
    group = np.searchsorted(edges, predictions, side="right")
    counts = np.bincount(group, minlength=len(edges) + 1)
    kept = counts > 0
    sums = (np.bincount(group, values, len(counts))[kept] / counts[kept] for values in (predictions, labels))
    predicted, observed = sums
    return _lists(rows=counts[kept].astype(np.float64), predicted=predicted, observed=observed)


def _multiclass(
    labels: F64, predictions: F64, names: Sequence[float] | None
) -> tuple[dict[str, float], dict[str, dict[str, list[float]]]]:
    classes = predictions.shape[1]
    chosen = predictions.argmax(axis=1)
    index = labels.astype(np.int64)
    if (index != labels).any() or index.min() < 0 or index.max() >= classes:
        raise InputError("a label is not the index of a class")
    present = np.bincount(index, minlength=classes)
    areas = [auc((index == k).astype(float), predictions[:, k]) for k in range(classes) if 0 < present[k] < len(labels)]
    if not areas:
        raise InputError("the labels have a single class, so nothing can be ranked")
    own = predictions[np.arange(len(index)), index]
    counts = np.zeros((classes, classes))
    np.add.at(counts, (index, chosen), 1)
    measures = {
        "accuracy": float((chosen == index).mean()),
        "log_loss": float(-np.log(np.clip(own, _LEAST_PROBABILITY, 1)).mean()),
        "auc": float(np.mean(areas)),
    }
    numbers = np.arange(classes, dtype=np.float64) if names is None else np.asarray(names, np.float64)
    confusion = _lists(label=numbers, **{f"called_{name:g}": counts[:, k] for k, name in enumerate(numbers)})
    hits = counts.diagonal()
    each = _lists(
        label=numbers,
        rows=present.astype(np.float64),
        recall=hits / np.maximum(present, 1),
        precision=hits / np.maximum(counts.sum(axis=0), 1),
    )
    return measures, {"classes": each, "confusion": confusion}


def _numbers(
    labels: F64, predictions: F64, groups: int, *, counts: bool
) -> tuple[dict[str, float], dict[str, dict[str, list[float]]]]:
    errors = predictions - labels
    spread = float(((labels - labels.mean()) ** 2).sum())
    measures = {"rmse": float(np.sqrt((errors**2).mean())), "mae": float(np.abs(errors).mean())}
    measures["r2"] = 1 - float((errors**2).sum()) / spread if spread else 0.0
    if counts:
        measures["deviance"] = poisson_deviance(labels, predictions)
    return measures, {"calibration": _calibration(labels, predictions, groups)}


def _thinned(count: int) -> NDArray[np.int64]:
    """Indices of at most `MAX_POINTS` points, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, MAX_POINTS)).round().astype(np.int64))


def _lists(**columns: F64 | Sequence[float]) -> dict[str, list[float]]:
    return {name: np.asarray(values, np.float64).tolist() for name, values in columns.items()}
