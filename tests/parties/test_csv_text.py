"""The scan of a CSV file's bytes: rows counted apart from the parser, whatever the chunks are."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import InputError
from parties import csv_text

PATH = Path("customers.csv")


def expected(content: bytes) -> tuple[int, int] | None:
    """Rows and empty lines, byte by byte; None where a quote is not closed."""
    rows = empty = 0
    row = b""
    quoted = False
    for i in range(len(content)):
        byte = content[i : i + 1]
        quoted ^= byte == b'"'
        if byte == b"\n" and not quoted:
            blank = row in (b"", b"\r")
            rows, empty, row = rows + (not blank), empty + blank, b""
        else:
            row += byte
    return None if quoted else (rows + bool(row), empty)


@given(st.text(st.sampled_from('a,"\n\r姓'), max_size=40), st.integers(1, 50))
def test_the_count_of_rows_does_not_depend_on_chunks(text: str, chunk_bytes: int) -> None:
    content = text.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_text, "CHUNK_BYTES", chunk_bytes)
        if (wanted := expected(content)) is None:
            with pytest.raises(InputError, match="quote that is not closed"):
                csv_text.scan(PATH, io.BytesIO(content))
        else:
            assert csv_text.scan(PATH, io.BytesIO(content)) == wanted


@pytest.mark.parametrize("chunk_bytes", [1, 3, 7, 1000])
def test_a_long_row_is_placed_at_the_line_where_it_starts(chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_text, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(csv_text, "MAX_ROW_BYTES", 10)
    csv_text.scan(PATH, io.BytesIO(b'id\n"1\n2"\n1234567890\n'))
    for ending in (b"", b"\n", b"\nnext\n"):
        with pytest.raises(InputError, match=r"line 4: starts a row longer than 10 bytes"):
            csv_text.scan(PATH, io.BytesIO(b'id\n"1\n2"\n"12345\n789"' + ending))
