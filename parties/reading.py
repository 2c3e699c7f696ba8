# ruff: noqa: S608 (SQL here has numbered column names and constants only: see `_source`)
"""Reading a dataset's file: CSV or Parquet to Arrow through DuckDB, in file order, with every doubt an error. Text of
CSV files without quotes is read by Arrow (see `csv_plain`) once DuckDB has examined it.

CSV is UTF-8 with or without a byte order mark, a header line, commas, RFC 4180 quotes, and LF or CRLF line ends. An
empty field is NULL; with two or more columns, empty lines are skipped. Key columns are text as written. Any other
column is typed by all of its values: integer, decimal(p,s), float or date (YYYY-MM-DD) when every value is written as
one, otherwise text. Numbers with leading zeros or a plus sign are text, so that nothing written is lost.

Errors name the file and the column, and the line (of the file, from 1) or the data row (after the header, from 1).

A file is hashed and read through one descriptor, and its size, modification and change times must be the same before
the hash and after the read: replacing it or writing to it meanwhile is an error, never a mixture.
"""

import contextlib
import hmac
import itertools
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from duckdb import ColumnExpression

from mpc.conditions import Condition, columns_of
from mpc.errors import InputError
from mpc.job import NAME
from mpc.rng import Rng, system_rng
from mpc.spec import Rows
from parties import csv_plain, csv_text
from parties.conditions_sql import expression
from parties.csv_types import FLOATED, MAX_DECIMAL_DIGITS, NUMBER, Written, column_type, digits_sql, written_sql
from parties.datasets import Column, Dataset, DatasetChanged, commitment
from parties.policy import ANY, showable

SALT_BYTES = 32
MAX_COLUMNS = 4096
MAX_NAME_CHARS = 128

_MEMORY_LIMIT = "1GB"  # of DuckDB's buffers, which else keep a whole file; what it returns is not part of it
_BATCH_ROWS = 2**17
_ROW = "row_number() OVER () - 1"  # its number in the file, from 0
_PARQUET_MAGIC = b"PAR1"
#: What operators take for CSV, by its first bytes.
_NEITHER = {
    b"PK\3\4": ("a spreadsheet or a ZIP archive", "save the sheet as CSV with commas, in UTF-8"),
    b"\x1f\x8b": ("compressed by gzip", "unpack it"),
    b"\xfd7zX": ("compressed by xz", "unpack it"),
    b"\x28\xb5\x2f\xfd": ("compressed by Zstandard", "unpack it"),
    b"\xff\xfe": ("text in UTF-16", "save the file as UTF-8"),
    b"\xfe\xff": ("text in UTF-16", "save the file as UTF-8"),
}
_KEY_TYPES = ("text", "integer", "date")
_NUMBER_TYPES = ("integer", "decimal", "float")
_SQL_TYPES = {"text": "VARCHAR", "integer": "BIGINT", "float": "DOUBLE", "date": "DATE"}
_NO_NUMBER = "leave the field empty where a number is unknown"


def examine(name: str, path: Path, key: Sequence[str], now: float, *, rng: Rng = system_rng) -> Dataset:
    """Check the CSV or Parquet file at `path` from end to end; gives the dataset it is, for `datasets.save`.

    `key` names the columns that identify a person or a thing. Raises `InputError` naming the file and, where there
    is one, the line or data row and the column, never a value.
    """
    if not NAME.fullmatch(name):
        raise InputError("a dataset's name has a-z, 0-9, '.', '_' and '-', at most 63 characters")
    path, salt = path.absolute(), rng(SALT_BYTES)
    with _opened(path, InputError(f"{path}: changed while it was read", hint="try again")) as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise InputError(f"{path}: is empty")
        begins = file.read(len(_PARQUET_MAGIC))
        is_parquet = begins == _PARQUET_MAGIC
        for magic, (what, hint) in _NEITHER.items():
            if begins.startswith(magic):
                raise InputError(f"{path}: is {what}, not CSV or Parquet", hint=hint)
        file.seek(0)
        digest = commitment(file, salt)
        if is_parquet:
            columns, rows = _examine_parquet(path, file, key)
        else:
            columns, rows = _examine_csv(path, file, key)
    return Dataset(
        name=name,
        path=path,
        format="parquet" if is_parquet else "csv",
        columns=columns,
        key=tuple(key),
        rows=rows,
        salt=salt,
        commitment=digest,
        registered_at=now,
    )


