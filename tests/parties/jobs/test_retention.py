"""What is left of jobs that were forgotten, and what rests on it."""

from dataclasses import replace

import pytest

from mpc.errors import InputError
from mpc.job import Job
from parties.jobs.states import State
from tests.parties.jobs.parties_in_memory import NAMES, World, psi_job, sum_job

YEAR_S = 365 * 86400.0
SECRET = "a purpose that nobody is to read in ten years"


def _succeeded(parties: World, job: Job, dropped: tuple[str, ...] = ()) -> str:
    """The job's id; what `dropped` say of its end has not arrived."""
    record = parties["ann"].node.propose(job)
    parties.settle()
    parties["ann"].start_jobs()
    parties.settle()
    for name in job.members:
        if name not in dropped:
            parties[name].deliver(parties[name].node.job(record.id), dropped)
    for name in job.members:
        if name not in dropped:
            parties.carry(name, "ann")
    assert parties.job_state("ann", record.id) is State.SUCCEEDED
    return record.id


def test_a_forgotten_job_leaves_its_receipt_and_evidence_that_verifies(parties: World) -> None:
    ann = parties["ann"]
    job_id = _succeeded(parties, psi_job("ann", "bob", purpose=SECRET))
    parties.settle()
    receipt = ann.node.receipt(job_id)
    ann.node.delete_result(job_id)
    assert ann.node.forget_jobs(parties.clock.now - 1) == 0
    parties.pass_time(YEAR_S)
    assert ann.node.old_jobs(parties.clock.now) == ann.node.forget_jobs(parties.clock.now) == 1
    assert ann.node.old_jobs(parties.clock.now) == ann.node.forget_jobs(parties.clock.now) == 0
    assert ann.node.receipt(job_id) == receipt
    assert ann.node.jobs() == []
    assert ann.node.job_counts() == {State.SUCCEEDED: 1}
    with pytest.raises(InputError, match=f"what job {job_id} was is forgotten here; it succeeded"):
        _ = ann.node.job(job_id).job
    assert ann.evidence("jobs_forgotten") == [{"jobs": 1, "before": int(parties.clock.now)}]
    parties.verify_evidence()
    stored = [dict(row) for row in ann.store.connection().execute("SELECT * FROM jobs")]
    assert SECRET not in str(stored)


def test_the_id_of_a_forgotten_job_is_not_that_of_a_new_one(parties: World) -> None:
    job = replace(psi_job("ann", "bob"), deadline=int(parties.clock.now) + 100)
    job_id = _succeeded(parties, job)
    parties.settle()
    for name in ("ann", "bob"):
        parties.pass_time(YEAR_S)
        if name == "ann":
            parties[name].node.delete_result(job_id)
        assert parties[name].node.forget_jobs(parties.clock.now) == 1
    assert parties["ann"].node.propose(job).state is State.SUCCEEDED
    with pytest.raises(InputError, match="other contents"):
        parties["ann"].node.propose(replace(job, purpose="another"))


def test_what_a_lost_party_says_late_of_a_forgotten_job_is_no_misdeed(parties: World) -> None:
    ann = parties["ann"]
    job_id = _succeeded(parties, sum_job("ann", survive=1), ("dan",))
    for name in ("bob", "cam"):
        parties.carry("ann", name)
        parties.carry(name, "ann")
    ann.node.delete_result(job_id)
    parties.clock.now += YEAR_S
    assert ann.node.forget_jobs(parties.clock.now) == 1
    parties.settle()  # only now does dan hear of the end, and sign it
    assert {parties.job_state(name, job_id) for name in NAMES} == {State.SUCCEEDED}
    assert not ann.evidence("peer_misbehaved")
    parties.verify_evidence()


def test_a_job_stays_while_its_result_is_here_or_a_peer_has_to_sign(parties: World) -> None:
    ann = parties["ann"]
    job_id = _succeeded(parties, psi_job("ann", "bob"))
    parties.clock.now += 1  # jobs of one moment come in any order
    ann.node.propose(psi_job("ann", "bob"))  # bob never hears of it
    parties.pass_time(YEAR_S)
    assert ann.node.job_counts() == {State.SUCCEEDED: 1, State.EXPIRED: 1}
    assert ann.node.old_jobs(parties.clock.now) == 0
    ann.node.delete_result(job_id)
    ann.node.remove_peer("bob")
    assert ann.node.forget_jobs(parties.clock.now + 1) == 2
