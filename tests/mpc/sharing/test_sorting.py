from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import InputError
from mpc.sharing.aggregates import histogram, moments, quantiles
from mpc.sharing.grouping import group_by, group_sums, one_hot
from mpc.sharing.network import exchanges
from mpc.sharing.sorting import sort_by, top_k
from tests.mpc.sharing.programs import SETTINGS, agreed, run, secret, secret_bits

KEYS = st.lists(st.integers(-20, 20), min_size=1, max_size=40)


@pytest.mark.parametrize("setting", SETTINGS)
@given(keys=KEYS)
@settings(max_examples=4)
def test_rows_come_in_the_order_of_their_keys(setting, keys):
    x = np.array(keys)
    rows = np.stack([3 * x + 1, np.arange(len(x))], axis=1)

    def program(engine):
        found = sort_by(engine, secret(engine, "hk", x, -20, 20), secret(engine, "cn", rows, -100, 100))
        largest = top_k(engine, secret(engine, "hk", x, -20, 20), secret(engine, "cn", rows, -100, 100), 3)
        return [engine.open(part) for part in (*found, *largest)]

    sorted_keys, sorted_rows, top_keys, top_rows = agreed(setting, program)
    assert np.array_equal(sorted_keys, np.sort(x))
    assert np.array_equal(sorted_rows[:, 0], 3 * sorted_keys + 1)
    assert sorted(sorted_rows[:, 1]) == list(range(len(x)))
    assert np.array_equal(top_keys, np.sort(x)[::-1][:3])
    assert np.array_equal(top_rows[:, 0], 3 * top_keys + 1)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_shuffle_keeps_rows_whole_and_gives_another_order_each_time(setting):
    rows = np.arange(3 * 50).reshape(50, 3)

    def program(engine):
        x = secret(engine, "hk", rows, 0, 150)
        return [engine.open(engine.shuffle(x)), engine.open(engine.shuffle(x))]

    first, second = agreed(setting, program)
    for found in (first, second):
        assert np.array_equal(found[np.argsort(found[:, 0])], rows)
    assert len({rows.tobytes(), first.tobytes(), second.tobytes()}) == 3


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_order_of_a_shuffle_is_as_likely(setting):
    """Of 360 shuffles of three rows each of 6 orders comes between 15 and 120 times, but with probability 10^-12."""

    def program(engine):
        x = secret(engine, "hk", [[0], [1], [2]], 0, 2)
        return [np.stack([engine.open(engine.shuffle(x))[:, 0] for _ in range(360)])]

    _, counts = np.unique(agreed(setting, program)[0] @ [9, 3, 1], return_counts=True)
    assert len(counts) == 6
    assert counts.min() >= 15
    assert counts.max() <= 120


@pytest.mark.parametrize("setting", SETTINGS)
@given(keys=KEYS)
@settings(max_examples=3)
def test_groups_of_secret_keys_are_those_of_numpy(setting, keys):
    x = np.array(keys)
    rows = np.stack([x * x, np.arange(len(x)) - 3], axis=1)

    def program(engine):
        k, v = secret(engine, "hk", x, -20, 20), secret(engine, "cn", rows, -50, 400)
        groups = group_by(engine, k, v)
        found = (groups.keys, groups.counts, groups.sums, group_sums(engine, k, 5, v), one_hot(k, 3))
        return [engine.open(part) for part in found]

    got_keys, got_counts, got_sums, by_number, hot = agreed(setting, program)
    want_keys, want_counts = np.unique(x, return_counts=True)
    assert np.array_equal(got_keys, want_keys)
    assert np.array_equal(got_counts, want_counts)
    assert np.array_equal(got_sums, [rows[x == key].sum(axis=0) for key in want_keys])
    assert np.array_equal(by_number, [rows[x == key].sum(axis=0) for key in range(5)])
    assert np.array_equal(hot, x[:, None] == np.arange(3))


@pytest.mark.parametrize("setting", SETTINGS)
@given(values=st.lists(st.tuples(st.integers(-20, 20), st.booleans()), min_size=1, max_size=30))
@settings(max_examples=3)
def test_statistics_are_those_of_numpy(setting, values):
    x, flags = np.array([v for v, _ in values]), np.array([f for _, f in values])
    edges, fractions = [-20, -5, 0, 3, 20], [0, 0.25, 0.5, 0.9, 1]

    def program(engine):
        a, b = secret(engine, "hk", x, -20, 20, decimals=1), secret_bits(engine, "cn", flags)
        some, every = moments(a, b), moments(a)
        return [
            engine.open(histogram(a, edges)),
            engine.open(histogram(a, edges, b)),
            engine.open(quantiles(engine, a, fractions)),
            np.array([every.open_mean(), every.open_variance()]),
            np.array([some.open_mean(), some.open_variance()]),
        ]

    counts, flagged, found, whole, some = agreed(setting, program)

    def count(numbers):
        return [((numbers >= low) & (numbers < high)).sum() for low, high in pairwise(edges)]

    assert np.array_equal(counts, count(x))
    assert np.array_equal(flagged, count(x[flags]))
    assert np.array_equal(found, np.quantile(x, fractions, method="inverted_cdf"))
    assert np.allclose(whole, [x.mean() / 10, x.var() / 100])
    if flags.any():
        assert np.allclose(some, [x[flags].mean() / 10, x[flags].var() / 100])
    else:
        assert np.isnan(some).all()


@given(values=st.lists(st.integers(0, 5), max_size=70))
def test_the_network_of_exchanges_sorts(values):
    x = np.array(values, np.int64)
    for first, second in exchanges(len(x)):
        x[first], x[second] = np.minimum(x[first], x[second]), np.maximum(x[first], x[second])
    assert np.array_equal(x, np.sort(values))


def test_what_cannot_be_sorted_is_refused():
    def program(engine):
        keys, rows = secret(engine, "hk", [1, 2, 3], 0, 2**62), secret(engine, "cn", [[1], [2], [3]], 0, 9)
        with pytest.raises(InputError, match="64-bit"):
            sort_by(engine, keys, rows)
        with pytest.raises(InputError, match=r"not \(3,\) and \(2, 1\)"):
            sort_by(engine, keys, rows[:2])
        with pytest.raises(InputError, match=r"not \(3,\) and \(3,\)"):
            group_sums(engine, keys, 2, rows[:, 0])
        with pytest.raises(InputError, match="ascending edges"):
            histogram(keys, [3, 1])
        with pytest.raises(InputError, match="fractions"):
            quantiles(engine, keys, [1.5])

    run("helper", program)
