"""A scorecard between two nodes, step by step from the command line, and the stability of columns."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from mpc.errors import InputError
from mpc.federated.jobs import prediction_job
from mpc.federated.scorecards import Scale
from mpc.job import Job, Member
from parties import reading
from parties.sandbox import Sandbox, sandbox
from tests.parties.cli.driving import Party

pytestmark = pytest.mark.nodes

ROWS = 400
_KEY = {"key_bits": 2048, "encryption": "fast"}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Sandbox]:
    rng = np.random.default_rng(1)
    income, calls = rng.normal(3000, 800, ROWS).round(), rng.poisson(20, ROWS)
    plan = rng.choice(["basic", "gold"], ROWS)
    z = (income - 3000) / 800 - (calls - 20) / 5 + (plan == "gold")
    bad = (rng.random(ROWS) < 1 / (1 + np.exp(z))).astype(int)
    tables = {
        "bank": pa.table({"id": np.arange(ROWS), "income": income, "bad": bad}),
        "telco": pa.table({"id": np.arange(ROWS), "calls": calls, "plan": plan}),
    }
    with sandbox(*tables) as running:
        for name, table in tables.items():
            running[name].node.add_dataset("people", table, ["id"])
            _open(running, name, "people")
        yield running


def _open(nodes: Sandbox, name: str, dataset: str) -> None:
    (other,) = set(nodes) - {name}
    nodes[name].node.grant(other, "*", dataset, ["*"], purpose="*", receivers=["*"], automatic=True)


def _woe() -> Job:
    members = {
        "bank": Member("label_holder", "people", {"key": ("id",), "label": ("bad",), "feature": ("income",)}),
        "telco": Member("feature_holder", "people", {"key": ("id",), "feature": ("calls",), "category": ("plan",)}),
    }
    return Job("feature.woe", members, ("bank",), {**_KEY, "bins": 5})


def _regression() -> Job:
    members = {
        "bank": Member("label_holder", "evidence", {"key": ("id",), "label": ("bad",), "feature": ("income",)}),
        "telco": Member("feature_holder", "evidence", {"key": ("id",), "feature": ("calls", "plan")}),
    }
    return Job("train.regression", members, ("bank",), {**_KEY, "sigmoid": "linear", "epochs": 15, "batch_rows": 400})


def test_each_party_gets_the_points_of_its_bins_and_they_add_up_to_the_score(nodes: Sandbox, tmp_path: Path) -> None:
    woe = _woe()
    nodes.run(woe)
    commands = {name: Party(nodes[name].node.home.path) for name in nodes}
    for name, command in commands.items():
        told = command("model", "encode", woe.id[:8], "--dataset", "people", "--as", "evidence", "--json").json
        assert told["rows"] == ROWS
        _open(nodes, name, "evidence")
    regression = _regression()
    nodes.run(regression)
    cards = {}
    for name, command in commands.items():
        cards[name] = command("model", "scorecard", woe.id, regression.id, "--pdo", "40", "--json").json
        out = tmp_path / f"{name}.csv"
        command("model", "scorecard", woe.id, regression.id, "--pdo", "40", "--out", str(out))
        assert pyarrow.csv.read_csv(out).to_pylist() == cards[name]
    assert [row["column"] for row in cards["bank"]][:2] == ["base", "income"]
    assert {row["column"] for row in cards["telco"]} == {"calls", "plan"}
    assert "POINTS" in commands["bank"]("model", "scorecard", woe.id, regression.id).out

    scale = Scale(pdo=40)
    people = {name: nodes[name].node.dataset("people") for name in nodes}
    tables = {name: reading.load(dataset, dataset.column_names) for name, dataset in people.items()}
    points = sum(nodes[name].node.scorecard(woe.id, regression.id, scale).score(tables[name]) for name in nodes)
    training = nodes["bank"].node.job(regression.id).job
    p = nodes.run(prediction_job(training, ["bank"]))["bank"]["probability"].to_numpy()
    inside = (p > 0) & (p < 1)
    log_odds = -4 * (p[inside] - 0.5)  # of label 0, by the linear sigmoid
    expected = scale.base_points + scale.factor * (log_odds - np.log(scale.base_odds))
    assert inside.sum() > ROWS / 2
    assert np.abs(points[inside] - expected).max() <= 2  # half a point for each column and the base


def test_what_does_not_fit_is_said(nodes: Sandbox) -> None:
    woe = _woe()
    nodes.run(woe)
    bank = Party(nodes["bank"].node.home.path)
    assert "its model is of kind woe" in bank("model", "scorecard", woe.id, woe.id, code=2).err
    assert "no known format" in bank("model", "scorecard", woe.id, woe.id, "--out", "x.docx", code=2).err


def test_columns_that_moved_between_two_periods_are_shown(nodes: Sandbox) -> None:
    node = nodes["telco"].node
    rng = np.random.default_rng(2)
    later = pa.table(
        {"id": np.arange(ROWS), "calls": rng.poisson(40, ROWS), "plan": rng.choice(["basic", "gold"], ROWS)}
    )
    node.add_dataset("later", later, ["id"])
    telco = Party(node.home.path)
    rows = telco("dataset", "stability", "people", "later", "--json").json
    index = {row["column"]: row["index"] for row in rows}
    assert index["calls"] > 0.25 > 0.1 > index["plan"]
    assert sum(row["after"] for row in rows if row["column"] == "plan") == ROWS
    shown = telco("dataset", "stability", "people", "later", "--column", "plan").out
    assert "plan" in shown and "calls" not in shown
    with pytest.raises(InputError, match="height"):
        node.stability("people", "later", ["height"])
