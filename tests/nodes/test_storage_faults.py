"""A node whose database cannot be written acknowledges nothing, takes no new work, and goes on when it can again."""

import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from parties.jobs.states import State
from parties.sandbox import Sandbox, sandbox
from parties.store import StoreError
from tests.nodes.observe import ANN_ROWS, BOB_ROWS, end_of, evidence, log_of, psi, until, verify_evidence

pytestmark = pytest.mark.nodes

DISK_BYTES = 8 * 2**20


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Bob's folder is a small disk of its own."""
    root = tmp_path_factory.mktemp("nodes")
    disk = root / "bob"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        with sandbox("ann", "bob", folder=root) as running:
            running["ann"].node.add_dataset("rows", ANN_ROWS, ["id"])
            running["bob"].node.add_dataset("rows", BOB_ROWS, ["id"])
            running.allow(psi())
            running.allow(psi("bob", "ann"))
            yield running
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_database_that_another_process_locks_is_waited_for(nodes: Sandbox) -> None:
    ann, bob = nodes["ann"], nodes["bob"]
    lock = sqlite3.connect(bob.node.home.path / "sealane.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    record = ann.node.propose(psi())
    with pytest.raises(StoreError, match="could not be written"):
        bob.node.propose(psi("bob", "ann"))
    until(lambda: any("cannot be written" in line["event"] for line in _errors(nodes)))
    assert ann.node.job(record.id).undecided == ["bob"]
    assert not bob.node.jobs()
    lock.execute("ROLLBACK")
    lock.close()
    assert end_of(nodes, record.id)["ann"].state is State.SUCCEEDED


def test_a_full_disk_stops_new_work_and_nothing_else(nodes: Sandbox) -> None:
    ann, bob = nodes["ann"], nodes["bob"]
    home: Path = bob.node.home.path
    if not home.is_mount():
        pytest.skip("only root may mount a small disk")
    seen = len(_errors(nodes))
    with (home / "filler").open("wb", buffering=0) as filler:
        with pytest.raises(OSError, match="No space left"):
            while True:
                filler.write(bytes(4096))
        with pytest.raises(StoreError, match="full"):
            while True:  # until the space that the database holds already is used up
                bob.node.revoke(bob.node.grant("ann", "psi.ecdh", "none", [], purpose="x", receivers=["*"]).id)
        kept = len(bob.node.grants())
        record = ann.node.propose(psi())
        until(lambda: len(_errors(nodes)) > seen)
        assert ann.node.job(record.id).undecided == ["bob"]
        assert record.id not in {job.id for job in bob.node.jobs()}
        assert len(bob.node.grants()) == kept
    (home / "filler").unlink()
    assert end_of(nodes, record.id)["ann"].state is State.SUCCEEDED
    received = [fields for fields in evidence(bob, "job_received") if fields["job"] == record.id]
    assert len(received) == 1
    assert not evidence(bob, "peer_misbehaved")
    verify_evidence(nodes)


def _errors(nodes: Sandbox) -> list[dict[str, object]]:
    waiting = "database cannot be written; a message waits"
    return log_of(nodes["bob"], waiting) + log_of(nodes["bob"], "database cannot be written; no new work")
