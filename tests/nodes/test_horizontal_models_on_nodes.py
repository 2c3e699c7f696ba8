"""A model of two banks with the same columns: each predicts alone, both evaluate it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from mpc.errors import InputError
from mpc.job import Job, Member
from parties.sandbox import Sandbox, sandbox
from tests.parties.cli.driving import Party

pytestmark = pytest.mark.nodes

NAMES = ("ann", "bob")


@pytest.fixture(scope="module")
def trained() -> Iterator[tuple[Sandbox, str]]:
    """Two nodes that have trained a model, and the id of the job that did."""
    member = Member("party", "rows", {"label": ("bad",), "feature": ("a", "b")})
    job = Job("train.regression_horizontal", dict.fromkeys(NAMES, member), ("ann",), {}, "default model")
    with sandbox(*NAMES) as nodes:
        for seed, (name, other) in enumerate((NAMES, NAMES[::-1])):
            rng = np.random.default_rng(seed)
            x = rng.normal(size=(200, 2))
            bad = (x.sum(axis=1) + rng.normal(size=200) > 0).astype(int)
            table = pa.table({"account": np.arange(200), "a": x[:, 0], "b": x[:, 1], "bad": bad})
            nodes[name].node.add_dataset("rows", table, ["account"])
            nodes[name].node.grant(other, "*", "rows", ["*"], purpose="*", receivers=["*"], automatic=True)
        nodes.run(job)
        yield nodes, job.id


def test_each_predicts_alone(trained: tuple[Sandbox, str], tmp_path: Path) -> None:
    nodes, job_id = trained
    bob = Party(nodes["bob"].node.home.path)
    out = tmp_path / "scores.csv"
    words = ["model", "predict", job_id[:8], "--output", "bob=account"]
    told = bob(*words, "--out", str(out), "--json").json
    assert (told["rows"], told["columns"]) == (200, ["account", "probability"])
    written = pyarrow.csv.read_csv(out)
    assert written.equals(nodes["bob"].node.predict_alone(job_id, "rows", ["account"]))
    assert "200 rows written" in bob(*words, "--out", str(out), "--force").out
    assert "exists" in bob(*words, "--out", str(out), code=2).err
    assert "where to?" in bob(*words, code=2).err
    assert "no known format" in bob(*words, "--out", "x.pickle", code=2).err
    assert "ann is another party" in bob(*words, "--dataset", "ann=rows", "--out", str(out), code=2).err
    assert "each party has the whole model" in bob(*words, "--receiver", "bob", code=2).err
    with pytest.raises(InputError, match="account2"):
        nodes["bob"].node.predict_alone(job_id, "rows", ["account2"])


def test_whoever_proposes_it_learns_how_good_it_is_for_all(trained: tuple[Sandbox, str], tmp_path: Path) -> None:
    nodes, job_id = trained
    bob = Party(nodes["bob"].node.home.path)
    proposed = bob("model", "evaluate", job_id, "--yes", "--json").json
    assert nodes["bob"].node.wait(proposed["id"]).job.receivers == ("bob",)
    document = bob("model", "report", proposed["id"], "--out", str(tmp_path / "page.html"), "--json").json
    assert document["rows"] == 400
    assert document["measures"]["auc"] > 0.75
    assert "<svg" in (tmp_path / "page.html").read_text()
