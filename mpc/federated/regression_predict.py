"""Joint prediction by a regression whose weights different parties keep (predict.regression), and its evaluation.

Each party multiplies its own columns by its own weights. The first receiver gets the sum of these partial scores under
pairwise masks (`mpc.sharing.masked_sum`), turns it into predictions, and passes the scores on to further receivers.

Output:   each receiver learns the prediction for each of its rows whose key all parties have, in the order of its own
          table: its key columns, its output columns, then `prediction` (linear, poisson), `probability` (logistic), or
          `probability of C` for each class. For evaluate.regression, measures of how predictions and labels agree.
Leaks:    as `mpc.federated.alignment`. A receiver learns each row's score, and by subtracting its own part the sum of
          the others' parts: between two parties, the other's partial score, from which it could in time work out the
          other's weights if it knew that party's columns. Receivers learn what the outputs stand for, and of a linear
          model the label's mean and deviation in training. In evaluate.regression only the label holder's process
          sees the scores, and its result holds the measures alone. A party that receives nothing learns nothing else.
Security: that of the alignment and of `mpc.sharing.masked_sum`, without drop-outs.
Checks:   that all parts are of one training; columns against the model's; lengths.
Cost:     8 bytes a row, output and party, to the first receiver, and as many to each further one.
Source:   as `mpc.sharing.masked_sum`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field, StrictInt, StringConstraints, with_config

from mpc.errors import InputError, ProtocolError
from mpc.federated import alignment
from mpc.federated.alignment import FEATURE_HOLDER, LABEL_HOLDER
from mpc.federated.declarations import KEY_SLOT
from mpc.federated.encoding import CLIP, F64, FEATURE_FRACTION, I64, Label, Scaling, encode, read_features, read_label
from mpc.federated.regression import KIND, MAX_FEATURES, MODEL_VERSION
from mpc.federated.regression_params import MAX_ROWS, POISSON_POWER, POISSON_RANGE, Parties
from mpc.federated.serving_params import ServeParams
from mpc.federated.trees_objective import class_names
from mpc.job import Job
from mpc.psi.params import Params as KeyParams
from mpc.psi.params import check_keys
from mpc.sharing.links import Links
from mpc.sharing.masked_sum import Setting, masked_sum, recv_words, send_words
from mpc.spec import Estimate, Outcome, Party, Role, Slot, Spec
from protos import federated_regression_pb2 as wire

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.federated.evaluation import Task
    from mpc.federated.model import Model

WEIGHT_FRACTION = 32 - FEATURE_FRACTION
_SCORE_UNIT = 2.0 ** (FEATURE_FRACTION + WEIGHT_FRACTION)


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True)
class Params:
    """The parameters of predict.regression and evaluate.regression.

    `model` is the id of the job that trained the model; `normalisation` as in training; with fewer than `min_rows`
    common rows nothing is predicted. `threshold` is where evaluate.regression tells classes apart.
    """

    model: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    normalisation: tuple[str, ...] = ()
    min_rows: Annotated[StrictInt, Field(ge=1, le=MAX_ROWS)] = 1
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5


AnyParty = Party[Params] | Party[ServeParams]


def predict(party: Party[Params], tables: "Mapping[str, pa.Table]") -> Outcome:
    """Play one party of predict.regression.

    Facts: those of the alignment, and "clipped" (own numbers beyond the range).
    """
    joint = _joint_scores(party, tables)
    if joint.scores is None:
        return Outcome(None, joint.facts)
    return Outcome(_with_predictions(tables, joint, predictions(joint.model, joint.scores, joint.label)), joint.facts)


def evaluate(party: Party[Params], tables: "Mapping[str, pa.Table]") -> Outcome:
    """Play one party of evaluate.regression: the label holder's table is `Evaluation.to_arrow`. Facts as `predict`."""
    from mpc.federated import evaluation

    joint = _joint_scores(party, tables)
    if joint.scores is None or "label" not in tables:
        return Outcome(None, joint.facts)
    classes = joint.model.parameters.get("classes", 2)
    known = read_label(tables["label"], joint.rows, _family(joint.model), classes)
    found = predictions(joint.model, joint.scores, joint.label)
    task = TASKS[_family(joint.model)]
    if joint.label.classes:
        task, known = "multiclass", _indices(known, joint.label.classes)
    values = found if joint.label.classes else found[:, 0]
    measured = evaluation.evaluate(known, values, task, party.params.threshold, classes=joint.label.classes or None)
    return Outcome(measured.to_arrow(), joint.facts)


