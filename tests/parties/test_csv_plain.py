"""Plain files are read by Arrow as DuckDB reads them; of others Arrow reads nothing."""

from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parties import csv_plain, csv_text, reading
from parties.datasets import Dataset, DatasetChanged


def examined(path: Path, content: bytes) -> Dataset:
    path.write_bytes(content)
    return reading.examine("customers", path, ["a"], 0.0, rng=bytes)


def by_arrow(dataset: Dataset) -> pa.Table | None:
    places = range(len(dataset.columns))
    with dataset.path.open("rb") as file:
        return csv_plain.read(file, len(places), places, dataset.rows)


def by_duckdb(dataset: Dataset) -> pa.Table:
    with patch.object(csv_plain, "read", lambda *_: None):
        return reading.load(dataset, dataset.column_names)


# "x" first: a column of it is text, whatever else it holds, and a row of it is no empty line.
cells = st.text(st.characters(exclude_categories=("Cs",), exclude_characters='",\r\n\0'), max_size=5)
rows = st.integers(1, 3).flatmap(lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), max_size=20))


@given(rows, st.sampled_from(["", "\n", "\n\n"]), st.booleans(), st.booleans())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arrow_reads_plain_text_as_duckdb_does(
    tmp_path: Path, body: Sequence[Sequence[str]], end: str, marked: bool, quoted: bool
) -> None:
    width = len(body[0]) if body else 1
    names = [f'"{name}"' if quoted else name for name in "abc"[:width]]
    text = "\n".join(",".join(row) for row in [names, ["x"] * width, *body]) + end
    dataset = examined(tmp_path / "file", text.encode("utf-8-sig" if marked else "utf-8"))
    read = by_duckdb(dataset)
    assert {column.type for column in dataset.columns} == {"text"}
    assert reading.load(dataset, dataset.column_names) == read
    found = by_arrow(dataset)
    assert found is None or found.rename_columns(read.column_names) == read
    if width > 1 and end != "\n\n":
        assert found is not None


@pytest.mark.parametrize(
    "content",
    [b'a,b\nx,"y"\n', b"a,b\r\nx,y\r\n", b'"a\n",b\nx,y\n', b'a,b\nx,"y\nz"\n'],
    ids=["quotes", "carriage returns", "two lines of header", "a line end in quotes"],
)
def test_files_that_are_not_plain_are_left_to_duckdb(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with path.open("rb") as file:
        assert csv_plain.read(file, 2, [0, 1], 1) is None


@pytest.mark.parametrize(("content", "rows"), [(b"a,b\nx,y\n", 2), (b"a,b\nx\n", 1), (b"a,b\n\xff,y\n", 1)])
def test_a_file_that_is_not_what_it_was_is_left_to_duckdb(tmp_path: Path, content: bytes, rows: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with path.open("rb") as file:
        assert csv_plain.read(file, 2, [0, 1], rows) is None


def test_long_rows_and_many_are_read_in_order(tmp_path: Path) -> None:
    long = "y" * (csv_text.MAX_ROW_BYTES - 100)
    lines = [f"{number},{long if number % 7 == 0 else 'x'}" for number in range(30)]
    dataset = examined(tmp_path / "file", "\n".join(["a,b", *lines]).encode())
    found = by_arrow(dataset)
    assert found is not None
    assert [",".join(row.values()) for row in found.to_pylist()] == lines


def test_columns_come_as_they_are_asked_for(tmp_path: Path) -> None:
    dataset = examined(tmp_path / "file", b"a,b,c\n1,2,x\n3,4,y\n")
    with patch.object(reading, "_reading", side_effect=AssertionError("DuckDB is not needed")):
        assert reading.load(dataset, ["c", "a"]).to_pydict() == {"c": ["x", "y"], "a": ["1", "3"]}


def test_numbers_are_read_by_duckdb(tmp_path: Path) -> None:
    dataset = examined(tmp_path / "file", b"a,b\nx,2\ny,4\n")
    with patch.object(csv_plain, "read", side_effect=AssertionError("these are not text")):
        assert reading.load(dataset, ["a", "b"]).to_pydict() == {"a": ["x", "y"], "b": [2, 4]}


def test_a_file_written_to_while_arrow_reads_it_is_refused(tmp_path: Path) -> None:
    dataset = examined(tmp_path / "file", b"a,b\nx,y\n")
    real = csv_plain.read

    def read(*arguments: object) -> pa.Table | None:
        table = real(*arguments)  # type: ignore[arg-type]
        with dataset.path.open("ab") as file:
            file.write(b"z,z\n")
        return table

    with patch.object(csv_plain, "read", read), pytest.raises(DatasetChanged):
        reading.load(dataset, ["a"])
