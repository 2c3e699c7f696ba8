"""Gradient descent on weights that two parties share, over columns that several parties hold.

In each mini-batch the pair gets shares of the scores z = Σ X_p·w_p, of the residuals of predictions and labels, and of
the gradients X_p^T·e, and moves its shares of the weights. Nobody sees any of these; at the end each party is given the
shares of its own part of their mean over many steps, as single steps are noisy.

Source of the mean: Polyak, Juditsky, SIAM J. Control Optim. 1992, doi.org/10.1137/0330046; of the latter half of all
steps, Rakhlin et al., ICML 2012, arxiv.org/abs/1109.5647.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError
from mpc.federated.encoding import F64, FEATURE_FRACTION
from mpc.federated.fixed_shares import scaled, to_float, truncate
from mpc.federated.regression_params import Params
from mpc.federated.regression_products import Products
from mpc.federated.regression_residuals import SCORE_FRACTION, Residuals, Rows
from mpc.primitives import ring128
from mpc.primitives.ring128 import Ring
from mpc.spec import Progress
from protos import federated_regression_pb2 as wire

WEIGHT_FRACTION = SCORE_FRACTION - FEATURE_FRACTION
_SPARE_BITS = 4  # that gradients keep beyond the weights' until they are multiplied by the learning rate
_WEIGHT_TO_GRADIENT = 2.0 ** (FEATURE_FRACTION - WEIGHT_FRACTION)
_LARGEST_WEIGHT = 1000.0  # of a standardised column; numbers that wrapped around are as good as never below
_ORDER_DOMAIN = b"sealane/train.regression/1/order\0"

I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """One party's common rows: its encoded columns, the label holder's with the intercept's last; `targets` and
    `row_weights` at the label holder. The last `held_out` rows are for validation."""

    x: I64 = field(repr=False)
    targets: F64 | None = field(repr=False)
    row_weights: F64 | None = field(repr=False)
    held_out: int

    @property
    def training_rows(self) -> int:
        return len(self.x) - self.held_out


@dataclass(frozen=True)
class Trained:
    """The party's own weights, shape (columns, outputs); how many epochs they took; and, at the label holder, the
    validation error after each epoch."""

    weights: F64 = field(repr=False)
    epochs: int
    validation: tuple[float, ...] = field(repr=False)


@dataclass(frozen=True)
class _State:
    """Shares of all weights and of their momentum, by party."""

    weights: Mapping[str, Ring] = field(repr=False)
    momentum: Mapping[str, Ring] = field(repr=False)


class _Mean:
    """Shares of the mean of all weights after some steps."""

    def __init__(self, zero: Mapping[str, Ring]) -> None:
        self._sums, self._count = dict(zero), 0

    def add(self, weights: Mapping[str, Ring]) -> None:
        """One more step has led to these."""
        self._sums = {name: ring128.add(self._sums[name], own) for name, own in weights.items()}
        self._count += 1

    def weights(self, residuals: Residuals | None) -> dict[str, Ring]:
        """The mean, at the pair."""
        if residuals is None:
            return {}
        return {name: scaled(own, 1 / self._count, first=residuals.first) for name, own in self._sums.items()}


def train(
    products: Products,
    residuals: Residuals | None,
    params: Params,
    columns: Mapping[str, int],
    data: Data,
    progress: Progress,
) -> Trained:
    """Train; every party calls this with the number of columns of each. `residuals` is None outside the pair."""
    zero = {name: ring128.zeros(count, params.outputs) for name, count in columns.items() if products.paired}
    state, mean, best = _State(zero, zero), _Mean(zero), zero
    watch = _Watch(products, residuals, params)
    batches = -(-data.training_rows // params.batch_rows)
    first = mean_from(params, batches)
    epoch = 0
    while epoch < params.epochs:
        order = row_order(params.seed, epoch, data.training_rows)
        for batch in range(batches):
            rows = order[batch * params.batch_rows : (batch + 1) * params.batch_rows]
            state = _step(products, residuals, params, columns, data, state, rows)
            if epoch * batches + batch >= first:
                mean.add(state.weights)
            progress("training batches", epoch * batches + batch + 1, params.epochs * batches)
        epoch += 1
        if params.patience:
            latest = mean.weights(residuals)
            verdict = watch.judge(latest, data)
            best, mean = latest if verdict.best else best, _Mean(zero)
            if verdict.stop:
                break
    chosen = best if params.patience else mean.weights(residuals)
    own = products.open_to_owners(chosen, data.x.shape[1], params.outputs)
    weights = to_float(own, WEIGHT_FRACTION)
    if np.abs(weights).max(initial=0) > _LARGEST_WEIGHT:
        raise InputError("the training diverged", hint="take a smaller learning_rate or momentum")
    return Trained(weights, epoch, tuple(watch.errors))


def mean_from(params: Params, batches: int) -> int:
    """The step, counted from 0, from which on weights go into the mean: the second half of all, or, with early
    stopping, all of an epoch, where the mean begins anew with each. Steps over all rows have no noise: the last."""
    if params.patience:
        return 0
    return params.epochs * batches // 2 if batches > 1 else params.epochs - 1


def row_order(seed: int, epoch: int, count: int) -> I64:
    """A pseudo-random order of rows, the same for all parties and releases."""
    data = hashlib.shake_128(_ORDER_DOMAIN + seed.to_bytes(8, "little") + epoch.to_bytes(8, "little")).digest(8 * count)
    return np.argsort(np.frombuffer(data, "<u8"), kind="stable")


def _step(
    products: Products,
    residuals: Residuals | None,
    params: Params,
    columns: Mapping[str, int],
    data: Data,
    state: _State,
    rows: I64,
) -> _State:
    x = data.x[rows]
    scores = products.scores(x, state.weights, params.outputs)
    errors = None
    if residuals is not None and scores is not None:
        errors = residuals.of(scores, _rows_of(data, rows))
    gradients = products.gradients(x, errors, columns, params.outputs)
    if residuals is None:
        return state
    return _descend(products, residuals, params, state, gradients, len(rows))


def _rows_of(data: Data, rows: I64 | slice) -> Rows:
    weights = None if data.row_weights is None else data.row_weights[rows]
    return Rows(None if data.targets is None else data.targets[rows], weights)


def _descend(
    products: Products, residuals: Residuals, params: Params, state: _State, gradients: Mapping[str, Ring], rows: int
) -> _State:
    first = residuals.first
    excess = max(0, FEATURE_FRACTION + residuals.unit.bit_length() - WEIGHT_FRACTION - _SPARE_BITS)
    weights, momentum = {}, {}
    for name, gradient in gradients.items():
        w = state.weights[name]
        small = truncate(gradient, excess, first=first)
        step = scaled(
            small, params.learning_rate * 2.0**excess / (_WEIGHT_TO_GRADIENT * residuals.unit * rows), first=first
        )
        step = ring128.add(step, scaled(state.momentum[name], params.momentum, first=first))
        decay = scaled(w, params.learning_rate * params.l2, first=first)
        if params.intercept and name == products.parties.label_holder:
            decay[-1] = 0
        momentum[name] = ring128.add(step, decay)
        weights[name] = ring128.subtract(w, momentum[name])
    if params.l1:
        weights = _shrink(products, residuals, params, weights)
    return _State(weights, momentum)


def _shrink(products: Products, residuals: Residuals, params: Params, weights: Mapping[str, Ring]) -> dict[str, Ring]:
    """Every weight, but for the intercept's, moved towards 0 by learning_rate·l1, or to it."""
    threshold = round(params.learning_rate * params.l1 * 2**WEIGHT_FRACTION)
    names = [name for name in products.parties.all if name in weights]
    stacked = np.concatenate([weights[name] for name in names])
    shrunk = residuals.shrink(stacked, threshold)
    result, at = {}, 0
    for name in names:
        result[name] = shrunk[at : at + len(weights[name])].copy()
        at += len(weights[name])
    if params.intercept:
        result[products.parties.label_holder][-1] = weights[products.parties.label_holder][-1]
    return result


class _Watch:
    """Decides, at the label holder, after each epoch whether it was the best and whether to stop; tells the others."""

    def __init__(self, products: Products, residuals: Residuals | None, params: Params) -> None:
        self._products, self._residuals, self._params = products, residuals, params
        self.errors: list[float] = []

    def judge(self, weights: Mapping[str, Ring], data: Data) -> wire.Continue:
        """The label holder learns the mean squared error over the validation rows; all learn its verdict."""
        products, outputs = self._products, self._params.outputs
        held_out = slice(data.training_rows, None)
        scores = products.scores(data.x[held_out], weights, outputs)
        label_holder = products.parties.label_holder
        if scores is not None and self._residuals is not None:
            error = self._residuals.squared_error(scores, _rows_of(data, held_out).targets)
            if error is not None:
                self.errors.append(error / (data.held_out * outputs))
        if products.name != label_holder:
            return products.links.recv(label_holder, wire.Continue)
        best = self.errors.index(min(self.errors))
        latest = len(self.errors) - 1
        verdict = wire.Continue(stop=latest - best >= self._params.patience, best=best == latest)
        for peer in products.others:
            products.links.send(peer, verdict)
        return verdict
