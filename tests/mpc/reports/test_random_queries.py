"""Random reports over the credit data and TPC-H-like orders, with either party as the asker and at every level."""

from functools import cache
from typing import Any

import pytest
from random_queries import Query, Schema, credit, orders, random_query
from report_oracle import pooled, same

from mpc.local import run_job
from mpc.reports.query import report_job

SEEDS = 40


@cache
def schemas() -> dict[str, Schema]:
    return {"credit": credit(), "orders": orders()}


def query(name: str, seed: int) -> Query:
    return random_query(schemas()[name], seed)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("name", ["credit", "orders"])
def test_a_report_and_its_suppressed_groups_are_those_of_the_pooled_data(name: str, seed: int) -> None:
    schema, asked = schemas()[name], query(name, seed)
    receiver = list(schema.tables)[seed % 2]
    job = report_job(
        asked.sql,
        receivers=(receiver,),
        columns=asked.columns,
        asker=asked.asker,
        join=asked.join,  # type: ignore[arg-type]
        minimum_group=asked.minimum_group,
    )
    table = run_job(job, schema.tables)[receiver].table
    assert table is not None
    rows: list[tuple[Any, ...]] = [tuple(row.values()) for row in table.to_pylist()]
    truth = pooled(asked.sql, schema.tables, minimum_group=asked.minimum_group)
    assert same([row[:-1] for row in rows if not row[-1]], truth, ordered=asked.ordered), asked
    released = {row[: asked.group_count] for row in truth}
    hidden = [row for row in rows if row[-1]]
    assert {row[: asked.group_count] for row in hidden} == set(asked.universe) - released
    assert len(rows) == len(asked.universe)
    assert all(value is None for row in hidden for value in row[asked.group_count : -1])


def test_the_queries_cover_the_grammar_both_askers_and_every_level() -> None:
    made = [query(name, seed) for name in schemas() for seed in range(SEEDS)]
    assert {each.join for each in made} == {"J0", "J1", "J2", "J3"}
    assert {each.asker for each in made} == {"hk", "cn", "bank", "shop"}
    text = " ".join(each.sql for each in made)
    for words in (
        "HAVING", "ORDER BY", "LIMIT", "ASC", "DESC", "QUANTILE_DISC", "QUANTILE_CONT", "MEDIAN", "VAR_SAMP", "VAR_POP",
        "STDDEV_SAMP", "STDDEV_POP", "MIN", "MAX", "AVG", "SUM", "COUNT(DISTINCT", "width_bucket", "BETWEEN", "IN (",
        "NOT", "OR", "IS NOT NULL", "DATE", "hk.LIMIT_BAL <", "*",
    ):  # fmt: skip
        assert words in text, words
