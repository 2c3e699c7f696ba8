"""Prediction alone and joint evaluation by a model of parties with the same columns, against plain computation."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.message import Message
from sklearn.metrics import accuracy_score, mean_absolute_error, mean_poisson_deviance, r2_score, roc_auc_score
from tree_parties import Meddler

from mpc.errors import InputError, ProtocolError, ResultWithheld
from mpc.federated.evaluation import Evaluation
from mpc.federated.jobs import evaluation_job, prediction_job, serving_job
from mpc.federated.model import Model
from mpc.federated.regression_horizontal_use import predict_alone
from mpc.job import Job, Member
from mpc.local import run_job, run_parties
from mpc.registry import get
from mpc.rng import system_rng
from mpc.session import run_role
from mpc.spec import Outcome, no_progress
from protos import masked_sum_pb2

NAMES = ("ann", "bob", "cai")


@cache
def trained(family: str) -> tuple[dict[str, pa.Table], Job, dict[str, bytes]]:
    rng = np.random.default_rng(5)
    tables = {}
    for name in NAMES:
        x = rng.normal(size=(200, 2))
        z = x @ [1.0, -0.5]
        y = {
            "logistic": (rng.random(200) < 1 / (1 + np.exp(-z))).astype(int),
            "linear": 1000 * z - 5000 + rng.normal(size=200),
            "poisson": rng.poisson(np.exp(z / 2)),
        }[family]
        tables[name] = pa.table({"a": x[:, 0], "b": x[:, 1], "y": y})
    member = Member("party", columns={"label": ("y",), "feature": ("a", "b")})
    job = Job("train.regression_horizontal", dict.fromkeys(NAMES, member), ("bob",), {"family": family})
    outcomes = run_job(job, tables)
    return tables, job, {name: outcome.model for name, outcome in outcomes.items()}


def evaluated(family: str, **fields: Any) -> tuple[Evaluation, np.ndarray, np.ndarray, dict[str, Outcome]]:
    """The evaluation, all labels, all predictions, and what each party ends with."""
    tables, job, models = trained(family)
    wanted = evaluation_job(job, **fields)
    outcomes = run_job(wanted, tables, models=models)
    (receiver,) = wanted.receivers
    alone = [predict_alone(Model.from_bytes(models["ann"]), table).columns[-1].to_numpy() for table in tables.values()]
    labels = np.concatenate([table["y"].to_numpy() for table in tables.values()])
    return Evaluation.from_arrow(outcomes[receiver].table), labels, np.concatenate(alone), outcomes


def test_each_party_predicts_alone_what_the_pooled_model_says() -> None:
    tables, _, models = trained("logistic")
    found = [predict_alone(Model.from_bytes(models[name]), tables["ann"]) for name in NAMES]
    assert found[0].column_names == ["a", "b", "y", "probability"]
    assert found[0].equals(found[1]) and found[0].equals(found[2])
    assert roc_auc_score(found[0]["y"], found[0]["probability"]) > 0.7
    numbers = predict_alone(Model.from_bytes(trained("linear")[2]["bob"]), trained("linear")[0]["bob"])
    assert numbers.column_names[-1] == "prediction"
    assert r2_score(numbers["y"], numbers["prediction"]) > 0.99


def test_columns_that_the_model_needs_are_named() -> None:
    tables, _, models = trained("logistic")
    model = Model.from_bytes(models["ann"])
    with pytest.raises(InputError, match="column 'b' is missing"):
        predict_alone(model, tables["ann"].select(["a"]))
    with pytest.raises(InputError, match="column 'a', row 2"):
        predict_alone(model, pa.table({"a": [1.0, float("nan")], "b": [1.0, 2.0]}))


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_classes_are_measured_over_the_rows_of_all(threshold: float) -> None:
    found, labels, scores, outcomes = evaluated("logistic", threshold=threshold)
    assert found.rows == 600
    assert found.measures["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-3)
    called = scores >= threshold
    assert found.measures["accuracy"] == accuracy_score(labels, called)
    confusion = found.tables["confusion"]
    assert confusion["called_1"] == [np.sum(called & (labels == 0)), np.sum(called & (labels == 1))]
    assert {name for name, outcome in outcomes.items() if outcome.table is not None} == {"bob"}


def test_a_receiver_may_be_another_party() -> None:
    _, _, _, outcomes = evaluated("logistic", receiver="cai")
    assert [name for name, outcome in outcomes.items() if outcome.table is not None] == ["cai"]


def test_numbers_and_counts_are_measured_too() -> None:
    found, labels, predictions, _ = evaluated("linear")
    assert found.measures["mae"] == pytest.approx(mean_absolute_error(labels, predictions), rel=1e-9)
    assert found.measures["r2"] == pytest.approx(r2_score(labels, predictions), rel=1e-9)
    counts, labels, predictions, _ = evaluated("poisson")
    assert counts.measures["deviance"] == pytest.approx(mean_poisson_deviance(labels, predictions), rel=1e-6)


def test_bad_labels_thresholds_and_too_few_rows_are_refused() -> None:
    tables, job, models = trained("logistic")
    bad = tables | {"cai": pa.table({"a": [0.0], "b": [0.0], "y": [2]})}
    with pytest.raises(InputError, match="label 'y', row 1: the value is neither 0 nor 1"):
        run_job(evaluation_job(job), bad, models=models)
    with pytest.raises(InputError, match="whole thousandths"):
        run_job(evaluation_job(job, threshold=0.12345), tables, models=models)
    with pytest.raises(ResultWithheld, match="fewer rows than the agreed minimum of 601"):
        run_job(evaluation_job(job, min_rows=601), tables, models=models)
    one = {name: table.filter(pa.compute.equal(table["y"], 1)) for name, table in tables.items()}
    with pytest.raises(InputError, match="single class"):
        run_job(evaluation_job(job), one, models=models)


def test_a_part_of_another_training_is_noticed() -> None:
    tables, job, models = trained("logistic")
    again = Job(job.protocol, job.members, job.receivers, job.params, id=job.id)
    others = {name: outcome.model for name, outcome in run_job(again, tables).items()}
    with pytest.raises(ProtocolError, match="its part of the model is of another training"):
        run_job(evaluation_job(job), tables, models=models | {"cai": others["cai"]})


def test_jobs_that_need_parts_are_refused_with_what_to_do() -> None:
    _, job, _ = trained("logistic")
    for make in (lambda: prediction_job(job, ["bob"]), lambda: serving_job(job, "bob", calls=1, rows=1)):
        with pytest.raises(InputError, match="each party has the whole model") as error:
            make()
        assert "predict alone" in error.value.hint


@pytest.mark.parametrize("family", ["logistic", "linear"])
def test_counts_that_are_none_are_refused(family: str) -> None:
    tables, job, models = trained(family)
    wanted = evaluation_job(job)
    spec = get(wanted.protocol)

    def change(message: Message) -> list[Message]:
        words = np.frombuffer(message.words, np.uint64).copy()
        words -= np.uint64(2**62)
        message.words = words.tobytes()
        return [message]

    def part(name: str) -> Callable[..., Outcome]:
        slots = {slot: tables[name].select(list(names)) for slot, names in wanted.members[name].columns.items()}
        return lambda peers: run_role(
            spec, wanted, name, slots, peers, system_rng, no_progress, bytes(16), model=models[name]
        )

    types = {masked_sum_pb2.Words.DESCRIPTOR.full_name: masked_sum_pb2.Words}
    with pytest.raises(ProtocolError, match="a party brings"):
        run_parties(
            {name: part(name) for name in NAMES},
            wrap=lambda name, _peer, pipe: Meddler(pipe, change, types) if name == "ann" else pipe,
        )


def test_it_says_what_the_receiver_sees() -> None:
    _, job, _ = trained("logistic")
    wanted = evaluation_job(job)
    spec = get(wanted.protocol)
    said = spec.reveals(wanted, spec.parse(wanted))
    assert "how many rows of either label have which score" in said["bob"]
    assert said["ann"] == "nothing but how many rows it has itself"


@pytest.mark.parametrize("unit", [2e-9, 1e4])
def test_the_unit_of_a_label_changes_only_measures_in_that_unit(unit: float) -> None:
    tables, job, _ = trained("linear")
    scaled = {
        name: table.set_column(
            table.column_names.index("y"), "y", pa.compute.multiply(table["y"].cast(pa.float64()), unit)
        )
        for name, table in tables.items()
    }
    found = []
    for each in (tables, scaled):
        models = {name: outcome.model for name, outcome in run_job(job, each).items()}
        outcome = run_job(evaluation_job(job), each, models=models)[job.receivers[0]]
        found.append(Evaluation.from_arrow(outcome.table).measures)
    assert found[1]["r2"] == pytest.approx(found[0]["r2"], rel=1e-6)
    assert found[1]["rmse"] == pytest.approx(found[0]["rmse"] * unit, rel=1e-6)
    assert found[1]["mae"] == pytest.approx(found[0]["mae"] * unit, rel=1e-6)
