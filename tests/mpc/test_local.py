"""A whole job in one process."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mpc.errors import InputError
from mpc.job import Job, Member
from mpc.local import run_job

JOB = Job(
    "psi.ecdh",
    {"a": Member("receiver", columns={"key": ("id",)}), "b": Member("sender", columns={"key": ("number",)})},
    ("a",),
)


@pytest.mark.parametrize("make", [pa.table, pd.DataFrame, pl.DataFrame], ids=["arrow", "pandas", "polars"])
def test_each_receiver_gets_its_table_and_nobody_else(make: Callable[[Any], Any]) -> None:
    outcomes = run_job(JOB, {"a": make({"id": ["1", "2", "3"]}), "b": make({"number": ["3", "2", "9"]})})
    table = outcomes["a"].table
    assert table is not None
    assert table.to_pydict() == {"id": ["2", "3"]}
    assert outcomes["b"].table is None


def test_a_member_without_a_table_is_an_error() -> None:
    with pytest.raises(InputError, match="tables are needed for exactly a, b"):
        run_job(JOB, {"a": pa.table({"id": ["1"]})})


def test_a_missing_column_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match="b: its table has no column 'number', only id"):
        run_job(JOB, {name: pa.table({"id": ["1"]}) for name in ("a", "b")})


def test_what_a_party_raises_comes_out_rather_than_the_broken_link_of_its_peer() -> None:
    tables = {"a": pa.table({"id": [0.5]}), "b": pa.table({"number": ["1"]})}
    with pytest.raises(InputError, match="keys are text, integers or dates"):
        run_job(JOB, tables)
