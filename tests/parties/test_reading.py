"""Reading files: what is accepted and how it is typed, what is refused and where the error points."""

import csv
import datetime
import gzip
import io
import os
import subprocess
import sys
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpc.errors import InputError
from parties import csv_text, reading
from parties.datasets import Dataset, DatasetChanged

SALT = bytes(range(32))
PLANTED = "Plantedvalue77"
BIG_ROW = csv_text.MAX_ROW_BYTES + 10


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "customers"


def examine(path: Path, content: bytes | pa.Table, *key: str) -> Dataset:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(content, path)
    return reading.examine("customers", path, key or ("id",), 0.0, rng=lambda _size: SALT)


def columns_of(dataset: Dataset) -> dict[str, list[Any]]:
    result: dict[str, list[Any]] = reading.load(dataset, dataset.column_names).to_pydict()
    return result


def types_of(dataset: Dataset) -> dict[str, str]:
    return {column.name: column.type for column in dataset.columns}


def shown(error: BaseException) -> str:
    """All that a log or a person could see of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(getattr(error, "hint", ""))


def refuse(path: Path, content: bytes | pa.Table, *key: str) -> str:
    with pytest.raises(InputError) as caught:
        examine(path, content, *key)
    assert PLANTED not in shown(caught.value)
    assert caught.value.__cause__ is None
    message = str(caught.value)
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


def test_a_csv_file_is_typed_by_all_of_its_values(file: Path) -> None:
    rows = ["007,1,1.50,1e3,2024-02-29,x,1", "8,-2,.5,2.5,,,2.0", "9,,-10,3,2023-01-01,,2024-01-01"]
    dataset = examine(file, ("id,whole,exact,float,date,text,mixed\n" + "\n".join(rows)).encode())
    assert dataset.rows == 3
    assert types_of(dataset) == {
        "id": "text",
        "whole": "integer",
        "exact": "decimal(4,2)",
        "float": "float",
        "date": "date",
        "text": "text",
        "mixed": "text",
    }
    assert [column.nullable for column in dataset.columns] == [False, True, False, False, True, True, False]
    assert columns_of(dataset) == {
        "id": ["007", "8", "9"],
        "whole": [1, -2, None],
        "exact": [Decimal("1.50"), Decimal("0.50"), Decimal("-10.00")],
        "float": [1000.0, 2.5, 3.0],
        "date": [datetime.date(2024, 2, 29), None, datetime.date(2023, 1, 1)],
        "text": ["x", None, None],
        "mixed": ["1", "2.0", "2024-01-01"],
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["999999999999999999", "-1"], "integer"),
        (["9999999999999999999"], "decimal(19,0)"),
        (["0.1", "99999999999999999999999999999999999999"], "text"),
        (["1" * 39], "text"),
        (["0." + "1" * 40], "float"),
        (["9007199254740993", "1e2"], "text"),
        (["1e999"], "text"),
        (["01", "2"], "text"),
        (["+1"], "text"),
        (["1 "], "text"),
        (["1_000"], "text"),
        (["0x10"], "text"),
        (["2024-02-30"], "text"),
        (["2024-1-1"], "text"),
        (["Nan", "Smith"], "text"),
        (["nan"], "text"),
        (["true"], "text"),
        (["１２"], "text"),
        (["", ""], "text"),
    ],
)
def test_a_column_is_a_number_only_if_nothing_written_is_lost(file: Path, values: list[str], expected: str) -> None:
    dataset = examine(file, ("id,v\n" + "".join(f"a,{value}\n" for value in values)).encode())
    assert types_of(dataset)["v"] == expected


@pytest.mark.parametrize(
    "content",
    [
        b'id,note\n01,"a,b"\n',
        b'id,note\r\n01,"a,b"\r\n',
        b'\xef\xbb\xbfid,note\n01,"a,b"',
        b'\xef\xbb\xbf"id","note"\r\n"01","a,b"',
        b'id,note\n\n01,"a,b"\n\n',
    ],
)
def test_line_ends_quotes_empty_lines_and_a_byte_order_mark_are_accepted(file: Path, content: bytes) -> None:
    assert columns_of(examine(file, content)) == {"id": ["01"], "note": ["a,b"]}


def test_quoted_line_ends_and_doubled_quotes_are_part_of_the_value(file: Path) -> None:
    content = b'id,note\n"0\n1","say ""hi"""\n2,#no comment\n'
    assert columns_of(examine(file, content)) == {"id": ["0\n1", "2"], "note": ['say "hi"', "#no comment"]}


