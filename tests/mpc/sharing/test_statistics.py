from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from mpc.errors import InputError
from mpc.sharing.masked_sum import largest_summand
from mpc.sharing.statistics import contribution, result_table
from mpc.sharing.statistics_params import Params
from mpc.testing import InsecureSeededRng

ALL = ("count", "sum", "mean", "variance")
RNG = InsecureSeededRng(b"s")


def params(**fields: Any) -> Params:
    return TypeAdapter(Params).validate_python(fields)


def value(name: str = "x", lower: Any = -100, upper: Any = 100, decimals: int = 2) -> dict[str, Any]:
    return {"name": name, "lower": lower, "upper": upper, "decimals": decimals}


def one_party(p: Params, parties: int = 2, **slots: pa.Table) -> pa.Table:
    sums = contribution(p, slots, parties, RNG)
    assert sums.shape == (p.cells, p.width)
    return result_table(p, np.zeros(p.cells, np.bool_), sums)


def expected(numbers: list[Decimal], statistic: str) -> Any:
    exact = [Fraction(number) for number in numbers]
    if statistic == "count":
        return len(exact)
    if statistic == "sum":
        return sum(numbers, Decimal(0))
    if len(exact) < (2 if statistic == "variance" else 1):
        return None
    mean = sum(exact) / len(exact)
    return float(mean if statistic == "mean" else sum((x - mean) ** 2 for x in exact) / (len(exact) - 1))


ROW = st.tuples(st.sampled_from("abc"), st.none() | st.decimals(-100, 100, places=2), st.none() | st.integers(0, 10**9))


@settings(deadline=None)
@given(st.lists(ROW), st.sets(st.sampled_from(ALL), min_size=1))
def test_statistics_are_exact_for_each_group_and_value(rows, statistics):
    p = params(values=[value("x"), value("y", 0, 10**9, 0)], groups=["c", "a", "b"], statistics=sorted(statistics))
    columns = {
        "x": pa.array([row[1] for row in rows], pa.decimal128(10, 2)),
        "y": pa.array([row[2] for row in rows], pa.int64()),
    }
    keys = pa.table({"g": pa.array([row[0] for row in rows], pa.string())})
    table = one_party(p, value=pa.table(columns), group=keys)
    assert table["group"].to_pylist() == ["c", "a", "b"]
    for i, group in enumerate("cab"):
        assert table["rows"][i].as_py() == sum(row[0] == group for row in rows)
        for j, name in ((1, "x"), (2, "y")):
            numbers = [Decimal(row[j]) for row in rows if row[0] == group and row[j] is not None]
            for statistic in statistics:
                assert table[f"{name}_{statistic}"][i].as_py() == expected(numbers, statistic)


@settings(deadline=None)
@given(st.lists(st.integers(-(2**40), 2**40), min_size=2, max_size=20))
def test_large_numbers_keep_every_digit(numbers):
    p = params(values=[value("x", -(2**40), 2**40, 0)], statistics=ALL)
    table = one_party(p, value=pa.table({"x": pa.array(numbers, pa.int64())}))
    for statistic in ALL:
        assert table[f"x_{statistic}"][0].as_py() == expected([Decimal(n) for n in numbers], statistic)


def test_a_variance_far_from_zero_is_exact():
    p = params(values=[value("x", 0, 10**12, 3)], statistics=["variance"])
    column = pa.array([Decimal("999999999999.001"), Decimal("999999999999.003")], pa.decimal128(15, 3))
    assert one_party(p, value=pa.table({"x": column}))["x_variance"].to_pylist() == [2e-6]


def test_bounds_belong_to_the_range():
    p = params(values=[value("x", "-1.25", "1.25")], statistics=["sum"])
    table = pa.table({"x": [-1.25, 1.25, 1.25]})
    assert one_party(p, value=table)["x_sum"].to_pylist() == [Decimal("1.25")]


@pytest.mark.parametrize("bad", [-1.26, 1.26])
def test_a_value_outside_its_bounds_is_refused_by_row_and_column(bad):
    p = params(values=[value("x", "-1.25", "1.25")])
    with pytest.raises(InputError) as caught:
        one_party(p, value=pa.table({"amount": [None, 0.0, bad]}))
    assert str(caught.value) == "row 3 of column 'amount' is outside the agreed bounds of 'x'"


def test_bins_hold_their_lower_edge_and_the_last_one_its_upper_edge():
    p = params(values=[value("x", 0, 30, 0)], bins=[0, 10, 20, 30], statistics=["count", "sum"])
    table = one_party(p, value=pa.table({"x": [0, 9, 10, 20, 29, 30, None]}))
    assert table["bin"].to_pylist() == ["[0, 10)", "[10, 20)", "[20, 30]"]
    assert table["rows"].to_pylist() == table["x_count"].to_pylist() == [2, 1, 3]
    assert table["x_sum"].to_pylist() == [9, 10, 79]


def test_each_group_has_its_own_bins():
    p = params(values=[value("x", 0, 2, 0)], groups=["a", "b"], bins=[0, 1, 2], statistics=["count"])
    table = one_party(p, value=pa.table({"x": [0, 1, 2, 0]}), group=pa.table({"g": ["a", "b", "b", "a"]}))
    assert table["group"].to_pylist() == ["a", "a", "b", "b"]
    assert table["rows"].to_pylist() == [2, 0, 0, 2]