@dataclass(frozen=True)
class _Joint:
    """The party's model and common rows, and at a receiver the scores and what they stand for."""

    model: "Model"
    rows: I64 = field(repr=False)
    scores: F64 | None = field(repr=False)
    label: Label = field(repr=False)
    facts: dict[str, int]


def _joint_scores(party: Party[Params], tables: "Mapping[str, pa.Table]") -> _Joint:
    """Align, and add up the parties' partial scores for the receivers."""
    part = Part.ready(party, tables)
    scores = sum_for_receivers(party, part.partial, b"predict.regression")
    label = exchange_label(party, part.model) or Label(np.zeros((0, 1)))
    return _Joint(part.model, part.rows, scores, label, part.facts)


@dataclass(frozen=True)
class Part:
    """A party's own part of every common row's score, in the shared order, in units of 2^-32: (rows, outputs)."""

    model: "Model"
    rows: I64 = field(repr=False)  # of its own table
    partial: I64 = field(repr=False)
    facts: dict[str, int]

    @classmethod
    def ready(cls, party: AnyParty, tables: "Mapping[str, pa.Table]") -> "Part":
        """Align with the others; raises `InputError` or `ProtocolError` if the parts of the model do not fit."""
        model, columns = _prepare(party, tables)
        aligned = alignment.align(party, tables["key"], LABEL_HOLDER)
        check_same_training(party, model)
        partial, clipped = partial_scores(model, read_features(columns, aligned.rows))
        return cls(model, aligned.rows, partial, {**aligned.facts, "clipped": clipped})


def _prepare(party: AnyParty, tables: "Mapping[str, pa.Table]") -> "tuple[Model, pa.Table | None]":
    """The party's part of the model, and its columns in the model's order; raises `InputError` if they do not fit."""
    from mpc.federated.columns import check_schema, read_columns
    from mpc.federated.model import Model

    model = Model.from_bytes(party.model)
    model.require(KIND, MODEL_VERSION, party.params.model)
    roles = {name: member.role for name, member in party.job.members.items()}
    if model.party != party.name or dict(model.members) != roles:
        raise InputError(
            f"{party.name}: the model was trained by {', '.join(sorted(model.members))} in other roles than these",
            hint="name the same parties in the same roles as in training",
        )
    check_schema(read_columns(tables), [(feature.name, feature.kind) for feature in model.features], party.name)
    names = [feature.name for feature in model.features]
    return model, tables["feature"].select(names) if names else None


def partial_scores(model: "Model", numbers: F64) -> tuple[I64, int]:
    """The part of the scores of these rows of own columns, in units of 2^-32, shape (rows, outputs), and how many
    numbers were clipped. Raises `InputError` for arrays that are none of a regression or scores that do not fit."""
    columns = len(model.features)
    weights = model.array("weights", "float64", (columns, -1))
    intercept = model.array("intercept", "float64", (weights.shape[1],))
    mean, deviation = (model.array(name, "float64", (columns,)) for name in ("mean", "deviation"))
    if not (deviation > 0).all():
        raise InputError("not a model of a regression: a column has no deviation")
    largest = (np.abs(weights).sum(axis=0) * CLIP + np.abs(intercept)).max(initial=0)
    if largest * _SCORE_UNIT >= 2.0**56:  # masked_sum takes 50 parties' int64
        raise InputError("the model's weights are so large that scores would overflow")
    encoded = encode(numbers, Scaling(tuple(f.name for f in model.features), mean, deviation))
    scores = encoded.numbers @ np.rint(weights * 2**WEIGHT_FRACTION).astype(np.int64)
    return scores + np.rint(intercept * _SCORE_UNIT).astype(np.int64), encoded.clipped


def check_same_training(party: Party[Any], model: "Model") -> None:
    """Raise `ProtocolError` unless all parties' parts are of the same attempt at the same training."""
    links = Links(party.peers)
    own = wire.ModelIdentity(
        job=model.job, job_digest=bytes.fromhex(model.job_digest), session=bytes.fromhex(model.session)
    )
    for peer in party.peers:
        links.send(peer, own)
    for peer in party.peers:
        if links.recv(peer, wire.ModelIdentity) != own:
            raise ProtocolError(f"{peer}: its part of the model is of another training")


