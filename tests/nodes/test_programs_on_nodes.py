"""Researchers' programs between real nodes: each operator registers the text, and nothing else is run."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from mpc.errors import InputError, PolicyDenied
from mpc.job import Job, Member
from parties.jobs.states import State
from parties.jobs.watching import JobFailed
from parties.sandbox import Sandbox, sandbox
from tests.nodes.observe import end_of, evidence, in_state, verify_evidence

pytestmark = pytest.mark.nodes

SUM = """
def program(engine, table):
    shared = [
        engine.share(name, table["owed"].to_numpy() if name == engine.name else None, shape=(3,), low=0, high=100)
        for name in ("bank", "telecom")
    ]
    total = engine.open_to("bank", shared[0] + shared[1])
    return {"total": total} if engine.name == "bank" else None
"""
FAILING = SUM.replace(
    "    total =", "    if engine.name == 'telecom':\n        raise ValueError('data in words')\n    total ="
)
UNEVEN = SUM.replace('{"total": total}', '{"total": total, "other": [1]}')


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def job_of(text: str, *, helper: bool = False) -> Job:
    members = {name: Member("party", "debts", {"column": ("owed",)}) for name in ("bank", "telecom")}
    if helper:
        members["aid"] = Member("helper")
    return Job("share.program", members, ("bank",), {"program": digest(text)}, "research")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Sandbox]:
    """Two nodes with data and a third that can help, which allow each other everything, without asking."""
    with sandbox("bank", "telecom", "aid") as started:
        for name, owed in (("bank", [1, 2, 3]), ("telecom", [10, 20, 77])):
            started[name].node.add_dataset("debts", pa.table({"id": [1, 2, 3], "owed": owed}), ["id"])
        for job in (job_of(SUM), job_of(SUM, helper=True)):
            started.allow(job)
        yield started


def add(nodes: Sandbox, name: str, text: str, folder: Path, *parties: str) -> None:
    (folder / "program.py").write_text(text)
    for party in parties:
        nodes[party].node.add_program(name, folder / "program.py")


@pytest.mark.parametrize("helper", [False, True])
def test_a_registered_program_is_run_and_its_receiver_learns_what_it_opens(
    nodes: Sandbox, tmp_path: Path, helper: bool
) -> None:
    add(nodes, "sum", SUM, tmp_path, "bank", "telecom")  # the helper runs nothing of it
    job = job_of(SUM, helper=helper)
    assert nodes.run(job)["bank"].to_pydict() == {"total": [11, 22, 80]}
    end_of(nodes, job.id, list(job.members))
    for party in ("bank", "telecom"):
        assert {"name": "sum", "program": digest(SUM)} in evidence(nodes[party], "program_added")
    assert evidence(nodes["aid"], "program_added") == []
    verify_evidence(nodes)


def test_a_program_that_is_not_registered_is_refused_where_it_is_not(nodes: Sandbox, tmp_path: Path) -> None:
    other = SUM + "\n# other\n"
    job = job_of(other)
    with pytest.raises(InputError, match=f"the program {digest(other)} is not registered here") as caught:
        nodes["bank"].node.propose(job)
    assert "read it, and register it with `sealane program add" in caught.value.hint
    add(nodes, "other", other, tmp_path, "bank")
    nodes["bank"].node.propose(job)
    records = end_of(nodes, job.id, ["bank", "telecom"])
    assert records["bank"].state is State.DENIED
    assert digest(other) in records["telecom"].detail
    assert "read it, and register it" in records["telecom"].hint
    assert digest(other) not in records["bank"].detail
    nodes["telecom"].node.add_program("other", tmp_path / "program.py")
    again = replace(job, id="f" * 32)
    assert nodes.run(again)["bank"].to_pydict() == {"total": [11, 22, 80]}


def test_a_changed_file_is_another_program(nodes: Sandbox, tmp_path: Path) -> None:
    node = nodes["telecom"].node
    add(nodes, "changing", SUM + "# 1\n", tmp_path, "telecom")
    (tmp_path / "program.py").write_text(SUM + "# 2\n")
    assert node.program("changing").digest == digest(SUM + "# 1\n")
    with pytest.raises(InputError, match="another program is registered as changing"):
        node.add_program("changing", tmp_path / "program.py")
    node.remove_program("changing")
    assert evidence(nodes["telecom"], "program_removed") == [{"name": "changing", "program": digest(SUM + "# 1\n")}]
    assert node.add_program("changing", tmp_path / "program.py").digest == digest(SUM + "# 2\n")


def test_a_program_removed_after_approval_does_not_start(nodes: Sandbox, tmp_path: Path) -> None:
    text = SUM + "# removed\n"
    add(nodes, "removed", text, tmp_path, "bank", "telecom")
    nodes["telecom"].stop()
    job = job_of(text)
    nodes["bank"].node.propose(job)
    nodes["bank"].node.remove_program("removed")
    nodes["telecom"].start()
    nodes.connect()
    in_state(nodes["telecom"], job.id, State.FAILED)
    records = end_of(nodes, job.id, ["bank", "telecom"])
    assert records["telecom"].reason == "bank: its operator removed the program after it approved the job"


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        (FAILING, "telecom", "the program raised ValueError in line 8"),
        (UNEVEN, "bank", "the result's columns have different lengths (total: 3, other: 1)"),
    ],
    ids=["raises", "uneven"],
)
def test_a_program_that_fails_ends_the_job_for_all_and_only_its_own_operator_sees_where(
    nodes: Sandbox, tmp_path: Path, text: str, at: str, said: str
) -> None:
    add(nodes, f"failing-{at}", text, tmp_path, "bank", "telecom")
    job = job_of(text)
    with pytest.raises(JobFailed, match=f"{at}: the program failed there; its operator sees where"):
        nodes.run(job)
    records = end_of(nodes, job.id, ["bank", "telecom"])
    assert {record.state for record in records.values()} == {State.FAILED}
    assert records[at].detail == said
    (other,) = {"bank", "telecom"} - {at}
    assert records[other].detail == ""
    for party in nodes.values():
        assert "data in words" not in party.log.read_text() + str(party.node.job(job.id) if party.name != "aid" else "")


def test_a_grant_that_demands_a_minimum_refuses_programs(nodes: Sandbox, tmp_path: Path) -> None:
    job = replace(job_of(SUM), purpose="minimum")
    add(nodes, "sum", SUM, tmp_path, "bank", "telecom")
    for name, other in (("bank", "telecom"), ("telecom", "bank")):
        nodes[name].node.grant(
            other, "share.program", "debts", ["owed"], purpose="minimum", receivers=["bank"], min_result=10
        )
    with pytest.raises(PolicyDenied, match="demands a minimum result of 10 or more"):
        nodes["bank"].node.propose(job)
