"""From text to plan: one plan for all parties, and a sentence for whatever a report cannot be."""

import pytest

from mpc.errors import InputError
from mpc.reports.compiling import compile_sql

FROM = " FROM hk.cards JOIN cn.accounts USING (doc)"
BASE = "SELECT hk.product, COUNT(*) AS n, SUM(cn.balance * hk.rate) AS total" + FROM


def test_a_plan_knows_which_columns_each_party_brings_and_for_what() -> None:
    plan = compile_sql(
        "SELECT hk.product, COUNT(cn.city), SUM(cn.balance * hk.rate), MAX(cn.score)" + FROM + " WHERE hk.age > 30 AND "
        "cn.city IN ('Macau') AND hk.rate < cn.balance GROUP BY hk.product, width_bucket(cn.score, 0, 10, 5)"
    )
    assert plan.columns("hk") == {"key": ("doc",), "group": ("product",), "value": ("rate",), "filter": ("age",)}
    assert plan.columns("cn") == {
        "key": ("doc",),
        "value": ("balance", "score"),
        "count": ("city",),
        "filter": ("city",),
    }


@pytest.mark.parametrize(
    "other",
    [
        "select hk.product,count(*) n,\n\tsum(hk.rate*cn.balance) as total from hk.cards inner join cn.accounts on "
        "hk.doc = cn.doc group by 1",
        'SELECT h.product, COUNT(*) AS n, SUM((c.balance * h.rate)) AS total FROM "hk"."cards" h JOIN cn.accounts AS c '
        "USING (doc) GROUP BY h.product",
    ],
)
def test_what_means_the_same_has_one_digest(other: str) -> None:
    assert compile_sql(other).digest == compile_sql(BASE + " GROUP BY hk.product").digest


@pytest.mark.parametrize(
    "change",
    [
        BASE + " WHERE hk.age > 3 GROUP BY hk.product",
        BASE + " GROUP BY hk.product HAVING COUNT(*) >= 11",
        BASE.replace("hk.rate", "hk.age") + " GROUP BY hk.product",
        BASE.replace("cn.accounts", "cn.loans") + " GROUP BY hk.product",
        BASE + " GROUP BY hk.product ORDER BY n",
        BASE.replace("SUM", "AVG") + " GROUP BY hk.product",
    ],
)
def test_what_means_something_else_has_another_digest(change: str) -> None:
    assert compile_sql(change).digest != compile_sql(BASE + " GROUP BY hk.product").digest


def test_the_digest_is_the_same_in_every_release() -> None:
    digest = compile_sql(BASE + " WHERE cn.city = 'Macau' GROUP BY hk.product ORDER BY n DESC LIMIT 3").digest
    assert digest.hex() == "77b852761470309367bb7c5280cfb7321224c110d05002fb8492273c43b23b00"


def test_a_key_may_be_named_by_any_table_that_was_joined_before() -> None:
    three = "SELECT COUNT(*) FROM hk.cards JOIN cn.accounts ON hk.doc = cn.card AND hk.kind = cn.type "
    chained = compile_sql(three + "JOIN sg.clients ON hk.doc = sg.id AND cn.type = sg.sort")
    assert chained.tables[2].key == ("id", "sort")


