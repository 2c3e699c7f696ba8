from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import InputError
from mpc.primitives.fixed_point import scaled, to_scaled, unscaled

LARGEST = 2**63 - 1


def convert(values: list, kind: pa.DataType, decimals: int) -> list:
    # Chunked and sliced, so that offsets into buffers count.
    array = pa.array([None, *values, None], kind)
    half = 1 + len(values) // 2
    column = pa.chunked_array([array.slice(1, half - 1), array.slice(half, len(values) + 1 - half)], kind)
    numbers, valid = to_scaled(column, decimals, "x")
    return [int(n) if v else None for n, v in zip(numbers, valid, strict=True)]


@settings(deadline=None)
@given(st.lists(st.none() | st.integers(-(10**12), 10**12)), st.integers(0, 6))
def test_integers_convert_exactly(values, decimals):
    expected = [None if v is None else v * 10**decimals for v in values]
    assert convert(values, pa.int64(), decimals) == expected


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint8(), pa.int32(), pa.uint32(), pa.uint64()])
def test_every_width_of_integer_is_taken(kind):
    assert convert([1, None, 100], kind, 2) == [100, None, 10_000]


@settings(deadline=None)
@given(st.lists(st.none() | st.decimals(-(10**12), 10**12, places=4)), st.integers(4, 6))
def test_decimals_convert_exactly(values, decimals):
    expected = [None if v is None else int(v.scaleb(decimals)) for v in values]
    assert convert(values, pa.decimal128(38, 4), decimals) == expected


@settings(deadline=None)
@given(st.lists(st.integers(-(10**12), 10**12)))
def test_zeros_behind_the_declared_decimals_are_none(values):
    assert convert([Decimal(v) for v in values], pa.decimal128(38, 4), 1) == [10 * v for v in values]


@settings(deadline=None)
@given(st.lists(st.none() | st.integers(-(2**51), 2**51)), st.integers(0, 15))
def test_floats_that_stand_for_decimals_convert_exactly(units, decimals):
    values = [None if u is None else u / 10**decimals for u in units]
    assert convert(values, pa.float64(), decimals) == units


def test_floats_of_single_precision_stand_for_their_decimals():
    assert convert([0.1, -2.5], pa.float32(), 1) == [1, -25]


@settings(deadline=None)
@given(st.lists(st.none() | st.integers(-(2**44), 2**44)), st.integers(0, 15))
def test_floats_that_stand_for_decimals_are_exact_however_they_were_computed(units, decimals):
    values = [None if u is None else (u / 10**decimals + 10.0**-decimals) - 10.0**-decimals for u in units]
    assert convert(values, pa.float64(), decimals) == units


@pytest.mark.parametrize(
    "kind, values",
    [
        (pa.float64(), [0.10, None, 0.125]),
        (pa.float64(), [0.10, None, 1_234_567.891]),
        (pa.float32(), [0.10, None, 1.234]),
        (pa.decimal128(12, 3), [Decimal("0.10"), None, Decimal("-0.001")]),
        (pa.decimal128(38, 18), [Decimal("0.10"), None, Decimal("0.000000000000000001")]),
    ],
    ids=str,
)
def test_more_decimals_than_declared_are_refused(kind, values):
    assert convert(values[:2], kind, 2) == [10, None]
    with pytest.raises(InputError) as caught:
        convert(values, kind, 2)
    assert str(caught.value) == "row 3 of column 'x' has more than 2 decimals"
    assert caught.value.hint


@pytest.mark.parametrize(
    "kind, bad, decimals, problem",
    [
        (pa.float64(), float("nan"), 0, "is not a finite number"),
        (pa.float64(), float("inf"), 0, "is not a finite number"),
        (pa.float32(), float("-inf"), 0, "is not a finite number"),
        (pa.float64(), 2.0**52, 0, "is too large for an exact conversion from float"),
        (pa.float64(), 1e308, 5, "is too large for an exact conversion from float"),
        (pa.int64(), LARGEST // 10 + 1, 1, "is too large for 64 bits"),
        (pa.int64(), -LARGEST - 1, 0, "is too large for 64 bits"),
        (pa.uint64(), 2**63, 0, "is too large for 64 bits"),
        (pa.decimal128(38, 0), Decimal(LARGEST + 1), 0, "is too large for 64 bits"),
        (pa.decimal128(38, 0), Decimal(-LARGEST - 1), 0, "is too large for 64 bits"),
        (pa.decimal128(38, 0), Decimal("9" * 38), 18, "is too large for 64 bits"),
    ],
)
def test_a_number_that_cannot_be_held_is_refused_by_row_and_column_without_its_value(kind, bad, decimals, problem):
    with pytest.raises(InputError) as caught:
        convert([1, None, bad, 1], kind, decimals)
    assert str(caught.value) == f"row 3 of column 'x' {problem}"
    assert caught.value.hint


@pytest.mark.parametrize("kind", [pa.int64(), pa.decimal128(38, 0), pa.uint64()])
def test_the_largest_number_is_held(kind):
    assert convert([LARGEST], kind, 0) == [LARGEST]


@pytest.mark.parametrize("kind", [pa.string(), pa.bool_(), pa.null(), pa.date32(), pa.decimal256(50, 2)])
def test_a_column_without_numbers_is_refused_by_name(kind):
    with pytest.raises(InputError, match=r"column 'x' holds .*, not numbers"):
        to_scaled(pa.chunked_array([pa.array([None], kind)]), 0, "x")


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.decimal128(10, 2)])
def test_an_empty_column_gives_no_numbers(kind):
    numbers, valid = to_scaled(pa.chunked_array([], kind), 2, "x")
    assert len(numbers) == len(valid) == 0


@settings(deadline=None)
@given(st.integers(-LARGEST, LARGEST), st.integers(0, 18))
def test_a_scaled_number_stands_for_exactly_one_decimal(number, decimals):
    assert scaled(unscaled(number, decimals), decimals) == number


@pytest.mark.parametrize(
    "value, decimals, problem",
    [
        (Decimal("0.001"), 2, "more than the declared 2 decimals"),
        (Decimal(LARGEST + 1), 0, "too large for 64 bits"),
        (Decimal("1e999999"), 0, "too large or too small"),
        (Decimal("NaN"), 0, "finite"),
        (Decimal("Infinity"), 0, "finite"),
        (Decimal(1), 19, "19 decimals: give 0 to 18"),
        (Decimal(1), -1, "-1 decimals: give 0 to 18"),
    ],
)
def test_a_bound_that_is_no_scaled_integer_is_refused(value, decimals, problem):
    with pytest.raises(InputError, match=problem):
        scaled(value, decimals)
