"""Privacy budgets: debited before anything is released, once an attempt, whatever dies; and refused when used up."""

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from mpc.errors import InputError
from mpc.job import Job
from mpc.reports.query import report_job
from parties import budgets, grants
from parties.jobs.failure import Failure, Kind
from parties.jobs.records import JobRecord
from parties.jobs.states import State
from parties.store import Store
from parties.workers import Ended
from tests.parties.jobs.parties_in_memory import PartyInMemory, World

SQL = "SELECT COUNT(*) AS n FROM ann.auto JOIN bob.auto USING (id)"


def report(epsilon: str | None = "0.4", purpose: str = "study") -> Job:
    noise = None if epsilon is None else {"epsilon": epsilon}
    return report_job(SQL, receivers=("ann",), purpose=purpose, join="J3", noise=noise)


@pytest.fixture(autouse=True)
def granted(parties: World) -> None:
    for name, other, epsilon in (("ann", "bob", None), ("bob", "ann", "1")):
        parties[name].node.grant(
            other, "report.sql", "auto", ["id:join_key"], purpose="study", receivers=["ann"], automatic=True,
            epsilon=epsilon,
        )  # fmt: skip


def running(parties: World, job: Job) -> JobRecord:
    """The job, once it runs at both, as bob has it."""
    parties["ann"].node.propose(job)
    parties.settle()
    parties["ann"].start_jobs()
    parties.settle()
    record = parties["bob"].job(job.id)
    assert record is not None
    return record


def debits(party: PartyInMemory) -> list[tuple[str, int, int]]:
    rows = party.store.connection().execute("SELECT * FROM privacy_debits ORDER BY job, attempt").fetchall()
    return [(row["job"], row["attempt"], row["millionths"]) for row in rows]


def left(party: PartyInMemory) -> str:
    (budget,) = party.node.privacy_budgets()
    assert budget.limit is not None
    return budgets.written(budget.limit - budget.spent)


def failed(record: JobRecord, *, opened: bool, kind: int = Kind.INTERRUPTED) -> Ended:
    """What the node hears of a worker that ended in a failure."""
    return Ended(record.id, record.attempt, None, Failure(kind, "its worker ended"), opened=opened)


def test_an_attempt_is_debited_when_it_starts_and_not_before(parties: World) -> None:
    ann, bob = parties["ann"], parties["bob"]
    job = report()
    ann.node.propose(job)
    parties.settle()
    assert debits(bob) == []
    record = running(parties, job)
    assert record.state is State.RUNNING
    assert debits(bob) == debits(ann) == [(job.id, 1, 400_000)]
    for name in ("bob", "ann"):
        parties[name].deliver(parties[name].node.job(job.id))
    parties.settle()
    assert parties.job_state("bob", job.id) is State.SUCCEEDED
    assert debits(bob) == [(job.id, 1, 400_000)]
    assert left(bob) == "0.6"


def test_an_attempt_that_a_crash_interrupted_stays_debited_and_the_next_is_debited_anew(parties: World) -> None:
    ann, bob = parties["ann"], parties["bob"]
    record = running(parties, report())
    bob.restart()
    bob.restart()
    assert len(debits(bob)) == 1
    parties.settle()
    parties.pass_time(5)
    ann.start_jobs()
    parties.settle()
    assert [attempt for _, attempt, _ in debits(bob)] == [1, 2]
    assert parties["bob"].node.job(record.id).state is State.RUNNING


def test_the_start_and_its_debit_are_one_transaction(parties: World) -> None:
    bob = parties["bob"]
    parties["ann"].node.propose(report())
    parties.settle()
    parties["ann"].start_jobs()
    with mock.patch("parties.jobs.evidence.job_started", side_effect=OSError), pytest.raises(OSError):
        parties.carry("ann", "bob")
    (record,) = bob.jobs()
    assert record.state is State.WAITING
    assert debits(bob) == []
    parties.settle()  # the message comes again
    assert bob.jobs()[0].state is State.RUNNING
    assert len(debits(bob)) == 1


