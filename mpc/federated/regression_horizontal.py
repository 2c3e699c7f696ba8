"""Regression over the rows of n parties that have the same columns, by masked sums of gradients, without a join.

First the parties sum up counts, columns and squares, from which all standardise alike. Then, round by round, the
aggregator, who is the first receiver, sends the weights, and the parties sum up what a Newton step takes of their
rows: the loss, its gradient and second derivatives. So the result is that of a regression on all rows together.

Output:   every party the whole model. The receivers' tables hold one row: rows, rounds and parties.
Leaks:    all learn how many rows there are in all, the mean and deviation of each column, of a linear regression's
          label too, how many labels are not 0, the weights of each round, and who dropped out. The aggregator's process
          sees the sums of each round: loss, gradient and second derivatives over the rows of all parties together;
          between two parties, those of the other by subtraction. When a party drops out, the aggregator can tell that
          party's share of the sums apart as far as the weights of two rounds are alike.
Security: that of `mpc.sharing.masked_sum`.
Checks:   lengths, numbers that are not finite; sums that could overflow.
Cost:     a round takes (d + 2)(d + 3)/2 numbers of 8 bytes from each party for d columns, and about six rounds.
Source:   Newton's method with halved steps; sums as `mpc.sharing.masked_sum`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field, StrictInt, with_config

from mpc.errors import InputError, ProtocolError, ResultWithheld
from mpc.federated.encoding import F64, I64, Scaling, read_features, read_label
from mpc.job import Job
from mpc.sharing import limbs
from mpc.sharing.dropouts import require_enough, threshold
from mpc.sharing.masked_sum import Setting, masked_sum
from mpc.spec import Estimate, Outcome, Party, Role, Slot, Spec
from protos import federated_horizontal_pb2 as wire

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.federated.model import Model

KIND = "whole_regression"
MODEL_VERSION = 1
MAX_FEATURES = 300

_MOMENT_FRACTION = 20
_SUM_FRACTION = 30
_WORST_CONDITION = 1e10
_LARGEST_SCORE = 30.0  # beyond it e^z has no more meaning for a count


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True)
class Params:
    """The parameters of train.regression_horizontal.

    `family` is logistic (labels 0 and 1), linear or poisson (counts). The loss is the mean negative log-likelihood and
    l2·|w|²/2 of the weights of standardised columns, the intercept's left out. It ends when no weight's gradient is
    above `tolerance`, or after `rounds`. Fewer than `min_rows` rows in all end the job. `survive_dropouts` is how many
    parties may be lost on the way; the model is then that of the others' rows.
    """

    family: Literal["logistic", "linear", "poisson"] = "logistic"
    l2: Annotated[float, Field(ge=0, le=1000)] = 0.0
    intercept: bool = True
    rounds: Annotated[StrictInt, Field(ge=1, le=200)] = 25
    tolerance: Annotated[float, Field(gt=0, le=1)] = 1e-7
    min_rows: Annotated[StrictInt, Field(ge=1, le=2**40)] = 50
    survive_dropouts: Annotated[StrictInt, Field(ge=0, le=24)] = 0


@dataclass(frozen=True)
class _Data:
    """A party's rows: standardised columns, and a 1 for the intercept; and labels."""

    x: F64 = field(repr=False)
    y: F64 = field(repr=False)


@dataclass(frozen=True)
class _Sums:
    """Over the rows of all that are left: loss, gradient and second derivatives, not yet regularised."""

    loss: float
    gradient: F64 = field(repr=False)
    hessian: F64 = field(repr=False)


def run(party: Party[Params], tables: "Mapping[str, pa.Table]") -> Outcome:
    """Play one party. Facts: "parties", "survivors", "rows" (of all at the start), "rounds"."""
    from mpc.psi.table import one_row

    params = party.params
    rows = np.arange(tables["feature"].num_rows)
    numbers = read_features(tables["feature"], rows)
    labels = read_label(tables["label"], rows, params.family, 2)
    columns = dict(zip(tables["feature"].column_names, numbers.T, strict=True))
    measured = columns | ({tables["label"].column_names[0]: labels} if params.family == "linear" else {})
    setting = Setting.of(party, params.survive_dropouts, b"moments")
    setting, moments = _sum_moments(party, setting, measured, labels)
    _check_moments(party, moments, list(measured))
    mean, deviation = (np.array(each[: len(columns)]) for each in (moments.mean, moments.deviation))
    x = (numbers - mean) / deviation
    if params.intercept:
        x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    centre, unit = _scale_of_label(params, moments)
    data = _Data(x, (labels - centre) / unit)
    if setting.name == setting.aggregator:
        setting, weights, rounds = _lead(party, setting, data, moments.rows)
    else:
        setting, weights, rounds = _follow(party, setting, data)
    facts = {
        "parties": len(party.job.members),
        "survivors": len(setting.members),
        "rows": moments.rows,
        "rounds": rounds,
    }
    weights = weights * unit
    if params.intercept:
        weights[-1] += centre
    model = _model(party, tables, Scaling(tuple(columns), mean, deviation), weights, facts)
    summary = {name: facts[name] for name in ("rows", "rounds", "survivors")}
    table = one_row(summary) if party.name in party.job.receivers else None
    dropped = tuple(sorted(set(party.job.members) - set(setting.members)))
    return Outcome(table, facts, dropped=dropped, model=model.to_bytes())


