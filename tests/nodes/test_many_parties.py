"""Sums among three and four nodes: small groups suppressed, parties lost on the way."""

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pyarrow as pa
import pytest

from mpc.job import Job, Member
from parties.jobs.records import JobRecord
from parties.jobs.states import State
from parties.sandbox import Sandbox, sandbox
from tests.nodes.cheating_node import STOPS
from tests.nodes.observe import end_of, held_back, in_state, restart, until, verify_evidence, worker_pid

pytestmark = pytest.mark.nodes

NAMES = ("ann", "bob", "cam", "dan")
#: Each has one row of the group "rare".
GROUPS = ["north"] * 8 + ["south"] * 11 + ["rare"]
VALUES = {name: [1000 * k + i for i in range(20)] for k, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Sandbox]:
    """Four nodes; dan's worker stops in the middle of a job whose purpose says so."""
    with sandbox(*NAMES) as running:
        running["dan"].stop()
        running["dan"].program = (sys.executable, "-m", "tests.nodes.cheating_node")
        restart(running, "dan")
        running.wait_connected()
        for name, party in running.items():
            table = pa.table({"id": list(range(20)), "region": GROUPS, "v": VALUES[name]})
            party.node.add_dataset("rows", table, ["id"])
            for other in set(NAMES) - {name}:
                party.node.grant(other, "sum.masked", "rows", ["*"], purpose="*", receivers=["ann"], automatic=True)
        yield running


def _job(names: tuple[str, ...], survive: int = 0) -> Job:
    member = Member("party", "rows", {"value": ("v",), "group": ("region",)})
    params = {
        "values": [{"name": "v", "lower": "0", "upper": "10000"}],
        "groups": ["north", "south", "rare"],
        "statistics": ["count", "sum"],
        "minimum_group": 5,
        "survive_dropouts": survive,
    }
    return Job("sum.masked", dict.fromkeys(names, member), ("ann",), params)


def _check(table: pa.Table, names: tuple[str, ...]) -> None:
    rows = {row["group"]: row for row in table.to_pylist()}
    assert rows["rare"]["suppressed"]
    assert rows["rare"]["v_sum"] is rows["rare"]["rows"] is None
    for group in ("north", "south"):
        wanted = [VALUES[name][i] for name in names for i in range(20) if GROUPS[i] == group]
        assert (rows[group]["rows"], rows[group]["v_sum"]) == (len(wanted), sum(wanted))


def test_three_parties_learn_the_sums_of_all_groups_but_the_small_one(nodes: Sandbox) -> None:
    names = ("ann", "bob", "cam")
    job = _job(names)
    _check(nodes.run(job)["ann"], names)
    ends = end_of(nodes, job.id, names)
    assert set(nodes["ann"].node.receipt(job.id).signatures) == {nodes[name].node.fingerprint for name in names}
    assert ends["bob"].result is None


@pytest.mark.parametrize("what", ["worker", "node"])
def test_a_party_that_is_killed_on_the_way_is_done_without_and_learns_the_end(nodes: Sandbox, what: str) -> None:
    ends = _kill_dan_between_the_sums(nodes, what)
    assert (ends["ann"].state, ends["ann"].attempt) == (State.SUCCEEDED, 1)
    job = ends["ann"].id
    assert nodes["dan"].node.receipt(job).statement.dropped == ("dan",)
    assert ends["dan"].state is State.SUCCEEDED
    rows = [row for row in nodes["ann"].node.result(job).to_pylist() if not row["suppressed"]]
    assert sum(row["v_sum"] for row in rows) == sum(sum(VALUES[name]) for name in NAMES[:3])
    verify_evidence(nodes)


def _kill_dan_between_the_sums(nodes: Sandbox, what: str) -> dict[str, JobRecord]:
    """How a job ends of which one party is killed when it has given its counts and not yet its values."""
    small = _job(NAMES, survive=1)
    record = nodes["ann"].node.propose(replace(small, purpose=STOPS, params={**small.params, "minimum_group": 1}))
    dan = nodes["dan"]
    worker = psutil.Process(worker_pid(dan, record.id))
    until(lambda: worker.status() == psutil.STATUS_STOPPED)
    if what == "node":
        dan.kill()
    worker.kill()
    if what == "node":
        restart(nodes, "dan")
    return end_of(nodes, record.id)


def test_without_leave_to_go_on_the_death_of_one_worker_fails_the_job_for_all(nodes: Sandbox) -> None:
    with held_back(nodes["cam"]):
        record = nodes["ann"].node.propose(_job(NAMES))
        os.kill(worker_pid(nodes["cam"], record.id), signal.SIGKILL)
    ends = end_of(nodes, record.id)
    assert ends["dan"].reason == "cam: its worker process was killed by SIGKILL"


def test_a_party_removed_by_another_member_ends_the_job_for_all(nodes: Sandbox) -> None:
    with held_back(nodes["cam"]):
        record = nodes["ann"].node.propose(_job(NAMES))
        in_state(nodes["bob"], record.id, State.RUNNING)
        nodes["bob"].node.remove_peer("cam")
        ends = end_of(nodes, record.id)
    assert ends["cam"].state is State.FAILED
    assert ends["cam"].reason == "bob: it removed cam from its peers"
