"""What a grant lets become of columns, and what a refused report would need."""

from dataclasses import replace
from typing import Any

import pytest

from mpc.errors import InputError
from mpc.registry import get
from mpc.reports.query import report_job
from parties import column_rules, policy
from parties.policy import Allowed, Grant, Refused, Request

ME, PEER = "a" * 64, "b" * 64
FROM = " FROM hk.cards JOIN cn.accounts USING (doc)"
BOUNDS = {"lower": "0", "upper": "9"}


def request(sql: str, minimum_group: int = 10, **columns: Any) -> Request:
    """What a report of cn's wants of hk."""
    spec = get("report.sql")
    declared = {name.replace("_", "."): value for name, value in columns.items()}
    job = report_job(sql, receivers=("cn",), columns=declared, minimum_group=minimum_group, purpose="wealth")
    params = spec.parse(job)
    assert spec.uses is not None
    uses = spec.uses(job, params, "hk")
    return Request(
        peers=(PEER,),
        names={PEER: "cn", ME: "hk"},
        protocol=job.protocol,
        dataset="cards",
        columns=tuple(uses),
        available=("doc", "age", "product", "limit"),
        purpose=job.purpose,
        receivers=(PEER,),
        minimum_result=minimum_group,
        uses=uses,
    )


def grant(*columns: str, min_result: int = 10) -> Grant:
    rules = dict(map(column_rules.parse, columns))
    return Grant(
        peer=PEER,
        protocol="report.sql",
        dataset="cards",
        columns=tuple(rules),
        purpose="wealth",
        receivers=(PEER,),
        min_result=min_result,
        rules={column: own for column, own in rules.items() if own},
        id="0123456789abcdef",
    )


COUNT = "SELECT COUNT(*) AS n" + FROM
REFUSALS = [
    (COUNT, {}, ("doc",), "has column doc as never; the job joins on it", "doc:join_key"),
    (
        COUNT + " WHERE hk.age > 30",
        {},
        ("doc:join_key", "age"),
        "has column age as never; the job has a condition on it",
        "age:filter_only",
    ),
    (
        "SELECT hk.age, COUNT(*) AS n" + FROM + " GROUP BY 1",
        {},
        ("doc:join_key", "age:filter_only"),
        "has column age as filter_only; the job groups by it",
        "age:group_key",
    ),
    (
        "SELECT SUM(hk.age) AS s" + FROM,
        {"hk_age": BOUNDS},
        ("doc:join_key", "age:group_key"),
        "has column age as group_key; the job sums or counts it",
        "age:aggregate_only",
    ),
    (
        "SELECT SUM(hk.age) AS s" + FROM + " WHERE hk.age > 3",
        {"hk_age": BOUNDS},
        ("doc:join_key", "age:aggregate_only"),
        "has column age as aggregate_only; the job has a condition on it",
        "age:filter_only+aggregate_only",
    ),
    (
        "SELECT MEDIAN(hk.age) AS m" + FROM,
        {"hk_age": BOUNDS},
        ("doc:join_key", "age:filter_only"),
        "has column age as filter_only; the job shows a minimum, maximum or quantile of it",
        "age:aggregate_only",
    ),
    (
        COUNT + " WHERE hk.age < cn.score",
        {"hk_age": BOUNDS, "cn_score": BOUNDS},
        ("doc:join_key", "age:aggregate_only"),
        "has column age as aggregate_only; the job has a condition on it",
        "age:filter_only",
    ),
]


@pytest.mark.parametrize(("sql", "columns", "granted", "reason", "needed"), REFUSALS, ids=range(len(REFUSALS)))
def test_a_refusal_says_which_rule_which_column_and_the_smallest_grant(
    sql: str, columns: dict[str, Any], granted: tuple[str, ...], reason: str, needed: str
) -> None:
    wanted = request(sql, **columns)
    decision = policy.decide(wanted, [grant(*granted)], 0.0)
    assert isinstance(decision, Refused)
    assert f"cn: grant 0123456789abcdef {reason}" in decision.reason
    assert f"--column {needed} " in decision.hint
    smallest = [replace(each, id="1" * 16) for each in decision.suggested]
    assert isinstance(policy.decide(wanted, smallest, 0.0), Allowed)


def test_an_extreme_of_a_group_of_one_person_needs_an_open_column() -> None:
    wanted = request("SELECT MAX(hk.age) AS m" + FROM, 1, hk_age=BOUNDS)
    decision = policy.decide(wanted, [grant("doc:join_key", "age:aggregate_only", min_result=0)], 0.0)
    assert isinstance(decision, Refused)
    assert "for groups of one person" in decision.reason
    assert "--column age:open" in decision.hint
    assert isinstance(policy.decide(wanted, [grant("doc:join_key", "age:open", min_result=0)], 0.0), Allowed)


def test_an_extreme_of_groups_of_two_needs_no_more_than_a_sum() -> None:
    wanted = request("SELECT MAX(hk.age) AS m" + FROM, 2, hk_age=BOUNDS)
    assert isinstance(policy.decide(wanted, [grant("doc:join_key", "age:aggregate_only", min_result=0)], 0.0), Allowed)


def test_no_rule_is_suggested_that_another_one_contains() -> None:
    assert column_rules.smallest({"age": frozenset({"group", "filter"})}, 10) == {"age": ("group_key",)}


def test_a_smaller_minimum_group_than_granted_is_refused() -> None:
    decision = policy.decide(request(COUNT, 5), [grant("doc:join_key")], 0.0)
    assert isinstance(decision, Refused)
    assert "demands a minimum result of 10 or more; the job's is 5" in decision.reason


def test_any_column_is_no_rule_for_a_report() -> None:
    decision = policy.decide(request(COUNT), [replace(grant("doc"), columns=("*",))], 0.0)
    assert isinstance(decision, Refused)


def test_rules_do_not_matter_where_nothing_is_said_of_uses() -> None:
    wanted = replace(request(COUNT), uses={})
    assert isinstance(policy.decide(wanted, [grant("doc")], 0.0), Allowed)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("age", ("age", ())),
        ("age:group_key", ("age", ("group_key",))),
        ("a:b:aggregate_only+filter_only", ("a:b", ("filter_only", "aggregate_only"))),
        ("time:of day", ("time:of day", ())),
        ("age:group_key+wrong", ("age:group_key+wrong", ())),
        (":open", (":open", ())),
    ],
)
def test_rules_are_written_behind_a_column(text: str, parsed: tuple[str, tuple[str, ...]]) -> None:
    assert column_rules.parse(text) == parsed
    assert column_rules.parse(column_rules.write(*column_rules.parse(text))) == parsed


def test_a_grant_has_rules_only_for_its_columns() -> None:
    with pytest.raises(InputError, match="rules for columns that it does not name"):
        replace(grant("doc:join_key"), columns=("age",))
