"""What a worker reads: rows that count, their numbers, and all people when there is something to compare with."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from mpc.errors import PolicyDenied
from mpc.registry import get
from mpc.reports.query import report_job
from parties import differencing, reading
from parties.datasets import Dataset
from parties.worker import inputs
from parties.worker.task import Task

SPEC = get("report.sql")
SQL = "SELECT COUNT(*) AS n FROM hk.cards JOIN cn.accounts USING (doc) WHERE hk.age > {}"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Forty people, each twice; of person i one row has age i and one i + 100."""
    lines = [f"P{i},{i + shift}" for shift in (0, 100) for i in range(40)]
    (tmp_path / "cards.csv").write_text("doc,age\n" + "\n".join(lines) + "\n")
    return reading.examine("cards", tmp_path / "cards.csv", ["doc"], 0.0)


def task(folder: Path, dataset: Dataset, least: int, *earlier: bytes, **job: Any) -> Task:
    made = report_job(SQL.format(least), receivers=("cn",), minimum_group=5, **job)
    return Task(
        spec=made.to_bytes().decode(), name="hk", peers=("cn",), session="00" * 16, folder=str(folder), result="",
        trained="", spool="", dataset=dataset, sets=str(folder / "sets"), earlier=earlier,
    )  # fmt: skip


def compared(folder: Path, dataset: Dataset, least: int, *earlier: bytes) -> bytes:
    """The sets that a report leaves for the node."""
    made = task(folder, dataset, least, *earlier)
    job = report_job(SQL.format(least), receivers=("cn",), minimum_group=5)
    tables, rows = inputs.read(made, dataset, SPEC, job)
    inputs.compare_sets(made, dataset, SPEC, job, tables, rows)
    return (folder / "sets").read_bytes()


def test_only_rows_that_count_are_read_and_their_sets_are_of_the_whole_dataset(
    tmp_path: Path, dataset: Dataset
) -> None:
    job = report_job(SQL.format(29), receivers=("cn",))
    tables, rows = inputs.read(task(tmp_path, dataset, 29), dataset, SPEC, job)
    assert rows is not None
    assert tables["key"]["doc"].to_pylist() == [f"P{i}" for i in [*range(30, 40), *range(40)]]
    assert rows.numbers.tolist() == list(range(30, 80))
    packed = compared(tmp_path, dataset, 29)
    assert packed == differencing.pack(np.array([-1] * 30 + [0] * 50))


def test_people_of_rows_that_are_not_read_count_in_what_differs(tmp_path: Path, dataset: Dataset) -> None:
    earlier = compared(tmp_path, dataset, 109)  # people 10 to 39
    compared(tmp_path, dataset, 114, earlier)  # five people fewer
    with pytest.raises(PolicyDenied, match="differencing"):
        compared(tmp_path, dataset, 113, earlier)  # four, none of whose rows is read
    with (
        patch.object(inputs, "ROWS_IN_MEMORY", 60),  # keys of all rows are mapped
        pytest.raises(PolicyDenied, match="differencing"),
    ):
        compared(tmp_path, dataset, 113, earlier)
    assert (tmp_path / "keys.arrow").exists()


def test_a_report_with_noise_reads_all_rows(tmp_path: Path, dataset: Dataset) -> None:
    noisy: dict[str, Any] = {"join": "J3", "noise": {"epsilon": "1", "rows_of_person": {"hk": 2}}}
    job = report_job(SQL.format(29), receivers=("cn",), **noisy)
    tables, rows = inputs.read(task(tmp_path, dataset, 29, **noisy), dataset, SPEC, job)
    assert rows is None
    assert tables["key"].num_rows == 80
