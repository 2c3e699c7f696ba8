"""Boosting over the columns of several parties: rounds of trees, sampling, early stopping. See `trees_grow`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from mpc.federated.trees_forest import Forest, Tree
from mpc.federated.trees_grow import GRADIENT_BITS, PRIVATE_GRADIENT_BITS, Gradients, Judge, grow
from mpc.federated.trees_objective import Target, area_under_curve
from mpc.federated.trees_params import TreesParams

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
BOOL = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Round:
    """How good the model is after a round; None where there is no such figure."""

    round: int
    training_loss: float
    validation_loss: float | None
    training_auc: float | None
    validation_auc: float | None


@dataclass(frozen=True)
class Fitted:
    """A trained model as the label holder has it; `rounds` are all, also those after the best one."""

    forest: Forest
    rounds: tuple[Round, ...]
    kept_rounds: int
    scores: F64 = field(repr=False)  # of all rows, by the forest


def drawn(params: TreesParams, *what: str | int) -> np.random.Generator:
    """A generator that all parties can make: rows and columns are drawn for all to see."""
    domain = "/".join(["sealane/trees", str(params.seed), *map(str, what)])
    return np.random.default_rng(int.from_bytes(sha256(domain.encode()).digest(), "little"))


def training_rows(params: TreesParams, rows: int) -> BOOL:
    """Which of the aligned rows are trained on: all but the validation rows."""
    fitted = np.ones(rows, np.bool_)
    kept_out = int(params.validation * rows)
    fitted[drawn(params, "validation").permutation(rows)[:kept_out]] = False
    return fitted


def columns_of_tree(params: TreesParams, tree: int, party: str, columns: int) -> I64:
    """Which of a party's columns a tree may use, ascending."""
    if params.column_sample == 1:
        return np.arange(columns)
    chosen = max(1, round(params.column_sample * columns))
    return np.sort(drawn(params, "columns", tree, party).permutation(columns)[:chosen])


def boost(
    labels: F64,
    target: Target,
    params: TreesParams,
    judge: Judge,
    local: Judge,
    sides: int,
    progress: Callable[[int, int], None],
) -> Fitted:
    """Train on labels of all aligned rows, with `sides` sides; `local` judges in the first `local_trees` rounds."""
    fitted = training_rows(params, len(labels))
    start = target.start(labels[fitted])
    scores = np.tile(start, (len(labels), 1))
    trees: list[Tree] = []
    used = [0] * sides
    rounds: list[Round] = []
    best, best_scores = 0, scores
    for index in range(params.trees):
        g, h = target.derivatives(scores, labels)
        scores = scores.copy()
        for output in range(target.outputs):
            gradients = make_gradients(params, len(trees), fitted, g[:, output], h[:, output])
            tree, weights = grow(gradients, local if index < params.local_trees else judge, params, used)
            trees.append(tree)
            scores[:, output] += weights
        rounds.append(_round(index + 1, target, labels, scores, fitted))
        progress(index + 1, params.trees)
        if not params.patience or _loss(rounds[-1]) < _loss(rounds[best - 1]) or best == 0:
            best, best_scores = index + 1, scores
        elif index + 1 - best >= params.patience:
            break
    forest = Forest(start, tuple(trees[: best * target.outputs]))
    return Fitted(forest, tuple(rounds), best, best_scores)


def _loss(after: Round) -> float:
    return after.training_loss if after.validation_loss is None else after.validation_loss


def _round(number: int, target: Target, labels: F64, scores: F64, fitted: BOOL) -> Round:
    losses: list[float | None] = []
    areas: list[float | None] = []
    for rows in (fitted, ~fitted):
        some = bool(rows.any())
        losses.append(target.loss(scores[rows], labels[rows]) if some else None)
        area = area_under_curve(labels[rows], scores[rows, 0]) if some and target.objective == "binary" else None
        areas.append(None if area is None or np.isnan(area) else area)
    if losses[0] is None:
        raise AssertionError("there are rows to train on")
    return Round(number, losses[0], losses[1], areas[0], areas[1])


def make_gradients(params: TreesParams, tree: int, fitted: BOOL, g: F64, h: F64) -> Gradients:
    """The integers that a tree is grown on, of the rows drawn for it."""
    counted, weight = _drawn_rows(params, tree, fitted, g)
    values, scales = np.zeros((len(g), 2), np.int64), np.empty(2)
    bits = PRIVATE_GRADIENT_BITS if params.private_split else GRADIENT_BITS
    for column, real in enumerate((g * weight, h * weight)):
        largest = float(np.abs(real[counted]).max())
        scales[column] = 2.0 ** (bits - np.frexp(largest)[1]) if largest else 1.0
        values[counted, column] = np.rint(real[counted] * scales[column]).astype(np.int64)
    return Gradients(tree, values, counted, scales)


def _drawn_rows(params: TreesParams, tree: int, fitted: BOOL, g: F64) -> tuple[BOOL, F64]:
    """The rows that a tree is grown on, and their weights."""
    weight = np.ones(len(g))
    if not params.goss and params.row_sample == 1:
        return fitted, weight
    rows = np.flatnonzero(fitted)
    generator = drawn(params, "rows", tree)
    counted = np.zeros(len(g), np.bool_)
    if not params.goss:
        chosen = max(1, round(params.row_sample * len(rows)))
        counted[generator.permutation(rows)[:chosen]] = True
        return counted, weight
    order = rows[np.argsort(-np.abs(g[rows]), kind="stable")]
    top = max(1, round(params.goss_top * len(rows)))
    rest = generator.permutation(order[top:])[: max(1, round(params.goss_rest * len(rows)))]
    counted[order[:top]] = counted[rest] = True
    weight[rest] = (1 - params.goss_top) / params.goss_rest
    return counted, weight


def gains_by_side(forest: Forest, sides: int) -> Mapping[int, list[float]]:
    """By side, the gain of each of its rules."""
    found: dict[int, list[float]] = {side: [] for side in range(sides)}
    for tree in forest.trees:
        for owner in range(sides):
            mine = tree.owner == owner
            order = np.argsort(tree.rule[mine])
            found[owner] += tree.gain[mine][order].tolist()
    return found
