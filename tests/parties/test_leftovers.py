"""What is deleted after jobs have ended, and when it is looked for."""

from pathlib import Path
from unittest import mock

import pytest

from mpc import tally
from parties import leftovers
from parties.home import Home
from parties.identity import keys
from parties.jobs.endings import held_result
from parties.leftovers import Leftovers
from parties.node import Node


@pytest.fixture
def left(tmp_path: Path) -> Leftovers:
    Node.create(tmp_path / "ann", "ann").close()
    home = Home.load(tmp_path / "ann")
    made = Leftovers(home, home.store(), keys.load(home.identity))
    made.clean_after_start()
    return made


def test_what_belongs_to_no_open_job_goes(left: Leftovers) -> None:
    spool, held = left.home.spool / ("1" * 32), held_result(left.home.results, "2" * 32)
    spool.mkdir(parents=True)
    (spool / "part").write_bytes(b"x")
    held.write_bytes(b"x")
    left.clean()
    assert not spool.exists()
    assert not held.exists()


def test_the_spool_of_a_job_that_the_database_does_not_know_goes(left: Leftovers) -> None:
    spool = left.home.spool / ("1" * 32)
    spool.mkdir(parents=True)
    (spool / tally.NAME).write_bytes(bytes(64))
    left.clean()
    assert not spool.exists()


def test_nothing_is_looked_through_while_nothing_has_changed(left: Leftovers) -> None:
    left.clean()
    with mock.patch.object(leftovers, "_names", side_effect=AssertionError("looked")):
        left.clean()
        left.clean()
        held_result(left.home.results, "2" * 32).write_bytes(b"x")
        with pytest.raises(AssertionError, match="looked"):
            left.clean()


def test_what_could_not_be_deleted_is_tried_again(left: Leftovers) -> None:
    spool = left.home.spool / ("1" * 32)
    spool.mkdir(parents=True)
    with mock.patch("shutil.rmtree"):
        left.clean()
    assert spool.exists()
    left.clean()
    assert not spool.exists()
