"""What train.regression finds, in the clear: the same steps in floating point, on all parties' columns in one place."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mpc.federated.encoding import F64, I64, ONE
from mpc.federated.regression_data import row_weights
from mpc.federated.regression_params import POISSON_POWER, POISSON_RANGE, Params
from mpc.federated.regression_training import mean_from, row_order


@dataclass(frozen=True)
class Plain:
    """Weights by party, shape (columns, outputs), the label holder's with the intercept's last; and the validation
    error after each epoch."""

    weights: Mapping[str, F64] = field(repr=False)
    validation: tuple[float, ...] = field(repr=False)


def fit_plain(columns: Mapping[str, I64], targets: F64, params: Params) -> Plain:
    """Train on encoded columns (rows, columns) of each party, the label holder first, without that of the intercept.

    `targets` have shape (rows, outputs).
    """
    x, weighed = np.concatenate(list(columns.values()), axis=1) / ONE, row_weights(params, targets)
    regularised = np.ones((x.shape[1], 1))
    if params.intercept:
        own = next(iter(columns.values())).shape[1]
        x, regularised = np.insert(x, own, 1.0, axis=1), np.insert(regularised, own, 0.0, axis=0)
    count = len(x) - (int(params.validation * len(x)) if params.patience else 0)
    weights = np.zeros((x.shape[1], params.outputs))
    momentum, best, errors = weights, weights, list[float]()
    first, after = mean_from(params, -(-count // params.batch_rows)), list[F64]()
    step = 0
    for epoch in range(params.epochs):
        order = row_order(params.seed, epoch, count)
        for start in range(0, count, params.batch_rows):
            rows = order[start : start + params.batch_rows]
            residuals = predictions(params, x[rows] @ weights) - targets[rows]
            residuals = residuals if weighed is None else residuals * weighed[rows]
            gradient = x[rows].T @ residuals / len(rows) + params.l2 * weights * regularised
            momentum = params.momentum * momentum + params.learning_rate * gradient
            weights = weights - momentum
            shrunk = np.sign(weights) * np.maximum(np.abs(weights) - params.learning_rate * params.l1, 0)
            weights = np.where(regularised == 1, shrunk, weights)
            after += [weights] if step >= first else []
            step += 1
        if params.patience:
            mean, after = np.mean(after, axis=0), []
            errors.append(float(np.mean((predictions(params, x[count:] @ mean) - targets[count:]) ** 2)))
            best = mean if errors.index(min(errors)) == len(errors) - 1 else best
            if len(errors) - 1 - int(np.argmin(errors)) >= params.patience:
                break
    chosen = best if params.patience else np.mean(after, axis=0)
    ends = np.cumsum([each.shape[1] for each in columns.values()]) + params.intercept
    return Plain(dict(zip(columns, np.split(chosen, ends[:-1]), strict=True)), tuple(errors))


def predictions(params: Params, scores: F64) -> F64:
    """What training takes for the predictions at these scores."""
    if params.family == "linear":
        return scores
    if params.family == "poisson":
        return np.asarray((1 + np.clip(scores, *POISSON_RANGE) / 2**POISSON_POWER) ** 2**POISSON_POWER)
    return np.asarray(np.clip(0.5 + scores / 6, 0, 1) if params.clips else 0.5 + scores / 4)