@pytest.mark.parametrize(
    "keys, groups",
    [
        (pa.array([7, 8, 7]), ["7", "8"]),
        (pa.array(["7", "8", "7"], pa.large_string()), ["7", "8"]),
        (pa.array(["7", "8", "7"]).dictionary_encode(), ["7", "8"]),
        (pa.array([0, 1, 0], pa.date32()), ["1970-01-01", "1970-01-02"]),
    ],
)
def test_keys_of_any_kind_are_compared_as_text(keys, groups):
    table = one_party(params(groups=groups), group=pa.table({"g": keys}))
    assert table.column_names == ["group", "suppressed", "rows"]
    assert table["rows"].to_pylist() == [2, 1]


@pytest.mark.parametrize("bad", ["A", "a ", "", None])
def test_a_key_outside_the_agreed_groups_is_refused_by_row_and_column(bad):
    with pytest.raises(InputError) as caught:
        one_party(params(groups=["a", "b"]), group=pa.table({"branch": ["a", bad, "b"]}))
    assert str(caught.value) == "row 2 of column 'branch' has a key that is not among the agreed groups"


def test_no_rows_give_zeros():
    p = params(values=[value()], groups=["a"], statistics=ALL)
    columns = {
        "value": pa.table({"x": pa.array([], pa.float64())}),
        "group": pa.table({"g": pa.array([], pa.string())}),
    }
    row = one_party(p, **columns).to_pylist()[0]
    assert (row["rows"], row["x_count"], row["x_sum"], row["x_mean"], row["x_variance"]) == (0, 0, 0, None, None)


def test_suppressed_cells_are_null_and_marked():
    p = params(values=[value("x", 0, 9, 1)], groups=["a", "b", "c"], statistics=ALL)
    table = result_table(p, np.array([True, False, True]), np.array([[2, 2, 30, 500, *[0] * 5]]))
    assert table["suppressed"].to_pylist() == [True, False, True]
    assert table["group"].null_count == 0
    for name in table.column_names[2:]:
        assert table[name].is_null().to_pylist() == [True, False, True]
    assert table["x_sum"][1].as_py() == Decimal("3.0")
    assert table["x_variance"][1].as_py() == 0.5
    assert table.schema.field("x_sum").type == pa.decimal128(38, 1)


def test_counts_are_of_rows_and_of_each_value():
    p = params(values=[value("x"), value("y")], statistics=ALL)
    table = pa.table({"x": [1.0, None, 2.0], "y": [None, None, 3.0]})
    assert contribution(p, {"value": table}, 2, RNG)[:, p.count_columns].tolist() == [[3, 2, 1]]


def test_a_sum_that_could_overflow_is_refused_by_value():
    limit = largest_summand(2)
    p = params(values=[value("x", 0, limit, 0)], statistics=["sum"])
    assert one_party(p, value=pa.table({"x": [limit - 1, 1]}))["x_sum"].to_pylist() == [limit]
    with pytest.raises(InputError, match="value 'x': the sum of a cell is too large for a sum over 2 parties"):
        one_party(p, value=pa.table({"x": [limit, 1]}))
    with pytest.raises(InputError, match="over 3 parties"):
        one_party(p, parties=3, value=pa.table({"x": [limit]}))


def test_a_sum_of_squares_that_could_overflow_is_refused_by_value():
    p = params(values=[value("x", -(2**60), 2**60, 0)], statistics=["variance"])
    one_party(p, value=pa.table({"x": [2**55, 2**55]}))
    with pytest.raises(InputError, match="value 'x': the sum of squares of a cell is too large"):
        one_party(p, value=pa.table({"x": [2**56]}))


@pytest.mark.parametrize(
    "fields, problem",
    [
        ({}, "give values to sum, groups to count, or both"),
        ({"values": [value(), value()]}, "values names one twice"),
        ({"groups": ["a", "a"]}, "groups names one twice"),
        ({"groups": ["a"], "statistics": ["sum", "sum"]}, "statistics names one twice"),
        ({"values": [value(lower=2, upper=1)]}, "lower bound is above its upper bound"),
        ({"values": [value(lower="0.001")]}, "a bound of value 'x': a number has more than the declared 2 decimals"),
        ({"values": [value(upper=2**63, decimals=0)]}, "a bound of value 'x': a number is too large"),
        ({"groups": ["a"], "bins": [0, 1]}, "bins are of one value"),
        ({"values": [value(), value("y")], "bins": [-100, 100]}, "bins are of one value"),
        ({"values": [value()], "bins": [-100]}, "two or more ascending edges"),
        ({"values": [value()], "bins": [-100, 0, 0, 100]}, "two or more ascending edges"),
        ({"values": [value()], "bins": [-99, 100]}, "do not enclose the bounds"),
        ({"values": [value()], "bins": ["-100.001", 100]}, "an edge of the bins: a number has more"),
        ({"values": [value()], "groups": list(map(str, range(1001))), "bins": range(-100, 101)}, "give 200200 cells"),
    ],
)
def test_parameters_that_do_not_fit_each_other_are_refused(fields, problem):
    with pytest.raises(InputError, match=problem):
        params(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"values": [value(name="")]},
        {"values": [value(name="a b")]},
        {"values": [value(decimals=19)]},
        {"values": [value(decimals=True)]},
        {"values": [value(lower="NaN")]},
        {"values": [value(upper=float("inf"))]},
        {"values": [value(f"x{i}") for i in range(9)]},
        {"values": [value() | {"more": 1}]},
        {"groups": [""]},
        {"groups": ["a"], "statistics": []},
        {"groups": ["a"], "statistics": ["median"]},
        {"groups": ["a"], "minimum_group": -1},
        {"groups": ["a"], "minimum_group": "10"},
        {"groups": ["a"], "survive_dropouts": 25},
        {"groups": ["a"], "total": True},
    ],
)
def test_malformed_parameters_are_refused(fields):
    with pytest.raises(ValidationError):
        params(**fields)
