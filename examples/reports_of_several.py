"""Reports of three banks in SQL, on the customers that all have and on the union of their rows, beside the truth."""

import duckdb
import pandas as pd

from mpc.local import run_job
from mpc.reports.explain import explain
from mpc.reports.query import report_job, union_job

tables = {
    "hk": pd.DataFrame(
        {"customer": range(240), "product": ["cards" if i % 4 else "loans" for i in range(240)], "balance": range(240)}
    ),
    "cn": pd.DataFrame({"customer": range(60, 300), "balance": [i * 125 % 9000 for i in range(240)]}),
    "sg": pd.DataFrame({"customer": range(30, 270), "segment": ["private", "retail", "retail"] * 80, "balance": 100}),
}
pooled = duckdb.connect()
for name, table in tables.items():
    pooled.register("table_of_one", table)
    pooled.execute(f"CREATE SCHEMA {name}; CREATE TABLE {name}.accounts AS SELECT * FROM table_of_one")


def compare(job, sql):
    """The report, and whether its released groups are what DuckDB finds."""
    report = run_job(job, tables)["hk"].table
    print(report.to_pandas().to_string(index=False))
    released = sorted(tuple(row.values())[:-1] for row in report.to_pylist() if not row["suppressed"])
    print(
        "the released groups are what DuckDB finds in the pooled data:",
        released == sorted(pooled.execute(sql).fetchall()),
    )


joined = """
    SELECT hk.product, sg.segment, COUNT(*) AS customers, SUM(hk.balance + cn.balance) AS total
    FROM hk.accounts AS hk JOIN cn.accounts AS cn USING (customer) JOIN sg.accounts AS sg USING (customer)
    WHERE cn.balance > 500
    GROUP BY hk.product, sg.segment
"""
bounds = {"lower": "0", "upper": "10000"}
job = report_job(
    joined,
    receivers=["hk"],
    columns={
        "hk.product": {"values": ["cards", "loans"]},
        "sg.segment": {"values": ["private", "retail"]},
        "hk.balance": bounds,
        "cn.balance": bounds,
    },
)
explained = explain(job, {name: len(table) for name, table in tables.items()}, "sg")
for stage in explained.stages:
    print(f"{stage.name:30} {stage.who:20} sg sends {stage.sent_bytes:,} bytes")
print("sg learns", explained.reveals["sg"])
compare(job, joined)

union = """
    SELECT width_bucket(balance, 0, 9000, 3) AS band, COUNT(*) AS accounts, SUM(balance) AS total
    FROM (SELECT balance FROM hk.accounts UNION ALL SELECT balance FROM cn.accounts
          UNION ALL SELECT balance FROM sg.accounts WHERE segment = 'retail') AS all_banks
    GROUP BY band
"""
whose = {name: ["customer"] for name in tables}
compare(
    union_job(union, receivers=["hk"], people=whose, columns={"all_banks.balance": bounds}),
    union.replace("width_bucket(balance, 0, 9000, 3)", "1 + balance // 3000"),
)
