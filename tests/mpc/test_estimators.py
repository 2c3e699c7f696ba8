from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import roc_auc_score

from mpc.errors import InputError
from mpc.estimators import (
    HorizontalLogisticRegression,
    VerticalBoostedTrees,
    VerticalLinearRegression,
    VerticalLogisticRegression,
    VerticalPoissonRegression,
)
from mpc.federated.model import Model
from mpc.testing import insecure_paillier

DATA = Path(__file__).parents[1] / "data"
ALL = (
    VerticalLogisticRegression,
    VerticalLinearRegression,
    VerticalPoissonRegression,
    VerticalBoostedTrees,
    HorizontalLogisticRegression,
)


@pytest.fixture(autouse=True)
def _short_keys():
    with insecure_paillier():
        yield


def breast():
    """The bank's and the telecom's tables; the telecom lacks some of the bank's rows and has another order."""
    bank = pd.read_csv(DATA / "breast_hetero_guest.csv")
    telecom = pd.read_csv(DATA / "breast_hetero_host.csv").add_prefix("t_").rename(columns={"t_id": "id"})
    return {"bank": bank[:300], "telecom": telecom[20:].sample(frac=1, random_state=1)}


def test_a_joint_model_is_fitted_and_predicts_for_the_holders_rows():
    tables = breast()
    model = VerticalLogisticRegression(
        key_bits=512, sigmoid="linear", epochs=8, batch_rows=300, learning_rate=0.4, momentum=0.5
    )
    assert model.fit(tables, label="y", holder="bank") is model
    p = model.predict_proba(tables)
    bank = tables["bank"]
    missing = ~bank["id"].isin(tables["telecom"]["id"]).to_numpy()
    assert p.shape == (300, 2)
    assert (np.isnan(p[:, 1]) == missing).all() and missing.sum() == 20
    assert roc_auc_score(bank["y"][~missing], p[~missing, 1]) > 0.98
    assert p[~missing].sum(axis=1) == pytest.approx(1)
    classes = model.predict(tables)
    assert set(classes[~missing]) == {0.0, 1.0}
    assert model.evaluate(tables).measures["auc"] == pytest.approx(roc_auc_score(bank["y"][~missing], p[~missing, 1]))
    assert {name: Model.from_bytes(part).party for name, part in model.parts_.items()} == {n: n for n in tables}


def test_numbers_are_predicted_in_the_labels_unit():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3))
    y = 50 + x @ [3.0, -2.0, 1.0] + rng.standard_normal(200)
    bank, shop = (
        pd.DataFrame({"id": range(200), "a": x[:, 0], "y": y}),
        pd.DataFrame({"id": range(200), "b": x[:, 1], "c": x[:, 2]}),
    )
    model = VerticalLinearRegression(key_bits=512, epochs=20, batch_rows=200, learning_rate=0.5)
    found = model.fit({"bank": bank, "shop": shop}, label="y", holder="bank").predict({"bank": bank, "shop": shop})
    assert np.abs(found - LinearRegression().fit(x, y).predict(x)).max() < 0.1
    assert model.evaluate({"bank": bank, "shop": shop}).measures["r2"] > 0.8


def test_several_classes_have_probabilities_that_sum_up_to_one():
    bank = pd.read_csv(DATA / "vehicle_scale_hetero_guest.csv")[:300]
    telecom = pd.read_csv(DATA / "vehicle_scale_hetero_host.csv").add_prefix("t_").rename(columns={"t_id": "id"})
    tables = {"bank": bank, "telecom": telecom}
    model = VerticalLogisticRegression(
        key_bits=512, classes=4, sigmoid="linear", epochs=6, batch_rows=300, learning_rate=0.3
    )
    model.fit(tables, label="y", holder="bank")
    p = model.predict_proba(tables)
    assert model.classes_.tolist() == [0, 1, 2, 3]
    assert p.shape == (300, 4)
    assert p.sum(axis=1) == pytest.approx(1)
    assert model.evaluate(tables).measures["auc"] > 0.75
    assert (model.predict(tables) == bank["y"]).mean() > 0.5


def test_boosted_trees_take_categories_and_give_probabilities():
    rng = np.random.default_rng(1)
    n = 300
    plan, amount = rng.choice(["basic", "gold"], n), rng.random(n)
    y = ((plan == "gold") ^ (amount > 0.5)).astype(int)
    tables = {
        "bank": pd.DataFrame({"id": range(n), "amount": amount, "y": y}),
        "shop": pd.DataFrame({"id": range(n), "plan": plan}),
    }
    model = VerticalBoostedTrees(key_bits=512, trees=3, depth=2, min_child_weight=0.0)
    model.fit(tables, label="y", holder="bank")
    assert (model.predict(tables) == y).mean() > 0.95
    assert model.predict_proba(tables).shape == (n, 2)


