"""What programs put beside shared arrays: public numbers and truth values, bounds, shapes, indices."""

import traceback

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import InputError
from mpc.local import run_program
from mpc.sharing.aggregates import histogram, quantiles
from mpc.sharing.grouping import group_by
from mpc.sharing.plan import plan
from mpc.sharing.sorting import sort, top_k
from mpc.sharing.values import Secret
from tests.mpc.sharing.programs import SETTINGS, agreed, secret, secret_bits

FRACTIONS = [0.5, 2.0, np.float64(1.5), [1, 2, 3.0, 4], np.array([2**63, 0, 0, 0], np.uint64), 2**64, "1", None]


def of_shapes(low=0, high=100):
    """A planned array: what is refused is refused before anything is sent."""
    return plan("hk", ["hk", "cn"]).share("hk", None, shape=(4,), low=low, high=high)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, list])
def test_public_numbers_stand_on_either_side_and_have_any_type_of_integers(setting, kind):
    x, c = np.array([5, -3, 0, 7]), np.array([3, 0, 1, 120])
    other = c.tolist() if kind is list else c.astype(kind)

    def program(engine):
        a = secret(engine, "hk", x, -10, 10)
        results = [
            a + other, other + a, a - other, other - a, a * other, other * a, a @ other, other @ a,
            a < other, a <= other, a > other, a >= other, a == other, a != other, other < a, other >= a, other == a,
            a.minimum(other), a.maximum(other), a.clip(-2, other), abs(a),
            engine.where(a < 1, a, other), engine.where(a < 1, other, a), engine.where(a < 1, 7, other),
        ]  # fmt: skip
        return [engine.open(result) for result in results]

    expected = [
        x + c, c + x, x - c, c - x, x * c, c * x, x @ c, c @ x,
        x < c, x <= c, x > c, x >= c, x == c, x != c, c < x, c >= x, c == x,
        np.minimum(x, c), np.maximum(x, c), x.clip(-2, c), abs(x),
        np.where(x < 1, x, c), np.where(x < 1, c, x), np.where(x < 1, 7, c),
    ]  # fmt: skip
    for index, (got, want) in enumerate(zip(agreed(setting, program), expected, strict=True)):
        assert np.array_equal(got, want), index


@pytest.mark.parametrize("setting", SETTINGS)
@given(sizes=st.tuples(*[st.integers(0, 5)] * 3), seed=st.integers(0, 2**32))
@settings(max_examples=4)
def test_the_product_with_a_public_matrix_is_numpys(setting, sizes, seed):
    m, k, n = sizes
    rng = np.random.default_rng(seed)
    x, c = rng.integers(-(2**20), 2**20, (m, k)), rng.integers(-(2**20), 2**20, (k, n))
    left, vector = rng.integers(-9, 9, (n, m)), rng.integers(-9, 9, k)

    def program(engine):
        a = secret(engine, "hk", x, -(2**20), 2**20)
        return [engine.open(result) for result in (a @ c, a @ vector, left @ a, left.T @ (a @ c).T)]

    for got, want in zip(agreed(setting, program), [x @ c, x @ vector, left @ x, left.T @ (x @ c).T], strict=True):
        assert np.array_equal(got, want)


@pytest.mark.parametrize("other", FRACTIONS, ids=repr)
def test_public_numbers_that_are_not_whole_are_refused_by_every_operation(other):
    a = of_shapes()
    operations = [
        lambda: a + other, lambda: other + a, lambda: a - other, lambda: other - a, lambda: a * other,
        lambda: a @ other, lambda: a < other, lambda: a <= other, lambda: a > other, lambda: a >= other,
        lambda: a == other, lambda: a != other, lambda: a.minimum(other), lambda: a.maximum(other),
        lambda: a.clip(0, other), lambda: a.engine.where(a < 1, a, other), lambda: a.engine.constant(other),
    ]  # fmt: skip
    for operation in operations:
        with pytest.raises(InputError, match="public numbers beside shared ones are whole"):
            operation()


def test_edges_of_a_histogram_that_are_not_whole_are_refused():
    with pytest.raises(InputError, match="public numbers beside shared ones are whole"):
        histogram(of_shapes(), [0, 0.5, 1])


@pytest.mark.parametrize("setting", SETTINGS)
def test_public_numbers_are_in_the_units_of_the_array_and_factors_are_not(setting):
    def program(engine):
        cents, whole = secret(engine, "hk", [150, 250], 0, 1000, 2), secret(engine, "cn", [1, 2], 0, 5)
        results = [cents + 1, cents > 200, cents * 2, cents @ [1, 1], whole + cents, whole > cents]
        assert [result.decimals for result in results if isinstance(result, Secret)] == [2, 2, 2, 2]
        return [engine.open(result) for result in results]

    expected = [[151, 251], [False, True], [300, 500], 400, [250, 450], [False, False]]
    for got, want in zip(agreed(setting, program), expected, strict=True):
        assert np.array_equal(got, want)