def load(
    dataset: Dataset, columns: Sequence[str], *, numbers: Collection[str] = (), mapped: Path | None = None
) -> pa.Table:
    """The named columns of a dataset, each once, typed as registered, in file order, one row a data row.

    With `mapped` the table is written there batch by batch and mapped, so that memory holds what is looked at.
    Raises `DatasetChanged` unless the file's bytes are those registered, and `InputError` for a column that the
    dataset has not or, when it is among `numbers`, that holds anything but numbers.
    """
    wanted = [_column(dataset, column) for column in dict.fromkeys(columns)]
    if not wanted:
        return pa.table({})
    with _file_of(dataset) as file:
        source = _source_of(dataset, file, wanted, numbers)
        table = None
        if mapped is None and dataset.format == "csv" and all(column.type == "text" for column in wanted):
            places = [dataset.columns.index(column) for column in wanted]
            table = csv_plain.read(file, len(dataset.columns), places, dataset.rows)
        if table is None:
            with _reading(dataset.path) as db:
                query = db.sql(f"SELECT {_picks(dataset, wanted)} FROM {source}")
                table = query.to_arrow_table() if mapped is None else _map(query.to_arrow_reader(_BATCH_ROWS), mapped)
    if table.num_rows != dataset.rows:
        raise InputError(f"{dataset.path}: has {table.num_rows} rows where {dataset.rows} were registered")
    return table.rename_columns([column.name for column in wanted])


def load_where(
    dataset: Dataset,
    columns: Sequence[str],
    conditions: Sequence[Condition],
    *,
    numbers: Collection[str] = (),
    most_rows: int,
    mapped: Path | None = None,
) -> tuple[pa.Table, Rows]:
    """As `load`, but only the rows for which all `conditions` hold, and which rows of the file these are.

    More than `most_rows` of them are mapped from `mapped`; without it they raise `InputError`.
    """
    wanted = [_column(dataset, column) for column in dict.fromkeys(columns)]
    used = [_column(dataset, name) for name in {name for condition in conditions for name in columns_of(condition)}]
    read = list(dict.fromkeys([*wanted, *used]))
    names = {column.name: f"c{dataset.columns.index(column)}" for column in read}
    tests = [expression(each, names, {column.name: column.type for column in used}) for each in conditions]
    with _file_of(dataset) as file, _reading(dataset.path) as db:
        source = _source_of(dataset, file, wanted, numbers)
        query = db.sql(f"SELECT {_picks(dataset, read)}, {_ROW} AS row FROM {source}")
        for test in tests:
            query = query if test is None else query.filter(test)
        query = query.select(*(ColumnExpression(names[column.name]) for column in wanted), ColumnExpression("row"))
        table = _gathered(query.to_arrow_reader(_BATCH_ROWS), most_rows, mapped)
    found = table.column("row").to_numpy()
    if len(found) and not (np.diff(found, prepend=-1) > 0).all():
        raise AssertionError("rows are read in the order of the file")
    names_kept = [column.name for column in wanted]
    return table.select(range(len(wanted))).rename_columns(names_kept), Rows(found, dataset.rows)


@contextlib.contextmanager
def _file_of(dataset: Dataset) -> Iterator[BinaryIO]:
    """The dataset's file; raises `DatasetChanged` unless its bytes are those registered, then and at the end."""
    with _opened(dataset.path, DatasetChanged(dataset.name)) as file:
        if not hmac.compare_digest(commitment(file, dataset.salt), dataset.commitment):
            raise DatasetChanged(dataset.name)
        yield file


