"""Noise: as large as it must be for a person of the declared rows and bounds, on every figure, and never elsewhere."""

import math
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import InputError
from mpc.local import run_job
from mpc.registry import get
from mpc.reports import noise
from mpc.reports.compiling import compile_sql
from mpc.reports.limbs import limb_count, limb_most
from mpc.reports.params import Params
from mpc.reports.query import report_job

FROM = " FROM hk.cards JOIN cn.accounts USING (doc)"
BALANCES = {"cn.balance": {"lower": "-1.00", "upper": "5.00"}}
SUMS = "SELECT COUNT(*) AS n, SUM(cn.balance) AS s, AVG(cn.balance) AS a" + FROM


def params(sql: str, epsilon: str = "1", rows: Mapping[str, int] | None = None, **columns: Any) -> Params:
    job = report_job(
        sql, receivers=("hk",), columns=columns, join="J3", noise={"epsilon": epsilon, "rows_of_person": rows or {}}
    )
    return get("report.sql").parse(job)


def shares(sql: str, epsilon: str = "1", rows: Mapping[str, int] | None = None, **columns: Any) -> noise.Shares:
    made = params(sql, epsilon, rows, **columns)
    assert made.noise is not None
    return noise.Shares(compile_sql(sql), made, made.noise)


def variance(scale: float) -> float:
    """Of discrete Laplace noise."""
    q = math.exp(-1 / scale)
    return 2 * q / (1 - q) ** 2


@pytest.mark.parametrize("scale", [Fraction(1, 2), Fraction(7, 2), Fraction(1000), Fraction(2**40)])
def test_noise_is_discrete_laplace_of_its_scale(scale: Fraction) -> None:
    drawn = noise.sample(scale, 40_000).astype(float)
    spread = variance(float(scale))
    assert abs(drawn.mean()) < 7 * math.sqrt(spread / len(drawn))
    # The fourth moment is at most 6 times the squared variance, plus the variance where the scale is small.
    error = math.sqrt((5 * spread**2 + spread) / len(drawn))
    assert abs(drawn.var() - spread) < 7 * error
    for steps in (1, 2, 3) if scale >= 1000 else ():
        tail = math.exp(-steps)
        found = (np.abs(drawn) > steps * float(scale)).mean()
        assert abs(found - tail) < 7 * math.sqrt(tail / len(drawn)) + 1 / float(scale)


def test_noise_that_would_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="would not fit 64 bits"):
        noise.sample(Fraction(2**57), 1)


def test_a_person_with_one_row_on_both_sides_is_one_row_of_the_largest_value_exchanged_for_another() -> None:
    found = shares(SUMS, "0.5", **BALANCES)
    assert not found.people
    assert found.epsilon == Fraction(1, 6)  # for COUNT(*), the balances that are not NULL, and their sum
    assert found.scale(1) == 12
    assert found.scale(500) == 6000
    assert found.scale(500, limbs=2) == 12_000


def test_a_person_with_more_rows_is_all_pairs_of_them() -> None:
    sql = "SELECT hk.product, COUNT(*) AS n" + FROM + " GROUP BY hk.product"
    found = shares(sql, "1", {"hk": 4, "cn": 3}, **{"hk.product": {"values": ["a", "b"]}})
    assert found.people
    assert found.scale(1) == 2 * 12 * 2
    assert found.people_scale() == 2 * 2 * 2  # hk's rows are in two groups at most, cn's in one


@given(st.integers(1, 2**40), st.integers(1, 30), st.integers(-(2**40), 2**40))
def test_no_limb_of_a_value_is_larger_than_its_part_of_the_sensitivity(largest: int, bits: int, drawn: int) -> None:
    value = max(-largest, min(largest, drawn))
    count = limb_count(largest, bits)
    for index in range(count):
        limb = value >> (bits * index)
        limb = limb if index == count - 1 else limb & ((1 << bits) - 1)
        assert abs(limb) <= limb_most(largest, bits, index)