def _sum(setting: Setting, label: bytes, vector: I64) -> tuple[Setting, I64 | None]:
    """One sum, and the setting of the next one, among those that are left."""
    found = masked_sum(replace(setting, label=label), vector)
    return setting.among(found.survivors), found.total


def _scale_of_label(params: Params, moments: wire.Moments) -> tuple[float, float]:
    """What labels have subtracted, and what they are divided by: sums and tolerance then do not depend on their unit.

    Without an intercept that would make up for it, nothing is subtracted.
    """
    if params.family != "linear":
        return 0.0, 1.0
    return moments.mean[-1] if params.intercept else 0.0, moments.deviation[-1]


def _sum_moments(
    party: Party[Params], setting: Setting, columns: Mapping[str, F64], labels: F64
) -> tuple[Setting, wire.Moments]:
    """Counts, sums and sums of squares, exact in units of 2^-20, from which the aggregator tells the moments."""
    rows = len(labels)
    figures = [rows, int((labels != 0).sum())]
    for name, numbers in columns.items():
        if np.abs(numbers).max(initial=0) >= 2.0**40:
            raise InputError(f"column {name!r} holds numbers of 2^40 or more", hint="use larger units")
        scaled = np.rint(numbers * 2.0**_MOMENT_FRACTION).astype(np.int64).astype(object)
        try:
            figures += limbs.split(int(scaled.sum()) + (rows << 61), party.rng)
            figures += limbs.split(int((scaled**2).sum()), party.rng)
        except OverflowError:
            raise InputError(f"the sum of squares of column {name!r} is too large", hint="use larger units") from None
    setting, total = _sum(setting, b"moments", np.array(figures, np.int64))
    if total is None:
        return setting, setting.links.recv(setting.aggregator, wire.Moments)
    moments = _moments(total.tolist(), len(columns))
    for peer in setting.members:
        if peer != setting.name:
            setting.links.try_send(peer, moments)
    return setting, moments


def _moments(total: list[int], columns: int) -> wire.Moments:
    rows, label_rows, *rest = total
    moments = wire.Moments(rows=max(rows, 0), label_rows=max(label_rows, 0))
    unit = 1 << _MOMENT_FRACTION
    for column in range(columns if rows > 0 else 0):
        at = 2 * limbs.LIMBS * column
        summed = limbs.join(rest[at : at + limbs.LIMBS]) - (rows << 61)
        squares = limbs.join(rest[at + limbs.LIMBS : at + 2 * limbs.LIMBS])
        moments.mean.append(summed / (rows * unit))
        moments.deviation.append(float(max(rows * squares - summed**2, 0)) ** 0.5 / (rows * unit))
    return moments


def _check_moments(party: Party[Params], moments: wire.Moments, names: list[str]) -> None:
    """Every party raises the same for what all rows together exclude."""
    if moments.rows < party.params.min_rows:
        raise ResultWithheld(f"all parties together have fewer rows than the agreed minimum of {party.params.min_rows}")
    numbers = np.array([*moments.mean, *moments.deviation])
    if len(numbers) != 2 * len(names) or not np.isfinite(numbers).all():
        raise ProtocolError(f"{party.job.receivers[0]}: sent moments of another number of columns, or not finite")
    for name, deviation in zip(names, moments.deviation, strict=True):
        if deviation <= 0:
            raise InputError(
                f"column {name!r} is constant over all parties' rows, or differs by less than a millionth",
                hint="leave it out, or use smaller units",
            )
    if moments.label_rows == 0 or (party.params.family == "logistic" and moments.label_rows == moments.rows):
        raise InputError("the label has a single value over all parties' rows")