def sum_for_receivers(party: AnyParty, partial: I64, label: bytes) -> F64 | None:
    """The scores, which all parties' partial ones sum up to: at receivers. `label` is new for each sum of a session."""
    first, *more = party.job.receivers
    links = Links(party.peers)
    setting = Setting.of(party, 0, label, party.progress)
    total = masked_sum(setting, partial.reshape(-1)).total
    if total is not None:
        for peer in more:
            send_words(links, peer, total.view(np.uint64))
    elif party.name in more:
        total = recv_words(links, first, partial.size).view(np.int64)
    return None if total is None else total.reshape(partial.shape) / _SCORE_UNIT


def exchange_label(party: AnyParty, model: "Model") -> Label | None:
    """What the outputs stand for: from the label holder's part of the model, to the receivers; None elsewhere."""
    who = Parties.of(party.job)
    if party.name not in (who.label_holder, *party.job.receivers):
        return None
    links, outputs = Links(party.peers), model.arrays["weights"].shape[1]
    if party.name == who.label_holder:
        label = _label_of(model, outputs)
        for peer in party.job.receivers:
            if peer != party.name:
                links.send(peer, wire.Scale(mean=label.mean, deviation=label.deviation, classes=label.classes))
        return label
    told = links.recv(who.label_holder, wire.Scale)
    label = Label(np.zeros((0, outputs)), tuple(told.classes), told.mean, told.deviation)
    if not _may_be(label, outputs):
        raise ProtocolError(
            f"{who.label_holder}: sent a scale that no label has, or other than {outputs if outputs > 1 else 0} classes"
        )
    return label


def _label_of(model: "Model", outputs: int) -> Label:
    """What the outputs stand for, by the label holder's part."""
    classes = model.content.get("classes")
    numbers = [model.content.get("label_mean"), model.content.get("label_deviation")]
    if isinstance(classes, list) and all(isinstance(value, (int, float)) for value in (*numbers, *classes)):
        mean, deviation, *classes = map(float, [*numbers, *classes])
        label = Label(np.zeros((0, outputs)), tuple(classes), mean, deviation)
        if _may_be(label, outputs):
            return label
    raise InputError("not a model of a regression: it does not say what its label was")


def _may_be(label: Label, outputs: int) -> bool:
    """Whether a label can have such a scale and classes, which are ascending: one for each of several outputs."""
    finite = np.isfinite([label.mean, label.deviation, *label.classes]).all()
    ascending = list(label.classes) == sorted(set(label.classes))
    return bool(finite and label.deviation > 0 and ascending and len(label.classes) == (outputs if outputs > 1 else 0))


def _family(model: "Model") -> str:
    return str(model.parameters.get("family"))


def predictions(model: "Model", scores: F64, label: Label) -> F64:
    """Scores of shape (rows, outputs) as the model's predictions: probabilities by the sigmoid it was trained with,
    those of several classes scaled to sum up to 1; numbers in the label's unit; or means of counts."""
    family = _family(model)
    if family == "linear":
        return np.asarray(scores * label.deviation + label.mean)
    if family == "poisson":
        return exponential(scores)
    linear = model.parameters.get("sigmoid") == "linear"
    found = np.clip(0.5 + scores / (4 if linear else 6), 0, 1)
    if found.shape[1] == 1:
        return found
    sums = found.sum(axis=1, keepdims=True)
    return np.where(sums > 0, found / np.where(sums > 0, sums, 1), 1 / found.shape[1])


def exponential(scores: F64) -> F64:
    """e^z as the training approximates it: (1 + z/64)^64 for z clipped to [-12, 6]."""
    return np.asarray((1 + np.clip(scores, *POISSON_RANGE) / 2**POISSON_POWER) ** 2**POISSON_POWER)


def _with_predictions(tables: "Mapping[str, pa.Table]", joint: _Joint, values: F64) -> "pa.Table":
    """The party's own rows that all have, in their order, with the predictions beside them."""
    import pyarrow as pa

    from mpc.psi.table import own_columns

    order = np.argsort(joint.rows)
    table = own_columns(tables).take(pa.array(joint.rows[order]))
    for index, heading in enumerate(headings_of(joint.model, joint.label)):
        name = heading if heading not in table.column_names else f"predicted {heading}"
        table = table.append_column(name, pa.array(values[order, index], pa.float64()))
    return table


