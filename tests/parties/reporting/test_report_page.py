"""A report's page: all of its groups, a chart a figure, nothing that loads or runs, and every text escaped."""

from decimal import Decimal

import pyarrow as pa
import pytest

from mpc.job import Job
from mpc.reports.query import report_job, union_job
from parties.reporting.report import html_page

FACTS = {"Parties": "hk, cn", "Purpose": "<b>wealth</b>"}


def job() -> Job:
    return report_job(
        "SELECT hk.product, cn.tier, COUNT(*) AS n, SUM(cn.balance) AS total FROM hk.cards JOIN cn.accounts USING (doc)"
        " WHERE hk.name <> '<script>' GROUP BY 1, 2",
        receivers=("hk",),
        columns={"cn.balance": {"lower": "0.00", "upper": "9.00"}, "cn.tier": {"values": [1, 2]}},
    )


TABLE = pa.table(
    {
        "product": ["cards", "<i>$x</i>", "loans"],
        "tier": [1, 2, 1],
        "n": [1200, 11, None],
        "total": pa.array([Decimal("1234567.25"), None, None], pa.decimal128(38, 2)),
        "suppressed": [False, False, True],
    }
)


def test_a_page_shows_groups_figures_and_what_is_suppressed() -> None:
    page = html_page(job(), TABLE, title="Wealth", facts=FACTS)
    for words in ("1,234,567.25", '<td class="number">1,200</td>', "NULL", "fewer than 10 different people"):
        assert words in page
    assert page.count("<svg") == 2  # of n and total; product and tier say which group it is
    assert page.count('<tr class="suppressed">') == 1
    assert page.split('<tr class="suppressed">')[1].count(">suppressed<") == 2
    assert page == html_page(job(), TABLE, title="Wealth", facts=FACTS)


def test_a_report_on_a_union_has_a_page_too() -> None:
    rows = " UNION ALL ".join(f"SELECT product, balance FROM {name}.cards" for name in ("hk", "cn"))
    made = union_job(
        f"SELECT product, COUNT(*) AS n, SUM(balance) AS total FROM ({rows}) AS u GROUP BY product",
        receivers=("hk",),
        people={"hk": ("doc",), "cn": ("doc",)},
        columns={"u.balance": {"lower": "0.00", "upper": "9.00"}, "u.product": {"values": ["cards", "loans"]}},
    )
    page = html_page(made, TABLE.drop_columns(["tier"]), title="Market", facts=FACTS)
    assert page.count("<svg") == 2
    assert "at one party, less any one receiver" in page


def test_a_page_escapes_every_text_and_loads_nothing() -> None:
    page = html_page(job(), TABLE, title="<img>", facts=FACTS)
    for raw in ("<script", "<b>wealth", "<i>$x", "<img>", "src=", 'http-equiv="refresh'):
        assert raw not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


@pytest.mark.parametrize("rows", [0, 1])
def test_a_report_of_one_group_has_no_chart(rows: int) -> None:
    assert "<svg" not in html_page(job(), TABLE.slice(0, rows), title="Wealth", facts=FACTS)
