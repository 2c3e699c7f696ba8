"""Jobs between two nodes, from proposal to receipt, as people see them."""

import time
from dataclasses import replace

import pytest

from mpc.errors import ChannelError, InputError, PolicyDenied
from mpc.job import Job, Member
from parties.evidence.verify import cross_check
from parties.jobs.states import State
from parties.jobs.watching import JobFailed
from parties.sandbox import Sandbox
from tests.nodes.observe import ANN_ROWS, BOB_ROWS, end_of, evidence, held_back, in_state, psi, until, verify_evidence

pytestmark = pytest.mark.nodes

COMMON = {f"id-{i}" for i in range(20, 30)}


def _keys(job: Job, **slots: tuple[str, ...]) -> Job:
    members = {name: replace(member, columns=slots) for name, member in job.members.items()}
    return replace(job, members=members)


def _asking(pair: Sandbox) -> Job:
    """A job that Bob is to decide on."""
    bob = pair["bob"].node
    if all(dataset.name != "private" for dataset in bob.datasets()):
        bob.add_dataset("private", BOB_ROWS, ["id"])
        bob.grant("ann", "psi.ecdh", "private", ["*"], purpose="*", receivers=["ann"], min_result=0)
    job = psi()
    members = {**job.members, "bob": Member("sender", "private", {"key": ("id",)})}
    return replace(job, members=members)


def test_one_receiver_learns_its_own_matching_rows(pair: Sandbox) -> None:
    job = psi()
    table = pair.run(job)["ann"]
    wanted = [row for row in ANN_ROWS.to_pylist() if row["id"] in COMMON]
    assert table.to_pylist() == wanted
    records = end_of(pair, job.id)
    assert records["ann"].facts["matched_distinct"] == len(COMMON)
    assert records["bob"].result is None
    with pytest.raises(InputError, match="has no result here"):
        pair["bob"].node.result(job.id)


def test_both_learn_their_matching_rows_when_both_are_receivers(pair: Sandbox) -> None:
    job = psi(receivers=("ann", "bob"))
    tables = pair.run(job)
    assert set(tables["ann"]["id"].to_pylist()) == set(tables["bob"]["id"].to_pylist()) == COMMON
    assert tables["bob"].num_rows == len(COMMON)
    end_of(pair, job.id)


def test_a_count_of_common_keys_is_that_of_the_plain_sets(pair: Sandbox) -> None:
    job = _keys(psi(protocol="psi.ecdh_cardinality"), key=("id",))
    (row,) = pair.run(job)["ann"].to_pylist()
    assert row == {"intersection": len(COMMON), "own_distinct": 30, "peer_distinct": 40}


def test_a_dry_run_tells_everyone_how_clean_the_keys_are(pair: Sandbox) -> None:
    members = {name: Member("party", "rows", {"key": ("id",)}) for name in ("bob", "ann")}
    tables = pair.run(Job("psi.dry_run", members, ("ann", "bob")))
    assert tables["ann"].equals(tables["bob"])
    assert tables["ann"].select(["party", "rows", "duplicates", "distinct"]).to_pylist() == [
        {"party": "ann", "rows": 31, "duplicates": 1, "distinct": 30},
        {"party": "bob", "rows": 40, "duplicates": 0, "distinct": 40},
    ]


def test_the_same_proposal_again_is_the_same_job_and_the_same_result(pair: Sandbox) -> None:
    job = pair["ann"].node.complete(psi())
    pair.run(job)
    before = pair["ann"].node.result_path(job.id).read_bytes()
    assert pair.run(job)["ann"].num_rows == 11
    assert pair["ann"].node.result_path(job.id).read_bytes() == before
    assert len([fields for fields in evidence(pair["bob"], "job_received") if fields["job"] == job.id]) == 1
    end_of(pair, job.id)


def test_a_known_id_cannot_be_proposed_again_with_other_contents(pair: Sandbox) -> None:
    record = pair["ann"].node.propose(_asking(pair))
    in_state(pair["bob"], record.id, State.PROPOSED)
    for name, job in (("ann", psi()), ("bob", psi("bob", "ann"))):
        with pytest.raises(InputError, match="other contents"):
            pair[name].node.propose(replace(job, id=record.id))
    pair["bob"].node.deny(record.id)
    end_of(pair, record.id)


def test_a_person_approves_exactly_the_digest_that_was_shown(pair: Sandbox) -> None:
    job = _asking(pair)
    record = pair["ann"].node.propose(job)
    shown = in_state(pair["bob"], record.id, State.PROPOSED)
    with pytest.raises(ChannelError, match="waiting for bob"):
        pair["ann"].node.wait(record.id, 0)
    assert pair["bob"].node.preview(record.id).digest == shown.digest == record.digest
    with pytest.raises(InputError, match="another digest"):
        pair["bob"].node.approve(record.id, "0" * 64)
    assert pair["bob"].node.job(record.id).state is State.PROPOSED
    pair["bob"].node.approve(record.id, shown.digest)
    assert end_of(pair, record.id)["ann"].state is State.SUCCEEDED
    with pytest.raises(InputError, match="nothing to approve"):
        pair["bob"].node.approve(record.id, shown.digest)


