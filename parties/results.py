"""Result files: written whole or not at all, readable by the node's owner only, never over another file unasked."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from mpc.errors import InputError
from parties.datasets import Format

_BATCH_ROWS = 2**16


def write_result(table: pa.Table, path: Path) -> None:
    """Write `table` to `path` as Parquet, in the place of what was there; on disk when this returns."""
    with _replacing(path, overwrite=True) as file:
        pq.write_table(table, file)


def write_bytes(data: bytes, path: Path) -> None:
    """Write `data` to `path`, in the place of what was there; on disk when this returns."""
    with _replacing(path, overwrite=True) as file:
        file.write(data)


def export_result(path: Path, target: Path, target_format: Format, *, overwrite: bool = False) -> None:
    """Copy the result at `path` to `target` as CSV (UTF-8, header, RFC 4180; NULL is an empty field) or Parquet.

    Raises `InputError` when `target` exists, unless `overwrite`, or when its folder cannot be written to. CSV keeps
    values as they are: a spreadsheet may take text that begins with "=" for a formula.
    """
    with pq.ParquetFile(path) as source:
        _export(source.schema_arrow, source.iter_batches(_BATCH_ROWS), target, target_format, overwrite=overwrite)


def export_table(table: pa.Table, target: Path, target_format: Format, *, overwrite: bool = False) -> None:
    """Write `table` to `target` as `export_result` does."""
    _export(table.schema, table.to_batches(_BATCH_ROWS), target, target_format, overwrite=overwrite)


def _export(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], target: Path, target_format: Format, *, overwrite: bool
) -> None:
    make = pyarrow.csv.CSVWriter if target_format == "csv" else pq.ParquetWriter
    with _replacing(target, overwrite=overwrite) as file, make(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


@contextlib.contextmanager
def _replacing(target: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """A new file that takes the name `target` once it is written and flushed to disk; removed if that fails."""
    taken = InputError(
        f"{target}: exists already", hint="choose another name, or overwrite it: --force, in Python overwrite=True"
    )
    if not overwrite and os.path.lexists(target):
        raise taken
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise InputError(f"{target.parent}: cannot be written to: {os.strerror(error.errno or 0)}") from None
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            temporary.replace(target)
        else:
            try:
                target.hardlink_to(temporary)  # unlike a rename, fails if somebody took the name meanwhile
            except FileExistsError:
                raise taken from None
    finally:
        temporary.unlink(missing_ok=True)
    _flush_folder(target.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
