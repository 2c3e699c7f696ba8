"""Reports over tables of the kind they are for: the credit data, and orders of customers in the manner of TPC-H."""

from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.csv
from report_oracle import pooled, same, shared

CREDIT = Path(__file__).parents[3] / "examples" / "data" / "uci_credit_card.csv"


def test_the_credit_data_of_two_banks_give_the_pooled_report() -> None:
    whole = pyarrow.csv.read_csv(CREDIT).slice(0, 4000)
    numbers = whole.set_column(1, "LIMIT_BAL", whole["LIMIT_BAL"].cast(pa.int64()))
    hk = numbers.slice(0, 2600).select(["ID", "LIMIT_BAL", "EDUCATION", "AGE"])
    cn = numbers.slice(1200).select(["ID", "SEX", "BILL_AMT1", "PAY_AMT1"])
    sql = (
        "SELECT hk.EDUCATION, cn.SEX, COUNT(*) AS n, SUM(cn.BILL_AMT1) AS bills, AVG(cn.PAY_AMT1) AS paid, "
        "STDDEV_SAMP(cn.BILL_AMT1) AS spread, SUM(hk.LIMIT_BAL - cn.BILL_AMT1) AS unused "
        "FROM hk.cards JOIN cn.bills USING (ID) WHERE hk.AGE BETWEEN 25 AND 60 AND cn.PAY_AMT1 > 0 "
        "GROUP BY 1, 2 ORDER BY n DESC, 1, 2"
    )
    bounds = {"lower": "-2000000", "upper": "2000000"}
    columns: dict[str, Any] = {
        "hk.EDUCATION": {"values": [0, 1, 2, 3, 4, 5, 6]},
        "cn.SEX": {"values": [1, 2]},
        "cn.BILL_AMT1": bounds,
        "cn.PAY_AMT1": bounds,
        "hk.LIMIT_BAL": bounds,
    }
    tables = {"hk": hk, "cn": cn}
    ours = shared(sql, tables, columns=columns, minimum_group=20)
    theirs = pooled(sql, tables, minimum_group=20)
    assert len(theirs) >= 6
    assert same(ours, theirs, ordered=True)


def test_orders_of_a_shop_by_segment_of_a_bank_give_the_pooled_report() -> None:
    random = Random(8)
    customers = pa.table(
        {
            "c_custkey": list(range(150)),
            "c_mktsegment": [random.choice(["BUILDING", "MACHINERY", "HOUSEHOLD"]) for _ in range(150)],
            "c_acctbal": pa.array([Decimal(random.randint(-99999, 999999)) / 100 for _ in range(150)]),
        }
    )
    orders = pa.table(
        {
            "o_custkey": [random.randint(0, 220) for _ in range(900)],
            "o_orderpriority": [random.choice(["1-URGENT", "3-MEDIUM", "5-LOW"]) for _ in range(900)],
            "o_totalprice": pa.array([Decimal(random.randint(90000, 50000000)) / 100 for _ in range(900)]),
            "o_orderdate": pa.array([random.randint(8000, 10400) for _ in range(900)], pa.int32()).cast(pa.date32()),
        }
    )
    sql = (
        "SELECT bank.c_mktsegment, shop.o_orderpriority, COUNT(*) AS orders, COUNT(DISTINCT c_custkey) AS people, "
        "SUM(shop.o_totalprice) AS price, AVG(bank.c_acctbal) AS balance FROM bank.customer JOIN shop.orders "
        "ON bank.c_custkey = shop.o_custkey WHERE shop.o_orderdate < DATE '1997-01-01' AND bank.c_acctbal > 0 "
        "GROUP BY bank.c_mktsegment, shop.o_orderpriority HAVING COUNT(*) >= 20 ORDER BY price DESC"
    )
    columns: dict[str, Any] = {
        "shop.o_totalprice": {"lower": "0.00", "upper": "1000000.00"},
        "bank.c_acctbal": {"lower": "-1000.00", "upper": "10000.00"},
        "bank.c_mktsegment": {"values": ["BUILDING", "MACHINERY", "HOUSEHOLD"]},
    }
    tables = {"bank": customers, "shop": orders}
    theirs = pooled(sql, tables, minimum_group=15)
    assert len(theirs) >= 5
    for asker in ("bank", "shop"):  # with one row a key, and with many
        assert same(shared(sql, tables, columns=columns, minimum_group=15, asker=asker), theirs, ordered=True)
