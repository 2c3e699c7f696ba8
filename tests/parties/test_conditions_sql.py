"""A condition means the same to DuckDB, which leaves out rows as it reads, and to Arrow, which says what it means."""

import datetime
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpc.conditions import And, Compare, Condition, IsNull, Not, Or, Value, rows_where
from mpc.errors import InputError
from parties import reading
from parties.conditions_sql import expression

TYPES = {
    "i": ("integer", pa.int64()),
    "d": ("decimal(9,2)", pa.decimal128(9, 2)),
    "w": ("decimal(38,20)", pa.decimal128(38, 20)),
    "f": ("float", pa.float64()),
    "t": ("text", pa.string()),
    "y": ("date", pa.date32()),
    "b": ("boolean", pa.bool_()),
}
NAMES = {name: f"c{index}" for index, name in enumerate(TYPES)}
COLUMN_TYPES = {name: kind for name, (kind, _) in TYPES.items()}

NUMBERS = [
    "0", "-0", "1", "-1", "0.5", "0.005", "1.25", "-1.25", "1.2500000000", "0.1", "1E-18", "99999999999999999",
    "999999999999999999", "-999999999999999999", "9999999.99", "9999999.995", "10000000", "9E+18", "-9E+18",
    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
]  # fmt: skip
TEXTS = [
    "",
    "a",
    "A",
    "ä",
    "a\u0308",
    "Z",
    "aa",
    "a ",
    "'",
    '"; DROP TABLE x; --',
    "\\",
    "%",
    "\U0001f600",
    "\uffff",
    "\0",
]
DATES = ["1970-01-01", "2026-02-28", "0001-01-01", "9999-12-31"]
VALUES: dict[str, list[Any]] = {
    "i": [0, 1, -1, 2**63 - 1, -(2**63), 7],
    "d": [Decimal(x) for x in ("0.00", "1.25", "-1.25", "0.01", "0.10", "9999999.99", "-9999999.99", "0.50")],
    "w": [Decimal(x) for x in ("0", "1.25", "0.00000000000000000001", "999999999999999999", "-0.1")],
    "f": [
        0.0,
        -0.0,
        1.0,
        0.1,
        0.5,
        -1.25,
        1e300,
        -1e300,
        5e-324,
        math.nan,
        math.inf,
        -math.inf,
        9.223372036854775807e18,
    ],
    "t": [text for text in TEXTS if "\0" not in text],
    "y": [datetime.date.fromisoformat(text) for text in DATES],
    "b": [True, False],
}
LITERALS = {
    **{name: [Value("number", text) for text in NUMBERS] for name in "idwf"},
    "t": [Value("text", text) for text in TEXTS],
    "y": [Value(kind, text) for text in DATES for kind in ("date", "text")],  # type: ignore[arg-type]
    "b": [Value("boolean", "true"), Value("boolean", "false")],
}
OPERATORS = ["=", "<>", "<", "<=", ">", ">="]


def table() -> pa.Table:
    """Every value of every column beside NULL and beside each other's."""
    rows = max(map(len, VALUES.values())) + 1
    return pa.table(
        {
            name: pa.array(([*VALUES[name], None] * 4 * rows)[shift : shift + 3 * rows], kind)
            for shift, (name, (_, kind)) in enumerate(TYPES.items())
        }
    )


TABLE = table()


def compares() -> st.SearchStrategy[Condition]:
    def of(name: str) -> st.SearchStrategy[Condition]:
        return st.builds(Compare, st.just(name), st.sampled_from(OPERATORS), st.sampled_from(LITERALS[name]))

    return st.one_of(*map(of, TYPES), st.builds(IsNull, st.sampled_from(list(TYPES))))