def _source_of(dataset: Dataset, file: BinaryIO, wanted: Sequence[Column], numbers: Collection[str]) -> str:
    """SQL for the dataset's rows, once its `numbers` are numbers."""
    source = _source(dataset.format, file, len(dataset.columns))
    for column in wanted:
        if column.name in numbers and not column.type.startswith(_NUMBER_TYPES):
            raise _not_a_number(dataset, column, source)
    return source


def _picks(dataset: Dataset, columns: Sequence[Column]) -> str:
    return ", ".join(_cast(dataset.columns.index(column), column.type) for column in columns)


def _gathered(batches: pa.RecordBatchReader, most_rows: int, mapped: Path | None) -> pa.Table:
    """All batches in memory, or from `mapped` if they have more than so many rows."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        if rows > most_rows:
            break
    else:
        return pa.Table.from_batches(held, batches.schema)
    if mapped is None:
        raise InputError(
            f"the job is computed in memory only, and more than {most_rows} rows count",
            hint="register fewer rows, or propose the job without in_memory",
        )
    return _map(pa.RecordBatchReader.from_batches(batches.schema, itertools.chain(held, batches)), mapped)


def _map(batches: pa.RecordBatchReader, path: Path) -> pa.Table:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batches.schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


@contextlib.contextmanager
def _opened(path: Path, changed: Exception) -> Iterator[BinaryIO]:
    """The regular file at `path`; raises `changed` at the end when it was written to meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not block
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {os.strerror(error.errno or 0)}") from None
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        os.close(descriptor)
        raise InputError(f"{path}: is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        yield file
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns, before.st_ctime_ns) != (
            after.st_size,
            after.st_mtime_ns,
            after.st_ctime_ns,
        ):
            raise changed


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory that neither spills to disk nor fetches extensions.

    What DuckDB raises may quote the file, so that it is replaced by an error that does not.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": "",
        "memory_limit": _MEMORY_LIMIT,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    try:
        with duckdb.connect(config=config) as db:
            yield db
    except duckdb.OutOfMemoryException:
        raise InputError(f"{path}: does not fit this machine's memory", hint="use fewer columns or rows") from None
    except duckdb.Error as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__})", hint="write the file anew") from None


def _source(file_format: str, file: BinaryIO, width: int, options: str = "") -> str:
    """SQL for the rows of `file`, its columns named c0, c1, ...: no name from the file gets into SQL."""
    names = [f"c{i}" for i in range(width)]
    link = f"/proc/self/fd/{file.fileno()}"
    if file_format == "parquet":
        return f"read_parquet('{link}') AS rows({', '.join(names)})"
    columns = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
    # Not parallel: a thread that starts in the middle of a quoted value can take the lines in it for rows.
    return (
        f"read_csv('{link}', columns = {{{columns}}}, auto_detect = false, header = true, delim = ',', quote = '\"',"
        f" escape = '\"', nullstr = '', strict_mode = true, compression = 'none', parallel = false,"
        f" max_line_size = {csv_text.MAX_ROW_BYTES}{options})"
    )


def _cast(index: int, column_type: str) -> str:
    sql_type = _SQL_TYPES.get(column_type, column_type if column_type.startswith("decimal") else "")
    return f"CAST(c{index} AS {sql_type}) AS c{index}" if sql_type else f"c{index}"


