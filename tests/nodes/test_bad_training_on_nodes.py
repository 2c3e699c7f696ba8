"""Bad data and cheating peers in jobs on models: both parties end alike and are told why, and no part is left."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mpc.errors import InputError, PolicyDenied
from mpc.federated.jobs import prediction_job
from mpc.job import Job, Member
from parties.jobs.records import JobRecord
from parties.jobs.states import State
from parties.sandbox import Sandbox, sandbox
from tests.nodes.cheating_node import CHEATS
from tests.nodes.observe import end_of, evidence

pytestmark = pytest.mark.nodes

ROWS = 120
_OWN_INPUT = "its own input cannot be used; its operator sees where"
_KEY = {"key_bits": 2048, "encryption": "fast"}


def _tables() -> dict[str, pa.Table]:
    x = np.arange(ROWS) * 37 % 101 / 101
    return {
        "bank": pa.table({"id": np.arange(ROWS), "bad": (x > 0.5).astype(int), "own": x[::-1]}),
        "telco": pa.table({"id": np.arange(ROWS), "minutes": x}),
    }


@pytest.fixture(scope="module")
def nodes() -> Iterator[Sandbox]:
    """Bank and telco; telco's workers cheat when a job's purpose says so."""
    with sandbox("bank", "telco") as running:
        running["telco"].stop()
        running["telco"].program = (sys.executable, "-m", "tests.nodes.cheating_node")
        running["telco"].start()
        running.connect()
        running.wait_connected()
        for name, other in (("bank", "telco"), ("telco", "bank")):
            _bring(running, name, "rows", _tables()[name], other)
        yield running


def _bring(running: Sandbox, name: str, dataset: str, table: pa.Table, other: str) -> None:
    running[name].node.add_dataset(dataset, table, ["id"])
    running[name].node.grant(other, "*", dataset, ["*"], purpose="*", receivers=["*"], automatic=True)


def _job(protocol: str, datasets: Mapping[str, str], purpose: str = "honest", **params: Any) -> Job:
    members = {
        "bank": Member(
            "label_holder", datasets.get("bank", "rows"), {"key": ("id",), "label": ("bad",), "feature": ("own",)}
        ),
        "telco": Member("feature_holder", datasets.get("telco", "rows"), {"key": ("id",), "feature": ("minutes",)}),
    }
    if protocol == "feature.woe":
        members["bank"] = replace(members["bank"], columns={"key": ("id",), "label": ("bad",)})
    return Job(protocol, members, ("bank",), {**_KEY, **params}, purpose)


def _trees(datasets: Mapping[str, str], purpose: str = "honest") -> Job:
    return _job("train.boosted_trees", datasets, purpose, trees=1, depth=2, bins=8)


def _regression(datasets: Mapping[str, str], purpose: str = "honest") -> Job:
    return _job("train.regression", datasets, purpose, epochs=1, batch_rows=64)


def _woe(datasets: Mapping[str, str], purpose: str = "honest") -> Job:
    return _job("feature.woe", datasets, purpose)


def _ended(nodes: Sandbox, job: Job) -> dict[str, JobRecord]:
    """The job at both parties once it has failed there for one reason, leaving nothing."""
    nodes["bank"].node.propose(job)
    ends = end_of(nodes, job.id)
    for name, record in ends.items():
        assert record.state is State.FAILED
        assert all(kept.job != job.id for kept in nodes[name].node.models())
        assert not list(nodes[name].node.home.results.glob(f"*{job.id}*"))
        assert not [entry for entry in evidence(nodes[name], "model_kept") if entry["job"] == job.id]
    return ends


Make = Callable[[Mapping[str, str]], Job]


@pytest.mark.parametrize(
    ("make", "party", "column", "change", "words"),
    [
        (_trees, "bank", "bad", lambda v: [2, *v[1:]], "label column 'bad' has other values than 0 and 1"),
        (_trees, "bank", "bad", lambda v: [1] * len(v), "label column 'bad' has the same value"),
        (_trees, "bank", "own", lambda v: [3.5] * len(v), "column 'own' has the same value"),
        (_trees, "telco", "minutes", lambda v: [3.5] * len(v), "column 'minutes' has the same value"),
        (_regression, "bank", "bad", lambda v: [2, *v[1:]], "label 'bad', row 1: the value is neither 0 nor 1"),
        (_regression, "bank", "bad", lambda v: [0] * len(v), "label 'bad' has a single class"),
        (_regression, "telco", "minutes", lambda v: [3.5] * len(v), "column 'minutes' is constant"),
        (
            _regression,
            "telco",
            "minutes",
            lambda v: [None, *v[1:]],
            "column 'minutes', row 1: a value is missing",
        ),
        (_regression, "bank", "own", lambda v: [x * 1e200 for x in v], "a number is above 2^500"),
        (_woe, "bank", "bad", lambda v: [2, *v[1:]], "'bad'"),
        (_woe, "telco", "minutes", lambda v: [3.5] * len(v), "column 'minutes' has the same value"),
    ],
)
def test_a_column_that_cannot_be_used_is_named_to_its_owner(
    nodes: Sandbox, make: Make, party: str, column: str, change: Callable[[list[Any]], list[Any]], words: str
) -> None:
    table = _tables()[party]
    changed = change(table[column].to_pylist())
    table = table.set_column(table.column_names.index(column), column, pa.array(changed))
    other = "telco" if party == "bank" else "bank"
    dataset = f"bad-{len(nodes[party].node.datasets())}"
    _bring(nodes, party, dataset, table, other)
    ends = _ended(nodes, make({party: dataset}))
    assert ends["bank"].reason == f"{party}: {_OWN_INPUT}"
    assert words in ends[party].detail
    assert ends[other].detail == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_refused_where_data_is_registered(nodes: Sandbox, value: float) -> None:
    table = _tables()["telco"]
    values = [*table["minutes"].to_pylist()[:-1], value]
    with pytest.raises(InputError, match="data row 120, column 'minutes': is NaN or infinite"):
        nodes["telco"].node.add_dataset("infinite", table.set_column(1, "minutes", pa.array(values)), ["id"])


@pytest.mark.parametrize("make", [_trees, _regression, _woe])
def test_without_common_rows_the_result_is_withheld_from_both(nodes: Sandbox, make: Make) -> None:
    dataset = f"strangers-{len(nodes['telco'].node.datasets())}"
    table = _tables()["telco"]
    _bring(nodes, "telco", dataset, table.set_column(0, "id", pa.array(range(10_000, 10_000 + ROWS))), "bank")
    ends = _ended(nodes, make({"telco": dataset}))
    assert ": the result is withheld: it must have at least 50 common keys, and there are" in ends["bank"].reason


@pytest.mark.parametrize(
    ("make", "purpose", "words"),
    [
        (_trees, "a ciphertext of 0", "ciphertext"),
        (_trees, "a ciphertext above the modulus", "ciphertext"),
        (_trees, "a ciphertext under another key", "sent a ciphertext of more than packed sums"),
        (_trees, "a histogram of the wrong shape", "bytes"),
        (_trees, "other candidates than sums", "claims 2147483648 ways to split"),
        (_regression, "products of 0", "ciphertext"),
        (_regression, "products of the wrong shape", "bytes"),
        (_regression, "an even key", "modulus is even"),
        (_woe, "bins of no rows", "columns"),
    ],
)
def test_a_peer_that_cheats_is_named_to_both_and_recorded(
    nodes: Sandbox, make: Callable[[Mapping[str, str], str], Job], purpose: str, words: str
) -> None:
    assert purpose in CHEATS
    before = len(evidence(nodes["bank"], "peer_misbehaved"))
    ends = _ended(nodes, make({}, purpose))
    assert ends["bank"].reason.startswith("bank: telco: ")
    assert words in ends["bank"].reason
    entries = evidence(nodes["bank"], "peer_misbehaved")[before:]
    assert {entry["peer"] for entry in entries} == {nodes["telco"].node.fingerprint}


def test_a_schema_that_changed_since_training_is_an_error_that_names_the_column(nodes: Sandbox) -> None:
    job = _trees({})
    nodes.run(job)
    training = nodes["bank"].node.job(job.id).job
    table = _tables()["telco"]
    _bring(nodes, "telco", "renamed", table.rename_columns(["id", "seconds"]), "bank")
    with pytest.raises(PolicyDenied, match="telco"):
        nodes["bank"].node.wait(
            nodes["bank"].node.propose(prediction_job(training, ["bank"], datasets={"telco": "renamed"})).id
        )
    _bring(nodes, "telco", "as-text", table.set_column(1, "minutes", pa.array(["much"] * ROWS)), "bank")
    with pytest.raises((PolicyDenied, InputError), match="telco"):
        nodes["bank"].node.wait(
            nodes["bank"].node.propose(prediction_job(training, ["bank"], datasets={"telco": "as-text"})).id
        )
    other = replace(training.members["telco"], dataset="renamed", columns={"key": ("id",), "feature": ("seconds",)})
    wanted = prediction_job(training, ["bank"])
    ends = _ended(nodes, replace(wanted, members={**wanted.members, "telco": other}))
    assert ends["bank"].reason == f"telco: {_OWN_INPUT}"
    assert "minutes" in ends["telco"].detail
