"""CSV files without quotes and carriage returns, read by Arrow: to split them at commas and line ends is all there is.

For files that DuckDB has read from end to end, when they were registered, and whose bytes are still the same: Arrow
takes a third of the time and memory for them.
"""

from collections.abc import Sequence
from typing import BinaryIO

import pyarrow as pa
from pyarrow import csv

from parties.csv_text import MAX_ROW_BYTES
from parties.datasets import CHUNK_BYTES


def read(file: BinaryIO, width: int, columns: Sequence[int], rows: int) -> pa.Table | None:
    """The columns with these places among `width`, as text, an empty field being NULL; None if that is not certain to
    be what DuckDB reads: the file is not plain, or has another number of rows.
    """
    if not _is_plain(file):
        return None
    names = [f"c{place}" for place in range(width)]
    wanted = [names[place] for place in columns]
    # The first line is the header; a block holds a row at least.
    lines = csv.ReadOptions(column_names=names, skip_rows=1, block_size=2 * MAX_ROW_BYTES)
    fields = csv.ParseOptions(
        delimiter=",", quote_char=False, double_quote=False, escape_char=False, ignore_empty_lines=width > 1
    )
    values = csv.ConvertOptions(
        include_columns=wanted,
        column_types=dict.fromkeys(wanted, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
    )
    try:
        table = csv.read_csv(
            f"/proc/self/fd/{file.fileno()}", read_options=lines, parse_options=fields, convert_options=values
        )
    except pa.ArrowInvalid:  # whose words may hold values
        return None
    return table if table.num_rows == rows else None


def _is_plain(file: BinaryIO) -> bool:
    """Whether no line ends but with a newline, and nothing is quoted except, within the first line, column names."""
    file.seek(0)
    header = file.readline(MAX_ROW_BYTES)
    if not header.endswith(b"\n") or b"\r" in header or header.count(b'"') % 2:
        return False
    while chunk := file.read(CHUNK_BYTES):
        if b'"' in chunk or b"\r" in chunk:
            return False
    return True