@pytest.mark.parametrize("setting", SETTINGS)
def test_smaller_and_larger_of_different_decimals_have_bounds_that_hold(setting):
    def program(engine):
        whole, cents = secret(engine, "hk", [100, 0], 0, 100), secret(engine, "cn", [500, 300], 0, 500, 2)
        smaller, larger = whole.minimum(cents), whole.maximum(cents)
        assert (smaller.low, smaller.high, larger.low, larger.high) == (0, 500, 0, 10_000)
        return [engine.open(result) for result in (smaller, smaller < 200, larger, larger > 9_000)]

    expected = [[500, 0], [False, True], [10_000, 300], [True, False]]
    for got, want in zip(agreed(setting, program), expected, strict=True):
        assert np.array_equal(got, want)


@pytest.mark.parametrize("setting", SETTINGS)
def test_bits_combine_with_public_truth_values_and_compare_with_bits(setting):
    x, y = np.array([True, True, False, False]), np.array([True, False, True, False])

    def program(engine):
        a, b = secret_bits(engine, "hk", x), secret_bits(engine, "cn", y)
        results = [a & y, y & a, a | y, y | a, a ^ y, y ^ a, a & True, a | False, a == b, a != b, a == y, a != True]  # noqa: E712
        return [engine.open(result) for result in results]

    expected = [x & y, x & y, x | y, x | y, x ^ y, x ^ y, x, x, x == y, x != y, x == y, ~x]
    for index, (got, want) in enumerate(zip(agreed(setting, program), expected, strict=True)):
        assert np.array_equal(got, want), index


@pytest.mark.parametrize("other", [1, 0.5, [0, 1, 1, 0], "yes"], ids=repr)
def test_bits_combine_with_nothing_but_truth_values(other):
    bits = of_shapes() > 1
    for operation in (bits.__and__, bits.__rand__, bits.__or__, bits.__xor__, bits.__eq__):
        with pytest.raises(InputError, match="truth values"):
            operation(other)


@pytest.mark.parametrize("setting", SETTINGS)
def test_sums_of_single_numbers_wrap_without_a_warning(setting):
    x = np.array([3, -4, 5])

    def program(engine):
        a = secret(engine, "hk", x, -10, 10)
        return [engine.open(result) for result in (sum(a), a[0] + a[1] - a[2], -a[0], a.sum() * a[0] + a.max())]

    assert [int(each) for each in agreed(setting, program)] == [4, -6, -3, 17]


@pytest.mark.parametrize("bound", [np.int8(100), np.int64(2**62)])
def test_bounds_of_numpys_types_do_not_wrap(bound):
    a = plan("hk", ["hk", "cn"]).share("hk", None, shape=(4,), low=-bound, high=bound)
    assert ((a - 1) * 1).high == int(bound) - 1
    assert (a + a.within(0, 3)).high == int(bound) + 3
    with pytest.raises(InputError, match="64-bit"):
        a * 2**61


def test_bounds_that_hold_no_value_and_bounds_that_are_not_whole_are_refused():
    with pytest.raises(InputError, match="no value lies within 20 and 10"):
        of_shapes().within(20, 30).within(0, 10)
    with pytest.raises(InputError, match="bounds of shared values are whole numbers"):
        of_shapes(low=-0.5)


def test_nothing_secret_decides_is_an_index_or_an_array_of_numpys():
    a = of_shapes()
    for wrong in (
        lambda: bool(a), lambda: bool(a > 1), lambda: a[a > 1], lambda: a[a], lambda: (a > 1)[:, a],
        lambda: np.asarray(a), lambda: np.asarray(a > 1),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=r"open"):
            wrong()


def test_shapes_are_given_as_numpy_takes_them():
    engine = plan("hk", ["hk", "cn"])
    a = engine.share("hk", None, shape=6, low=0, high=1)
    assert [a.shape, engine.share_bits("hk", None, shape=[2, 3]).shape] == [(6,), (2, 3)]
    assert [a.reshape((2, 3)).shape, a.reshape(2, -1).T.shape, a[0].reshape().shape] == [(2, 3), (3, 2), ()]
    assert (a > 0).reshape((3, 2)).shape == (3, 2)