def tables(groups: int, size: int) -> dict[str, pa.Table]:
    """So many groups with so many people each, one row a person, each of balance 2.00."""
    people = np.arange(groups * size)
    return {
        "hk": pa.table({"doc": people, "branch": people % groups}),
        "cn": pa.table({"doc": people, "balance": pa.array([Decimal("2.00")] * len(people), pa.decimal128(9, 2))}),
    }


def test_every_figure_of_a_report_has_the_noise_of_both_parties() -> None:
    groups, size = 900, 35  # with 25 people the noise alone would suppress a group in one of 10^7 runs
    sql = "SELECT hk.branch, COUNT(*) AS n, SUM(cn.balance) AS s" + FROM + " GROUP BY hk.branch"
    job = report_job(
        sql,
        receivers=("hk",),
        columns={"hk.branch": {"values": list(range(groups))}, **BALANCES},
        join="J3",
        minimum_group=1,
        noise={"epsilon": "6"},
    )
    table = run_job(job, tables(groups, size))["hk"].table
    assert table is not None
    shown = table.filter(pc.invert(table["suppressed"]))
    assert shown.num_rows == groups
    counts = np.array(shown["n"].to_pylist(), float) - size
    sums = np.array([float(value) * 100 for value in shown["s"].to_pylist()]) - 200 * size
    for found, scale in ((counts, 1.0), (sums, 500.0)):
        spread = 2 * variance(scale)
        assert 0.6 * spread < found.var() < 1.8 * spread  # one party's alone would be half
        assert abs(found.mean()) < 0.7 * math.sqrt(spread)
    assert noise.deviations(compile_sql(sql), get("report.sql").parse(job))["n"] == 2.0


