"""A CSV file as text, around DuckDB's parsing of it: bytes, lines, header, and where it is wrong.

Lines are those of the file, from 1, as an editor counts them.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mpc.errors import InputError
from parties.datasets import CHUNK_BYTES

MAX_LINE_BYTES = 2**20  # of a row; what the parser holds at once is a small multiple of it

_RFC_HINT = "write the file anew as CSV with commas, quotes doubled inside quotes, and one kind of line end"
_REJECTED = {
    "MISSING COLUMNS": "has fewer fields than the header",
    "TOO MANY COLUMNS": "has more fields than the header",
    "UNQUOTED VALUE": "has a quote that is not closed, or text behind a closing quote",
    "LINE SIZE OVER MAXIMUM": f"belongs to a row longer than {MAX_LINE_BYTES} bytes",
}


def check_bytes(path: Path, file: BinaryIO) -> None:
    """Raise `InputError` at the first line that is too long, is not UTF-8, or has a NUL byte."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1  # in which `chunk` starts
    length = 0  # of that line, before `chunk`
    for chunk in _chunks(file):
        first_end = chunk.find(b"\n")
        if length + (len(chunk) if first_end < 0 else first_end) > MAX_LINE_BYTES:
            raise InputError(f"{path}, line {line}: is longer than {MAX_LINE_BYTES} bytes", hint=_RFC_HINT)
        nul = chunk.find(b"\0")
        if nul >= 0:
            raise InputError(f"{path}, line {line + chunk.count(10, 0, nul)}: has a NUL byte", hint="save it as UTF-8")
        _check_utf8(path, decoder, chunk, line)
        length = length + len(chunk) if first_end < 0 else len(chunk) - chunk.rfind(b"\n") - 1
        line += chunk.count(b"\n")
    _check_utf8(path, decoder, b"", line, final=True)


def header(path: Path, file: BinaryIO) -> list[str]:
    """The column names in the first line, which may go on within quotes; the byte order mark is no part of them."""
    file.seek(0)
    if b"\r" in file.readline(MAX_LINE_BYTES).removesuffix(b"\n").removesuffix(b"\r"):
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
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 2), b""), start=1):
        end = line.endswith(b"\r\n")
        if first is None:
            first = end
        elif end != first and line.endswith(b"\n"):
            return InputError(f"{path}, line {number}: ends in another way than the lines before", hint=_RFC_HINT)
    return InputError(f"{path}: its lines cannot be told apart", hint=_RFC_HINT)


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
        if length > MAX_LINE_BYTES:
            raise csv.Error
        yield line


def _line_at(file: BinaryIO, offset: int) -> int:
    file.seek(0)
    line = 1
    while offset > 0 and (chunk := file.read(min(CHUNK_BYTES, offset))):
        line += chunk.count(b"\n")
        offset -= len(chunk)
    return line


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
