import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.metrics import mean_poisson_deviance, roc_auc_score

from mpc.errors import InputError, PolicyDenied, ProtocolError
from mpc.federated.evaluation import Evaluation
from mpc.federated.model import Model
from mpc.federated.model_card import model_card
from mpc.federated.regression_data import load
from mpc.federated.regression_params import Params
from mpc.job import Job, Member
from mpc.local import run_job
from mpc.registry import get
from mpc.rng import system_rng
from mpc.spec import Outcome, Party, no_progress
from mpc.testing import insecure_paillier

DATA = Path(__file__).parents[2] / "data"
SMALL = {"key_bits": 512, "min_rows": 10}


@pytest.fixture(autouse=True)
def _short_keys():
    with insecure_paillier():
        yield


@cache
def read(name):
    """The tables of bank and telecom, whose rows are in another order and whose columns have other names."""
    bank = pyarrow.csv.read_csv(DATA / f"{name}_hetero_guest.csv")
    telecom = pyarrow.csv.read_csv(DATA / f"{name}_hetero_host.csv")
    telecom = telecom.rename_columns(["id" if c == "id" else f"t_{c}" for c in telecom.column_names])
    order = np.random.default_rng(0).permutation(len(telecom))
    return {"bank": bank, "telecom": telecom.take(order)}


def columns(tables, label):
    own = {name: tuple(c for c in table.column_names if c not in ("id", label)) for name, table in tables.items()}
    return {name: {"key": ("id",), "feature": features} for name, features in own.items()}


def train_job(tables, label, **params):
    named = columns(tables, label)
    named["bank"]["label"] = (label,)
    roles = {name: "label_holder" if name == "bank" else "feature_holder" for name in tables}
    members = {name: Member(roles[name], columns=named[name]) for name in tables}
    job = Job("train.regression", members, ("bank",), SMALL | params)
    return Job.from_bytes(job.to_bytes())


def use_job(protocol, trained, tables, label, receivers=("bank",), **params):
    named = columns(tables, label)
    named["bank"] |= {"label": (label,)} if protocol.startswith("evaluate") else {"output": (label,)}
    members = {name: Member(trained.members[name].role, columns=named[name]) for name in tables}
    return Job(protocol, members, receivers, {"model": trained.id} | params)


def models(outcomes: dict[str, Outcome]):
    return {name: outcome.model for name, outcome in outcomes.items()}


def pooled(tables, label):
    """The standardised columns and labels of the common rows."""
    joined = tables["bank"].join(tables["telecom"], "id", join_type="inner").to_pandas()
    y = joined[label].to_numpy(float)
    x = joined.drop(columns=["id", label]).to_numpy(float)
    return (x - x.mean(axis=0)) / x.std(axis=0), y


@cache
def trained_breast():
    tables = {name: table.slice(0, 400) for name, table in read("breast").items()}
    job = train_job(tables, "y", epochs=10, batch_rows=400, sigmoid="linear", learning_rate=0.4)
    return tables, job, run_job(job, tables)


def test_joint_predictions_are_as_good_as_those_of_a_pooled_model():
    tables, job, outcomes = trained_breast()
    result = run_job(use_job("predict.regression", job, tables, "y"), tables, models=models(outcomes))
    assert result["telecom"].table is None
    found = result["bank"].table.to_pandas()
    assert list(found.columns) == ["id", "y", "probability"]
    bank = set(tables["bank"]["id"].to_pylist())
    common = bank & set(tables["telecom"]["id"].to_pylist())
    assert found["id"].tolist() == [i for i in tables["bank"]["id"].to_pylist() if i in common]
    x, y = pooled(tables, "y")
    optimum = LogisticRegression(max_iter=1000).fit(x, y).decision_function(x)
    assert abs(roc_auc_score(found["y"], found["probability"]) - roc_auc_score(y, optimum)) < 0.005


def test_a_poisson_regression_comes_within_one_percent_of_the_best_deviance():
    tables = read("dvisits")
    tables = {"bank": tables["bank"].slice(0, 1000), "telecom": tables["telecom"]}
    job = train_job(tables, "doctorco", family="poisson", epochs=6, batch_rows=500, learning_rate=0.2)
    outcomes = run_job(job, tables)
    found = run_job(use_job("predict.regression", job, tables, "doctorco"), tables, models=models(outcomes))["bank"]
    counts, predicted = (found.table[name].to_numpy() for name in ("doctorco", "prediction"))
    x, y = pooled(tables, "doctorco")
    best = PoissonRegressor(alpha=0, max_iter=1000).fit(x, y).predict(x)
    deviance, least = mean_poisson_deviance(counts, predicted), mean_poisson_deviance(y, best)
    assert len(counts) == 1000
    assert least <= deviance <= 1.01 * least


