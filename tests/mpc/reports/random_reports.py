"""Random reports of the supported grammar over small random tables, the same for the same seed."""

from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

import pyarrow as pa

from mpc.reports.compiling import compile_sql
from mpc.reports.plan import EXTREMES

DECLARED: dict[str, Any] = {
    "hk.age": {"lower": "0", "upper": "99", "nulls": True},
    "hk.rate": {"lower": "-2.0", "upper": "2.0"},
    "cn.balance": {"lower": "-1000.00", "upper": "1000.00"},
    "cn.score": {"lower": "-50", "upper": "50"},
    "hk.product": {"values": ["cards", "fx", "loans"], "nulls": True},
    "cn.tier": {"values": [1, 2, 3]},
}
MEASURED = ["hk.age", "hk.rate", "cn.balance", "cn.score"]
GROUPS = ["hk.product", "cn.tier", "cn.city", "width_bucket(hk.age, 20, 80, 3)"]
FILTERS = [
    "hk.age >= 30", "hk.age BETWEEN 20 AND 70", "cn.score <> 7", "cn.city IN ('Hong Kong', 'Macau')",
    "hk.product IS NOT NULL", "NOT (cn.score > 10 OR cn.city = 'Macau')", "hk.rate > -1.5", "cn.balance <= 512.25",
    "hk.since < DATE '2020-06-01'", "30 < hk.age",
]  # fmt: skip


@dataclass(frozen=True)
class RandomReport:
    """A report, its tables, and what its job needs beside the text."""

    sql: str
    tables: dict[str, pa.Table]
    columns: dict[str, Any]
    minimum_group: int
    join: str
    ordered: bool


def random_report(seed: int) -> RandomReport:
    """Report number `seed`."""
    random = Random(seed)
    repeats = random.random() < 0.4
    tables = {"hk": hk_table(random, repeats), "cn": cn_table(random, random.random() < 0.4)}
    groups = random.sample(GROUPS, random.choice([0, 1, 1, 2]))
    selected = [*groups, *random.sample(aggregates(random), random.randint(1, 3)), "COUNT(*) AS n"]
    filters = random.sample(FILTERS, random.choice([0, 1, 2]))
    if not repeats and tables["cn"].num_rows == len(set(tables["cn"]["doc"].to_pylist())) and random.random() < 0.3:
        filters.append(f"hk.rate {random.choice(['<', '>=', '<>'])} cn.balance")
    sql = f"SELECT {', '.join(selected)} FROM hk.cards JOIN cn.accounts USING (doc)"
    sql += f" WHERE {' AND '.join(filters)}" * bool(filters)
    sql += f" GROUP BY {', '.join(groups)}" * bool(groups)
    minimum = random.choice([1, 2, 3])
    if random.random() < 0.3:
        sql += f" HAVING COUNT(*) >= {random.randint(1, 4)}"
    ordered = bool(groups) and random.random() < 0.4
    if ordered:
        sql += " ORDER BY n DESC, " + ", ".join(str(i + 1) for i in range(len(groups)))
    used = {name: declared for name, declared in DECLARED.items() if uses(sql, name)}
    levels = ["J0", "J1", "J3"] if hidden_values(sql) else ["J0", "J1"]
    return RandomReport(sql, tables, used, minimum, random.choice(levels), ordered)


def hidden_values(sql: str) -> bool:
    """Whether extremes are of hk's columns alone, as at J3 they must be."""
    extremes = [each for each in compile_sql(sql).aggregates if each.function in EXTREMES]
    return all(each.argument is not None and each.argument.parties == {"hk"} for each in extremes)


def uses(sql: str, name: str) -> bool:
    """Whether a report calculates with a column or groups by it."""
    party, _, column = name.partition(".")
    slots = compile_sql(sql).columns(party)
    return column in (*slots.get("value", ()), *slots.get("group", ()))


def aggregates(random: Random) -> list[str]:
    """What a report may select beside its groups."""
    one, two = random.sample(MEASURED, 2)
    fraction = random.choice(["0", "0.1", "0.5", "0.75", "1"])
    return [
        "COUNT(DISTINCT doc)", f"COUNT({one})", f"SUM({one})", f"SUM({one} * {two})", f"AVG({one} - 2 * {two} + 1.5)",
        f"VAR_SAMP({one})", f"STDDEV_POP({two})", f"VAR_POP({one} * {two})", f"MIN({one})", f"MAX({two} * 2)",
        f"QUANTILE_DISC({one}, {fraction})", f"MEDIAN({two})", f"SUM({one} * {one} - {two})",
    ]  # fmt: skip


def hk_table(random: Random, repeats: bool) -> pa.Table:
    keys = [random.choice(range(14)) for _ in range(18)] if repeats else random.sample(range(16), 13)
    return pa.table(
        {
            "doc": pa.array([None if random.random() < 0.04 else f"P{key}" for key in keys]),
            "product": [random.choice(["cards", "fx", "loans", None]) for _ in keys],
            "age": pa.array([None if random.random() < 0.1 else random.randint(0, 99) for _ in keys], pa.int64()),
            "rate": pa.array([Decimal(random.randint(-20, 20)) / 10 for _ in keys], pa.decimal128(5, 1)),
            "since": pa.array([random.randint(17000, 20000) for _ in keys], pa.int32()).cast(pa.date32()),
        }
    )


def cn_table(random: Random, repeats: bool) -> pa.Table:
    keys = [random.choice(range(16)) for _ in range(18)] if repeats else random.sample(range(18), 14)
    return pa.table(
        {
            "doc": [f"P{key}" for key in keys],
            "city": [random.choice(["Hong Kong", "Macau", "Shenzhen"]) for _ in keys],
            "tier": [random.randint(1, 3) for _ in keys],
            "balance": pa.array(
                [None if random.random() < 0.1 else Decimal(random.randint(-100000, 100000)) / 100 for _ in keys],
                pa.decimal128(12, 2),
            ),
            "score": pa.array([None if random.random() < 0.1 else random.randint(-50, 50) for _ in keys], pa.int64()),
        }
    )
