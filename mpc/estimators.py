"""Joint models with the interface that researchers know from scikit-learn, without needing it.

Tables of several parties are no one array X, so that `clone` and `ParameterGrid` take these models, and
`cross_val_score` and `Pipeline` do not; rows are matched by key, so to fold the holder's table is to fold all.

    tables = {"bank": bank_table, "telecom": telecom_table}     pandas, polars or Arrow, each with the column "id"
    model = VerticalLogisticRegression(epochs=20)
    model.fit(tables, label="default", holder="bank", key="id")
    model.predict_proba(new_tables)                             a row for each row of the bank's table

Parameters are those of the protocol that trains, by the same names; `runner` runs jobs: all parties in this process
unless another is given, such as `parties.sandbox_runner.on_nodes`. After `fit`: `job_`, the training job; `parts_`,
each party's part of the model as bytes (of those that the runner gives); `facts_`, by party.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError
from mpc.federated.evaluation import Evaluation, Task, evaluate
from mpc.federated.jobs import evaluation_job, prediction_job
from mpc.job import Job, Member
from mpc.local import run_job
from mpc.registry import get
from mpc.spec import Outcome
from mpc.tables import as_arrow

if TYPE_CHECKING:
    import pyarrow as pa

F64 = NDArray[np.float64]
E = TypeVar("E")

#: Runs a job on each party's table, and on its part of the model that the job uses; gives the outcomes by party.
Runner = Callable[[Job, Mapping[str, Any], Mapping[str, bytes]], Mapping[str, Outcome]]

_ROW = "sealane_row"


def in_process(job: Job, tables: Mapping[str, Any], parts: Mapping[str, bytes]) -> Mapping[str, Outcome]:
    """The default runner: every party in this process."""
    return run_job(job, tables, models=parts)


def _set_up(self: Any, protocol: str, fixed: Mapping[str, Any], runner: Runner, params: Mapping[str, Any]) -> None:
    """Give an estimator the parameters of a protocol but for the fixed ones; raises `InputError` for others."""
    self.protocol, self.fixed, self.runner = protocol, fixed, runner
    for each in fields(get(protocol).params):
        if each.name not in fixed:
            setattr(self, each.name, each.default)
    _set_params(self, **params)


def _get_params(self: Any, deep: bool = True) -> dict[str, Any]:  # noqa: ARG001 (scikit-learn's signature)
    """The parameters by name."""
    names = [each.name for each in fields(get(self.protocol).params) if each.name not in self.fixed]
    return {name: getattr(self, name) for name in (*names, "runner")}


def _set_params(self: E, **params: Any) -> E:
    """Change parameters; raises `InputError` for names there are not."""
    known = _get_params(self)
    for name, value in params.items():
        if name not in known:
            raise InputError(f"{type(self).__name__} has no parameter {name!r}, only {', '.join(known)}")
        setattr(self, name, value)
    return self


def _show(self: Any) -> str:
    """Parameters other than their defaults."""
    default = _get_params(type(self)())
    changed = [f"{name}={value!r}" for name, value in _get_params(self).items() if value != default[name]]
    return f"{type(self).__name__}({', '.join(changed)})"


def _fit_vertical(
    self: Any,
    tables: Mapping[str, Any],
    *,
    label: str,
    holder: str,
    key: str | Sequence[str] = "id",
    features: Mapping[str, str | Sequence[str]] | None = None,
) -> Any:
    """Train on the rows whose key all tables have; gives the estimator.

    `tables` maps each party to its table; `holder` is the one with the column `label`. `features` names each party's
    columns to learn from; of a party that it leaves out these are all but the key and the label.
    """
    keys = _names(key)
    unknown = sorted(set(features or ()) - set(tables))
    if unknown:
        raise InputError(f"features of {unknown[0]}, which has no table, only {', '.join(tables)}")
    if holder not in tables:
        raise InputError(f"{holder} has no table, only {', '.join(tables)}")
    arrow = {name: as_arrow(table) for name, table in tables.items()}
    _refuse_missing(arrow[holder], holder, (label,))
    members = {}
    for name, table in arrow.items():
        own_label = label if name == holder else ""
        columns = {"key": keys, **_features(self.protocol, name, table, keys, own_label, (features or {}).get(name))}
        if name == holder:
            columns["label"] = (label,)
        for used in columns.values():
            _refuse_missing(table, name, used)
        members[name] = Member("label_holder" if name == holder else "feature_holder", columns=columns)
    job = Job(self.protocol, members, (holder,), _job_params(self))
    _keep(self, job, self.runner(job, arrow, {}))
    self.holder_, self.label_, self.key_ = holder, label, keys
    return self


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    """Names of columns; one may be given alone."""
    return (names,) if isinstance(names, str) else tuple(names)


def _features(
    protocol: str,
    party: str,
    table: "pa.Table",
    keys: Sequence[str],
    label: str,
    chosen: str | Sequence[str] | None,
) -> dict[str, tuple[str, ...]]:
    """The slots for a party's columns to learn from; raises `InputError` for categories if the model takes none."""
    from mpc.federated.columns import counts_as_number, slots_of

    others = [name for name in table.column_names if name not in (*keys, label)]
    names = others if chosen is None else _names(chosen)
    _refuse_missing(table, party, names)
    if any("category" in role.slots for role in get(protocol).roles.values()):
        return slots_of(table, names)
    for name in names:
        kind = table.schema.field(name).type
        if not counts_as_number(kind):
            raise InputError(
                f"{party}: column {name!r} is of type {kind}, and a regression takes numbers",
                hint="leave it out by `features`, make numbers of it (mpc.federated.scorecards), or train trees",
            )
    return {"feature": tuple(names)} if names else {}