def test_each_party_keeps_the_weights_of_its_own_columns_alone():
    tables, job, outcomes = trained_breast()
    for name, outcome in outcomes.items():
        model = Model.from_bytes(outcome.model)
        assert [feature.name for feature in model.features] == list(job.members[name].columns["feature"])
        assert model.arrays["weights"].shape == (len(model.features), 1)
        assert (model.job, model.job_digest, model.party) == (job.id, job.digest, name)
        assert "the weights of its own columns" in model_card(model)
        other = "telecom" if name == "bank" else "bank"
        for column in job.members[other].columns["feature"]:
            assert json.dumps(column) not in outcome.model.decode()
    assert outcomes["bank"].table.to_pylist() == [{"rows": len(pooled(tables, "y")[1]), "features": 31, "epochs": 10}]
    assert outcomes["telecom"].table is None


def test_both_parties_may_receive_the_same_predictions():
    tables, job, outcomes = trained_breast()
    wanted = use_job("predict.regression", job, tables, "y", receivers=("telecom", "bank"))
    result = run_job(wanted, tables, models=models(outcomes))
    by_id = [
        dict(zip(*result[n].table.select(["id", "probability"]).to_pydict().values(), strict=True)) for n in result
    ]
    assert by_id[0] == by_id[1]
    assert len(by_id[0]) > 100


def test_an_evaluation_gives_the_label_holder_measures_and_no_rows():
    tables, job, outcomes = trained_breast()
    predicted = run_job(use_job("predict.regression", job, tables, "y"), tables, models=models(outcomes))["bank"].table
    result = run_job(use_job("evaluate.regression", job, tables, "y"), tables, models=models(outcomes))
    assert result["telecom"].table is None
    evaluation = Evaluation.from_arrow(result["bank"].table)
    assert evaluation.rows == predicted.num_rows
    assert evaluation.measures["auc"] == pytest.approx(roc_auc_score(predicted["y"], predicted["probability"]))


def replaced(table, column, values):
    return table.set_column(table.column_names.index(column), column, pa.array(values))


def spoiled(party, column, change):
    tables = {name: table.slice(0, 300) for name, table in read("breast").items()}
    values = tables[party][column].to_pylist()
    return tables | {party: replaced(tables[party], column, change(values))}


@pytest.mark.parametrize(
    ("party", "column", "change", "words"),
    [
        ("bank", "y", lambda v: [2, *v[1:]], "label 'y', row 1: the value is neither 0 nor 1"),
        ("bank", "y", lambda v: [1] * len(v), "label 'y' has a single class"),
        ("telecom", "t_x3", lambda v: [7.0] * len(v), "column 't_x3' is constant"),
        ("telecom", "t_x3", lambda v: [None] * len(v), r"column 't_x3', row \d+: a value is missing"),
        ("telecom", "t_x3", lambda v: [*v[:-1], float("-inf")], "column 't_x3', row 300: infinity"),
        ("bank", "x2", lambda v: [float("nan")] * len(v), r"column 'x2', row \d+: a value is missing"),
        ("bank", "x2", lambda v: [x * 1e160 for x in v], r"column 'x2', row \d+: a number is above"),
        ("bank", "x2", lambda v: [str(x) for x in v], "column 'x2' is of type string"),
        ("telecom", "t_x3", lambda v: [x * 1e-170 for x in v], "column 't_x3' is constant .* or so nearly"),
    ],
)
def test_a_column_that_cannot_be_trained_on_is_named(party, column, change, words):
    tables = spoiled(party, column, change)
    with pytest.raises(InputError, match=words):
        run_job(train_job(tables, "y", sigmoid="linear", epochs=1), tables)


@pytest.mark.parametrize(
    ("change", "fields", "words"),
    [
        (lambda v: [x * 1e-170 for x in v], {"family": "linear"}, "label 'y' is so nearly constant"),
        (lambda v: [1e15 + x for x in v], {"family": "linear"}, "label 'y' is so nearly constant"),
        (lambda v: [1] + [0] * (len(v) - 1), {"class_weight": "balanced"}, "balanced weight is above 1000"),
    ],
)
def test_a_label_that_cannot_be_scaled_or_weighed_is_named(change, fields, words):
    rng = np.random.default_rng(2)
    x, z = rng.normal(size=(2, 2100))
    bank = pa.table({"id": range(2100), "x": x, "y": pa.array(change([int(each > 0) for each in z]))})
    tables = {"bank": bank, "telecom": pa.table({"id": range(2100), "t_x": z})}
    with pytest.raises(InputError, match=words):
        run_job(train_job(tables, "y", epochs=1, **fields), tables)


def test_only_rows_that_all_have_are_looked_at_in_a_prediction():
    tables, job, outcomes = trained_breast()
    wanted = use_job("evaluate.regression", job, tables, "y")
    expected = Evaluation.from_arrow(run_job(wanted, tables, models=models(outcomes))["bank"].table)
    more = dict(tables)
    for name, table in tables.items():
        strange = {column: [None] for column in table.column_names} | {"id": [10**6 + len(name)]}
        if name == "bank":
            strange["y"] = [7]
        extra = pa.table(strange).cast(table.schema)
        more[name] = pa.concat_tables([table, extra])
    found = Evaluation.from_arrow(run_job(wanted, more, models=models(outcomes))["bank"].table)
    assert (found.rows, found.measures) == (expected.rows, pytest.approx(expected.measures, rel=1e-9))
    more["bank"] = spoiled_row(tables["bank"], "y", 7)
    with pytest.raises(InputError, match="label 'y', row 1: the value is neither 0 nor 1"):
        run_job(wanted, more, models=models(outcomes))
    more["bank"] = spoiled_row(tables["bank"], "x2", None)
    with pytest.raises(InputError, match="column 'x2', row 1: a value is missing"):
        run_job(wanted, {**tables, "bank": more["bank"]}, models=models(outcomes))


