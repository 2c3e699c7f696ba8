"""What a regression of parties with the same columns is good for: each predicts alone, all evaluate it together.

Every party has the whole model (`mpc.federated.regression_horizontal`), so a prediction is no job: `predict_alone`. In
evaluate.regression_horizontal each party predicts its own rows in its own process, counts them by label and score, and
the receiver gets the sums of these counts over all parties under pairwise masks (`mpc.sharing.masked_sum`).

Output:   the receiver learns measures and curves of how predictions and labels agree over the rows of all parties: see
          `mpc.federated.evaluation`. A probability counts as the middle of the thousandth of [0, 1] that it is in; so
          the confusion, and what follows from it, is exact, and curves are those of probabilities so rounded. For
          numbers and counts: the measures, exact to rounding, without a table.
Leaks:    the receiver's process sees for all parties together how many rows of either label have which score, or for
          numbers and counts sums of labels, errors and their squares; between two parties, those of the other by
          subtraction. Nobody else learns anything.
Security: that of `mpc.sharing.masked_sum`, without drop-outs.
Checks:   that all parts are of one training; labels; lengths; counts that are none.
Cost:     16 kB from each party; of numbers and counts less than 1 kB.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import ConfigDict, Field, StrictInt, StringConstraints, with_config

from mpc.errors import InputError, ProtocolError, ResultWithheld
from mpc.federated.encoding import F64, I64, read_features, read_label
from mpc.federated.regression_horizontal import KIND, MAX_FEATURES, MODEL_VERSION, predict
from mpc.federated.regression_predict import TASKS, check_same_training
from mpc.job import Job
from mpc.rng import Rng
from mpc.sharing import limbs
from mpc.sharing.masked_sum import Setting, masked_sum
from mpc.spec import Estimate, Outcome, Party, Role, Slot, Spec

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.federated.evaluation import Evaluation
    from mpc.federated.model import Model

BINS = 1000
MAX_ROWS = 2**26  # of all parties: the receiver holds two numbers for each
_UNIT = 2.0**60
_OFFSET = 2**100  # is added to a sum that may be negative


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True)
class Params:
    """The parameters of evaluate.regression_horizontal.

    `model` is the id of the job that trained the model. Fewer than `min_rows` rows in all end the job. `threshold`, in
    whole thousandths, tells two classes apart.
    """

    model: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    min_rows: Annotated[StrictInt, Field(ge=1, le=MAX_ROWS)] = 50
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5


def predict_alone(model: "Model", table: "pa.Table") -> "pa.Table":
    """The table with a column `probability` (logistic) or `prediction` beside its own, from the model's columns in it.

    No other party is needed. Raises `InputError` for a model that others hold parts of, and for columns that are
    missing or hold anything but numbers.
    """
    import pyarrow as pa

    model.require(KIND, MODEL_VERSION, model.job)
    found = predict(model, _numbers(model, table))
    name = "probability" if _family(model) == "logistic" else "prediction"
    name = name if name not in table.column_names else f"predicted {name}"
    return table.append_column(name, pa.array(found, pa.float64()))


def evaluate(party: Party[Params], tables: "Mapping[str, pa.Table]") -> Outcome:
    """Play one party. Facts: "parties", "own_rows"."""
    from mpc.federated.model import Model

    model = Model.from_bytes(party.model)
    model.require(KIND, MODEL_VERSION, party.params.model)
    family = _family(model)
    labels = read_label(tables["label"], np.arange(tables["label"].num_rows), family, 2)
    found = predict(model, _numbers(model, tables["feature"]))
    check_same_training(party, model)
    unit = _unit_of(model)
    figures = (
        _counted(labels, found) if family == "logistic" else _summed(labels / unit, found / unit, family, party.rng)
    )
    total = masked_sum(Setting.of(party, 0, b"evaluate.regression_horizontal"), figures).total
    facts = {"parties": len(party.job.members), "own_rows": len(labels)}
    if total is None:
        return Outcome(None, facts)
    if family == "logistic":
        measured = _from_counts(total, party.params)
    else:
        measured = _from_sums(total, party.params, family, facts["parties"], unit)
    return Outcome(measured.to_arrow(), facts)


def _numbers(model: "Model", table: "pa.Table") -> F64:
    """The model's columns of a table; raises `InputError` unless all are there and hold numbers."""
    names = [feature.name for feature in model.features]
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise InputError(f"column {missing[0]!r} is missing, which the model was trained with", hint="name its columns")
    return read_features(table.select(names), np.arange(table.num_rows))


def _counted(labels: F64, probabilities: F64) -> I64:
    """How many rows of label 0, then of label 1, have a probability in each bin."""
    place = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    return np.bincount(place + BINS * labels.astype(np.int64), minlength=2 * BINS)


