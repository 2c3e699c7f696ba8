"""A joint report in SQL: explained, computed on shares, beside what DuckDB finds in the pooled data; one refused."""

import duckdb
import pandas as pd

from mpc.errors import InputError
from mpc.local import run_job
from mpc.reports.explain import explain
from mpc.reports.query import report_job

hk = pd.DataFrame(
    {
        "customer": [f"C{i:03}" for i in range(200)],
        "product": ["cards" if i % 4 else "loans" for i in range(200)],
        "age": [20 + i % 60 for i in range(200)],
    }
)
cn = pd.DataFrame(
    {
        "customer": [f"C{i:03}" for i in range(100, 320)],
        "city": ["Shenzhen" if i % 9 else "Zhuhai" for i in range(220)],
        "balance": [i * 125 % 9000 for i in range(220)],
    }
)
sql = """
    SELECT hk.product, cn.city, COUNT(*) AS customers, SUM(cn.balance) AS total, MEDIAN(cn.balance) AS middle
    FROM hk.accounts AS hk JOIN cn.accounts AS cn USING (customer)
    WHERE hk.age >= 30 AND cn.city <> 'Macau'
    GROUP BY hk.product, cn.city
    ORDER BY total DESC
"""
job = report_job(
    sql,
    receivers=["hk"],
    columns={
        "hk.product": {"values": ["cards", "loans"]},
        "cn.city": {"values": ["Shenzhen", "Zhuhai"]},
        "cn.balance": {"lower": "0", "upper": "10000"},
    },
    minimum_group=10,
    purpose="balances of common customers",
)

explained = explain(job, {"hk": len(hk), "cn": len(cn)}, "hk")
print("stages:", ", ".join(stage.name for stage in explained.stages))
print("cn learns", explained.reveals["cn"])
print(explained.suppression)

report = run_job(job, {"hk": hk, "cn": cn})["hk"].table
print(report.to_pandas().to_string(index=False))

pooled = duckdb.connect()
pooled.execute("CREATE SCHEMA hk; CREATE SCHEMA cn")
pooled.execute("CREATE TABLE hk.accounts AS SELECT * FROM hk; CREATE TABLE cn.accounts AS SELECT * FROM cn")
truth = [row for row in pooled.execute(sql).fetchall() if row[2] >= 10]
released = [tuple(row.values())[:-1] for row in report.to_pylist() if not row["suppressed"]]
print("the released groups are what DuckDB finds in the pooled data:", released == truth)

try:
    report_job(sql.replace("hk.age >= 30", "hk.customer = 'C150'"), receivers=["hk"])
except InputError as refusal:
    print(f"refused: {refusal}")
