from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from mpc.errors import InputError
from mpc.federated.model import Model
from mpc.federated.scorecards import Scale, as_evidence, scorecard
from mpc.job import Job, Member
from mpc.local import run_job
from mpc.testing import insecure_paillier

NUMBERS, CATEGORIES = {"bank": ("income", "age"), "telecom": ("bill",)}, {"bank": (), "telecom": ("plan",)}
ROLES = {"bank": "label_holder", "telecom": "feature_holder"}


def tables():
    rng = np.random.default_rng(4)
    n = 600
    income, age, bill = rng.lognormal(3, 1, n), rng.integers(18, 80, n), rng.gamma(2, 10, n)
    plan = rng.choice(["basic", "gold", "none"], n)
    z = -0.8 * np.log(income) + 0.04 * (50 - age) + 0.06 * bill + 1.5 * (plan == "basic") + 0.5
    default = (z + rng.logistic(size=n) > 0).astype(int)
    return {
        "bank": pa.table({"id": range(n), "income": income, "age": age, "default": default}),
        "telecom": pa.table({"id": range(n), "bill": bill, "plan": plan}),
    }


def make_job(protocol, columns, **params):
    members = {name: Member(ROLES[name], columns={"key": ("id",), **columns[name]}) for name in ROLES}
    members["bank"] = replace(members["bank"], columns={**members["bank"].columns, "label": ("default",)})
    return Job(protocol, members, ("bank",), {"key_bits": 512} | params)


@pytest.fixture(scope="module")
def parts():
    """Each party's table as evidence, and its parts of both models."""
    original = tables()
    by_kind = {name: {"feature": NUMBERS[name], "category": CATEGORIES[name]} for name in ROLES}
    with insecure_paillier():
        found = run_job(make_job("feature.woe", by_kind, bins=5), original)
        woe = {name: Model.from_bytes(outcome.model) for name, outcome in found.items()}
        evidence = {name: as_evidence(woe[name], original[name]) for name in ROLES}
        names = {name: {"feature": tuple(f.name for f in woe[name].features)} for name in ROLES}
        training = make_job("train.regression", names, sigmoid="linear", epochs=6, batch_rows=600)
        trained = run_job(training, evidence)
    return original, woe, {name: Model.from_bytes(outcome.model) for name, outcome in trained.items()}


def exact_log_odds(original, woe, regression):
    """Of label 1, by the models."""
    z = 0.0
    for name in ROLES:
        table, model = as_evidence(woe[name], original[name]), regression[name]
        x = np.stack([table[f.name].to_numpy() for f in model.features], axis=1)
        z = z + ((x - model.arrays["mean"]) / model.arrays["deviation"]) @ model.arrays["weights"]
        z = z + model.arrays["intercept"]
    return z[:, 0]


def test_points_of_all_parties_add_up_to_the_models_log_odds(parts):
    original, woe, regression = parts
    scale = Scale(600, 50, 20)
    total = sum(scorecard(woe[name], regression[name], scale).score(original[name]) for name in ROLES)
    exact = -exact_log_odds(original, woe, regression)
    found = (total - 600) / (20 / np.log(2)) + np.log(50)
    assert np.abs(found - exact).max() <= (5 * 0.5 + 0.01) / scale.factor
    assert np.abs(exact).max() > 0.5


def test_each_party_has_the_table_of_its_own_columns(parts):
    _, woe, regression = parts
    bank, telecom = (scorecard(woe[name], regression[name]).to_arrow().to_pylist() for name in ROLES)
    assert bank[0]["column"] == "base" and bank[0]["points"] > 400
    assert {row["column"] for row in bank[1:]} == {"income", "age"}
    assert {row["column"] for row in telecom} == {"bill", "plan"}
    assert [row["bin"] for row in telecom if row["column"] == "plan"][-2:] == ["others", "missing"]
    for column in ("income", "bill"):
        own = [row for row in (*bank, *telecom) if row["column"] == column]
        order = np.argsort([row["woe"] for row in own])
        assert (np.diff(np.array([row["points"] for row in own])[order]) <= 0).all()


def test_more_points_for_the_same_odds_when_pdo_grows(parts):
    original, woe, regression = parts
    spread = [
        np.ptp(scorecard(woe["bank"], regression["bank"], Scale(pdo=p)).score(original["bank"])) for p in (20, 40)
    ]
    assert spread[1] == pytest.approx(2 * spread[0], abs=3)


def test_models_that_do_not_belong_together_are_refused(parts):
    original, woe, regression = parts
    with pytest.raises(InputError, match="other columns"):
        scorecard(woe["bank"], regression["telecom"])
    with pytest.raises(InputError, match="not woe version 1"):
        scorecard(regression["bank"], regression["bank"])
    with pytest.raises(InputError, match="two classes"):
        linear = replace(regression["bank"], parameters={"family": "linear"})
        scorecard(woe["bank"], linear)
    with pytest.raises(InputError, match="no column 'bill'"):
        scorecard(woe["telecom"], regression["telecom"]).score(original["bank"])
    with pytest.raises(InputError, match="above 0"):
        Scale(pdo=0)