def _lead(party: Party[Params], setting: Setting, data: _Data, rows: int) -> tuple[Setting, F64, int]:
    """The aggregator's part: Newton steps, halved while they do not lower the loss of the same parties."""
    params, width = party.params, data.x.shape[1]
    penalty = np.full(width, params.l2 * rows)
    if params.intercept:
        penalty[-1] = 0.0
    weights, step, best = np.zeros(width), np.zeros(width), np.inf
    before = setting.members
    for number in range(params.rounds):
        _tell(setting, weights, done=False)
        setting, sums = _sum_round(party, setting, data, weights, number)
        loss = sums.loss + float(penalty @ weights**2) / 2
        if loss > best + 1e-9 * abs(best) and setting.members == before:
            step = step / 2
            weights = weights - step
            continue
        best, before = loss, setting.members
        gradient = sums.gradient + penalty * weights
        if np.abs(gradient).max() <= params.tolerance * rows:
            break
        step = -_solve(sums.hessian + np.diag(penalty), gradient)
        weights = weights + step
        party.progress("rounds", number + 1, params.rounds)
    else:
        raise InputError(
            f"the training did not converge in {params.rounds} rounds",
            hint="give an l2 above 0, more rounds, or a larger tolerance",
        )
    _tell(setting, weights, done=True)
    return setting, weights, number + 1


def _solve(hessian: F64, gradient: F64) -> F64:
    if np.linalg.cond(hessian) > _WORST_CONDITION:
        raise InputError("columns depend on each other over all parties' rows", hint="give an l2 above 0")
    return np.asarray(np.linalg.solve(hessian, gradient), np.float64)


def _tell(setting: Setting, weights: F64, *, done: bool) -> None:
    reached = [setting.name]
    for peer in setting.members:
        if peer != setting.name:
            setting.links.try_send(peer, wire.Weights(weights=weights.tolist(), done=done))
            reached.append(peer)
    require_enough(setting.members, reached, setting.needed)


def _follow(party: Party[Params], setting: Setting, data: _Data) -> tuple[Setting, F64, int]:
    """Another party's part."""
    for number in range(party.params.rounds + 1):
        told = setting.links.recv(setting.aggregator, wire.Weights)
        weights = np.array(told.weights)
        if len(weights) != data.x.shape[1] or not np.isfinite(weights).all():
            raise ProtocolError(f"{setting.aggregator}: sent weights of another number of columns, or not finite")
        if told.done:
            return setting, weights, number
        if number == party.params.rounds:
            break
        setting, _ = _sum_round(party, setting, data, weights, number)
        party.progress("rounds", number + 1, party.params.rounds)
    raise ProtocolError(f"{setting.aggregator}: asks for more rounds than agreed")


def _sum_round(party: Party[Params], setting: Setting, data: _Data, weights: F64, number: int) -> tuple[Setting, _Sums]:
    """Contribute the own rows' sums at these weights; gives the sums of all at the aggregator, the own elsewhere."""
    loss, residuals, curvature = _at(party.params.family, data.x @ weights, data.y)
    upper = np.triu_indices(data.x.shape[1])
    hessian = (data.x * curvature[:, None]).T @ data.x
    own = np.concatenate([[loss], data.x.T @ residuals, hessian[upper]])
    if not np.abs(own).max() < 2.0 ** (62 - _SUM_FRACTION):
        raise InputError("the sums of a round overflow", hint="give an l2 above 0, or leave out extreme columns")
    setting, total = _sum(setting, b"round %d" % number, np.rint(own * 2.0**_SUM_FRACTION).astype(np.int64))
    summed = own if total is None else total / 2.0**_SUM_FRACTION
    width = data.x.shape[1]
    square = np.zeros((width, width))
    square[upper] = summed[1 + width :]
    square = square + np.triu(square, 1).T
    return setting, _Sums(float(summed[0]), summed[1 : 1 + width], square)


def _at(family: str, z: F64, y: F64) -> tuple[float, F64, F64]:
    """The loss, and its first and second derivative by each row's score."""
    if family == "linear":
        return float(((z - y) ** 2).sum() / 2), z - y, np.ones_like(z)
    if family == "poisson":
        mean = np.exp(np.minimum(z, _LARGEST_SCORE))
        return float((mean - y * z).sum()), mean - y, mean
    p = 1 / (1 + np.exp(-np.clip(z, -500, 500)))
    return float((np.logaddexp(0, z) - y * z).sum()), p - y, p * (1 - p)