_KILLED = """
import os, signal, sys
from pathlib import Path
from mpc.job import Job
from parties import budgets
from parties.store import Store
job = Job.from_bytes(Path(sys.argv[2]).read_bytes())
with Store(Path(sys.argv[1])).transaction() as db:
    budgets.debit(db, job, "bob", 1, 400_000, 0.0)
    if sys.argv[3] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("moment", "spent"), [("before", 0), ("after", 400_000)])
def test_a_debit_survives_a_kill_once_it_is_committed_and_leaves_no_half(
    tmp_path: Path, moment: str, spent: int
) -> None:
    store = Store.create(tmp_path / "sealane.db")
    job = _complete(report())
    (tmp_path / "job").write_bytes(job.to_bytes())
    words = [sys.executable, "-c", _KILLED, str(tmp_path / "sealane.db"), str(tmp_path / "job"), moment]
    assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
    for _ in range(2):  # again, by whoever goes on: nothing is doubled
        assert budgets.spent(store.connection(), "auto", "a" * 64, "study") == spent
        if moment == "after":
            with store.transaction() as db:
                budgets.debit(db, job, "bob", 1, 400_000, 1.0)
    store.close()


def _complete(job: Job) -> Job:
    members = {
        name: type(member)(member.role, member.dataset, member.columns, name[0] * 64)
        for name, member in job.members.items()
    }
    return Job(job.protocol, members, job.receivers, job.params, job.purpose, deadline=1)


def test_only_a_worker_that_says_it_opened_nothing_gives_a_debit_back(parties: World) -> None:
    bob = parties["bob"]
    record = running(parties, report())
    bob.books.record_end(failed(record, opened=True))
    assert len(debits(bob)) == 1
    parties.settle()
    parties.pass_time(5)
    parties["ann"].start_jobs()
    parties.settle()
    again = bob.node.job(record.id)
    assert again.attempt == 2
    bob.books.record_end(failed(again, opened=False))
    assert [attempt for _, attempt, _ in debits(bob)] == [1]


def test_a_worker_that_vanished_gives_nothing_back() -> None:
    assert Ended("0" * 32, 1, None, Failure(Kind.CRASHED, "it was killed")).opened


def test_what_is_left_and_what_it_costs_is_said_when_the_budget_is_used_up(parties: World) -> None:
    bob = parties["bob"]
    for _ in range(2):
        record = running(parties, report())
        for name in ("bob", "ann"):
            parties[name].deliver(parties[name].node.job(record.id))
        parties.settle()
    assert left(bob) == "0.2"
    job = report()
    parties["ann"].node.propose(job)
    parties.settle()
    refused = bob.node.job(job.id)
    assert refused.state is State.DENIED
    assert "has epsilon 0.2 left of its privacy budget of 1; the job costs 0.4" in refused.detail
    assert "--epsilon 1.2" in refused.hint
    assert "left" not in parties["ann"].node.job(job.id).reason
    assert running(parties, report("0.2")).state is State.RUNNING  # what is left can be spent to the last


def test_two_jobs_that_were_approved_for_the_same_rest_do_not_both_start(parties: World) -> None:
    jobs = [report("0.6"), report("0.6")]
    for job in jobs:
        parties["ann"].node.propose(job)
        parties.settle()
    parties["ann"].start_jobs()
    parties.settle()
    bob = parties["bob"]
    states = sorted(bob.node.job(job.id).state for job in jobs)
    assert states == [State.FAILED, State.RUNNING]
    lost = next(record for record in bob.jobs() if record.state is State.FAILED)
    assert lost.reason == "bob: its privacy budget does not allow the job any more"
    assert "has epsilon 0.4 left of its privacy budget of 1; the job costs 0.6" in lost.detail
    assert left(bob) == "0.4"


def test_an_exact_report_is_not_allowed_by_a_grant_with_a_budget(parties: World) -> None:
    job = report(None)
    parties["ann"].node.propose(job)
    parties.settle()
    seen = parties["bob"].node.job(job.id)
    assert seen.state is State.DENIED
    assert "has a privacy budget; the job's result is exact" in seen.detail


def test_what_was_spent_counts_whichever_grant_allows_the_next(parties: World) -> None:
    bob = parties["bob"]
    running(parties, report("0.9"))
    for grant in bob.node.grants():
        bob.node.revoke(grant.id)
    bob.node.grant("ann", "report.sql", "auto", ["id:join_key"], purpose="study", receivers=["ann"], epsilon="1")
    job = report("0.2")
    parties["ann"].node.propose(job)
    parties.settle()
    assert "has epsilon 0.1 left" in bob.node.job(job.id).detail


def test_a_budget_is_for_one_purpose_and_one_dataset(parties: World) -> None:
    bob = parties["bob"]
    running(parties, report("0.9"))
    for name, other in (("ann", "bob"), ("bob", "ann")):
        parties[name].node.grant(
            other,
            "report.sql",
            "auto",
            ["id:join_key"],
            purpose="other",
            receivers=["ann"],
            epsilon="1",
            automatic=True,
        )
    assert running(parties, report("0.9", purpose="other")).state is State.RUNNING
    assert [(each.purpose, each.spent) for each in bob.node.privacy_budgets()] == [
        ("other", 900_000),
        ("study", 900_000),
    ]
    with pytest.raises(InputError, match="names its dataset and its purpose"):
        bob.node.grant("ann", "*", "auto", ["*"], purpose="*", receivers=["*"], epsilon="1")


@pytest.mark.parametrize("text", ["0", "-1", "x", "1e-7", "0.0000001", "1001", "nan", "inf"])
def test_a_budget_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="a privacy budget is a number"):
        budgets.parse(text)


def test_budgets_are_written_as_they_are_read() -> None:
    assert [budgets.written(budgets.parse(text)) for text in ("0.5", "2", "0.000001", "12.25")] == [
        "0.5", "2", "0.000001", "12.25",
    ]  # fmt: skip


def test_a_budget_without_grants_is_shown_with_what_was_spent(parties: World) -> None:
    ann = parties["ann"]
    running(parties, report())
    (shown,) = ann.node.privacy_budgets()  # bob is told which groups are large enough, so that ann debits it too
    assert shown == grants.Budget("auto", parties["bob"].fingerprint, "study", 400_000, None)


def test_a_preview_says_how_the_budget_stands(parties: World) -> None:
    record = running(parties, report())
    preview = parties["bob"].node.preview(record.id)
    assert preview.epsilon == 400_000
    assert [(each.spent, each.limit) for each in preview.budgets] == [(400_000, 1_000_000)]


def test_a_debit_needs_a_transaction(parties: World) -> None:
    db: sqlite3.Connection = parties["bob"].store.connection()
    with pytest.raises(AssertionError):
        budgets.debit(db, report(), "bob", 1, 400_000, 0.0)