def headings_of(model: "Model", label: Label) -> list[str]:
    """The names of the columns of predictions."""
    if label.classes:
        return [f"probability of {name}" for name in class_names(label.classes)]
    return ["probability" if _family(model) == "logistic" else "prediction"]


def _indices(labels: F64, classes: tuple[float, ...]) -> F64:
    """Labels as indices into the classes, which are ascending; raises `InputError` for others."""
    unknown = np.flatnonzero(~np.isin(labels, classes))
    if len(unknown):
        raise InputError(f"{len(unknown)} common rows have a label that no row had in training")
    return np.searchsorted(classes, labels).astype(np.float64)


def check(job: Job, params: Params | ServeParams) -> None:
    check_keys(job, KeyParams(params.normalisation))


def _check_evaluation(job: Job, params: Params) -> None:
    check(job, params)
    if job.receivers != (Parties.of(job).label_holder,):
        raise InputError("only the label holder can receive an evaluation", hint="name it as the only receiver")


def _reveals(job: Job, _params: Params) -> dict[str, str]:
    return _say(job, "the predictions for these rows")


def _reveals_evaluation(job: Job, _params: Params) -> dict[str, str]:
    return _say(job, "measures of the predictions; its node sees the predictions while it computes")


def _say(job: Job, result: str) -> dict[str, str]:
    said = alignment.reveals(job, Parties.of(job).label_holder)
    for name in job.receivers:
        others = sorted(set(job.members) - {name})
        whose = f"{others[0]}'s part" if len(others) == 1 else "the sum of the others' parts"
        said[name] += f"; {result}, from which it can work out {whose} of each score"
    return said


def estimate(job: Job, _params: Params | ServeParams, rows: Mapping[str, int], name: str) -> Estimate:
    aligned = alignment.estimate(job, Parties.of(job).label_holder, dict(rows), name)
    common, others = min(rows.values()), len(job.members) - 1
    first, *more = job.receivers
    told, heard = (8 * common * len(more), 8 * common * others) if name == first else (8 * common, 0)
    heard += 8 * common * (name in more)
    columns = len(job.members[name].columns.get("feature", ()))
    return Estimate(
        seconds=aligned.seconds + common * (1e-7 + columns * 3e-8),
        sent_bytes=aligned.sent_bytes + told + 300 * others,
        received_bytes=aligned.received_bytes + heard + 300 * others,
        peak_bytes=aligned.peak_bytes + common * (100 + 24 * columns),
    )


TASKS: "dict[str, Task]" = {"logistic": "binary", "linear": "number", "poisson": "count"}
PREDICT_SLOTS = {
    "key": KEY_SLOT,
    "feature": Slot("number or boolean", most=MAX_FEATURES, doc="the columns that the model was trained with"),
}
_OUTPUT = {"output": Slot("any", most=32, doc="columns of the party's own result beside the key")}
_LABEL = {"label": Slot("number or boolean", least=1, most=1, doc="what was predicted")}

SPEC = Spec(
    name="predict.regression",
    version=1,
    summary="Predict by a regression that several parties trained, for the rows that all of them have.",
    params=Params,
    roles={
        LABEL_HOLDER: Role(predict, PREDICT_SLOTS | _OUTPUT),
        FEATURE_HOLDER: Role(predict, PREDICT_SLOTS | _OUTPUT, most=alignment.MOST_PARTIES - 1),
    },
    reveals=_reveals,
    estimate=estimate,
    minimum_result=lambda params: params.min_rows,
    model=lambda params: params.model,
    check=check,
)

EVALUATE = Spec(
    name="evaluate.regression",
    version=1,
    summary="Measure how well a regression that several parties trained predicts a label, on the rows that all have.",
    params=Params,
    roles={
        LABEL_HOLDER: Role(evaluate, PREDICT_SLOTS | _LABEL),
        FEATURE_HOLDER: Role(evaluate, PREDICT_SLOTS, most=alignment.MOST_PARTIES - 1),
    },
    reveals=_reveals_evaluation,
    estimate=estimate,
    minimum_result=lambda params: params.min_rows,
    model=lambda params: params.model,
    check=_check_evaluation,
)