def _refuse_missing(table: "pa.Table", party: str, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise InputError(f"{party}: the table has no column {missing[0]!r}, only {', '.join(table.column_names)}")


def _job_params(self: Any) -> dict[str, Any]:
    return {**self.fixed, **{name: value for name, value in _get_params(self).items() if name != "runner"}}


def _keep(self: Any, job: Job, outcomes: Mapping[str, Outcome]) -> None:
    self.job_ = job
    self.parts_ = {name: outcome.model for name, outcome in outcomes.items() if outcome.model}
    self.facts_ = {name: dict(outcome.facts) for name, outcome in outcomes.items()}


def _require_fitted(self: Any) -> None:
    if not hasattr(self, "job_"):
        raise InputError(f"this {type(self).__name__} is not fitted", hint="call fit first")


def _predict_vertical(self: Any, tables: Mapping[str, Any]) -> F64:
    """Predictions for the holder's rows, shape (rows, outputs), NaN for a row that not every party has."""
    import pyarrow as pa

    _require_fitted(self)
    arrow = {name: as_arrow(table) for name, table in tables.items()}
    if set(arrow) != set(self.job_.members):
        raise InputError(f"tables are needed for exactly {', '.join(self.job_.members)}")
    for name, member in self.job_.members.items():
        needed = [column for slot, columns in member.columns.items() if slot != "label" for column in columns]
        _refuse_missing(arrow[name], name, needed)
        arrow[name] = arrow[name].select(needed)
    own = arrow[self.holder_]
    arrow[self.holder_] = own.append_column(_ROW, pa.array(range(own.num_rows), pa.int64()))
    job = prediction_job(self.job_, (self.holder_,), output={self.holder_: (_ROW,)})
    result = self.runner(job, arrow, self.parts_)[self.holder_].table
    assert result is not None
    names = [name for name in result.column_names if name not in (*self.key_, _ROW)]
    found = np.full((own.num_rows, len(names)), np.nan)
    found[result[_ROW].to_numpy()] = np.stack([result[name].to_numpy() for name in names], axis=1)
    if len(names) > 1:
        self.classes_ = np.array([float(name.rsplit(" ", 1)[1]) for name in names])
    return found


def _predict_numbers(self: Any, tables: Mapping[str, Any]) -> F64:
    """The prediction for each of the holder's rows, NaN for a row that not every party has."""
    return np.asarray(_predict_vertical(self, tables)[:, 0])


def _predict_proba(self: Any, tables: Mapping[str, Any]) -> F64:
    """The probability of each class (`classes_`) for each of the holder's rows, NaN where not every party has it."""
    found = _predict_vertical(self, tables)
    if found.shape[1] > 1:
        return found
    self.classes_ = np.array([0.0, 1.0])
    return np.concatenate([1 - found, found], axis=1)


def _predict_classes(self: Any, tables: Mapping[str, Any]) -> F64:
    """The most probable class for each of the holder's rows, NaN for a row that not every party has."""
    probabilities = _predict_proba(self, tables)
    known = ~np.isnan(probabilities[:, 0])
    found = np.full(len(probabilities), np.nan)
    found[known] = self.classes_[probabilities[known].argmax(axis=1)]
    return found


def _evaluation(self: Any, tables: Mapping[str, Any]) -> Evaluation:
    """How predictions and labels of the holder's table agree, on the rows that all parties have."""
    from mpc.federated.columns import read_numbers

    _require_fitted(self)
    own = as_arrow(tables[self.holder_])
    _refuse_missing(own, self.holder_, (self.label_,))
    labels = read_numbers(own, self.label_)
    tasks: dict[str, Task] = {"linear": "number", "regression": "number", "poisson": "count"}
    params = _job_params(self)
    task = tasks.get(str(params.get("family", params.get("objective"))))
    if task is not None:
        found = _predict_numbers(self, tables)
        known = ~np.isnan(found)
        return evaluate(labels[known], found[known], task)
    found = _predict_proba(self, tables)
    known = ~np.isnan(found[:, 0])
    if found.shape[1] == 2 and set(self.classes_) == {0.0, 1.0}:
        return evaluate(labels[known], found[known, 1], "binary")
    unknown = int((~np.isin(labels[known], self.classes_)).sum())
    if unknown:
        raise InputError(f"{self.holder_}: {unknown} common rows have a label that no row had in training")
    places = np.searchsorted(self.classes_, labels[known]).astype(np.float64)
    return evaluate(places, found[known], "multiclass", classes=self.classes_.tolist())


class VerticalLogisticRegression:
    """Logistic regression on columns of several parties: train.regression of that family."""

    def __init__(self, *, runner: Runner = in_process, **params: Any) -> None:
        _set_up(self, "train.regression", {"family": "logistic"}, runner, params)

    __repr__ = _show
    get_params = _get_params
    set_params = _set_params
    fit = _fit_vertical
    predict = _predict_classes
    predict_proba = _predict_proba
    evaluate = _evaluation


class VerticalLinearRegression:
    """Linear regression on columns of several parties: train.regression of that family."""

    def __init__(self, *, runner: Runner = in_process, **params: Any) -> None:
        _set_up(self, "train.regression", {"family": "linear", **_NO_CLASSES}, runner, params)

    __repr__ = _show
    get_params = _get_params
    set_params = _set_params
    fit = _fit_vertical
    predict = _predict_numbers
    evaluate = _evaluation


class VerticalPoissonRegression:
    """Regression of counts on columns of several parties: train.regression of the family poisson."""

    def __init__(self, *, runner: Runner = in_process, **params: Any) -> None:
        _set_up(self, "train.regression", {"family": "poisson", **_NO_CLASSES}, runner, params)

    __repr__ = _show
    get_params = _get_params
    set_params = _set_params
    fit = _fit_vertical
    predict = _predict_numbers
    evaluate = _evaluation


class VerticalBoostedTrees:
    """Boosted trees on columns of several parties: train.boosted_trees. Columns other than numbers are categories.

    With the objective regression `predict` gives numbers, otherwise classes, and `predict_proba` their probabilities.
    """

    def __init__(self, *, runner: Runner = in_process, **params: Any) -> None:
        _set_up(self, "train.boosted_trees", {}, runner, params)

    def predict(self, tables: Mapping[str, Any]) -> F64:
        """The number or the most probable class for each of the holder's rows, NaN where not every party has it."""
        numbers = _get_params(self)["objective"] == "regression"
        return _predict_numbers(self, tables) if numbers else _predict_classes(self, tables)

    def predict_proba(self, tables: Mapping[str, Any]) -> F64:
        """As `_predict_proba`; raises `InputError` for the objective regression."""
        if _get_params(self)["objective"] == "regression":
            raise InputError("boosted trees with the objective regression predict no probabilities")
        return _predict_proba(self, tables)

    __repr__ = _show
    get_params = _get_params
    set_params = _set_params
    fit = _fit_vertical
    evaluate = _evaluation


class HorizontalLogisticRegression:
    """Logistic regression over the rows of parties with the same columns: train.regression_horizontal."""

    runner: Runner
    job_: Job
    parts_: Mapping[str, bytes]

    def __init__(self, *, runner: Runner = in_process, **params: Any) -> None:
        _set_up(self, "train.regression_horizontal", {"family": "logistic"}, runner, params)

    def fit(
        self, tables: Mapping[str, Any], *, label: str, features: str | Sequence[str] | None = None
    ) -> "HorizontalLogisticRegression":
        """Train on all rows of all tables, the first party adding up; gives the estimator.

        `features` are the columns to learn from; without it all but the label.
        """
        arrow = {name: as_arrow(table) for name, table in tables.items()}
        first = next(iter(arrow), "")
        if not first:
            raise InputError("no tables to train on")
        chosen = _names(features or [name for name in arrow[first].column_names if name != label])
        for name, table in arrow.items():
            _refuse_missing(table, name, (label, *chosen))
        member = Member("party", columns={"label": (label,), "feature": chosen})
        job = Job("train.regression_horizontal", dict.fromkeys(arrow, member), (first,), _job_params(self))
        _keep(self, job, self.runner(job, arrow, {}))
        return self

    def predict_proba(self, table: Any) -> F64:
        """The probabilities of 0 and 1 for each row of a table that has the columns; no other party is needed."""
        from mpc.federated.model import Model
        from mpc.federated.regression_horizontal_use import predict_alone

        _require_fitted(self)
        model = Model.from_bytes(next(iter(self.parts_.values())))
        found = predict_alone(model, as_arrow(table)).columns[-1].to_numpy()
        return np.stack([1 - found, found], axis=1)

    def evaluate(self, tables: Mapping[str, Any]) -> Evaluation:
        """How predictions and labels agree over the rows of all parties: evaluate.regression_horizontal."""
        _require_fitted(self)
        job = evaluation_job(self.job_)
        outcomes = self.runner(job, {name: as_arrow(table) for name, table in tables.items()}, self.parts_)
        return Evaluation.from_arrow(outcomes[job.receivers[0]].table)

    def predict(self, table: Any) -> F64:
        """0 or 1 for each row, whichever is more probable."""
        return np.asarray(self.predict_proba(table).argmax(axis=1), np.float64)

    __repr__ = _show
    get_params = _get_params
    set_params = _set_params


_NO_CLASSES = {"classes": 2, "class_weight": (), "sigmoid": "piecewise"}