@pytest.mark.parametrize(
    "column", [[4, 1, 3], pd.Series([4, 1, 3]), pl.Series([4, 1, 3]), pa.chunked_array([[4], [1, 3]])]
)
def test_columns_of_lists_and_data_frames_are_shared(column):
    def program(engine):
        return [engine.open(engine.share("hk", column if engine.name == "hk" else None, shape=3, low=0, high=9))]

    assert agreed("replicated", program)[0].tolist() == [4, 1, 3]


@pytest.mark.parametrize("column", [[1.5, 2.0], pd.Series([1, None]), pa.array([1, None]), ["1", "2"]])
def test_columns_that_are_not_whole_are_refused_with_what_to_do(column):
    with pytest.raises(InputError, match="declared integers of shape") as caught:
        plan("hk", ["hk", "cn"]).share("hk", column, shape=2, low=0, high=9)
    assert "with decimals=2, 2.50 is 250" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("value", [-1, 2.5, None, "3", 2**70])
def test_what_is_announced_is_a_count(value):
    def program(engine):
        return [engine.announce("hk", value if engine.name == "hk" else None, most=100)]

    with pytest.raises(InputError):
        agreed("replicated", program)


@pytest.mark.parametrize("setting", SETTINGS)
def test_vectors_are_shuffled_and_sorted_without_rows_and_empty_ones_have_no_groups(setting):
    x = np.array([3, -1, 3, 0])

    def program(engine):
        a = secret(engine, "hk", x, -5, 5)
        empty = group_by(engine, a[:0], a[:0].reshape(-1, 1))
        assert top_k(engine, a, a.reshape(-1, 1), 9)[0].shape == (4,)
        shuffled = np.sort(engine.open(engine.shuffle(a)))
        return [shuffled, *map(engine.open, (sort(engine, a), empty.keys, empty.counts, empty.sums))]

    expected = [np.sort(x), np.sort(x), [], [], np.zeros((0, 1))]
    for got, want in zip(agreed(setting, program), expected, strict=True):
        assert np.array_equal(got, want)


def test_quantiles_are_at_the_fractions_as_they_are_written():
    fractions = [0.0, 0.01, 0.07, 0.14, 0.28, 0.29, 0.55, 0.56, 0.57, 0.58, 1]

    def program(engine):
        return [engine.open(quantiles(engine, secret(engine, "hk", np.arange(1, 101), 0, 100), fractions))]

    assert agreed("replicated", program)[0].tolist() == [1, 1, 7, 14, 28, 29, 55, 56, 57, 58, 100]


def test_groups_that_are_not_whole_and_vectors_in_place_of_rows_are_refused():
    engine = plan("hk", ["hk", "cn"])
    rows = engine.share("hk", None, shape=(3, 1), low=0, high=9)
    assert engine.sums_by("hk", [0, 1, 1], 2, rows).shape == (2, 1)
    with pytest.raises(InputError, match="public numbers beside shared ones are whole"):
        engine.sums_by("hk", [0.0, 1.5, 1.0], 2, rows)
    with pytest.raises(InputError, match=r"rows \(n x columns\), not \(3,\)"):
        engine.sums_by("hk", [0, 1, 1], 2, rows[:, 0])


@pytest.mark.parametrize(
    "use", [lambda engine, x: engine.words(x), lambda engine, _: engine.adopt(np.zeros(3, np.uint64), low=0, high=9)]
)
def test_parts_of_three_parties_are_not_handed_out_as_those_of_two(use):
    engine = plan("hk", ["hk", "cn", "sg"])
    with pytest.raises(InputError, match="parts of three parties are not additive shares of two"):
        use(engine, engine.share("hk", None, shape=(3,), low=0, high=9))


@pytest.mark.parametrize(("parties", "more"), [*((each[0], {"helper": each[1]}) for each in SETTINGS.values()),
                                              (SETTINGS["replicated"][0], {"verified": True})])  # fmt: skip
def test_a_value_without_axes_is_computed_with_like_any_other(parties, more):
    def program(engine):
        x = engine.share("hk", -7 if engine.name == "hk" else None, shape=(), low=-9, high=9)
        bit = engine.share_bits("cn", np.bool_(True) if engine.name == "cn" else None, shape=())
        total = secret(engine, "cn", [1, 2, 3], 0, 9).sum()
        return [
            engine.open(each)
            for each in (
                x * total, x < total, (x == -7) & bit, engine.where(bit, x, total), (x < 0).integers(), bit.integers(),
                total.minimum(x), x + total, (x + x) + (x + x),
            )
        ]  # fmt: skip

    for _ in range(8):  # parts are random, and so is whether they wrap
        for found in run_program(program, parties, **more).values():
            assert [int(each) for each in found] == [-42, 1, 1, -7, 1, 1, -7, -1, -28]