def test_long_quoted_values_that_look_like_rows_are_values(file: Path) -> None:
    value = "1,2\n" * 100_000
    content = b"id,v\n" + b"".join(b'%d,"%s"\n%d,x\n' % (i, value.encode(), -i) for i in range(100))
    dataset = examine(file, content)
    assert dataset.rows == 200
    assert reading.load(dataset, ["v"])["v"].to_pylist() == [value, "x"] * 100


def test_names_and_values_of_any_language_are_kept(file: Path) -> None:
    content = "姓名,'; DROP TABLE x;--,Ünï\n张三,1,😀\n".encode()
    assert columns_of(examine(file, content, "姓名")) == {
        "姓名": ["张三"],
        "'; DROP TABLE x;--": [1],
        "Ünï": ["😀"],
    }


def test_names_that_differ_in_case_only_are_two_columns(file: Path) -> None:
    assert columns_of(examine(file, b"id,ID\na,b\n")) == {"id": ["a"], "ID": ["b"]}
    assert columns_of(examine(file, pa.table({"id": ["a"], "ID": ["b"]}))) == {"id": ["a"], "ID": ["b"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", ": is empty"),
        (b"\n", ", line 1: is empty where the column names should be"),
        (b"\xef\xbb\xbf", ", line 1: is empty where the column names should be"),
        (b"id,v\n", ": has a header and no rows"),
        (b"id,v", ": has a header and no rows"),
        (b"v\nPlantedvalue77\n", ": has no key column 'id'"),
        (b"id,v,id\n1,2,Plantedvalue77\n", ": columns 1 and 3 have the same name"),
        (b"id,,v\n1,2,Plantedvalue77\n", ": column 2 has no name"),
        (b"id, \n1,Plantedvalue77\n", ": column 2 has no name"),
        (b"id,*\n1,Plantedvalue77\n", ": column 2 has a name that cannot be used"),
        (b"id,a\x1bPlantedvalue77\n1,2\n", ": column 2 has a name that cannot be used"),
        (b'id,"a\nPlantedvalue77"\n1,2\n', ": column 2 has a name that cannot be used"),
        ("id,a\u202ePlantedvalue77\n1,2\n".encode(), ": column 2 has a name that cannot be used"),
        (b"id," + b"n" * 129 + b"\n1,2\n", ": column 2 has a name that cannot be used"),
        (b"id" + b",c" * 4096 + b"\n", ": has 4097 columns (at most 4096)"),
        (b'id,"v\nPlantedvalue77\n', ", line 1: starts a row with a quote that is not closed"),
        (b'id,"v"Plantedvalue77"\n",x\n1,2\n', ", line 1: is not a header in CSV"),
        (b"id,v\n1,2\n3,4,Plantedvalue77\n", ", line 3, column 3: has more fields than the header"),
        (b'id,v\n"1\n\n2",2\nPlantedvalue77\n', ", line 5: has fewer fields than the header"),
        (
            b'id,v\n1,2\n3,"Plantedvalue77\n',
            ", line 3: starts a row with a quote that is not closed",
        ),
        (
            b'id,v\n1,2\n"3"Plantedvalue77,2\n',
            ", line 3, column 1: has text behind a closing quote",
        ),
        (b'id,v\n1,2\n3,Planted"value77\n4,5\n', ", line 3: starts a row with a quote that is not closed"),
        (b'id,v\n1,2\n3,Planted"\n4,value77"\n', ": a quote inside an unquoted field makes its rows uncertain"),
        (
            b"id,v\n" + b"1,2\n" * 9 + b"2,x" + b"x" * BIG_ROW + b"\n",
            ", line 11: starts a row longer than 1048576 bytes",
        ),
        (b"id,v\r\n1,2\r\nPlantedvalue77,2\n", ", line 3: ends in another way than the lines before"),
        (b"id,v\nPlantedvalue77,2\r\n1,2\n", ", line 2: ends in another way than the lines before"),
        (b"id,v\n1,2\nPlanted\rvalue77,2\n", ": its lines cannot be told apart"),
        (b"id,v\r1,2\rPlantedvalue77,2\r", ", line 1: has a carriage return that ends no line"),
        (b"id,v\n1,Plantedvalue77\n\n3,Plantedvalue77\0\n", ", line 4: has a NUL byte"),
        (b"id,v\n1,Plantedvalue77\n3,Plantedvalue77\xff\n", ", line 3: is not UTF-8"),
        (b"id,v\n1,Plantedvalue77\n3,Plantedvalue77\xe4\xbd", ", line 3: is not UTF-8"),
        ("id,v\n1,Plantedvalue77\n".encode("utf-16"), ": is text in UTF-16, not CSV or Parquet"),
        ("id,v\n1,Plantedvalue77\n".encode("utf-16-le"), ", line 1: has a NUL byte"),
        (b"PK\x03\x04" + bytes(50), ": is a spreadsheet or a ZIP archive, not CSV or Parquet"),
        (gzip.compress(b"id,v\n1,Plantedvalue77\n", mtime=0), ": is compressed by gzip, not CSV or Parquet"),
        ("id,v\n1,Plantedvalue77 姓\n".encode("gbk"), ", line 2: is not UTF-8"),
        (
            b"id,v\n1,Plantedvalue77" + b"x" * BIG_ROW,
            f", line 2: starts a row longer than {csv_text.MAX_ROW_BYTES} bytes",
        ),
        (
            b'id,v\n1,"Plantedvalue77' + b"x\n" * BIG_ROW + b'"',
            f", line 2: starts a row longer than {csv_text.MAX_ROW_BYTES} bytes",
        ),
        (b"id,v\n1,2.5\nPlantedvalue77,NaN\n", ", data row 2, column 'v': is NaN or infinite among numbers"),
        (b"id,v\n1,2\n2,3\n3,-inf\n", ", data row 3, column 'v': is NaN or infinite among numbers"),
        (
            b"id,v\n7777701,x\n7777702.0,x\n",
            ", data row 2, key column 'id': identifiers are written as floating-point numbers",
        ),
        (
            b"id,v\n7.77E+11,x\n7777702,x\n",
            ", data row 1, key column 'id': identifiers are written as floating-point numbers",
        ),
    ],
)
def test_a_csv_file_in_doubt_is_refused_with_its_place(file: Path, content: bytes, message: str) -> None:
    assert refuse(file, content) == message


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"id;v\n1;Plantedvalue77\n", "separated by ';'"),
        (b"id\tv\n1\tPlantedvalue77\n", r"separated by '\t'"),
        (b"ID,v\n1,Plantedvalue77\n", "written 'ID'"),
        (b" id,v\n1,Plantedvalue77\n", "written ' id'"),
        (b"Plantedvalue77,v\n1,2\n", "the first line of a CSV file names its columns"),
    ],
)
def test_a_key_column_that_is_not_there_is_looked_for(file: Path, content: bytes, hint: str) -> None:
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        reading.examine("cards", file, ["id"], 0.0)
    assert hint in caught.value.hint
    assert PLANTED not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"id\n1\n\n2\n", ["1", None, "2"]),
        (b"id\r\n1\r\n\r\n2", ["1", None, "2"]),
        (b"id\n\n1\n", [None, "1"]),
        (b"id\n1\n\n", ["1", None]),
        (b'id\n""\n1\n', [None, "1"]),
    ],
)
def test_in_a_single_column_an_empty_line_is_a_null(file: Path, content: bytes, rows: list[str | None]) -> None:
    assert columns_of(examine(file, content)) == {"id": rows}