def _examine_csv(path: Path, file: BinaryIO, key: Sequence[str]) -> tuple[tuple[Column, ...], int]:
    lines, empty_lines = csv_text.scan(path, file)
    names = csv_text.header(path, file)
    _check_names(path, names, key)
    values = [f"c{i}" for i in range(len(names))]
    with _reading(path) as db:
        counts = [f"count({value}), coalesce(bit_or({written_sql(value)}), 0)" for value in values]
        strict = _source("csv", file, len(names))
        try:
            # Rejected rows are missing from what this counts; one is enough to refuse the file.
            rows, *found = _aggregate(
                db, _source("csv", file, len(names), ", store_rejects = true, rejects_limit = 10"), counts
            )
        except duckdb.InvalidInputException:
            raise csv_text.malformed(path, file) from None
        rejects = "SELECT error_type::VARCHAR, line_byte_position, column_idx FROM reject_errors ORDER BY 2, 3 LIMIT 1"
        for rejected in db.execute(rejects).fetchall():
            raise csv_text.rejected(path, file, *rejected)
        # The parser can lose a row whose quotes go wrong without a word: count by other means.
        if rows != lines - 1 + (empty_lines if len(names) == 1 else 0):
            raise csv_text.miscounted(path)
        if rows == 0:
            raise InputError(f"{path}: has a header and no rows")
        filled = found[0::2]
        written = [Written(bits) for bits in found[1::2]]
        for name, value, bits in zip(names, values, written, strict=True):
            _check_written(db, path, strict, name, value, bits, is_key=name in key)
        exact = [digits_sql(value) if bits & NUMBER else "0, 0" for value, bits in zip(values, written, strict=True)]
        _, *digits = _aggregate(db, strict, exact)
    types = [
        "text" if name in key else column_type(bits, whole, fraction)
        for name, bits, whole, fraction in zip(names, written, digits[0::2], digits[1::2], strict=True)
    ]
    nullable = [count < rows for count in filled]
    return tuple(map(Column, names, types, nullable)), rows


def _check_written(
    db: duckdb.DuckDBPyConnection, path: Path, source: str, name: str, value: str, bits: Written, *, is_key: bool
) -> None:
    if is_key and bits & FLOATED and not bits & ~(FLOATED | Written.INTEGER):
        row = _first_row(db, source, f"{written_sql(value)} & {FLOATED.value} > 0")
        raise InputError(
            f"{path}, data row {row}, key column {name!r}: identifiers are written as floating-point numbers",
            hint="a spreadsheet or data frame took them for numbers; export them again as text",
        )
    if bits & Written.NOT_FINITE and bits & NUMBER and not bits & ~(NUMBER | Written.NOT_FINITE):
        row = _first_row(db, source, f"{written_sql(value)} = {Written.NOT_FINITE.value}")
        raise InputError(f"{path}, data row {row}, column {name!r}: is NaN or infinite among numbers", hint=_NO_NUMBER)


def _examine_parquet(path: Path, file: BinaryIO, key: Sequence[str]) -> tuple[tuple[Column, ...], int]:
    file.seek(0)
    try:
        schema = pq.ParquetFile(file).schema_arrow
    except (pa.ArrowException, OSError):
        raise InputError(f"{path}: is damaged or not Parquet", hint="write the file anew") from None
    names = schema.names
    _check_names(path, names, key)
    types = [_parquet_type(path, field) for field in schema]
    for name, kind in zip(names, types, strict=True):
        if name in key and kind not in _KEY_TYPES:
            raise InputError(
                f"{path}: key column {name!r} holds {kind}; keys are text, integers or dates",
                hint="write it as text",
            )
    source = _source("parquet", file, len(names))
    bad = {"float": "NOT isfinite({})", "text": "contains(CAST({} AS VARCHAR), chr(0))"}
    with _reading(path) as db:
        tests = [bad.get(kind, "false").format(f"c{i}") for i, kind in enumerate(types)]
        terms = [f"count(c{i}), coalesce(bool_or({test}), false)" for i, test in enumerate(tests)]
        rows, *found = _aggregate(db, source, terms)
        if rows == 0:
            raise InputError(f"{path}: has no rows")
        for name, kind, test, is_bad in zip(names, types, tests, found[1::2], strict=True):
            if is_bad:
                what, hint = ("is NaN or infinite", _NO_NUMBER) if kind == "float" else ("has a NUL byte", "")
                raise InputError(f"{path}, data row {_first_row(db, source, test)}, column {name!r}: {what}", hint=hint)
    nullable = [count < rows for count in found[0::2]]
    return tuple(map(Column, names, types, nullable)), rows


def _why_not_there(name: str, names: Sequence[str]) -> str:
    """Why a file with columns `names` has none called so; of these it tells none, since they may be a row of data."""
    alike = next((there for there in names if there.strip().casefold() == name.strip().casefold()), None)
    if alike is not None:
        return f"it has one that is written {alike!r}"
    return _separators(names) or "the first line of a CSV file names its columns"


