"""Models between two nodes: each keeps its own part, signed, and later jobs use it by the training job's id."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mpc.errors import InputError, PolicyDenied
from mpc.federated.model import Model as Part
from mpc.job import Job, Member
from parties import models
from parties.jobs.watching import JobFailed
from parties.node import Node
from parties.sandbox import Sandbox, sandbox
from tests.nodes.observe import evidence, verify_evidence
from tests.parties.cli.driving import Party

pytestmark = pytest.mark.nodes

ROWS = 240


def _tables() -> tuple[pa.Table, pa.Table]:
    """A bank's labels and a telecom's feature about people of whom two thirds are customers of both."""
    x = np.arange(ROWS) * 37 % 101 / 101
    bank = pa.table({"id": np.arange(ROWS), "bad": x > 0.5, "own": x[::-1]})
    telecom = pa.table({"id": np.arange(ROWS // 3, ROWS + 80), "minutes": np.resize(x, ROWS + 80)[ROWS // 3 :]})
    return bank, telecom


def _training() -> Job:
    members = {
        "bank": Member("label_holder", "rows", {"key": ("id",), "label": ("bad",), "feature": ("own",)}),
        "telecom": Member("feature_holder", "rows", {"key": ("id",), "feature": ("minutes",)}),
    }
    params = {"trees": 2, "depth": 2, "bins": 8, "key_bits": 2048, "encryption": "fast"}
    return Job("train.boosted_trees", members, ("bank", "telecom"), params, "default model")


def _prediction(model: str) -> Job:
    members = {
        "bank": Member("label_holder", "rows", {"key": ("id",), "feature": ("own",)}),
        "telecom": Member("feature_holder", "rows", {"key": ("id",), "feature": ("minutes",)}),
    }
    return Job("predict.boosted_trees", members, ("bank",), {"model": model}, "default model")


@pytest.fixture(scope="module")
def trained() -> Iterator[tuple[Sandbox, str]]:
    """Two nodes that have trained a model, and the id of the job that did."""
    with sandbox("bank", "telecom") as nodes:
        for name, table in zip(nodes, _tables(), strict=True):
            nodes[name].node.add_dataset("rows", table, ["id"])
        for name, other in (("bank", "telecom"), ("telecom", "bank")):
            nodes[name].node.grant(other, "*", "rows", ["*"], purpose="*", receivers=["*"], automatic=True)
        job = _training()
        nodes.run(job)
        yield nodes, job.id


def _kept_file(node: Node, job_id: str) -> Path:
    return models.kept(node.home.results, job_id)


def test_each_party_keeps_its_own_part_on_the_record(trained: tuple[Sandbox, str]) -> None:
    nodes, job_id = trained
    for name in ("bank", "telecom"):
        node = nodes[name].node
        (kept,) = node.models()
        assert (kept.job, kept.protocol, kept.parties) == (job_id, "train.boosted_trees", ("bank", "telecom"))
        assert Part.from_bytes(node.model_part(job_id)).party == name
        assert _kept_file(node, job_id).stat().st_mode & 0o077 == 0
        (entry,) = evidence(nodes[name], "model_kept")
        assert (entry["job"], entry["model"]) == (job_id, kept.digest)
    verify_evidence(nodes)


def test_a_prediction_uses_the_parts_by_the_training_jobs_id(trained: tuple[Sandbox, str]) -> None:
    nodes, job_id = trained
    scores = nodes.run(_prediction(job_id))["bank"]
    bank, _ = _tables()
    bad = dict(zip(bank["id"].to_pylist(), bank["bad"].to_pylist(), strict=True))
    assert scores["id"].to_pylist() == list(range(ROWS // 3, ROWS))
    right = [(row["probability"] > 0.5) == bad[row["id"]] for row in scores.to_pylist()]
    assert sum(right) > 0.95 * len(right)


def test_the_command_shows_a_part_and_writes_it_where_people_can_read_it(
    trained: tuple[Sandbox, str], tmp_path: Path
) -> None:
    nodes, job_id = trained
    telecom = Party(nodes["telecom"].node.home.path)
    (listed,) = telecom("model", "list", "--json").json
    assert (listed["job"], listed["parties"]) == (job_id, ["bank", "telecom"])
    assert f"# Model {job_id}" in telecom("model", "show", job_id[:8]).out
    card, whole = tmp_path / "model.md", tmp_path / "model.json"
    telecom("model", "export", job_id, "--out", str(card))
    telecom("model", "export", job_id, "--out", str(whole))
    assert "minutes" in card.read_text()
    assert json.loads(whole.read_text()) == telecom("model", "show", job_id, "--json").json
    refused = telecom("model", "export", job_id, "--out", str(card), code=2)
    assert "exists" in refused.err
    assert "no known format" in telecom("model", "export", job_id, "--out", "model.pickle", code=2).err


def test_the_command_proposes_a_prediction_for_an_evaluation(trained: tuple[Sandbox, str]) -> None:
    nodes, job_id = trained
    bank = Party(nodes["bank"].node.home.path)
    words = ["model", "predict", job_id[:8], "--receiver", "bank", "--output", "bank=bad", "--yes", "--json"]
    proposed = bank(*words).json
    assert nodes["bank"].node.wait(proposed["id"]).job.params["model"] == job_id
    assert nodes["bank"].node.result(proposed["id"]).column_names == ["id", "bad", "probability"]
    assert "telecoms takes no part in the model" in bank(*words, "--dataset", "telecoms=rows", code=2).err


def test_the_command_evaluates_a_model_and_writes_a_page_for_people(
    trained: tuple[Sandbox, str], tmp_path: Path
) -> None:
    nodes, job_id = trained
    bank = Party(nodes["bank"].node.home.path)
    proposed = bank("model", "evaluate", job_id, "--threshold", "0.4", "--yes", "--json").json
    nodes["bank"].node.wait(proposed["id"])
    document = bank("model", "report", proposed["id"], "--json").json
    assert (document["model"], document["rows"]) == (job_id, ROWS - ROWS // 3)
    assert document["measures"]["auc"] > 0.95
    assert "auc" in bank("model", "report", proposed["id"]).out
    page = tmp_path / "model.html"
    bank("model", "report", proposed["id"], "--out", str(page))
    assert page.read_text().count("<svg") > 3
    assert "evaluates no model" in bank("model", "report", job_id, code=2).err
    assert (
        "its receivers are bank"
        in Party(nodes["telecom"].node.home.path)("model", "report", proposed["id"], code=2).err
    )


def test_a_model_that_a_party_does_not_have_is_an_error_at_once(trained: tuple[Sandbox, str]) -> None:
    nodes, _ = trained
    with pytest.raises(InputError, match=r"this party has no part of a model that job 0{32} trained"):
        nodes["bank"].node.propose(_prediction("0" * 32))


def test_a_part_that_was_changed_on_disk_ends_the_job_and_is_not_shown(trained: tuple[Sandbox, str]) -> None:
    nodes, job_id = trained
    node = nodes["telecom"].node
    file = _kept_file(node, job_id)
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"minutes", b"seconds"))
    try:
        with pytest.raises(InputError, match="not as it was kept"):
            node.model_part(job_id)
        with pytest.raises(JobFailed, match="telecom: its own input cannot be used"):
            nodes.run(_prediction(job_id))
    finally:
        file.write_bytes(whole)
    assert nodes.run(_prediction(job_id))["bank"].num_rows


def test_a_part_that_another_was_put_in_place_of_ends_the_job_and_the_node_goes_on(
    trained: tuple[Sandbox, str],
) -> None:
    """Whoever can write to the database can name another file, but not sign for it."""
    nodes, job_id = trained
    digest = nodes["telecom"].node.model(job_id).digest
    store = nodes["telecom"].node.home.store()
    try:
        with store.transaction() as db:
            db.execute("UPDATE models SET digest = ?", (digest[::-1],))
        with pytest.raises(JobFailed, match="telecom: its part of the model is not the one that it signed"):
            nodes.run(_prediction(job_id))
    finally:
        with store.transaction() as db:
            db.execute("UPDATE models SET digest = ?", (digest,))
        store.close()
    assert nodes.run(_prediction(job_id))["bank"].num_rows


def test_without_the_part_of_one_party_nobody_predicts(trained: tuple[Sandbox, str]) -> None:
    nodes, job_id = trained
    node = nodes["telecom"].node
    assert node.remove_model(job_id[:8]).job == job_id
    assert node.models() == ()
    assert not _kept_file(node, job_id).exists()
    assert len(evidence(nodes["telecom"], "model_removed")) == 1
    with pytest.raises(PolicyDenied, match="telecom"):
        nodes.run(_prediction(job_id))
    with pytest.raises(InputError, match="no model of a job"):
        node.model(job_id)
    verify_evidence(nodes)


def test_nothing_is_left_of_a_training_that_failed(trained: tuple[Sandbox, str]) -> None:
    nodes, _ = trained
    job = _training()
    failing = Job(job.protocol, job.members, job.receivers, {**job.params, "min_rows": 10_000}, job.purpose)
    with pytest.raises(JobFailed, match="withheld"):
        nodes.run(failing)
    for party in nodes.values():
        assert all(kept.job != failing.id for kept in party.node.models())
        assert not list(party.node.home.results.glob(f"*{failing.id}*"))
