"""Events that cross on the way, one by one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import pytest

from mpc import registry
from parties.jobs.attempts import GRACE_S
from parties.jobs.failure import Kind
from parties.jobs.records import JobRecord
from parties.jobs.states import State
from tests.parties.jobs.parties_in_memory import NAMES, World, psi_job, sum_job


def _running(parties: World, *, survive: int = 0) -> JobRecord:
    """A sum of all four that runs everywhere."""
    record = parties["ann"].node.propose(sum_job("ann", survive=survive))
    parties.settle()
    parties["ann"].start_jobs()
    parties.settle()
    assert {parties.job_state(name, record.id) for name in NAMES} == {State.RUNNING}
    return parties["ann"].node.job(record.id)


def _states(parties: World, job: str) -> set[State]:
    return {parties.job_state(name, job) for name in NAMES}


def test_a_party_that_cancels_takes_no_part_in_an_attempt_that_starts_meanwhile(parties: World) -> None:
    ann, bob = parties["ann"], parties["bob"]
    record = ann.node.propose(psi_job("ann", "bob"))
    parties.settle()
    bob.node.cancel(record.id)
    ann.start_jobs()
    parties.carry("ann", "bob")
    assert parties.job_state("bob", record.id) is State.STOPPED
    assert not bob.evidence("peer_misbehaved")
    parties.settle()
    assert ann.node.job(record.id).reason == bob.node.job(record.id).reason == "cancelled by bob"


def test_a_party_that_cancels_while_the_coordinator_tries_again_does_not_run_again(parties: World) -> None:
    ann, bob = parties["ann"], parties["bob"]
    record = ann.node.propose(psi_job("ann", "bob"))
    parties.settle()
    ann.start_jobs()
    parties.carry("ann", "bob")
    bob.node.cancel(record.id)
    ann.restart()
    parties.pass_time(5)
    ann.start_jobs()
    assert ann.node.job(record.id).attempt == 2
    parties.carry("ann", "bob")
    assert parties.job_state("bob", record.id) is State.STOPPED


@contextmanager
def _another_release(lacks: str) -> Iterator[None]:
    """Nodes do not have that protocol."""
    with mock.patch.dict(registry.SPECS):
        del registry.SPECS[lacks]  # type: ignore[attr-defined]
        yield


def test_a_job_that_an_upgraded_node_cannot_run_any_more_fails_and_says_so(parties: World) -> None:
    ann, bob = parties["ann"], parties["bob"]
    ours, theirs = ann.node.propose(psi_job("ann", "bob")), bob.node.propose(psi_job("bob", "ann"))
    parties.settle()
    with _another_release("psi.ecdh"):
        ann.start_jobs()
    bob.start_jobs()
    with _another_release("psi.ecdh"):
        parties.carry("bob", "ann")
    parties.settle()
    for party in (ann, bob):
        for record in (ours, theirs):
            assert party.node.job(record.id).reason == "ann: its release does not run the job as it was approved"
        assert not party.evidence("peer_misbehaved")


def test_the_end_of_a_job_of_another_release_is_no_misdeed(parties: World) -> None:
    ann, bob = parties["ann"], parties["bob"]
    record = ann.node.propose(psi_job("ann", "bob"))
    with _another_release("psi.ecdh"):
        parties.carry("ann", "bob")
        assert parties.job_state("bob", record.id) is State.DENIED
        parties.settle()
    assert not bob.evidence("peer_misbehaved")
    assert ann.node.receipt(record.id) == bob.node.receipt(record.id)


def test_a_job_that_waits_for_its_next_attempt_does_not_wait_for_a_clock_that_was_turned_back(parties: World) -> None:
    ann = parties["ann"]
    record = ann.node.propose(psi_job("ann", "bob"))
    parties.settle()
    ann.start_jobs()
    ann.stop(ann.node.job(record.id), Kind.INTERRUPTED)
    ann.start_jobs()
    assert parties.job_state("ann", record.id) is State.WAITING  # it pauses for a second
    parties.clock.now -= 3600
    ann.start_jobs()
    assert ann.node.job(record.id).attempt == 2


def test_a_lost_party_learns_of_the_success_even_after_it_gave_up(parties: World) -> None:
    record = _running(parties, survive=1)
    for name in ("bob", "cam", "ann"):
        parties[name].deliver(parties[name].node.job(record.id), ("dan",))
    parties.carry("bob", "ann")
    parties.carry("cam", "ann")
    assert parties.job_state("ann", record.id) is State.SUCCEEDED
    parties.clock.now = record.job.deadline + GRACE_S
    parties["dan"].restart()
    parties["dan"].tick()
    assert parties.job_state("dan", record.id) is State.EXPIRED
    parties.settle()
    assert _states(parties, record.id) == {State.SUCCEEDED}
    assert parties["dan"].node.receipt(record.id).statement.dropped == ("dan",)


def test_a_lost_party_that_never_started_the_attempt_learns_of_the_success(parties: World) -> None:
    record = parties["ann"].node.propose(sum_job("ann", survive=1))
    parties.settle()
    parties["ann"].start_jobs()
    parties.carry("ann", "bob")
    parties.carry("ann", "cam")
    for name in ("bob", "cam", "ann"):
        parties[name].deliver(parties[name].node.job(record.id), ("dan",))
    parties.carry("bob", "ann")
    parties.carry("cam", "ann")
    parties.carry("ann", "dan", busy=True)
    parties.settle()
    assert _states(parties, record.id) == {State.SUCCEEDED}
    assert not parties["dan"].evidence("peer_misbehaved")


def test_a_party_lost_after_its_part_has_to_play_again(parties: World) -> None:
    record = _running(parties, survive=1)
    parties["dan"].restart()  # it had given all that the others needed
    for name in ("bob", "cam", "ann"):
        parties[name].deliver(parties[name].node.job(record.id))
    parties.settle()
    assert parties.job_state("ann", record.id) is State.WAITING
    parties.pass_time(5)
    parties["ann"].start_jobs()
    parties.settle()
    for name in NAMES:
        parties[name].deliver(parties[name].node.job(record.id))
    parties.settle()
    assert _states(parties, record.id) == {State.SUCCEEDED}
    assert parties["ann"].node.job(record.id).attempt == 2


def test_parties_that_disagree_about_who_was_lost_do_not_succeed(parties: World) -> None:
    for late in (False, True):
        record = _running(parties, survive=1)
        for name in ("bob", "cam", "dan"):
            parties[name].deliver(parties[name].node.job(record.id), () if name != "bob" else ("cam",))
        if not late:
            parties["ann"].deliver(parties["ann"].node.job(record.id))
        parties.settle()
        if late:
            parties["ann"].deliver(parties["ann"].node.job(record.id))
            parties.settle()
        assert _states(parties, record.id) == {State.FAILED}
        assert "bob: it says that other parties dropped out" in parties["cam"].node.job(record.id).reason
        assert parties["ann"].evidence("result_released") == []


def test_a_job_that_fails_after_it_went_on_without_a_party_ends_for_that_party_too(parties: World) -> None:
    record = _running(parties, survive=1)
    for name in ("ann", "bob"):
        parties[name].deliver(parties[name].node.job(record.id), ("dan",))
    parties["ann"].node.cancel(record.id)
    parties.settle()
    assert _states(parties, record.id) == {State.CANCELLED}
    assert parties["dan"].node.receipt(record.id).statement.dropped == ()
    assert not parties["dan"].evidence("peer_misbehaved")


def test_a_crash_between_the_halves_of_a_release_leaves_no_result_of_a_job_that_then_expires(parties: World) -> None:
    ann = parties["ann"]
    record = ann.node.propose(psi_job("ann", "bob"))
    parties.settle()
    ann.start_jobs()
    parties.carry("ann", "bob")
    ann.deliver(ann.node.job(record.id))
    held = ann.home.results / f".{record.id}.held"
    held.rename(ann.home.results / f"{record.id}.parquet")  # what the crash left behind
    ann.restart()
    assert (ann.home.results / f"{record.id}.parquet").exists()
    parties.pass_time(record.job.deadline)
    assert parties.job_state("ann", record.id) is State.EXPIRED
    assert not any(ann.home.results.iterdir())


def test_interrupted_attempts_are_tried_again_three_times_and_then_fail(parties: World) -> None:
    ann, bob = parties["ann"], parties["bob"]
    record = ann.node.propose(psi_job("ann", "bob"))
    for _ in range(4):
        parties.settle()
        ann.start_jobs()
        parties.settle()
        bob.stop(bob.node.job(record.id), Kind.INTERRUPTED)
        parties.settle()
        parties.pass_time(2)
    assert ann.node.job(record.id).attempt == 4
    assert _pair_states(parties, record.id) == {State.FAILED}


def _pair_states(parties: World, job: str) -> set[State]:
    return {parties.job_state(name, job) for name in ("ann", "bob")}


def test_parties_that_count_otherwise_do_not_succeed(parties: World, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = registry.get("sum.masked")
    monkeypatch.setattr(registry, "get", lambda _name: replace(spec, agreed=("rows",)))
    for counted in (1, 2):
        for late in (False, True):
            record = _running(parties)
            for name in ("bob", "cam", "dan"):
                parties[name].deliver(parties[name].node.job(record.id), rows=counted if name == "bob" else 1)
            if not late:
                parties["ann"].deliver(parties["ann"].node.job(record.id))
            parties.settle()
            if late:
                parties["ann"].deliver(parties["ann"].node.job(record.id))
                parties.settle()
            if counted == 1:
                assert _states(parties, record.id) == {State.SUCCEEDED}
                for name in NAMES:
                    assert parties[name].node.receipt(record.id).statement.counts == {"rows": 1}
            else:
                assert _states(parties, record.id) == {State.FAILED}
                assert "or counts otherwise, than ann" in parties["cam"].node.job(record.id).reason
                assert parties["ann"].node.receipt(record.id).statement.counts == {}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE grants SET revoked_at = :now", "its grant was revoked after it approved the job"),
        (
            "UPDATE grants SET terms = json_set(terms, '$.expires_at', CAST(:now AS INTEGER))",
            "its grant expired after it approved the job",
        ),
        ("UPDATE peers SET state = 'removed' WHERE :now", "ann is no longer its peer"),
        ("DELETE FROM datasets WHERE :now", "its dataset auto was removed after it approved the job"),
        ("UPDATE datasets SET commitment = :now", "its dataset auto was registered anew after it approved the job"),
    ],
)
def test_what_held_at_the_approval_holds_at_the_start_or_the_party_says_what_does_not(
    parties: World, change: str, reason: str
) -> None:
    ann, bob = parties["ann"], parties["bob"]
    record = ann.node.propose(psi_job("ann", "bob"))
    parties.settle()
    with bob.store.transaction() as db:
        db.execute(change, {"now": parties.clock.now})
    ann.start_jobs()
    parties.settle()
    assert not bob.evidence("job_started")
    assert ann.node.job(record.id).state is State.FAILED
    assert ann.node.job(record.id).reason == f"bob: {reason}"
