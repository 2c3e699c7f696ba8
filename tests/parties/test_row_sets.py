"""What the database keeps of released rows: for each receiver, once, and compared without a gap."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from mpc.errors import PolicyDenied
from mpc.job import Job
from mpc.reports.query import report_job
from parties import row_sets
from parties.datasets import Dataset
from parties.store import Store

COMMITMENT = "c" * 64
DATASET = Dataset("cards", Path("/nowhere"), "csv", (), (), 3, bytes(32), COMMITMENT, 0.0)
FROM = " FROM hk.cards JOIN cn.accounts USING (doc)"


def job(*receivers: str) -> Job:
    made = report_job("SELECT COUNT(*) AS n" + FROM, receivers=receivers)
    members = {
        name: type(member)(member.role, member.dataset, member.columns, name * 32)
        for name, member in made.members.items()
    }
    return Job(made.protocol, members, made.receivers, made.params)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    store = Store.create(tmp_path / "sealane.db")
    with store.transaction() as connection:
        yield connection
    store.close()


def seen(db: sqlite3.Connection, made: Job) -> row_sets.Earlier:
    found = row_sets.read(db, made, "hk", DATASET)
    assert found is not None
    return found


def test_only_what_others_are_given_is_compared(db: sqlite3.Connection) -> None:
    assert row_sets.read(db, job("hk"), "hk", DATASET) is None
    assert row_sets.read(db, job("cn"), "hk", None) is None
    assert row_sets.read(db, job("hk", "cn"), "hk", DATASET) == row_sets.Earlier((), 0)


def test_sets_are_kept_once_for_a_receiver_and_a_dataset(db: sqlite3.Connection) -> None:
    for sets in (b"one", b"one", b"two"):
        row_sets.record(db, job("cn"), "hk", COMMITMENT, sets, seen(db, job("cn")).seen, 0.0)
    assert seen(db, job("cn")).sets == (b"one", b"two")
    other = Dataset("cards", Path("/nowhere"), "csv", (), (), 3, bytes(32), "d" * 64, 0.0)
    found = row_sets.read(db, job("cn"), "hk", other)
    assert found is not None
    assert found.sets == ()


def test_two_reports_at_once_are_not_both_released(db: sqlite3.Connection) -> None:
    before = seen(db, job("cn")).seen
    row_sets.record(db, job("cn"), "hk", COMMITMENT, b"one", before, 0.0)
    row_sets.record(db, job("cn"), "hk", COMMITMENT, b"one", before, 0.0)
    with pytest.raises(PolicyDenied, match="computed at the same time"):
        row_sets.record(db, job("cn"), "hk", COMMITMENT, b"two", before, 0.0)
    assert seen(db, job("cn")).sets == (b"one",)


def test_there_is_a_bound_on_what_is_compared(db: sqlite3.Connection) -> None:
    with patch.object(row_sets, "MAX_BYTES", 8):
        row_sets.record(db, job("cn"), "hk", COMMITMENT, b"five5", 0, 0.0)
        with pytest.raises(PolicyDenied, match="too many different reports"):
            row_sets.record(db, job("cn"), "hk", COMMITMENT, b"four", 9, 0.0)
        row_sets.record(db, job("cn"), "hk", COMMITMENT, b"five5", 9, 0.0)
