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
from parties.worker.task import Task


class Silent:
    """A reporter that nobody hears."""

    def progress(self, *_: Any) -> None:
        pass

    def opening(self) -> None:
        pass


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
