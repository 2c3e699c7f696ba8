"""Losses of boosted trees: where scores start, first and second derivatives, and what scores mean.

Scores have shape (rows, outputs): one output, or one a class. Labels are float64: 0 and 1, numbers, or class indices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from mpc.errors import InputError
from mpc.federated.model import Model
from mpc.federated.trees_params import Objective, TreesParams

F64 = npt.NDArray[np.float64]
BOOL = npt.NDArray[np.bool_]

_LARGEST_LABEL = 1e100  # sums of squares stay finite
_LARGEST_SCORE = 500.0  # beyond it a logistic function is 0 or 1 in float64, and exp overflows soon


@dataclass(frozen=True)
class Target:
    """What is to be learned: an objective, and for multiclass the labels' different values in ascending order."""

    objective: Objective
    classes: tuple[float, ...] = ()

    @property
    def outputs(self) -> int:
        """How many scores a row has."""
        return len(self.classes) or 1

    def start(self, labels: F64) -> F64:
        """The score of every row before the first tree: that of the labels' mean, by output."""
        if self.objective == "regression":
            return np.array([labels.mean()])
        if self.objective == "binary":
            mean = labels.mean()
            return np.array([np.log(mean / (1 - mean))])
        return np.zeros(self.outputs)

    def derivatives(self, scores: F64, labels: F64) -> tuple[F64, F64]:
        """First and second derivatives of the loss by the scores."""
        if self.objective == "regression":
            return scores - labels[:, None], np.ones_like(scores)
        p = self.predict(scores)
        if self.objective == "binary":
            return p - labels[:, None], p * (1 - p)
        return p - self._indicator(labels), 2 * p * (1 - p)  # as XGBoost, twice the diagonal of the Hessian

    def predict(self, scores: F64) -> F64:
        """Probabilities, or the numbers themselves."""
        if self.objective == "regression":
            return scores
        if self.objective == "binary":
            return np.asarray(1 / (1 + np.exp(-np.clip(scores, -_LARGEST_SCORE, _LARGEST_SCORE))))
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))

    def loss(self, scores: F64, labels: F64) -> float:
        """The mean loss: of logarithms, or root of the squared error."""
        if self.objective == "regression":
            return float(np.sqrt(np.mean((scores[:, 0] - labels) ** 2)))
        p = np.clip(self.predict(scores), 1e-15, 1 - 1e-15)
        if self.objective == "binary":
            return float(-np.mean(labels * np.log(p[:, 0]) + (1 - labels) * np.log1p(-p[:, 0])))
        return float(-np.mean(np.log(p[np.arange(len(p)), labels.astype(np.int64)])))

    def _indicator(self, labels: F64) -> F64:
        return np.asarray(labels[:, None] == np.arange(self.outputs), np.float64)


def read_target(params: TreesParams, name: str, labels: F64, fitted: BOOL) -> tuple[Target, F64]:
    """The target, and the labels as its functions take them; raises `InputError` that names the column.

    `labels` have no missing value; `fitted` says which of them are trained on.
    """
    objective, values = params.objective, np.unique(labels)
    seen = len(np.unique(labels[fitted]))
    if seen < len(values) and objective != "regression":
        raise InputError(f"label column {name!r} has a value that only rows kept for validation have")
    if seen < 2:
        raise InputError(
            f"label column {name!r} has the same value in all common rows", hint="there is nothing to learn"
        )
    if objective == "binary":
        if not np.array_equal(values, [0.0, 1.0]):
            raise InputError(
                f"label column {name!r} has other values than 0 and 1 in the common rows",
                hint="let objective be multiclass or regression, or recode the label",
            )
        return Target(objective), labels
    if objective == "regression":
        if np.abs(values).max() > _LARGEST_LABEL:
            raise InputError(f"label column {name!r} has numbers beyond 1e100: squares would overflow")
        if np.ptp(values) < 1 / _LARGEST_LABEL:
            raise InputError(f"label column {name!r} has numbers that differ by less than 1e-100")
        return Target(objective), labels
    if len(values) != params.classes:
        raise InputError(
            f"label column {name!r} has {len(values)} different values in the common rows, not the agreed "
            f"{params.classes} classes"
        )
    return Target(objective, tuple(values.tolist())), np.searchsorted(values, labels).astype(np.float64)


def target_of(model: Model, outputs: int) -> Target:
    """What a model with so many scores a row was trained for; raises `InputError` unless it says so."""
    objectives: dict[str, Objective] = {name: name for name in get_args(Objective)}
    objective, classes = objectives.get(str(model.parameters.get("objective"))), model.content.get("classes")
    if objective is None or not isinstance(classes, list):
        raise InputError("not a model of boosted trees: it does not say what it was trained for")
    numbers = all(isinstance(value, (int, float)) for value in classes)
    if not numbers or classes != sorted(set(classes)) or (len(classes) or 1) != outputs:
        raise InputError("not a model of boosted trees: its classes are not those of its trees")
    if (objective == "multiclass") != bool(classes):
        raise InputError("not a model of boosted trees: it has classes, and was trained for one output, or none")
    return Target(objective, tuple(float(value) for value in classes))


def area_under_curve(labels: F64, scores: F64) -> float:
    """AUC of scores for labels 0 and 1, ties counted half; NaN unless both labels occur."""
    positive = int(labels.sum())
    if not 0 < positive < len(labels):
        return float("nan")
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((ranks[labels == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(labels) - positive)))


def class_names(classes: Sequence[float]) -> list[str]:
    """The classes as text: whole numbers without a point."""
    return [str(int(value)) if value == int(value) else str(value) for value in classes]
