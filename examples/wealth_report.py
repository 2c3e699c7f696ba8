"""The demonstration's joint report: what customers of both banks own, per product and region, across the border.

Amounts are the source's credit limits, taken for what is invested; products and regions are made up from row numbers.
"""

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

import pyarrow as pa

from examples.customers import Customer, Institutions, cn_bank_table, hk_bank_table
from examples.showing import Demo, agree, run
from mpc.reports.query import report_job

PRODUCTS = ("bonds", "deposits", "funds", "gold")
REGIONS = ("Guangdong", "Shanghai", "Zhejiang")
SMALLEST_GROUP = 20
SQL = (
    "SELECT hk.product, cn.region, COUNT(*) AS customers, SUM(hk.invested + cn.balance) AS wealth, "
    "AVG(cn.balance) AS mean_balance "
    'FROM "hk-bank".holdings AS hk JOIN "cn-bank".balances AS cn '
    "ON hk.id_document = cn.certificate AND hk.birth_year = cn.born "
    "GROUP BY hk.product, cn.region ORDER BY wealth DESC"
)


def product(customer: Customer) -> str:
    """What a customer of hk-bank holds; few hold gold."""
    return PRODUCTS[3 if customer.number % 50 == 0 else customer.number % 3]


def region(customer: Customer) -> str:
    """Where a customer of cn-bank lives."""
    return REGIONS[customer.number // 7 % 3]


def balance(customer: Customer) -> Decimal:
    """What a customer has at cn-bank."""
    return Decimal(customer.limit * 37 % 100_003) / 4


def wealth_report(demo: Demo) -> None:
    """Per product and region, beside the true answer."""
    demo.step(
        "3. A joint report in SQL across the border",
        "What do customers of both banks own, per product in Hong Kong and region on the mainland? hk-bank receives\n"
        "the report; balances stay secret-shared. cn-bank does not learn which of its customers are in it.",
    )
    register(demo)
    job = report_job(
        SQL,
        receivers=("hk-bank",),
        columns={
            "hk-bank.product": {"values": PRODUCTS},
            "cn-bank.region": {"values": REGIONS},
            "hk-bank.invested": {"lower": "0", "upper": "1000000"},
            "cn-bank.balance": {"lower": "0.00", "upper": "100000.00"},
        },
        minimum_group=SMALLEST_GROUP,
        normalisation=("national_id/1", "integer/1"),
        purpose="cross-border wealth report",
    )
    agree(demo, job)
    report = run(demo, job)["hk-bank"].to_pylist()
    expected = truth(demo.who)
    rows = []
    for row in report:
        cell = row["product"], row["region"]
        count, wealth, mean = expected.get(cell, (0, Decimal(0), 0.0))
        if count < SMALLEST_GROUP:
            hidden = row["suppressed"] and row["customers"] is None and row["wealth"] is None
            rows.append((*cell, *["suppressed"] * 3, demo.check(f"report {cell}", hidden, True)))
            continue
        learned = row["customers"], row["wealth"], row["mean_balance"]
        mark = demo.check(f"report {cell}", learned, (count, wealth, mean))
        rows.append((*cell, f"{learned[0]:,}", f"{learned[1]:,}", f"{learned[2]:,.2f}", mark))
    headers = ("Product", "Region", "Customers", "Wealth", "Mean balance", "")
    demo.table("What hk-bank learned", headers, rows, headers[2:5])


def register(demo: Demo) -> None:
    """What each bank has of its customers, in its own node."""
    hk = hk_bank_table(demo.who).select(["id_document", "birth_year"])
    hk = hk.append_column("product", pa.array([product(customer) for customer in demo.who.hk_bank]))
    hk = hk.append_column("invested", pa.array([customer.limit for customer in demo.who.hk_bank], pa.int64()))
    cn = cn_bank_table(demo.who).select(["certificate", "born"])
    cn = cn.append_column("region", pa.array([region(customer) for customer in demo.who.cn_bank]))
    balances = [balance(customer) for customer in demo.who.cn_bank]
    cn = cn.append_column("balance", pa.array(balances, pa.decimal128(12, 2)))
    demo.nodes["hk-bank"].add_dataset("holdings", hk, ["id_document", "birth_year"])
    demo.nodes["cn-bank"].add_dataset("balances", cn, ["certificate", "born"])


def truth(who: Institutions) -> dict[tuple[str, str], tuple[int, Decimal, float]]:
    """Customers, wealth and mean balance of each product and region in the pooled data."""
    cells: dict[tuple[str, str], list[Customer]] = defaultdict(list)
    for customer in who.hk_bank:
        if customer.number in who.common:
            cells[product(customer), region(customer)].append(customer)
    return {cell: _figures(customers) for cell, customers in cells.items()}


def _figures(customers: Sequence[Customer]) -> tuple[int, Decimal, float]:
    balances = sum((balance(customer) for customer in customers), Decimal(0))
    invested = sum(customer.limit for customer in customers)
    return len(customers), invested + balances, float(balances / len(customers))