def test_an_error_deep_in_a_large_file_still_has_its_line(file: Path) -> None:
    good = b'123456789,"x"\n' * 300_000
    assert (
        refuse(file, b"id,v\n" + good + b"Plantedvalue77\n" + good) == ", line 300002: has fewer fields than the header"
    )
    assert refuse(file, b"id,v\n" + good + b"1,\xff\n" + good) == ", line 300002: is not UTF-8"


@pytest.mark.parametrize("size", [csv_text.CHUNK_BYTES - 10, csv_text.CHUNK_BYTES - 3, csv_text.CHUNK_BYTES - 2])
def test_a_character_cut_by_a_chunk_of_the_scan_is_whole(file: Path, size: int) -> None:
    lines = b"id,v\n" + b"a,b\n" * ((size - 5) // 4)
    padding = size - len(lines)
    content = lines + b"x" * padding + "姓,😀\n".encode()
    assert columns_of(examine(file, content))["v"][-1] == "😀"


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("none", "No such file"), ("", "not a regular file"), ("pipe", "not a regular file")):
        with pytest.raises(InputError, match=message):
            reading.examine("customers", tmp_path / name, ("id",), 0.0)


@pytest.mark.parametrize("key", [(), ("id", "id")])
def test_a_dataset_needs_key_columns_each_once(file: Path, key: tuple[str, ...]) -> None:
    file.write_bytes(b"id\n1\n")
    with pytest.raises(InputError, match="one or more key columns"):
        reading.examine("customers", file, key, 0.0)


