"""The database: all of a transaction or none, and one kind of error when it cannot be written."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from mpc.errors import InputError
from parties import store as store_module
from parties.store import Store, StoreError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with mock.patch.object(store_module, "_BUSY_S", 0.05):
        made = Store.create(tmp_path / "sealane.db")
        made.connection().execute("CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT")
        yield made
        made.close()


def _facts(store: Store) -> list[str]:
    return [row["name"] for row in store.connection().execute("SELECT name FROM facts ORDER BY name")]


def _add(db: sqlite3.Connection, name: str) -> None:
    db.execute("INSERT INTO facts VALUES (?, x'00')", (name,))


def test_a_new_database_is_its_owners_alone_and_flushed_at_every_commit(store: Store, tmp_path: Path) -> None:
    assert (tmp_path / "sealane.db").stat().st_mode & 0o077 == 0
    db = store.connection()
    assert db.execute("PRAGMA user_version").fetchone()[0] == len(store_module._SCRIPTS)
    assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    assert db.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    with pytest.raises(FileExistsError):
        Store.create(tmp_path / "sealane.db")
    with pytest.raises(InputError, match="no node's database"):
        Store(tmp_path / "another.db")


def test_a_database_of_an_earlier_release_is_brought_up_once_and_keeps_what_it_holds(
    store: Store, tmp_path: Path
) -> None:
    with store.transaction() as db:
        _add(db, "kept")
    script = tmp_path / "later.sql"
    script.write_text("ALTER TABLE links ADD COLUMN more TEXT;\nCREATE TABLE others (x INTEGER) STRICT;\n")
    with mock.patch.object(store_module, "_SCRIPTS", (*store_module._SCRIPTS, script)):
        for _ in range(2):
            later = Store(tmp_path / "sealane.db")
            db = later.connection()
            assert _facts(later) == ["kept"]
            assert not db.execute("SELECT more FROM links, others").fetchall()
            assert db.execute("PRAGMA user_version").fetchone()[0] == len(store_module._SCRIPTS)
            later.close()
        made = Store.create(tmp_path / "new.db")
        assert made.connection().execute("PRAGMA user_version").fetchone()[0] == len(store_module._SCRIPTS)
        made.close()
    with pytest.raises(InputError, match=r"written by a newer release \(version 2, this one knows 1\)"):
        Store(tmp_path / "sealane.db")


def test_a_script_that_fails_leaves_the_database_as_it_was(store: Store, tmp_path: Path) -> None:
    script = tmp_path / "broken.sql"
    script.write_text("CREATE TABLE others (x INTEGER) STRICT;\nCREATE TABLE facts (x INTEGER) STRICT;\n")
    with mock.patch.object(store_module, "_SCRIPTS", (*store_module._SCRIPTS, script)), pytest.raises(StoreError):
        Store(tmp_path / "sealane.db")
    assert store.connection().execute("SELECT count(*) FROM sqlite_master WHERE name = 'others'").fetchone()[0] == 0
    Store(tmp_path / "sealane.db").close()


@pytest.mark.parametrize("content", [b"", b"not a database" * 100])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sealane.db"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a node's database"):
        Store(path)
    assert path.read_bytes() == content


def test_a_transaction_commits_all_of_its_writes(store: Store) -> None:
    with store.transaction() as db:
        _add(db, "a")
        _add(db, "b")
    assert not store.connection().in_transaction
    assert _facts(store) == ["a", "b"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, InputError])
def test_a_transaction_that_raises_leaves_nothing_behind(store: Store, error: type[BaseException]) -> None:
    with pytest.raises(error), store.transaction() as db:
        _add(db, "a")
        raise error("stop")
    assert _facts(store) == []
    with store.transaction() as db:
        _add(db, "b")
    assert _facts(store) == ["b"]


def test_a_violated_constraint_is_not_taken_for_a_fault_of_the_storage(store: Store) -> None:
    with pytest.raises(sqlite3.IntegrityError), store.transaction() as db:
        _add(db, "a")
        _add(db, "a")
    assert _facts(store) == []


def test_a_database_that_is_locked_for_too_long_is_a_store_error_and_nothing_is_written(
    store: Store, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "sealane.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="could not be written: database is locked"), store.transaction() as db:
        _add(db, "never")
    assert _facts(store) == []  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    with store.transaction() as db:
        _add(db, "a")
    assert _facts(store) == ["a"]


def test_a_full_database_is_a_store_error_that_rolls_back(store: Store) -> None:
    db = store.connection()
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full") as caught, store.transaction() as db:
        _add(db, "a")
        db.execute("INSERT INTO facts VALUES ('b', zeroblob(1000000))")
    assert "free space" in caught.value.hint
    assert _facts(store) == []


def test_a_transaction_sees_what_another_committed_before_it_and_none_starts_while_it_is_open(
    store: Store, tmp_path: Path
) -> None:
    other = Store(tmp_path / "sealane.db")
    with store.transaction() as db:
        _add(db, "a")
        assert _facts(other) == []
        with pytest.raises(StoreError), other.transaction():
            pass
    with other.transaction():
        assert _facts(other) == ["a"]
    other.close()


def test_the_version_changes_when_another_process_commits_and_not_before(store: Store, tmp_path: Path) -> None:
    before = store.version()
    assert store.version() == before
    other = Store(tmp_path / "sealane.db")
    with other.transaction() as db:
        _add(db, "a")
    other.close()
    assert store.version() != before


def test_each_thread_has_a_connection_of_its_own(store: Store) -> None:
    seen = []

    def look() -> None:
        seen.append(store.connection())
        store.close()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen[0] is not store.connection()


def test_a_damaged_database_is_a_store_error_that_does_not_ask_to_try_again(store: Store, tmp_path: Path) -> None:
    with store.transaction() as db:
        for number in range(1000):
            _add(db, f"{number:0100}")
    store.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    path = tmp_path / "sealane.db"
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xa5" * (len(whole) - 8192))
    with pytest.raises(StoreError, match="is damaged") as caught, store.transaction() as db:
        _add(db, "a")
    assert "try again" not in caught.value.hint


def test_whether_it_is_writable_is_found_out_by_a_commit(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "sealane.db")
    before = other.version()
    store.check_writable()
    assert other.version() != before
    other.close()
    store.connection().execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError):
        store.check_writable()


def test_a_database_that_may_only_be_read_is_not_taken_for_a_full_disk(store: Store) -> None:
    store.connection().execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match="readonly") as caught, store.transaction() as db:
        _add(db, "a")
    assert "writable" in caught.value.hint