def _separators(names: Sequence[str]) -> str:
    """What to do if something else than a comma separates the columns."""
    found = [mark for mark in (";", "\t", "|") if len(names) == 1 and mark in names[0]]
    return f"its columns seem to be separated by {found[0]!r}: write it anew with commas" if found else ""


def _parquet_type(path: Path, field: pa.Field) -> str:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return "text"
    if pa.types.is_uint64(kind):
        return "decimal(20,0)"
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind):
        return "float"
    if pa.types.is_decimal(kind) and kind.precision <= MAX_DECIMAL_DIGITS and kind.scale >= 0:
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_date(kind):
        return "date"
    if pa.types.is_timestamp(kind):
        return "timestamp"
    if pa.types.is_boolean(kind):
        return "boolean"
    raise InputError(f"{path}: column {field.name!r} holds {kind}, which no protocol takes", hint="leave it out")


def _check_names(path: Path, names: Sequence[str], key: Sequence[str]) -> None:
    """Names are shown to people and peers. Bad ones are named by position: without a header they would be values."""
    if len(names) > MAX_COLUMNS:
        raise InputError(f"{path}: has {len(names)} columns (at most {MAX_COLUMNS})")
    seen: dict[str, int] = {}
    for i, name in enumerate(names, start=1):
        if not name.strip():
            raise InputError(f"{path}: column {i} has no name", hint="name every column in the first line")
        if len(name) > MAX_NAME_CHARS or name == ANY or not showable(name):
            raise InputError(
                f"{path}: column {i} has a name that cannot be used",
                hint=_separators(names)
                or f"use at most {MAX_NAME_CHARS} characters, none of them a control character, and not {ANY!r}",
            )
        if name in seen:
            raise InputError(f"{path}: columns {seen[name]} and {i} have the same name", hint="rename one")
        seen[name] = i
    if not key or len(set(key)) != len(key):
        raise InputError("a dataset has one or more key columns, each named once")
    for name in key:
        if name not in seen:
            raise InputError(f"{path}: has no key column {name!r}", hint=_why_not_there(name, names))


def _column(dataset: Dataset, name: str) -> Column:
    for column in dataset.columns:
        if column.name == name:
            return column
    raise InputError(f"dataset {dataset.name} has no column {name!r}", hint=", ".join(dataset.column_names[:50]))


def _not_a_number(dataset: Dataset, column: Column, source: str) -> InputError:
    """The error for a column that a protocol needs numbers from; in text it names the first value that is none."""
    row = None
    if column.type == "text":
        value = f"CAST(c{dataset.columns.index(column)} AS VARCHAR)"
        with _reading(dataset.path) as db:
            row = _first_row(db, source, f"{written_sql(value)} & {(~NUMBER).value} > 0")
    if row is None:
        return InputError(f"{dataset.path}, column {column.name!r}: holds {column.type}, not numbers")
    return InputError(
        f"{dataset.path}, data row {row}, column {column.name!r}: is not a number",
        hint="numbers are digits with a point, without separators, signs of currency or leading zeros",
    )


def _aggregate(db: duckdb.DuckDBPyConnection, source: str, terms: Sequence[str]) -> tuple[Any, ...]:
    """The number of rows and the terms over all rows."""
    return _one(db, f"SELECT count(*), {', '.join(terms)} FROM {source}")


def _first_row(db: duckdb.DuckDBPyConnection, source: str, test: str) -> int | None:
    """The first data row, from 1, that passes `test`."""
    numbered = f"SELECT row_number() OVER () AS data_row, {test} AS hit FROM {source}"
    (row,) = _one(db, f"SELECT min(data_row) FROM ({numbered}) WHERE hit")
    return None if row is None else int(row)


def _one(db: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    """The single row of an aggregate without groups."""
    row: tuple[Any, ...] = db.execute(query).fetchall()[0]
    return row
