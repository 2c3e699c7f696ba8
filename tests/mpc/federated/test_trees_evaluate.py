"""evaluate.boosted_trees: the label holder's measures are those of its predictions, and nobody else has any."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from tree_parties import mixed, run

from mpc.errors import InputError
from mpc.federated.evaluation import Evaluation, evaluate
from mpc.federated.jobs import evaluation_job, prediction_job
from mpc.job import Job, Member
from mpc.registry import get

ROWS = 160


@pytest.mark.parametrize(
    ("labels", "task"), [("binary", "binary"), ("regression", "number"), ("multiclass", "multiclass")]
)
def test_measures_are_those_of_the_predictions_that_a_receiver_would_get(labels: str, task: str) -> None:
    subject = mixed(ROWS, labels=labels)
    models = {name: outcome.model for name, outcome in run(subject).items()}
    outcomes = run(subject, evaluation_job(subject.job, threshold=0.3), models)
    assert outcomes["telco"].table is None
    found = Evaluation.from_arrow(outcomes["bank"].table)
    predicted = run(subject, prediction_job(subject.job, ["bank"]), models)["bank"].table.drop(["id"])
    values = np.stack([column.to_numpy() for column in predicted.columns], axis=1)
    known = subject.tables["bank"][subject.job.members["bank"].columns["label"][0]].to_numpy().astype(float)
    classes = None
    if task == "multiclass":
        classes, known = np.unique(known, return_inverse=True)
        known, classes = known.astype(float), classes.tolist()
    expected = evaluate(known, values if task == "multiclass" else values[:, 0], task, 0.3, classes=classes)
    assert found == expected
    assert found.rows == ROWS


def test_a_class_that_the_model_does_not_know_is_refused_by_column() -> None:
    subject = mixed(ROWS, labels="multiclass")
    models = {name: outcome.model for name, outcome in run(subject).items()}
    name = subject.job.members["bank"].columns["label"][0]
    bank = subject.tables["bank"]
    changed = bank.set_column(bank.column_names.index(name), name, pa.array([99] * ROWS))
    with pytest.raises(InputError, match=f"column '{name}' has a class that the model was not trained to tell"):
        run(replace(subject, tables={**subject.tables, "bank": changed}), evaluation_job(subject.job), models)


def test_only_the_label_holder_can_be_told() -> None:
    job = evaluation_job(mixed(ROWS).job)
    assert job.receivers == ("bank",)
    with pytest.raises(InputError, match="one receiver, the label holder bank"):
        get(job.protocol).parse(replace(job, receivers=("bank", "telco")))


def test_a_job_that_trains_nothing_gives_no_job_that_predicts() -> None:
    matching = Job("psi.ecdh", {"a": Member("receiver"), "b": Member("sender")}, ("a",))
    for make in (lambda: prediction_job(matching, ["a"]), lambda: evaluation_job(matching)):
        with pytest.raises(InputError, match="trains no model that predicts"):
            make()
    with pytest.raises(InputError, match="shop takes no part in the model, only bank, telco"):
        prediction_job(mixed(ROWS).job, ["shop"])
