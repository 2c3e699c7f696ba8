"""`sealane schedule`: jobs proposed anew, each under its own id, and what becomes of those that cannot be."""

import contextlib
import sqlite3
from pathlib import Path

from parties.books import Books
from parties.home import Home
from parties.identity import keys
from parties.node import Node
from tests.parties.cli.driving import JOB_ID, World


def let_time_pass(home: Path) -> None:
    """What the running node does when every schedule is due."""
    with contextlib.closing(sqlite3.connect(home / "sealane.db", isolation_level=None)) as db:
        db.execute("UPDATE schedules SET next_at = 1")
    folder = Home.load(home)
    store = folder.store()
    Books(folder, store, keys.load(folder.identity)).propose_scheduled()
    store.close()


def test_each_run_is_a_job_of_its_own(proposed: World) -> None:
    made = proposed.hk("schedule", "add", JOB_ID, "--every", "monthly last 22:30", "--json").json
    for runs in (1, 2):
        let_time_pass(proposed.hk.home)
        (listed,) = proposed.hk("schedule", "list", "--json").json
        assert listed["id"] == made["id"]
        assert listed["problem"] == ""
        node = Node(proposed.hk.home)
        jobs = node.jobs()
        assert len(jobs) == runs + 1
        assert listed["last"] in {job.id for job in jobs}
        assert {job.job.protocol for job in jobs} == {"psi.ecdh"}
        node.close()
    proposed.deliver()
    assert len(proposed.cn("job", "list", "--state", "proposed", "--json").json) == 3
    assert "monthly last 22:30" in proposed.hk("schedule", "list").out
    proposed.hk("schedule", "remove", made["id"])
    let_time_pass(proposed.hk.home)
    assert proposed.hk("schedule", "list").out == "no schedules; `sealane schedule add` makes one of a job\n"
    assert len(proposed.hk("job", "list", "--json").json) == 3


def test_a_run_that_policy_refuses_is_noted_and_tried_at_the_next_time(proposed: World) -> None:
    proposed.hk("schedule", "add", JOB_ID, "--every", "daily 06:00")
    (grant,) = proposed.hk("grant", "list", "--json").json
    proposed.hk("grant", "revoke", grant["id"])
    let_time_pass(proposed.hk.home)
    (listed,) = proposed.hk("schedule", "list", "--json").json
    assert "was revoked" in listed["problem"]
    assert listed["last"] == ""
    assert len(proposed.hk("job", "list", "--json").json) == 1


def test_only_own_jobs_are_scheduled_at_times_that_exist(proposed: World) -> None:
    told = proposed.cn("schedule", "add", JOB_ID, "--every", "daily 06:00", "--json", code=2)
    assert "was proposed by another party" in told.error["message"]
    told = proposed.hk("schedule", "add", JOB_ID, "--every", "hourly", "--json", code=2)
    assert "a schedule is written" in told.error["message"]
    told = proposed.hk("schedule", "remove", "none", "--json", code=2)
    assert "no schedule has the id" in told.error["message"]