def test_a_parquet_file_keeps_its_types(file: Path) -> None:
    day, second = datetime.date(2024, 2, 29), datetime.datetime.fromisoformat("2024-02-29T01:02:03")
    table = pa.table(
        {
            "id": pa.array(["01", None]),
            "small": pa.array([1, 2], pa.int8()),
            "huge": pa.array([2**64 - 1, None], pa.uint64()),
            "exact": pa.array([Decimal("1.50"), None], pa.decimal128(20, 2)),
            "float": pa.array([0.5, None], pa.float32()),
            "date": pa.array([day, None]),
            "time": pa.array([second, None], pa.timestamp("us")),
            "flag": pa.array([True, None]),
            "coded": pa.array(["x", None]).dictionary_encode(),
            "nothing": pa.nulls(2),
        }
    )
    dataset = examine(file, table)
    assert (dataset.format, dataset.rows) == ("parquet", 2)
    assert list(types_of(dataset).values()) == [
        *("text", "integer", "decimal(20,0)", "decimal(20,2)", "float", "date", "timestamp", "boolean", "text", "text")
    ]
    expected = table.to_pydict() | {"huge": [Decimal(2**64 - 1), None]}
    assert columns_of(dataset) == expected


@pytest.mark.parametrize("kind", [pa.string(), pa.int64(), pa.date32()])
def test_parquet_keys_are_text_integers_or_dates(file: Path, kind: pa.DataType) -> None:
    assert examine(file, pa.table({"id": pa.nulls(1, kind)})).key == ("id",)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"id": ["a"][:0]}), ": has no rows"),
        (pa.table({"v": [PLANTED]}), ": has no key column 'id'"),
        (pa.table({"id": [1.0]}), ": key column 'id' holds float; keys are text, integers or dates"),
        (pa.table({"id": ["a", "b"], "v": [1.0, float("nan")]}), ", data row 2, column 'v': is NaN or infinite"),
        (pa.table({"id": ["a", "b"], "v": [float("-inf"), 1]}), ", data row 1, column 'v': is NaN or infinite"),
        (pa.table({"id": ["a", PLANTED + "\0"]}), ", data row 2, column 'id': has a NUL byte"),
        (pa.table({"id": ["a"], "v": [[1]]}), ": column 'v' holds list<element: int64>, which no protocol takes"),
        (pa.table([["a"], ["b"]], ["id", "id"]), ": columns 1 and 2 have the same name"),
        (pa.table({"id": ["a"], " ": [1]}), ": column 2 has no name"),
    ],
)
def test_a_parquet_file_in_doubt_is_refused_with_its_place(file: Path, table: pa.Table, message: str) -> None:
    assert refuse(file, table) == message


def test_a_damaged_parquet_file_is_refused(file: Path) -> None:
    pq.write_table(pa.table({"id": [PLANTED + str(i) for i in range(10_000)]}), file, compression="none")
    whole = file.read_bytes()
    assert refuse(file, whole[:-100]) == ": is damaged or not Parquet"
    assert refuse(file, whole[:4] + b"\xff" * 2000 + whole[2004:]).startswith(": cannot be read (")


def test_only_the_asked_columns_are_loaded_in_the_asked_order(file: Path) -> None:
    dataset = examine(file, b"id,a,b\n01,2,3\n")
    table = reading.load(dataset, ["b", "id", "b"])
    assert table.schema.names == ["b", "id"]
    assert table.schema.types == [pa.int64(), pa.string()]
    assert reading.load(dataset, []).num_columns == 0
    with pytest.raises(InputError, match="dataset customers has no column 'c'"):
        reading.load(dataset, ["c"])


def test_rows_stay_in_file_order(file: Path) -> None:
    count = 300_000
    csv_dataset = examine(file, b"id,v\n" + b"".join(b"%d,%d\n" % (i, i) for i in range(count)))
    assert reading.load(csv_dataset, ["v"])["v"].to_pylist() == list(range(count))
    pq.write_table(pa.table({"id": range(count)}), file, row_group_size=10_000)
    parquet_dataset = reading.examine("customers", file, ("id",), 0.0)
    assert reading.load(parquet_dataset, ["id"])["id"].to_pylist() == list(range(count))


def test_a_column_that_must_hold_numbers_names_the_first_value_that_is_none(file: Path) -> None:
    dataset = examine(file, b"id,good,bad,day\n1,2,3,2024-01-01\n2,,,\n3,1.5,Plantedvalue77,\n")
    assert reading.load(dataset, ["good", "bad"], numbers=["good"]).num_rows == 3
    with pytest.raises(InputError, match="data row 3, column 'bad': is not a number") as caught:
        reading.load(dataset, ["bad"], numbers=["bad"])
    assert PLANTED not in shown(caught.value)
    with pytest.raises(InputError, match="column 'day': holds date, not numbers"):
        reading.load(dataset, ["day"], numbers=["day"])
    with pytest.raises(InputError, match="column 'id': holds text, not numbers"):
        reading.load(dataset, ["id"], numbers=["id"])