REFUSED = {
    "SELECT *" + FROM: "selects STAR",
    "SELECT hk.product" + FROM + " GROUP BY 1": "selects no aggregate",
    "SELECT hk.product, COUNT(*)" + FROM: "selects hk.product as it is",
    "SELECT COUNT(*) FROM hk.cards": "joins no other party's table",
    "SELECT COUNT(*) FROM hk.cards, cn.accounts": "neither USING nor ON",
    "SELECT COUNT(*) FROM hk.cards JOIN hk.loans USING (doc)": "names the table or party",
    "SELECT COUNT(*) FROM cards JOIN accounts USING (doc)": "not written party.dataset",
    "SELECT COUNT(*) FROM hk.cards LEFT JOIN cn.accounts USING (doc)": "LEFT JOIN is not supported",
    "SELECT COUNT(*) FROM hk.cards FULL OUTER JOIN cn.accounts USING (doc)": "FULL OUTER JOIN is not supported",
    "SELECT COUNT(*) FROM hk.cards NATURAL JOIN cn.accounts": "NATURAL JOIN is not supported",
    "SELECT COUNT(*) FROM hk.cards CROSS JOIN cn.accounts": "CROSS JOIN is not supported",
    "SELECT COUNT(*) FROM hk.cards JOIN cn.accounts ON hk.doc > cn.doc": "something else than equal columns",
    "SELECT COUNT(*) FROM read_csv('/etc/passwd') JOIN cn.accounts USING (doc)": "not written party.dataset",
    "WITH x AS (SELECT 1) SELECT COUNT(*)" + FROM: "WITH is not supported",
    "SELECT DISTINCT COUNT(*)" + FROM: "SELECT DISTINCT is not supported",
    "SELECT COUNT(*)" + FROM + " UNION SELECT 1": "is not one SELECT",
    "SELECT COUNT(*)" + FROM + "; SELECT 1": "is not one SELECT",
    "DELETE FROM hk.cards": "is not one SELECT",
    "SELECT COUNT(*) OVER ()" + FROM: "selects WINDOW",
    "SELECT SUM(hk.age) FILTER (WHERE hk.age > 3)" + FROM: "selects FILTER",
    "SELECT SUM(DISTINCT hk.age)" + FROM: "DISTINCT within an aggregate",
    "SELECT SUM(CASE WHEN hk.age = 3 THEN hk.rate END)" + FROM: "CASE within an aggregate",
    "SELECT SUM(hk.age / 2)" + FROM: "DIV within an aggregate",
    "SELECT SUM(hk.age) / COUNT(*)" + FROM: "selects DIV",
    "SELECT STRING_AGG(hk.name)" + FROM: "neither a column nor an aggregate",
    "SELECT COUNT(DISTINCT hk.age)" + FROM: "something else than the join's key",
    "SELECT MAX(hk.age * cn.score)" + FROM: "of columns of several parties",
    "SELECT SUM(3)" + FROM: "of no column",
    "SELECT SUM(age)" + FROM: "column age names no table",
    "SELECT SUM(sg.age)" + FROM: "of a table that FROM does not name",
    "SELECT QUANTILE_DISC(hk.age, 2)" + FROM: "a number from 0 to 1",
    "SELECT width_bucket(hk.age, 9, 1, 3), COUNT(*)" + FROM + " GROUP BY 1": "width_bucket takes",
    "SELECT COUNT(*), COUNT(*)" + FROM: "two columns of the result",
    "SELECT COUNT(*)" + FROM + " WHERE hk.age IN (SELECT 1)": "IN with QUERY",
    "SELECT COUNT(*)" + FROM + " WHERE hk.name LIKE 'A%'": "a condition has LIKE",
    "SELECT COUNT(*)" + FROM + " WHERE hk.age + 1 > 3": "a condition is on ADD",
    "SELECT COUNT(*)" + FROM + " WHERE hk.age > 3 OR cn.score > 3": "joins columns of two parties by OR",
    "SELECT COUNT(*)" + FROM + " WHERE hk.since > DATE '2020-13-01'": "written YYYY-MM-DD",
    "SELECT COUNT(*)" + FROM + " WHERE hk.age > 12345678901234567890": "more than 18 digits",
    "SELECT COUNT(*)" + FROM + " WHERE 1 = 1": "columns of 0 parties",
    "SELECT COUNT(*)" + FROM + " HAVING SUM(hk.age) > 3": "HAVING is something else",
    "SELECT COUNT(*)" + FROM + " ORDER BY hk.age": "something that is not selected",
    "SELECT hk.product, COUNT(*)" + FROM + " GROUP BY 1 LIMIT 3": "LIMIT needs ORDER BY",
    "SELECT hk.product, AVG(hk.age)" + FROM + " GROUP BY 1 ORDER BY 2 LIMIT 3": "LIMIT needs ORDER BY",
    "SELECT COUNT(*)" + FROM + " GROUP BY ALL": "GROUP",
    "SELECT COUNT(*)" + FROM + " OFFSET 3": "OFFSET is not supported",
    "SELECT /* all of it */ COUNT(*)" + FROM: "has a comment",
    "SELECT COUNT(*)" + FROM + " -- harmless": "has a comment",
    "SELECT 'x": "cannot be parsed",
    "SELECT COUNT(*)" + FROM + " WHERE cn.city = '\u202exxx'": "a character that is not printed",
    "SELECT COUNT(*)\x00" + FROM: "a character that is not printed",
    "": "is not one SELECT",
}