def _model(
    party: Party[Params],
    tables: "Mapping[str, pa.Table]",
    scaling: Scaling,
    weights: F64,
    facts: Mapping[str, int],
) -> "Model":
    from mpc.federated.model import Feature, Model

    split = len(weights) - party.params.intercept
    return Model.of_training(
        party,
        KIND,
        MODEL_VERSION,
        features=tuple(
            Feature(name, "number", abs(float(w))) for name, w in zip(scaling.names, weights[:split], strict=True)
        ),
        label=tables["label"].column_names[0],
        sizes=dict(facts),
        revealed=_reveals(party.job, party.params),
        arrays={
            "weights": weights[:split],
            "intercept": weights[split:] if party.params.intercept else np.zeros(1),
            "mean": scaling.mean,
            "deviation": scaling.deviation,
        },
    )


def predict(model: "Model", numbers: F64) -> F64:
    """Predictions for rows of the model's columns, without other parties: probabilities, numbers, or means of counts.

    Raises `InputError` for another kind of model or number of columns.
    """
    model.require(KIND, MODEL_VERSION, model.job)
    columns = len(model.features)
    if numbers.ndim != 2 or numbers.shape[1] != columns:
        raise InputError(f"the model was trained with {columns} columns, and these have shape {numbers.shape}")
    weights, mean, deviation = (model.array(name, "float64", (columns,)) for name in ("weights", "mean", "deviation"))
    z = (numbers - mean) / deviation @ weights + model.array("intercept", "float64", (1,))[0]
    family = model.parameters.get("family")
    if family == "linear":
        return np.asarray(z)
    if family == "poisson":
        return np.asarray(np.exp(np.minimum(z, _LARGEST_SCORE)))
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -500, 500))))


def _reveals(job: Job, params: Params) -> dict[str, str]:
    label = " and of the label" if params.family == "linear" else ""
    text = (
        f"the weights of every round, the mean and deviation of each column{label} over all rows, "
        "how many rows and how many labels other than 0 there are, and which parties dropped out"
    )
    aggregator = job.receivers[0]
    sums = "; while it runs, the sums of loss, gradient and second derivatives over all parties' rows in each round"
    if len(job.members) == 2:
        sums += ", from which it can subtract its own"
    said = {name: text + sums * (name == aggregator) for name in job.members}
    if params.survive_dropouts:
        left = threshold(len(job.members), params.survive_dropouts)
        note = f"; any {left} of the {len(job.members)} parties together could learn each party's own sums"
        said = {name: text + note for name, text in said.items()}
    return said


def _estimate(job: Job, params: Params, rows: Mapping[str, int], name: str) -> Estimate:
    columns = len(job.members[name].columns.get("feature", ())) + 1
    parties, rounds = len(job.members), min(params.rounds, 8)
    vector = 8 * (columns + 2) * (columns + 3) // 2
    if name == job.receivers[0]:
        sent, received = rounds * 8 * columns * (parties - 1), rounds * vector * (parties - 1)
    else:
        sent, received = rounds * vector, rounds * 8 * columns
    messages = rounds * parties * (400 if params.survive_dropouts else 150)
    own = rows.get(name, 0)
    return Estimate(
        seconds=0.1 + rounds * (own * columns**2 * 1e-9 + parties * 2e-3),
        sent_bytes=sent + messages,
        received_bytes=received + messages,
        peak_bytes=150 * 2**20 + own * columns * 40,
    )


def _check(job: Job, params: Params) -> None:
    threshold(len(job.members), params.survive_dropouts)
    counts = {len(member.columns.get("feature", ())) for member in job.members.values()}
    if len(counts) > 1:
        raise InputError("the parties name different numbers of columns", hint="name the same ones in the same order")


SPEC = Spec(
    name="train.regression_horizontal",
    version=1,
    summary="Train a regression over the rows of many parties that have the same columns, by masked sums.",
    params=Params,
    roles={
        "party": Role(
            run,
            {
                "label": Slot("number or boolean", least=1, most=1, doc="what to predict"),
                "feature": Slot(
                    "number or boolean", 1, MAX_FEATURES, "columns to learn from, in the order all parties name them"
                ),
            },
            least=2,
            most=50,
        )
    },
    reveals=_reveals,
    estimate=_estimate,
    minimum_result=lambda params: params.min_rows,
    tolerates=lambda params: params.survive_dropouts,
    check=_check,
)