def spoiled_row(table, column, value):
    """The table with another value of a column in its first row."""
    place = table.column_names.index(column)
    return table.set_column(place, column, pa.array([value, *table[column].to_pylist()[1:]], table[column].type))


@pytest.mark.parametrize(
    "content",
    [{"classes": ["x"]}, {"classes": [1.0]}, {"label_mean": None}, {"label_deviation": 0}, {"classes": None}],
)
def test_a_part_that_does_not_say_what_its_label_was_is_refused(content):
    tables, job, outcomes = trained_breast()
    part = Model.from_bytes(outcomes["bank"].model)
    damaged = replace(part, content={**part.content, **content}).to_bytes()
    with pytest.raises(InputError, match="does not say what its label was"):
        run_job(use_job("predict.regression", job, tables, "y"), tables, models={**models(outcomes), "bank": damaged})


def test_too_few_common_rows_end_the_job():
    tables = {"bank": read("breast")["bank"].slice(0, 20), "telecom": read("breast")["telecom"].slice(0, 20)}
    with pytest.raises(PolicyDenied, match="common"):
        run_job(train_job(tables, "y", min_rows=20), tables)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"family": "linear", "classes": 3}, "for the logistic family"),
        ({"class_weight": (1.0, 2.0, 3.0)}, "3 weights for 2 classes"),
        ({"class_weight": (0.0, 1.0)}, "above 0"),
        ({"patience": 1, "validation": 0.0}, "share of validation rows"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"key_bits": 100}, "key of 100 bits"),
        ({"epochs": 0}, "epochs"),
        ({"surprise": 1}, "no parameter 'surprise'"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(fields, words):
    tables = read("breast")
    named = columns(tables, "y")
    named["bank"]["label"] = ("y",)
    members = {
        "bank": Member("label_holder", columns=named["bank"]),
        "telecom": Member("feature_holder", columns=named["telecom"]),
    }
    with pytest.raises(InputError, match=words):
        get("train.regression").parse(Job("train.regression", members, ("bank",), fields))


@pytest.mark.parametrize(("rows", "validation", "words"), [(3, 0.1, "leaves none"), (2**20, 0.5, "validation errors")])
def test_a_share_of_validation_rows_that_cannot_be_used_is_refused(rows, validation, words):
    table = {"feature": pa.table({"a": np.arange(rows) % 7})}
    params = Params(key_bits=512, patience=1, validation=validation)
    job = train_job({name: table.slice(0, 20) for name, table in read("breast").items()}, "y")
    party = Party("telecom", job, params, {}, system_rng, no_progress, bytes(16))
    with pytest.raises(InputError, match=words):
        load(party, table, np.arange(rows))


def test_a_label_holder_that_brings_nothing_is_refused():
    members = {
        "bank": Member("label_holder", columns={"key": ("id",), "label": ("y",)}),
        "telecom": Member("feature_holder", columns={"key": ("id",), "feature": ("t_x0",)}),
    }
    spec = get("train.regression")
    spec.parse(Job("train.regression", members, ("bank",)))
    with pytest.raises(InputError, match="bank: names no feature, and there is no intercept"):
        spec.parse(Job("train.regression", members, ("bank",), {"intercept": False}))


def test_prediction_refuses_other_columns_models_and_receivers():
    tables, job, outcomes = trained_breast()
    wanted = use_job("predict.regression", job, tables, "y")
    fewer = {**wanted.members["telecom"].columns, "feature": wanted.members["telecom"].columns["feature"][1:]}
    members = {**wanted.members, "telecom": Member("feature_holder", columns=fewer)}
    changed = Job(wanted.protocol, members, wanted.receivers, wanted.params)
    with pytest.raises(InputError, match="telecom: the model was trained with column 't_x0'"):
        run_job(changed, tables, models=models(outcomes))
    swapped = {"bank": outcomes["telecom"].model, "telecom": outcomes["bank"].model}
    with pytest.raises(InputError, match="in other roles"):
        run_job(wanted, tables, models=swapped)
    with pytest.raises(InputError, match="only the label holder"):
        run_job(use_job("evaluate.regression", job, tables, "y", receivers=("telecom",)), tables)
    with pytest.raises(InputError, match="has no part of the model"):
        run_job(wanted, tables)


def test_parts_of_two_trainings_do_not_predict_together():
    tables, job, outcomes = trained_breast()
    other = replace(Model.from_bytes(outcomes["telecom"].model), session="f" * 32).to_bytes()
    with pytest.raises(ProtocolError, match="of another training"):
        run_job(
            use_job("predict.regression", job, tables, "y"),
            tables,
            models={"bank": outcomes["bank"].model, "telecom": other},
        )
