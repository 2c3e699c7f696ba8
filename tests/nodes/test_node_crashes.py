"""Processes that are killed or stopped at any time: nothing that was acknowledged is lost, and all end alike."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mpc.job import Job, Member
from parties.jobs.states import ENDED, OPEN, State
from parties.sandbox import Sandbox, sandbox
from tests.nodes.observe import (
    ANN_ROWS,
    BOB_ROWS,
    end_of,
    evidence,
    frozen,
    held_back,
    in_state,
    log_of,
    psi,
    restart,
    until,
    verify_evidence,
    worker_pid,
)

pytestmark = pytest.mark.nodes

#: Of a job that is to be overtaken by its deadline, but not before it runs: if it was, another one lives longer.
LIVES_S = (8, 32, 128)


@pytest.fixture(scope="module")
def asking(pair: Sandbox) -> Sandbox:
    """Bob has a second dataset, for which he is asked."""
    pair["bob"].node.add_dataset("private", BOB_ROWS, ["id"])
    pair["bob"].node.grant("ann", "psi.ecdh", "private", ["*"], purpose="*", receivers=["ann"], min_result=0)
    return pair


def _asking_job() -> Job:
    job = psi()
    return replace(job, members={**job.members, "bob": Member("sender", "private", {"key": ("id",)})})


@pytest.mark.parametrize("who", ["ann", "bob"])
@pytest.mark.parametrize("step", ["proposed", "approved", "running", "finished"])
def test_a_node_killed_at_any_step_is_restarted_and_the_job_succeeds(asking: Sandbox, who: str, step: str) -> None:
    ann, bob = asking["ann"].node, asking["bob"].node
    record = ann.propose(_asking_job())
    in_state(asking["bob"], record.id, State.PROPOSED)
    with held_back(asking[who]) if step == "running" else contextlib.nullcontext():
        if step == "proposed":
            asking[who].kill()
        bob.approve(record.id, record.digest)  # the command works whether or not the node runs
        if step == "running":
            worker_pid(asking[who], record.id)
        elif step == "finished":
            in_state(asking[who], record.id, State.FINISHED, *ENDED)
        if step != "proposed":
            asking[who].kill()
    restart(asking, who)
    ends = end_of(asking, record.id)
    assert ends["ann"].state is State.SUCCEEDED
    assert ann.result(record.id).num_rows == 11
    assert ends["ann"].attempt >= 2 or step != "running"
    verify_evidence(asking)


def test_a_killed_worker_fails_the_job_with_that_reason_and_the_node_lives(asking: Sandbox) -> None:
    for who in ("ann", "bob"):
        with held_back(asking[who]):
            record = asking["ann"].node.propose(psi())
            os.kill(worker_pid(asking[who], record.id), signal.SIGKILL)
        ends = end_of(asking, record.id)
        assert ends["ann"].state is State.FAILED
        assert ends["ann"].reason == f"{who}: its worker process was killed by SIGKILL"
        assert "memory" in ends[who].hint
        assert asking[who].process.poll() is None
    assert asking.run(psi())["ann"].num_rows == 11


def test_a_stopped_node_is_noticed_and_the_job_ends_alike_when_it_goes_on(asking: Sandbox) -> None:
    ann, bob = asking["ann"], asking["bob"]
    with held_back(bob):
        record = ann.node.propose(psi())
        worker_pid(bob, record.id)
        with frozen(bob.process.pid):
            until(lambda: ann.node.links()[bob.node.fingerprint]["state"] != "connected")
    assert end_of(asking, record.id)["ann"].state is State.SUCCEEDED


def test_a_job_that_a_node_is_stopped_in_past_the_deadline_expires_on_both_sides(asking: Sandbox) -> None:
    for life_s in LIVES_S:
        with held_back(asking["bob"]):
            record = asking["ann"].node.propose(psi(deadline=int(time.time()) + life_s))
            in_state(asking["bob"], record.id, State.RUNNING, *ENDED)
            with frozen(asking["bob"].process.pid):
                in_state(asking["ann"], record.id, State.EXPIRED)
        ends = end_of(asking, record.id)
        assert ends["bob"].state is State.EXPIRED
        if ends["bob"].attempt:
            break
    assert "bob finished attempt 1" in ends["bob"].reason


def test_two_jobs_of_one_id_that_cross_are_a_conflict_that_both_sides_record(asking: Sandbox) -> None:
    asking["bob"].stop()
    mine = asking["ann"].node.propose(psi())
    theirs = asking["bob"].node.propose(replace(psi("bob", "ann"), id=mine.id))
    restart(asking, "bob")
    for name in ("ann", "bob"):
        record = in_state(asking[name], mine.id, *ENDED)
        assert record.state is State.FAILED
        assert "other contents" in record.reason
        conflict = until(lambda name=name: [e for e in evidence(asking[name], "job_conflict") if e["job"] == mine.id])  # type: ignore[misc]
        assert {conflict[0]["digest"], conflict[0]["other"]} == {mine.digest, theirs.digest}
        assert not evidence(asking[name], "peer_misbehaved")


def test_two_hundred_jobs_that_wait_for_a_peer_survive_the_death_of_the_node(asking: Sandbox) -> None:
    ann, bob = asking["ann"], asking["bob"]
    bob.stop()
    proposed = [ann.node.propose(_asking_job()).id for _ in range(100)]
    ann.kill()
    proposed += [ann.node.propose(_asking_job()).id for _ in range(100)]
    ann.start()
    restart(asking, "bob")
    until(lambda: {record.id for record in bob.node.jobs({State.PROPOSED})} >= set(proposed))
    bob.kill()
    restart(asking, "bob")
    for job in proposed:
        ann.node.cancel(job)
    until(lambda: not any(party.node.jobs(OPEN) for party in asking.values()))
    for party in asking.values():
        assert {record.id for record in party.node.jobs({State.CANCELLED})} == set(proposed)
    verify_evidence(asking)


@pytest.fixture
def both_busy() -> Iterator[Sandbox]:
    with sandbox("ann", "bob", settings={"max_running_jobs": 1, "keepalive_s": 600.0}) as nodes:
        nodes["ann"].node.add_dataset("rows", ANN_ROWS, ["id"])
        nodes["bob"].node.add_dataset("rows", BOB_ROWS, ["id"])
        nodes.allow(psi())
        nodes.allow(psi("bob", "ann"))
        yield nodes


def test_two_nodes_that_each_coordinate_jobs_and_have_one_worker_do_not_block_each_other(both_busy: Sandbox) -> None:
    jobs = [both_busy["ann"].node.propose(psi()), both_busy["bob"].node.propose(psi("bob", "ann"))]
    for job in jobs:
        assert end_of(both_busy, job.id)["ann"].state is State.SUCCEEDED
    for party in both_busy.values():
        party.stop()
        ended = {(line["job"], line["attempt"]) for line in log_of(party, "worker started")}
        assert {job.id for job in jobs} <= {job for job, _ in ended}


def test_removing_a_peer_cuts_its_live_link_and_fails_the_job(both_busy: Sandbox) -> None:
    ann, bob = both_busy["ann"], both_busy["bob"]
    for life_s in LIVES_S:
        with held_back(bob):
            record = ann.node.propose(psi(deadline=int(time.time()) + 2 * life_s))
            in_state(bob, record.id, State.RUNNING, *ENDED)
            if in_time := record.job.deadline - time.time() > life_s:
                ann.node.remove_peer("bob")
                until(lambda: bob.node.links()[ann.node.fingerprint]["state"] != "connected")
        if in_time:
            break
        end_of(both_busy, record.id)
    mine = in_state(ann, record.id, *ENDED)
    assert mine.state is State.FAILED
    assert mine.reason == "ann removed bob from its peers"
    theirs = in_state(bob, record.id, *ENDED)
    assert theirs.state is State.EXPIRED
    assert theirs.result is None
    for party in both_busy.values():
        until(lambda party=party: not any(party.node.home.work.iterdir()))  # type: ignore[misc]
        assert not any(party.node.home.results.iterdir())
    verify_evidence(both_busy)


def test_a_peer_removed_while_the_node_was_down_loses_its_jobs_at_the_start(both_busy: Sandbox) -> None:
    ann = both_busy["ann"]
    both_busy["bob"].stop()
    record = ann.node.propose(psi())
    ann.stop()
    ann.node.remove_peer("bob")
    ann.start()
    assert in_state(ann, record.id, *ENDED).reason == "ann removed bob from its peers"