def _from_counts(total: I64, params: Params) -> "Evaluation":
    from mpc.federated.evaluation import evaluate as measure

    if (total < 0).any() or total.max() > MAX_ROWS or total.sum() > MAX_ROWS:
        raise ProtocolError(f"a party brings counts that are none, or all together more than {MAX_ROWS} rows")
    _require_rows(int(total.sum()), params)
    middle = (np.arange(BINS) + 0.5) / BINS
    labels = np.repeat(np.repeat([0.0, 1.0], BINS), total)
    return measure(labels, np.repeat(np.tile(middle, 2), total), "binary", params.threshold)


def _require_rows(rows: int, params: Params) -> None:
    if rows < params.min_rows:
        raise ResultWithheld(f"all parties together have fewer rows than the agreed minimum of {params.min_rows}")


def _unit_of(model: "Model") -> float:
    """A power of two near what a linear model predicts, the same at all parties: what sums are formed in."""
    largest = max(float(np.abs(model.arrays[name]).max(initial=0)) for name in ("weights", "intercept"))
    return float(2.0 ** np.frexp(largest)[1]) if _family(model) == "linear" and largest else 1.0


def _summed(labels: F64, found: F64, family: str, rng: Rng) -> I64:
    """How many rows there are; and as limbs of integers, in units of 2^-60, the sums that `_from_sums` names."""
    from mpc.federated.evaluation import poisson_deviance

    errors = found - labels
    deviance = poisson_deviance(labels, found) * len(labels) if family == "poisson" and len(labels) else 0.0
    sums = [errors @ errors, np.abs(errors).sum(), labels @ labels, deviance, labels.sum()]
    figures = [len(labels)]
    try:
        units = [int(float(each) * _UNIT) for each in sums]
        units[-1] += _OFFSET  # labels may be negative
        for each in units:
            figures += limbs.split(each, rng)
    except OverflowError:
        raise InputError("the sums of labels or of errors are too large", hint="use larger units") from None
    return np.array(figures, np.int64)


def _from_sums(total: I64, params: Params, family: str, parties: int, unit: float) -> "Evaluation":
    from mpc.federated.evaluation import Evaluation

    rows, *rest = total.tolist()
    squares, magnitudes, label_squares, deviance, labels = (
        limbs.join(rest[at : at + limbs.LIMBS]) for at in range(0, len(rest), limbs.LIMBS)
    )
    labels -= parties * _OFFSET
    if rows < 0 or min(squares, magnitudes, label_squares) < 0:
        raise ProtocolError("a party brings sums that are none")
    _require_rows(rows, params)
    spread = label_squares - Fraction(labels**2, rows * int(_UNIT))
    measures = {
        "rmse": unit * float(Fraction(squares, rows * int(_UNIT))) ** 0.5,
        "mae": unit * float(Fraction(magnitudes, rows * int(_UNIT))),
        "r2": float(1 - squares / spread) if spread else 0.0,
    }
    if family == "poisson":
        measures["deviance"] = float(Fraction(deviance, rows * int(_UNIT)))
    return Evaluation(TASKS[family], rows, measures, {})


def _family(model: "Model") -> str:
    family = model.parameters.get("family")
    if family not in TASKS:
        raise InputError("not a model of a regression: it is of no known family")
    return str(family)


def _check(job: Job, params: Params) -> None:
    if len(job.receivers) != 1:
        raise InputError("one party receives an evaluation", hint="name it as the only receiver")
    thousandths = params.threshold * BINS
    if abs(thousandths - round(thousandths)) > 1e-6:
        raise InputError(f"the threshold {params.threshold} is not in whole thousandths")


def _reveals(job: Job, _params: Params) -> dict[str, str]:
    said = dict.fromkeys(job.members, "nothing but how many rows it has itself")
    (receiver,) = job.receivers
    said[receiver] = (
        "how well the model predicts over the rows of all parties; while it runs, for all together, how many rows of "
        "either label have which score, or sums of labels and errors"
    )
    if len(job.members) == 2:
        said[receiver] += ", from which it can subtract its own"
    return said


def _estimate(job: Job, _params: Params, rows: Mapping[str, int], name: str) -> Estimate:
    others, size = len(job.members) - 1, 8 * 2 * BINS
    receives, own = name in job.receivers, rows.get(name, 0)
    columns = len(job.members[name].columns.get("feature", ()))
    return Estimate(
        seconds=0.1 + own * columns * 1e-8 + others * 2e-3,
        sent_bytes=300 * others + (0 if receives else size),
        received_bytes=300 * others + (size * others if receives else 0),
        peak_bytes=150 * 2**20 + own * columns * 24,
    )


SPEC = Spec(
    name="evaluate.regression_horizontal",
    version=1,
    summary="Measure how well a regression predicts over the rows of many parties that have the same columns.",
    params=Params,
    roles={
        "party": Role(
            evaluate,
            {
                "label": Slot("number or boolean", least=1, most=1, doc="what was to be predicted"),
                "feature": Slot("number or boolean", 1, MAX_FEATURES, "the columns that the model was trained with"),
            },
            least=2,
            most=50,
        )
    },
    reveals=_reveals,
    estimate=_estimate,
    minimum_result=lambda params: params.min_rows,
    model=lambda params: params.model,
    check=_check,
)
