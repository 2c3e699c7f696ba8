"""Bins of columns, and the splits made of them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import InputError
from mpc.federated.binning import Bins, goes_left, layout_of, make_bins, splits_of
from mpc.federated.columns import Column
from mpc.federated.trees_forest import rules_of

NAN = float("nan")
numbers = st.lists(st.sampled_from([NAN, -1e300, -2.5, -1.0, 0.0, 0.5, 1.0, 7.0, 1e300]), min_size=2, max_size=40)
categories = st.lists(st.integers(-1, 4), min_size=2, max_size=40)


def column_of(values: list[Any], kind: str) -> Column:
    if kind == "number":
        return Column("x", "number", np.array(values, np.float64))
    return Column("x", "category", codes=np.array(values, np.int64), texts=("a", "b", "c", "d", "e"))


def binned(column: Column, most: int = 4, least: int = 1) -> Bins | None:
    try:
        return make_bins(column, np.ones(len(column), np.bool_), most, least)
    except InputError:
        return None


def test_quantiles_of_many_values() -> None:
    column = column_of([float(i) for i in range(100)], "number")
    bins = make_bins(column, np.ones(100, np.bool_), 4)
    assert bins.edges.tolist() == [24.0, 49.0, 74.0]
    assert np.bincount(bins.encode(column)).tolist() == [25, 25, 25, 25]
    assert not bins.missing


def test_few_values_have_a_bin_each_and_missing_ones_their_own() -> None:
    column = column_of([3.0, 1.0, NAN, 1.0], "number")
    bins = make_bins(column, np.ones(4, np.bool_), 4)
    assert bins.edges.tolist() == [1.0]
    assert bins.encode(column).tolist() == [1, 0, 2, 0]
    assert bins.missing


def test_bins_are_made_of_training_rows_alone() -> None:
    column = column_of([0.0, 1.0, 5.0, NAN], "number")
    bins = make_bins(column, np.array([True, True, False, False]), 4)
    assert bins.edges.tolist() == [0.0]
    assert not bins.missing
    assert bins.encode(column).tolist() == [0, 1, 1, 2]


@given(values=numbers, most=st.integers(2, 6), least=st.integers(1, 5))
@settings(deadline=None)
def test_no_bin_of_numbers_has_fewer_rows_than_agreed(values: list[float], most: int, least: int) -> None:
    column = column_of(values, "number")
    bins = binned(column, most, least)
    if bins is None or len(bins.edges) == 0:
        return
    rows = np.bincount(bins.encode(column), minlength=bins.count)
    assert bins.values <= most
    assert rows[: bins.values].min() >= least


@given(values=categories, most=st.integers(2, 6), least=st.integers(1, 5))
@settings(deadline=None)
def test_rare_categories_share_a_bin(values: list[int], most: int, least: int) -> None:
    column = column_of(values, "category")
    bins = binned(column, most, least)
    if bins is None:
        return
    assert len(bins.categories) < most
    rows = {text: values.count(code) for code, text in enumerate(column.texts)}
    assert all(rows[text] >= least for text in bins.categories)
    others = sorted(set(column.texts) - set(bins.categories), key=lambda text: (-rows[text], text))
    assert not bins.categories or not others or len(bins.categories) == most - 1 or rows[others[0]] < max(least, 1)


def test_categories_not_seen_in_training_are_others() -> None:
    trained = Column("x", "category", codes=np.array([0, 0, 1]), texts=("a", "b"))
    bins = make_bins(trained, np.ones(3, np.bool_), 8)
    later = Column("x", "category", codes=np.array([0, 1, -1]), texts=("new", "b"))
    assert bins.encode(later).tolist() == [2, 1, 3]


@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0], [NAN, NAN]])
def test_a_column_of_one_value_is_refused_by_name(values: list[float]) -> None:
    column = Column("income", "number", np.array(values))
    with pytest.raises(InputError, match="column 'income' has the same value"):
        make_bins(column, np.ones(len(values), np.bool_), 4)


@pytest.mark.parametrize("codes", [[2, 2, 2], [-1, -1]])
def test_a_column_of_one_category_is_refused_by_name(codes: list[int]) -> None:
    with pytest.raises(InputError, match="column 'x' has the same value"):
        make_bins(column_of(codes, "category"), np.ones(len(codes), np.bool_), 4)


@given(number=numbers, category=categories, most=st.integers(2, 6), data=st.data())
@settings(deadline=None)
def test_left_sums_rules_and_bins_agree_with_each_other(
    number: list[float], category: list[int], most: int, data: Any
) -> None:
    rows = min(len(number), len(category))
    columns = [column_of(number[:rows], "number"), column_of(category[:rows], "category")]
    pairs = [(column, bins) for column in columns if (bins := binned(column, most)) is not None]
    if not pairs:
        return
    bins = [each for _, each in pairs]
    layout = layout_of(bins)
    assert len(layout.splits) == sum(len(splits_of(each)) for each in bins)
    values = np.array(data.draw(st.lists(st.integers(-9, 9), min_size=rows, max_size=rows)))
    cells = np.zeros(layout.width * len(bins), np.int64)
    for feature, (column, each) in enumerate(pairs):
        np.add.at(cells, feature * layout.width + each.encode(column).astype(np.int64), values)
    left = layout.left_sums(cells, np.add, lambda a, index: a[index], np.concatenate)
    rules = rules_of([(0, split) for split in layout.splits], bins)
    decided = rules.decide([column for column, _ in pairs], slice(None))
    for index, split in enumerate(layout.splits):
        column, each = pairs[split.feature]
        goes = goes_left(split, each, each.encode(column))
        assert goes.tolist() == decided[index].tolist()
        assert left[index] == values[goes].sum()