def test_boosted_trees_tell_several_classes_apart():
    bank = pd.read_csv(DATA / "vehicle_scale_hetero_guest.csv")[:200]
    telecom = pd.read_csv(DATA / "vehicle_scale_hetero_host.csv").add_prefix("t_").rename(columns={"t_id": "id"})
    tables = {"bank": bank, "telecom": telecom}
    model = VerticalBoostedTrees(key_bits=512, objective="multiclass", classes=4, trees=2, depth=2, bins=8)
    model.fit(tables, label="y", holder="bank")
    p = model.predict_proba(tables)
    assert p.shape == (200, 4)
    assert p.sum(axis=1) == pytest.approx(1)
    assert (model.predict(tables) == bank["y"]).mean() > 0.6
    found = model.evaluate(tables)
    assert found.tables["classes"]["label"] == [0, 1, 2, 3]
    assert found.measures["accuracy"] == pytest.approx((model.predict(tables) == bank["y"]).mean())


def test_the_horizontal_model_is_evaluated_over_all_rows():
    table = pd.read_csv(DATA / "breast_hetero_guest.csv").drop(columns="id")
    parts = {"p0": table[:200], "p1": table[200:350], "p2": table[350:]}
    model = HorizontalLogisticRegression(l2=0.01)
    with pytest.raises(InputError, match="not fitted"):
        model.evaluate(parts)
    found = model.fit(parts, label="y").evaluate(parts)
    assert found.rows == len(table)
    assert found.measures["auc"] == pytest.approx(roc_auc_score(table["y"], model.predict_proba(table)[:, 1]), abs=1e-3)


def test_the_horizontal_model_is_that_of_all_rows():
    table = pd.read_csv(DATA / "breast_hetero_guest.csv").drop(columns="id")
    parts = {"p0": table[:200], "p1": table[200:350], "p2": table[350:]}
    model = HorizontalLogisticRegression(l2=0.01).fit(parts, label="y")
    x, y = table.drop(columns="y").to_numpy(), table["y"]
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    reference = LogisticRegression(C=1 / (0.01 * len(y)), tol=1e-9, max_iter=1000).fit(standard, y)
    assert np.abs(model.predict_proba(table) - reference.predict_proba(standard)).max() < 1e-5
    assert (model.predict(table) == reference.predict(standard)).all()


@pytest.mark.parametrize("kind", ALL)
def test_parameters_are_those_of_the_protocol_and_can_be_cloned(kind):
    model = kind(min_rows=7)
    assert model.get_params()["min_rows"] == 7
    copy = clone(model)
    assert copy is not model and copy.get_params() == model.get_params()
    assert copy.set_params(min_rows=8) is copy
    assert (copy.min_rows, model.min_rows) == (8, 7)
    assert repr(model) == f"{kind.__name__}(min_rows=7)"
    with pytest.raises(InputError, match="has no parameter 'surprise', only"):
        kind(surprise=1)
    with pytest.raises(InputError, match=r"has no parameter '(family|unknown)'"):
        kind(**({"unknown": 1} if kind is VerticalBoostedTrees else {"family": "linear"}))


def test_what_is_missing_is_named():
    tables = breast()
    model = VerticalLogisticRegression(key_bits=512)
    with pytest.raises(InputError, match="not fitted"):
        model.predict_proba(tables)
    with pytest.raises(InputError, match="bank: the table has no column 'default'"):
        model.fit(tables, label="default", holder="bank")
    with pytest.raises(InputError, match="shop has no table"):
        model.fit(tables, label="y", holder="shop")
    with pytest.raises(InputError, match="not fitted"):
        HorizontalLogisticRegression().predict(tables["bank"])


def test_parties_and_columns_that_a_fit_misnames_are_named():
    tables = breast()
    model = VerticalLogisticRegression(key_bits=512)
    with pytest.raises(InputError, match="features of shop, which has no table, only bank, telecom"):
        model.fit(tables, label="y", holder="bank", features={"shop": ["x0"]})
    with pytest.raises(InputError, match="telecom: the table has no column 'x0'"):
        model.fit(tables, label="y", holder="bank", features={"telecom": "x0"})
    tables["telecom"]["plan"] = "basic"
    with pytest.raises(InputError, match=r"telecom: column 'plan' is of type \w+, and a regression takes numbers"):
        model.fit(tables, label="y", holder="bank")