def test_a_denial_ends_the_job_with_its_reason_and_no_control_characters(pair: Sandbox) -> None:
    record = pair["ann"].node.propose(_asking(pair))
    in_state(pair["bob"], record.id, State.PROPOSED)
    pair["bob"].node.deny(record.id, "not \x1b[31mthis\n week")
    ends = end_of(pair, record.id)
    assert ends["ann"].state is State.DENIED
    assert ends["ann"].reason == "bob: not  [31mthis  week"
    with pytest.raises(PolicyDenied, match="not  "):
        pair["ann"].node.wait(record.id)


@pytest.mark.parametrize("who", ["ann", "bob"])
def test_either_side_cancels_before_the_job_runs(pair: Sandbox, who: str) -> None:
    record = pair["ann"].node.propose(_asking(pair))
    in_state(pair["bob"], record.id, State.PROPOSED)
    pair[who].node.cancel(record.id)
    ends = end_of(pair, record.id)
    assert ends["ann"].state is State.CANCELLED
    assert ends["ann"].reason == f"cancelled by {who}"
    assert ends["ann"].attempt == 0


@pytest.mark.parametrize("who", ["ann", "bob"])
def test_either_side_cancels_while_the_job_runs(pair: Sandbox, who: str) -> None:
    with held_back(pair["ann"]):
        record = pair["ann"].node.propose(psi())
        in_state(pair["bob"], record.id, State.RUNNING)
        pair[who].node.cancel(record.id)
        ends = end_of(pair, record.id)
    assert ends["ann"].state is State.CANCELLED
    assert ends["ann"].reason == f"cancelled by {who}"
    with pytest.raises(InputError, match="nothing to cancel"):
        pair[who].node.cancel(record.id)


def test_a_job_that_nobody_decides_on_expires_everywhere(pair: Sandbox) -> None:
    job = replace(_asking(pair), deadline=int(time.time()) + 5)
    record = pair["ann"].node.propose(job)
    ends = end_of(pair, record.id)
    assert ends["bob"].state is State.EXPIRED
    assert "before bob decided" in ends["bob"].reason
    with pytest.raises(JobFailed, match="expired"):
        pair["ann"].node.wait(record.id)


def test_a_link_is_measured_there_and_back(pair: Sandbox) -> None:
    measured = pair["ann"].node.diagnose("bob")
    assert measured["sent_bytes"] == measured["received_bytes"] == measured["returned_bytes"] > 0
    assert min(measured["seconds"], measured["return_seconds"]) > 0


def test_too_few_common_keys_withhold_the_result_and_tell_nobody_how_many(pair: Sandbox) -> None:
    record = pair["ann"].node.propose(psi(params={"min_result": 11}))
    ends = end_of(pair, record.id)
    assert ends["ann"].state is State.FAILED
    assert "10" not in ends["bob"].reason + ends["bob"].detail


def test_a_job_without_a_grant_is_denied_in_words_that_reveal_nothing(pair: Sandbox) -> None:
    reasons = set()
    for dataset, column in (("missing", "id"), ("hidden", "id"), ("hidden", "missing")):
        bob = pair["bob"].node
        if dataset == "hidden" and all(known.name != "hidden" for known in bob.datasets()):
            bob.add_dataset("hidden", BOB_ROWS, ["id"])
        job = psi()
        members = {**job.members, "bob": Member("sender", dataset, {"key": (column,)})}
        record = pair["ann"].node.propose(replace(job, members=members))
        ends = end_of(pair, record.id)
        assert ends["ann"].state is State.DENIED
        assert ends["bob"].detail != ""
        assert ends["ann"].detail == ""
        reasons.add(ends["ann"].reason)
    assert reasons == {"bob: this party's policy does not allow the job"}


def test_the_evidence_of_all_this_verifies_and_agrees(pair: Sandbox) -> None:
    import io

    verify_evidence(pair)
    trusted = [party.node.fingerprint for party in pair.values()]
    files = {name: b"".join(party.node.export_evidence()) for name, party in pair.items()}
    shared = cross_check(io.BytesIO(files["ann"]), io.BytesIO(files["bob"]), trusted)
    assert shared == len(until(lambda: evidence(pair["bob"], "receipt_completed")))
    for party in pair.values():
        assert not evidence(party, "peer_misbehaved")
