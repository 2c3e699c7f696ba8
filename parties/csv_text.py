"""A CSV file as text, around DuckDB's parsing of it: bytes, lines, header, and where it is wrong.

Lines are those of the file, from 1, as an editor counts them.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mpc.errors import InputError
from parties.datasets import CHUNK_BYTES

MAX_ROW_BYTES = 2**20  # what the parser holds at once is a small multiple of it

_RFC_HINT = "write the file anew as CSV with commas, quotes doubled inside quotes, and one kind of line end"
_REJECTED = {
    "MISSING COLUMNS": "has fewer fields than the header",
    "TOO MANY COLUMNS": "has more fields than the header",
    "UNQUOTED VALUE": "has text behind a closing quote",
}


def scan(path: Path, file: BinaryIO) -> tuple[int, int]:
    """The number of rows, header included, and of empty lines outside quotes.

    Raises `InputError` at the first line that is not UTF-8 or has a NUL byte, or where a row starts that is too long
    or has a quote that is not closed.
    """
    row_line = 1  # in which the row starts that a chunk goes on with
    begun = 0  # bytes of that row before the chunk
    quoted = 0  # 1: the chunk starts within quotes
    last = 0  # byte before the chunk
    rows = empty = 0
    for line, chunk in _text_chunks(path, file):
        data = np.frombuffer(chunk, np.uint8)
        within = np.bitwise_xor.accumulate((data == ord('"')).view(np.uint8)) ^ quoted
        newlines = np.flatnonzero(data == ord("\n"))
        ends = newlines[within[newlines] == 0]
        if len(ends):
            lengths = np.diff(ends, prepend=-1 - begun) - 1  # of the rows that end in this chunk
            if np.any(too_long := lengths > MAX_ROW_BYTES):
                first = int(np.argmax(too_long))
                raise _long_row(path, row_line if first == 0 else _line_behind(line, newlines, ends[first - 1]))
            before = data[ends - 1]
            before[0] = before[0] if ends[0] else last
            blank = int(np.count_nonzero((lengths == 0) | ((lengths == 1) & (before == ord("\r")))))
            rows, empty = rows + len(ends) - blank, empty + blank
            row_line, begun = _line_behind(line, newlines, ends[-1]), -1 - int(ends[-1])
        begun += len(data)
        if begun > MAX_ROW_BYTES:
            raise _long_row(path, row_line)
        quoted, last = int(within[-1]), chunk[-1]
    if quoted:
        raise InputError(f"{path}, line {row_line}: starts a row with a quote that is not closed", hint=_RFC_HINT)
    return rows + (begun > 0), empty


def header(path: Path, file: BinaryIO) -> list[str]:
    """The column names in the first line, which may go on within quotes; the byte order mark is no part of them."""
    file.seek(0)
    if b"\r" in file.readline(MAX_ROW_BYTES).removesuffix(b"\n").removesuffix(b"\r"):
        raise InputError(f"{path}, line 1: has a carriage return that ends no line", hint=_RFC_HINT)
    file.seek(0)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        names = next(csv.reader(_bounded(text), strict=True), [])
    except csv.Error:
        raise InputError(f"{path}, line 1: is not a header in CSV", hint=_RFC_HINT) from None
    finally:
        text.detach()
    if not names:
        raise InputError(f"{path}, line 1: is empty where the column names should be")
    return names


def rejected(path: Path, file: BinaryIO, kind: str, offset: int | None, column: int | None) -> InputError:
    """The error for a row that the parser could not use, `offset` bytes into the file."""
    where = f"{path}, line {_line_at(file, offset)}" if offset is not None else str(path)
    if column is not None and kind != "MISSING COLUMNS":
        where += f", column {column}"
    return InputError(f"{where}: {_REJECTED.get(kind, 'is not CSV')}", hint=_RFC_HINT)


def malformed(path: Path, file: BinaryIO) -> InputError:
    """The error for a file whose lines the parser could not tell apart."""
    file.seek(0)
    first = None
    for number, line in enumerate(iter(lambda: file.readline(MAX_ROW_BYTES + 2), b""), start=1):
        end = line.endswith(b"\r\n")
        if first is None:
            first = end
        elif end != first and line.endswith(b"\n"):
            return InputError(f"{path}, line {number}: ends in another way than the lines before", hint=_RFC_HINT)
    return InputError(f"{path}: its lines cannot be told apart", hint=_RFC_HINT)


def miscounted(path: Path) -> InputError:
    """The error for a file that the parser split into other rows than `scan` did."""
    return InputError(f"{path}: a quote inside an unquoted field makes its rows uncertain", hint=_RFC_HINT)


def _text_chunks(path: Path, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The file's chunks, each with the line in which it starts, once they are known to be text."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    while chunk := file.read(CHUNK_BYTES):
        nul = chunk.find(b"\0")
        if nul >= 0:
            line += chunk.count(b"\n", 0, nul)
            raise InputError(f"{path}, line {line}: has a NUL byte", hint="save the file as UTF-8")
        _check_utf8(path, decoder, chunk, line)
        yield line, chunk
        line += chunk.count(b"\n")
    _check_utf8(path, decoder, b"", line, final=True)


def _long_row(path: Path, line: int) -> InputError:
    return InputError(
        f"{path}, line {line}: starts a row longer than {MAX_ROW_BYTES} bytes",
        hint="a quote may not be closed; " + _RFC_HINT,
    )


def _line_behind(line: int, newlines: "np.ndarray[Any, Any]", end: int) -> int:
    """The line that starts behind the newline at `end` of a chunk that starts in `line`."""
    return line + int(np.searchsorted(newlines, end)) + 1


def _check_utf8(
    path: Path, decoder: codecs.IncrementalDecoder, chunk: bytes, line: int, *, final: bool = False
) -> None:
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        line += error.object.count(b"\n", 0, error.start)
    else:
        return
    raise InputError(f"{path}, line {line}: is not UTF-8", hint="save the file as UTF-8")


def _bounded(text: io.TextIOWrapper) -> Iterator[str]:
    """The lines of a header, as many as could be one."""
    length = 0
    for line in text:
        length += len(line)
        if length > MAX_ROW_BYTES:
            raise csv.Error
        yield line


def _line_at(file: BinaryIO, offset: int) -> int:
    file.seek(0)
    line = 1
    while offset > 0 and (chunk := file.read(min(CHUNK_BYTES, offset))):
        line += chunk.count(b"\n")
        offset -= len(chunk)
    return line