def test_a_table_without_labels_is_predicted_and_not_evaluated():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2))
    tables = {
        "bank": pd.DataFrame({"id": range(60), "balance": x[:, 0], "y": x.sum(axis=1)}),
        "shop": pd.DataFrame({"id": range(60), "spent": x[:, 1]}),
    }
    model = VerticalLinearRegression(key_bits=512, epochs=2, batch_rows=60, min_rows=10)
    with pytest.raises(InputError, match="not fitted"):
        model.evaluate(tables)
    model.fit(tables, label="y", holder="bank", features={"bank": "balance"})
    new = {**tables, "bank": tables["bank"].drop(columns="y")}
    assert np.array_equal(model.predict(new), model.predict(tables))
    with pytest.raises(InputError, match="bank: the table has no column 'y'"):
        model.evaluate(new)


def test_booleans_are_labels_and_numbers():
    tables = breast()
    bank, telecom = tables["bank"], tables["telecom"]
    as_numbers = {"bank": bank.assign(old=(bank["x0"] > 0) * 1), "telecom": telecom}
    as_booleans = {
        "bank": bank.assign(y=bank["y"] == 1, old=bank["x0"] > 0),
        "telecom": telecom,
    }
    model = VerticalLogisticRegression(
        key_bits=512, sigmoid="linear", epochs=1, batch_rows=300, class_weight="balanced"
    )
    numbers = model.fit(as_numbers, label="y", holder="bank").predict_proba(as_numbers)
    booleans = model.fit(as_booleans, label="y", holder="bank").predict_proba(as_booleans)
    assert np.nanmax(np.abs(numbers - booleans)) < 1e-4  # each training rounds at random
    assert model.evaluate(as_booleans).measures["auc"] == pytest.approx(
        roc_auc_score(bank["y"][20:], booleans[20:, 1]), abs=1e-12
    )
    trees = VerticalBoostedTrees(key_bits=512, trees=1, depth=1).fit(as_booleans, label="y", holder="bank")
    assert trees.job_.members["bank"].columns["category"] == ("old",)
    whole = HorizontalLogisticRegression(l2=0.01)
    pairs = [(table[:150].drop(columns="id"), table[150:].drop(columns="id")) for table in (bank, as_booleans["bank"])]
    found = [whole.fit({"p": p, "q": q}, label="y", features=("x0", "x1")).predict_proba(bank) for p, q in pairs]
    assert np.array_equal(*found)


def test_what_a_prediction_needs_is_named_and_all_else_left_out():
    tables = breast()
    model = VerticalLogisticRegression(key_bits=512, sigmoid="linear", epochs=1, batch_rows=300)
    p = model.fit(tables, label="y", holder="bank").predict_proba(tables)
    bank, telecom = tables["bank"], tables["telecom"]
    more = {"bank": bank.assign(sealane_row=7, y=None), "telecom": telecom.assign(note="x")}
    assert np.array_equal(model.predict_proba(more), p, equal_nan=True)
    for broken, column in ((bank.drop(columns="x3"), "x3"), (bank.drop(columns="id"), "id")):
        with pytest.raises(InputError, match=f"bank: the table has no column '{column}', only") as caught:
            model.predict_proba({**tables, "bank": broken})
        assert "sealane" not in str(caught.value)
    with pytest.raises(InputError, match="telecom: the table has no column 't_x0', only"):
        model.predict({**tables, "telecom": telecom.drop(columns="t_x0")})


@pytest.mark.parametrize("new", [1.5, 9])
def test_classes_that_were_not_trained_are_not_evaluated(new):
    bank = pd.read_csv(DATA / "vehicle_scale_hetero_guest.csv")[:200]
    telecom = pd.read_csv(DATA / "vehicle_scale_hetero_host.csv").add_prefix("t_").rename(columns={"t_id": "id"})
    tables = {"bank": bank, "telecom": telecom}
    model = VerticalBoostedTrees(key_bits=512, objective="multiclass", classes=4, trees=1, depth=1, bins=2)
    model.fit(tables, label="y", holder="bank")
    tables["bank"] = bank.assign(y=[new, *bank["y"][1:]])
    with pytest.raises(InputError, match="bank: 1 common rows have a label that no row had in training"):
        model.evaluate(tables)