@pytest.mark.parametrize(("sql", "sentence"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_a_report_cannot_be_is_refused_with_a_sentence(sql: str, sentence: str) -> None:
    with pytest.raises(InputError) as refusal:
        compile_sql(sql)
    assert sentence in str(refusal.value)
    assert refusal.value.hint


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT hk.doc, COUNT(*)" + FROM + " GROUP BY hk.doc",
        "SELECT COUNT(*)" + FROM + " WHERE hk.doc = 'P1'",
        "SELECT COUNT(*)" + FROM + " WHERE hk.age > 3 AND NOT hk.doc <> 'P1'",
        "SELECT SUM(cn.doc)" + FROM,
        "SELECT COUNT(cn.doc)" + FROM,
        "SELECT COUNT(*)" + FROM + " WHERE hk.doc < cn.score",
    ],
)
def test_a_key_is_joined_and_counted_and_nothing_else(sql: str) -> None:
    with pytest.raises(InputError, match=r"rule single_person, column (hk|cn)\.doc") as refusal:
        compile_sql(sql)
    assert "no grant allows that" in refusal.value.hint


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "(" * 2000 + "1",
        "SELECT SUM(" + "(" * 900 + "hk.age" + ")" * 900 + ")" + FROM,
        "SELECT SUM(" + "- " * 1500 + "hk.age)" + FROM,
        "SELECT SUM(" + " + ".join(["hk.age"] * 2000) + ")" + FROM,
        "SELECT COUNT(*)" + FROM + " WHERE " + " AND ".join(["hk.age > 3"] * 900),
        "SELECT COUNT(*)" + FROM + " WHERE NOT " + "NOT " * 1500 + "hk.age > 3",
        "SELECT SUM(" + "*".join(["(hk.age + cn.score)"] * 60) + ")" + FROM,
        "SELECT COUNT(*)" + FROM + " WHERE hk.age IN (" + ", ".join(map(str, range(900))) + ")",
        "x" * 20_000,
        "SELECT " + ", ".join(f"SUM(hk.a{i})" for i in range(100)) + FROM,
    ],
    ids=range(10),
)
def test_a_text_made_to_cost_much_is_refused_at_once(sql: str) -> None:
    with pytest.raises(InputError, match="the report's SQL"):
        compile_sql(sql)


@pytest.mark.parametrize("function", ["SUM", "VAR_POP"])
def test_a_product_has_so_many_columns_and_terms_at_most(function: str) -> None:
    factors = ["hk.age", "hk.income", "hk.debt", "cn.score"]
    plan = compile_sql(f"SELECT {function}({' * '.join(factors)}) AS x" + FROM)
    assert plan.aggregates[0].argument is not None
    assert plan.aggregates[0].argument.degree == len(factors)
    with pytest.raises(InputError, match="multiplies more than 4 columns"):
        compile_sql(f"SELECT {function}({' * '.join([*factors, 'hk.age'])}) AS x" + FROM)
    eight, more = (" + ".join(f"hk.a{i}" for i in range(count)) for count in (8, 9))
    others = " + ".join(f"cn.b{i}" for i in range(8))
    plan = compile_sql(f"SELECT {function}(({eight}) * ({others})) AS x" + FROM)
    assert plan.aggregates[0].argument is not None
    assert len(plan.aggregates[0].argument.terms) == 64
    with pytest.raises(InputError, match="more than 64 terms"):
        compile_sql(f"SELECT {function}(({more}) * ({others})) AS x" + FROM)


@pytest.mark.parametrize("sign", [" + ", " - "])
def test_a_long_sum_is_no_deep_one(sign: str) -> None:
    plan = compile_sql("SELECT SUM(" + sign.join(["hk.age"] * 300) + ") AS x" + FROM)
    (aggregate,) = plan.aggregates
    assert aggregate.argument is not None
    assert aggregate.argument.describe() == {"hk.age": "300" if "+" in sign else "-298"}


def test_no_literal_is_in_what_is_said_of_a_text() -> None:
    for sql in ("SELECT COUNT(*)" + FROM + " WHERE hk.name = 'A123456' + 1", "SELECT COUNT('A123456')" + FROM):
        with pytest.raises(InputError) as refusal:
            compile_sql(sql)
        assert "A123456" not in str(refusal.value) + refusal.value.hint
