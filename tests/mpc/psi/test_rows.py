"""Chosen rows are those that Arrow itself takes."""

import datetime
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.psi.rows import take

ROOT = Path(__file__).parents[3]
TYPES = [
    pa.string(), pa.large_string(), pa.binary(), pa.int8(), pa.uint64(), pa.float64(), pa.date32(), pa.timestamp("us"),
    pa.bool_(), pa.dictionary(pa.int32(), pa.string()), pa.list_(pa.int64()), pa.decimal128(9, 2), pa.null(),
]  # fmt: skip


def value(kind: pa.DataType, i: int) -> object:
    if pa.types.is_null(kind) or i % 5 == 3:
        return None
    if pa.types.is_dictionary(kind):
        return "ab"[i % 2]
    if pa.types.is_list(kind):
        return [i] * (i % 3)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return datetime.datetime(2026, 1, 1) + datetime.timedelta(days=i)  # noqa: DTZ001
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "é" * (i % 4)
    return b"x" * (i % 4) if pa.types.is_binary(kind) else i % 2 == 0 if pa.types.is_boolean(kind) else i


@pytest.mark.parametrize("kind", TYPES, ids=str)
@given(lengths=st.lists(st.integers(0, 7), max_size=4), data=st.data(), shuffled=st.booleans())
def test_rows_are_those_that_arrow_takes(
    kind: pa.DataType, lengths: list[int], data: st.DataObject, shuffled: bool
) -> None:
    chunks = [pa.array([value(kind, i) for i in range(length + 2)], kind).slice(1, length) for length in lengths]
    column = pa.chunked_array(chunks, kind)
    table = pa.table({"a": column, "b": column}).replace_schema_metadata({"kept": "yes"})
    chosen = np.flatnonzero([data.draw(st.booleans()) for _ in range(len(column))])
    chosen = np.repeat(chosen, data.draw(st.integers(1, 2)))
    rows = data.draw(st.permutations(chosen.tolist())) if shuffled else chosen.tolist()
    taken = take(table, np.array(rows, np.int64))
    taken.validate(full=True)
    assert taken.equals(table.take(pa.array(rows, pa.int64())), check_metadata=True)


def test_matching_text_loads_neither_numba_nor_arrows_compute_functions() -> None:
    code = """
import io, sys
from pyarrow import csv
from mpc.job import Job, Member
from mpc.local import run_job

members = {name: Member(role, columns={"key": ("id",)}) for name, role in (("a", "receiver"), ("b", "sender"))}
table = csv.read_csv(io.BytesIO(b"id\\nx\\ny\\n"))
run = lambda: run_job(Job("psi.vole", members, ("a", "b")), {"a": table, "b": table})["a"].table.num_rows
print(run(), *(name for name in ("numba", "pyarrow.compute", "pyarrow._compute", "duckdb") if name in sys.modules))
"""
    for _ in range(2):  # the first run may have kernels to compile
        result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["2"]
