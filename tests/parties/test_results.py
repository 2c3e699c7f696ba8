"""Result files: whole or absent, and never over another file unasked."""

import datetime
import stat
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mpc.errors import InputError
from parties import reading, results

TABLE = pa.table(
    {
        "id": ["01", 'a,"b"\nc', "姓名"],
        "sum": [Decimal("1.50"), None, Decimal("-2.25")],
        "day": [datetime.date(2024, 2, 29), None, datetime.date(2023, 1, 1)],
    }
)


@pytest.fixture
def result(tmp_path: Path) -> Path:
    path = tmp_path / "result.parquet"
    results.write_result(TABLE, path)
    return path


def test_a_result_is_readable_by_its_owner_only_and_replaces_the_last(result: Path) -> None:
    assert pq.read_table(result) == TABLE
    assert stat.S_IMODE(result.stat().st_mode) == 0o600
    results.write_result(TABLE.slice(1), result)
    assert pq.read_table(result) == TABLE.slice(1)
    assert [path.name for path in result.parent.iterdir()] == ["result.parquet"]


def test_an_exported_csv_file_reads_back_as_a_dataset(result: Path, tmp_path: Path) -> None:
    target = tmp_path / "export.csv"
    results.export_result(result, target, "csv")
    dataset = reading.examine("export", target, ("id",), 0.0)
    table = reading.load(dataset, TABLE.column_names)
    assert table.to_pydict() == TABLE.to_pydict()


def test_an_exported_parquet_file_is_the_result(result: Path, tmp_path: Path) -> None:
    results.export_result(result, tmp_path / "export.parquet", "parquet")
    assert pq.read_table(tmp_path / "export.parquet") == TABLE


@pytest.mark.parametrize("target_format", ["csv", "parquet"])
def test_an_export_replaces_a_file_only_when_asked(result: Path, tmp_path: Path, target_format: results.Format) -> None:
    target = tmp_path / "export"
    target.write_text("precious")
    with pytest.raises(InputError, match="exists already"):
        results.export_result(result, target, target_format)
    assert target.read_text() == "precious"
    results.export_result(result, target, target_format, overwrite=True)
    assert target.read_bytes() != b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "result.parquet"]


def test_a_name_taken_while_the_export_is_written_is_not_overwritten(
    result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "export"
    flush = results.os.fsync

    def flush_then_take(descriptor: int) -> None:
        flush(descriptor)
        target.write_text("precious")

    monkeypatch.setattr(results.os, "fsync", flush_then_take)
    with pytest.raises(InputError, match="exists already"):
        results.export_result(result, target, "csv")
    assert target.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "result.parquet"]


def test_a_failed_write_leaves_what_was_there(result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        results.write_result(TABLE.slice(1), result)
    assert pq.read_table(result) == TABLE
    assert [path.name for path in result.parent.iterdir()] == ["result.parquet"]


def test_a_folder_that_is_not_there_is_named(result: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: cannot be written to: No such file"):
        results.export_result(result, tmp_path / "nowhere" / "x.csv", "csv")