def test_figures_are_the_true_ones_where_the_noise_is_nothing() -> None:
    """With noise that OpenDP draws as 0 a report is that without noise, from the first sum to the last figure."""
    sql = (
        "SELECT hk.branch, COUNT(*) AS n, COUNT(DISTINCT doc) AS p, SUM(cn.balance) AS s, VAR_SAMP(cn.balance) AS v"
        + FROM
        + " WHERE cn.balance > 1 AND hk.branch < 3 GROUP BY hk.branch HAVING COUNT(*) >= 2 ORDER BY n DESC, 1 LIMIT 2"
    )
    more: dict[str, Any] = {
        "receivers": ("hk",),
        "columns": {"hk.branch": {"values": [0, 1, 2, 3]}, **BALANCES},
        "join": "J3",
        "minimum_group": 2,
    }
    random = np.random.default_rng(7)
    balances = [Decimal(int(value)) / 100 for value in random.integers(-100, 500, 60)]
    data = {
        "hk": pa.table({"doc": np.arange(40) // 2, "branch": random.integers(0, 4, 40)}),
        "cn": pa.table({"doc": random.integers(0, 25, 60), "balance": pa.array(balances, pa.decimal128(9, 2))}),
    }
    rows = {"hk": 2, "cn": 60}
    exact = run_job(report_job(sql, **more), data)["hk"].table
    with patch.object(noise, "sample", lambda _scale, count: np.zeros(count, np.int64)):
        noisy = run_job(report_job(sql, **more, noise={"epsilon": "1", "rows_of_person": rows}), data)["hk"].table
    assert exact is not None
    assert noisy == exact
    assert not all(exact["suppressed"].to_pylist())


def test_rows_that_a_condition_of_a_third_party_leaves_out_do_not_count() -> None:
    """Their keys are among the common ones all the same, so that nobody learns how many they are."""
    sql = "SELECT COUNT(*) AS n, SUM(cn.balance) AS s" + FROM + " JOIN sg.clients USING (doc) WHERE sg.age < 15"
    data = tables(1, 20) | {"sg": pa.table({"doc": np.arange(20), "age": np.arange(20)})}
    more: dict[str, Any] = {"receivers": ("hk",), "columns": BALANCES, "join": "J3", "minimum_group": 2}
    exact = run_job(report_job(sql, **more), data)["hk"].table
    with patch.object(noise, "sample", lambda _scale, count: np.zeros(count, np.int64)):
        noisy = run_job(report_job(sql, **more, noise={"epsilon": "1"}), data)["hk"].table
    assert noisy == exact
    assert exact is not None
    assert exact["n"].to_pylist()[0] == 15


@pytest.mark.parametrize("parties", [3, 4])
def test_each_of_several_parties_adds_noise_of_its_own(parties: int) -> None:
    names = ["hk", "cn", "sg", "uk"][:parties]
    people = np.arange(30)
    data = {name: pa.table({"doc": people + index}) for index, name in enumerate(names)}
    sql = "SELECT COUNT(*) AS n FROM hk.t" + "".join(f" JOIN {name}.t USING (doc)" for name in names[1:])
    job = report_job(sql, receivers=("cn",), join="J3", minimum_group=1, noise={"epsilon": "1"})
    drawn: list[int] = []

    def one(_scale: Fraction, count: int) -> Any:
        drawn.append(count)
        return np.ones(count, np.int64)

    with patch.object(noise, "sample", one):
        table = run_job(job, data)["cn"].table
    assert table is not None
    assert table["n"].to_pylist() == [30 - (parties - 1) + parties]
    assert drawn == [1] * parties


def test_how_many_people_meet_a_condition_is_not_told_by_sizes() -> None:
    sql = "SELECT COUNT(*) AS n" + FROM + " WHERE cn.balance < 0"
    job = report_job(sql, receivers=("hk",), join="J3", noise={"epsilon": "1"})
    outcomes = run_job(job, tables(1, 50))
    assert outcomes["hk"].facts["keys_cn"] == 50
    assert outcomes["cn"].facts["counted_rows"] == 0  # at home alone


def test_a_person_with_more_rows_than_declared_is_refused_by_its_party() -> None:
    job = report_job(SUMS, receivers=("hk",), columns=BALANCES, join="J3", noise={"epsilon": "1"})
    data = tables(1, 20)
    with pytest.raises(InputError, match="a person has more rows than the 1 that were declared for cn"):
        run_job(job, data | {"cn": pa.concat_tables([data["cn"], data["cn"].slice(0, 1)])})


@pytest.mark.parametrize(
    ("sql", "more", "message"),
    [
        (SUMS, {"join": "J1"}, "at J1 the join itself tells who is common"),
        (SUMS, {"join": "J0"}, "at J0 the join itself tells who is common"),
        ("SELECT cn.city, COUNT(*)" + FROM + " GROUP BY 1", {}, "column cn.city is grouped by and its values"),
        (
            "SELECT MEDIAN(hk.age)" + FROM,
            {"columns": {"hk.age": {"lower": "0", "upper": "9"}}},
            "shows somebody's value",
        ),
        (SUMS, {"noise": {"epsilon": "0"}}, "more than 0 and at most 100"),
        (SUMS, {"noise": {"epsilon": "100.1"}}, "more than 0 and at most 100"),
        (SUMS, {"noise": {"epsilon": "0.0000001"}}, "epsilon"),
        (SUMS, {"noise": {"epsilon": "-1"}}, "epsilon"),
        (SUMS, {"noise": {"epsilon": "1", "rows_of_person": {"sg": 2}}}, "declared for sg, which has no table"),
        (SUMS, {"noise": {"epsilon": "1", "rows_of_person": {"hk": 0}}}, "rows_of_person"),
    ],
)
def test_a_report_that_noise_would_not_protect_is_refused(sql: str, more: dict[str, Any], message: str) -> None:
    wanted: dict[str, Any] = {"join": "J3", "noise": {"epsilon": "1"}, "columns": {}}
    if sql is SUMS:
        wanted["columns"] = BALANCES
    with pytest.raises(InputError, match=message):
        report_job(sql, receivers=("hk",), **{**wanted, **more})


def test_without_opendp_the_extra_is_named() -> None:
    with (
        patch.object(noise.importlib.util, "find_spec", return_value=None),
        pytest.raises(InputError, match="not installed here") as refused,
    ):
        params(SUMS, **BALANCES)
    assert "node.txt" in refused.value.hint
