"""A job that is computed in memory only is refused by a worker that would write rows to disk."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from mpc.errors import InputError
from mpc.reports.query import report_job
from parties import reading
from parties.worker import __main__ as worker
from parties.worker import inputs
from parties.worker.task import Report, Task, unpack_report


class Silent:
    """A reporter that nobody hears."""

    def progress(self, *_: Any) -> None:
        pass

    def opening(self) -> None:
        pass


class Deaf:
    """A link to nobody; `told` is what the worker told its node."""

    def __init__(self) -> None:
        self.pipes: dict[str, Any] = {}
        self.told: list[Report] = []

    def event(self, data: bytes) -> None:
        self.told.append(unpack_report(data))

    def __enter__(self) -> "Deaf":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("opened", [True, False])
def test_a_worker_that_fails_says_whether_figures_may_have_been_opened(tmp_path: Path, opened: bool) -> None:
    link = Deaf()
    task = Task("{}", "hk", (), "00" * 16, str(tmp_path), "", "", "", None)

    def play(_task: Task, _counters: Any, reporter: Any) -> None:
        if opened:
            reporter.opening()
        raise InputError("a row is wrong")

    with (
        patch.object(worker, "_play", play),
        patch.object(worker.pipe, "connect", lambda *_: link),
        patch.object(worker.socket, "socket"),
    ):
        assert not worker._work(task, 3)
    (report,) = link.told
    assert report.failure is not None
    assert report.opened == opened


@pytest.mark.parametrize("in_memory", [True, False])
def test_rows_that_would_be_mapped_are_not_read_if_the_job_stays_in_memory(tmp_path: Path, in_memory: bool) -> None:
    (tmp_path / "cards.csv").write_text("doc,age\n1,5\n2,6\n")
    dataset = reading.examine("cards", tmp_path / "cards.csv", ["doc"], 0.0)
    job = report_job(
        "SELECT COUNT(*) AS n FROM hk.cards JOIN cn.accounts USING (doc)", receivers=("hk",), in_memory=in_memory
    )
    task = Task(
        spec=job.to_bytes().decode(),
        name="hk",
        peers=("cn",),
        session="00" * 16,
        folder=str(tmp_path),
        result=str(tmp_path / "result.parquet"),
        trained=str(tmp_path / "trained"),
        spool=str(tmp_path / "spool"),
        dataset=dataset,
    )
    # Without channels a worker that gets so far cannot greet the other party.
    expected = "computed in memory only, and the dataset has 2 rows" if in_memory else "needs a channel to each other"
    with (
        patch.object(inputs, "ROWS_IN_MEMORY", 1),
        pytest.raises(InputError, match=expected),
    ):
        worker._play(task, {}, Silent())  # type: ignore[arg-type]
    assert (tmp_path / "input.arrow").exists() == (not in_memory)
