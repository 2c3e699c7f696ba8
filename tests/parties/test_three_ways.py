"""One job, in one process, on spawned nodes, and at a node of one's own."""

import dataclasses
import uuid

import pandas as pd
import pytest

from mpc.errors import ChannelError
from mpc.job import Job, Member
from mpc.local import run_job
from parties import Node
from parties.jobs.states import State
from parties.sandbox import sandbox

JOB = Job(
    protocol="psi.ecdh",
    members={
        "a": Member("receiver", "ours", {"key": ("id",), "output": ("limit",)}),
        "b": Member("sender", "theirs", {"key": ("number",)}),
    },
    receivers=("a",),
    params={"normalisation": ("integer/1",)},
)
TABLES = {"a": pd.DataFrame({"id": ["007", "8", "9"], "limit": [1, 2, 3]}), "b": pd.DataFrame({"number": [9, 7]})}
MATCHED = [{"id": "007", "limit": 1}, {"id": "9", "limit": 3}]


@pytest.mark.nodes
def test_the_same_job_gives_the_same_result_all_three_ways() -> None:
    assert run_job(JOB, TABLES)["a"].table.to_pylist() == MATCHED
    with sandbox("a", "b") as parties:
        parties["a"].node.add_dataset("ours", TABLES["a"], ["id"])
        parties["b"].node.add_dataset("theirs", TABLES["b"], ["number"])
        parties.allow(JOB)
        assert parties.run(JOB)["a"].to_pylist() == MATCHED
        assert parties.await_receipt("b", JOB.id).statement.outcome == "succeeded"

        again = dataclasses.replace(JOB, id=uuid.uuid4().hex)
        assert Node(parties["a"].node.home.path).run(again).to_pylist() == MATCHED
        assert parties["b"].node.jobs({State.SUCCEEDED})

        parties.allow(asked := dataclasses.replace(JOB, id=uuid.uuid4().hex, purpose="asks"), automatic=False)
        parties["a"].node.propose(asked)
        parties.await_job("b", asked.id)
        assert parties["b"].node.job(asked.id).state is State.PROPOSED
        with pytest.raises(ChannelError, match="not every party signed"):
            parties.await_receipt("b", asked.id, timeout_s=0)