@pytest.mark.parametrize("content", [b"id\n1\n2\n3\n", b"id\n1\n", b"", b"id\n1\n3\n", b"PAR1"])
def test_a_file_that_is_not_what_was_registered_is_refused(file: Path, content: bytes) -> None:
    dataset = examine(file, b"id\n1\n2\n")
    file.write_bytes(content)
    with pytest.raises(DatasetChanged, match="dataset customers has changed") as caught:
        reading.load(dataset, ["id"])
    assert "register customers again" in caught.value.hint


def test_a_file_written_to_between_its_hash_and_its_reading_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = examine(file, b"id\n1\n2\n")
    honest = reading.commitment

    def hash_then_write(*args: Any) -> str:
        digest = honest(*args)
        with file.open("r+b") as other:
            other.write(b"id\n1\n9\n")
        return digest

    monkeypatch.setattr(reading, "commitment", hash_then_write)
    with pytest.raises(DatasetChanged):
        reading.load(dataset, ["id"])
    with pytest.raises(InputError, match="changed while it was read"):
        reading.examine("customers", file, ("id",), 0.0)


def test_the_commitment_depends_on_every_byte_and_on_the_salt(file: Path) -> None:
    content = b"id\n1\n2\n"
    first = examine(file, content)
    assert examine(file, content).commitment == first.commitment
    assert examine(file, b"id\n1\n3\n").commitment != first.commitment
    file.write_bytes(content)
    assert reading.examine("customers", file, ("id",), 0.0).commitment != first.commitment


@pytest.mark.parametrize("line_end", [b"", b"\n"])
def test_a_gigantic_row_is_refused_in_bounded_memory(tmp_path: Path, line_end: bytes) -> None:
    path = tmp_path / "huge.csv"
    piece = (b"x" * (2**16 - len(line_end)) + line_end) * 16
    with path.open("wb") as file:
        file.write(b'id,v\n1,"')
        for _ in range(400):
            file.write(piece)
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from mpc.errors import InputError\n"
        "from parties import reading\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n"
        "    reading.examine('huge', Path(sys.argv[1]), ('id',), 0.0)\n"
        "except InputError as error:\n"
        "    print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    run = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, timeout=60, check=True)
    message, grown_mib = run.stdout.splitlines()
    assert message.endswith("huge.csv, line 2: starts a row longer than 1048576 bytes")
    assert int(grown_mib) < 200  # half of the file


no_control = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.text(no_control, max_size=20)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.tuples(texts, texts, st.none() | st.decimals(-(10**12), 10**12, places=3)), min_size=1, max_size=20),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_text_and_number_comes_back_from_csv_as_it_was_written(
    file: Path, rows: list[tuple[str, str, Decimal | None]], line_end: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerow(["id", "second", "number"])
    writer.writerows(rows)
    dataset = examine(file, text.getvalue().encode(), "id", "second")
    assert columns_of(dataset) == {
        "id": [row[0] or None for row in rows],
        "second": [row[1] or None for row in rows],
        "number": [row[2] for row in rows],
    }


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.none() | texts, st.none() | st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=20))
def test_any_text_and_integer_comes_back_from_parquet(file: Path, rows: list[tuple[str | None, int | None]]) -> None:
    written = {"id": [row[0] for row in rows], "number": [row[1] for row in rows]}
    schema = pa.schema({"id": pa.string(), "number": pa.int64()})
    assert columns_of(examine(file, pa.table(written, schema=schema))) == written


def test_a_table_that_is_mapped_is_the_table_that_is_loaded(file: Path, tmp_path: Path) -> None:
    table = pa.table({"id": [f"id{i}" for i in range(300_000)], "n": pa.array(range(300_000), pa.int64())})
    dataset = examine(file, table)
    mapped = reading.load(dataset, ["n", "id"], mapped=tmp_path / "input.arrow")
    assert mapped.equals(reading.load(dataset, ["n", "id"]))
    assert mapped["id"].num_chunks > 1
    buffers = {buffer.address for chunk in mapped["n"].chunks for buffer in chunk.buffers() if buffer is not None}
    maps = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0].split("-") for line in maps if line.endswith("input.arrow")]
    assert all(any(int(low, 16) <= at < int(high, 16) for low, high in spans) for at in buffers)