CONDITIONS = st.recursive(
    compares(),
    lambda part: st.one_of(
        st.builds(Not, part),
        st.builds(And, st.lists(part, min_size=1, max_size=3).map(tuple)),
        st.builds(Or, st.lists(part, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)


def by_duckdb(condition: Condition) -> list[bool] | None:
    """Which rows DuckDB keeps; None where it is not asked."""
    made = expression(condition, NAMES, COLUMN_TYPES)
    if made is None:
        return None
    numbered = TABLE.rename_columns(list(NAMES.values())).append_column("n", pa.array(range(len(TABLE))))
    with duckdb.connect() as db:
        kept = db.from_arrow(numbered).filter(made).select("n").fetchall()
    found = [False] * len(TABLE)
    for (row,) in kept:
        found[row] = True
    return found


@pytest.mark.parametrize("name", TYPES)
def test_each_comparison_keeps_the_same_rows(name: str) -> None:
    for value in LITERALS[name]:
        for operator in OPERATORS:
            for condition in (Compare(name, operator, value), Not(Compare(name, operator, value))):  # type: ignore[arg-type]
                found = by_duckdb(condition)
                if found is None:
                    assert "\0" in value.text
                else:
                    assert found == rows_where(condition, TABLE).to_pylist(), condition


@given(CONDITIONS)
@settings(max_examples=150, deadline=None)
@example(Not(Or((IsNull("f"), Compare("f", ">", Value("number", "1"))))))
def test_conditions_keep_the_same_rows(condition: Condition) -> None:
    found = by_duckdb(condition)
    assert found is None or found == rows_where(condition, TABLE).to_pylist()


@pytest.mark.parametrize(
    "condition",
    [
        Compare("t", "=", Value("number", "1")),
        Compare("i", "=", Value("text", "1")),
        Compare("y", "<", Value("text", "2026-13-01")),
        And((IsNull("i"), Compare("b", "=", Value("number", "1")))),
        Not(Compare("d", "=", Value("boolean", "true"))),
    ],
)
def test_what_cannot_be_compared_is_left_to_arrow_which_says_so(condition: Condition) -> None:
    assert expression(condition, NAMES, COLUMN_TYPES) is None
    with pytest.raises(InputError):
        rows_where(condition, TABLE)


WHERE = [
    Or((Compare("v", ">", Value("number", "2.5")), IsNull("v"))),
    Compare("city", "<>", Value("text", "Macau")),
]


@pytest.fixture(params=["csv", "parquet"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    random = np.random.default_rng(3)
    cities = ["Macau", "Hong Kong", None, 'a "b", c\nd']
    rows = pa.table(
        {
            "id": [f"P{i}" for i in range(5000)],
            "v": pa.array([None if x == 0 else Decimal(int(x)) / 4 for x in random.integers(0, 30, 5000)]),
            "city": [cities[i] for i in random.integers(0, 4, 5000)],
        }
    )
    made = tmp_path / f"rows.{request.param}"
    if request.param == "parquet":
        pq.write_table(rows, made, row_group_size=700)
    else:
        with duckdb.connect() as db:
            db.from_arrow(rows).write_csv(str(made), header=True)
    return made


def test_only_rows_that_count_are_read_with_their_numbers_in_the_file(path: Path) -> None:
    dataset = reading.examine("rows", path, ["id"], 0.0)
    whole = reading.load(dataset, ["id", "v", "city"])
    wanted = np.logical_and.reduce([rows_where(each, whole).to_numpy() for each in WHERE])
    found, rows = reading.load_where(dataset, ["city", "id"], WHERE, most_rows=10_000)
    assert rows.total == 5000
    assert 0 < found.num_rows < 5000
    assert rows.numbers.tolist() == np.flatnonzero(wanted).tolist()
    assert found.to_pydict() == whole.select(["city", "id"]).filter(pa.array(wanted)).to_pydict()
    assert rows.spread(np.ones(found.num_rows, np.int64), 0).tolist() == wanted.astype(int).tolist()


def test_rows_are_mapped_or_refused_when_too_many_of_them_count(path: Path, tmp_path: Path) -> None:
    dataset = reading.examine("rows", path, ["id"], 0.0)
    found, rows = reading.load_where(dataset, ["id"], WHERE, most_rows=10_000)
    mapped, same = reading.load_where(dataset, ["id"], WHERE, most_rows=50, mapped=tmp_path / "mapped.arrow")
    assert (tmp_path / "mapped.arrow").stat().st_size > 0
    assert mapped.to_pydict() == found.to_pydict()
    assert same.numbers.tolist() == rows.numbers.tolist()
    with pytest.raises(InputError, match="in memory only, and more than 50 rows count"):
        reading.load_where(dataset, ["id"], WHERE, most_rows=50)


def test_conditions_that_nothing_meets_read_nothing(path: Path) -> None:
    dataset = reading.examine("rows", path, ["id"], 0.0)
    found, rows = reading.load_where(dataset, ["id"], [Compare("city", "=", Value("text", "nowhere"))], most_rows=1)
    assert found.num_rows == len(rows.numbers) == 0
    assert found.schema.names == ["id"]
