"""Random reports of the supported grammar over small random tables, the same for the same seed."""

import re
from collections.abc import Sequence
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
    "sg.risk": {"lower": "0.0", "upper": "10.0"},
    "sg.segment": {"values": ["corporate", "retail"]},
    "uk.fee": {"lower": "-9", "upper": "9"},
    "uk.branch": {"values": [1, 2], "nulls": True},
}
MEASURED = ["hk.age", "hk.rate", "cn.balance", "cn.score", "sg.risk", "uk.fee"]
GROUPS = ["hk.product", "cn.tier", "cn.city", "width_bucket(hk.age, 20, 80, 3)", "sg.segment", "uk.branch"]
FILTERS = [
    "hk.age >= 30", "hk.age BETWEEN 20 AND 70", "cn.score <> 7", "cn.city IN ('Hong Kong', 'Macau')",
    "hk.product IS NOT NULL", "NOT (cn.score > 10 OR cn.city = 'Macau')", "hk.rate > -1.5", "cn.balance <= 512.25",
    "hk.since < DATE '2020-06-01'", "30 < hk.age", "sg.risk < 7.5", "(uk.branch IS NULL OR uk.fee > 0)",
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


def random_report(seed: int, parties: int = 2) -> RandomReport:
    """Report number `seed` of those over as many parties."""
    random = Random(seed)
    makers = {"hk": hk_table, "cn": cn_table, "sg": sg_table, "uk": uk_table}
    names = list(makers)[:parties]
    repeats = {name: random.random() < 0.4 for name in names}
    tables = {name: makers[name](random, repeats[name]) for name in names}
    groups = random.sample(of(names, GROUPS), random.choice([0, 1, 1, 2]))
    selected = [*groups, *random.sample(aggregates(random, names), random.randint(1, 3)), "COUNT(*) AS n"]
    filters = random.sample(of(names, FILTERS), random.choice([0, 1, 2]))
    if not repeats["hk"] and not repeats["cn"] and random.random() < 0.3:
        filters.append(f"hk.rate {random.choice(['<', '>=', '<>'])} cn.balance")
    sql = f"SELECT {', '.join(selected)} FROM hk.cards JOIN cn.accounts USING (doc)"
    sql += "".join(f" JOIN {name}.{TABLES[name]} USING (doc)" for name in names[2:])
    sql += f" WHERE {' AND '.join(filters)}" * bool(filters)
    sql += f" GROUP BY {', '.join(groups)}" * bool(groups)
    minimum = random.choice([1, 2, 3])
    if random.random() < 0.3:
        sql += f" HAVING COUNT(*) >= {random.randint(1, 4)}"
    ordered = bool(groups) and random.random() < 0.4
    if ordered:
        sql += " ORDER BY n DESC, " + ", ".join(str(i + 1) for i in range(len(groups)))
    used = {name: declared for name, declared in DECLARED.items() if uses(sql, name)}
    return RandomReport(sql, tables, used, minimum, random.choice(levels(sql, parties)), ordered)


TABLES = {"sg": "clients", "uk": "fees"}


def of(names: Sequence[str], terms: Sequence[str]) -> list[str]:
    """The terms that name none but those tables."""
    return [term for term in terms if set(re.findall(r"\b(hk|cn|sg|uk)\.", term)) <= set(names)]


def levels(sql: str, parties: int) -> list[str]:
    """The levels at which a report can be computed with hk as the asker."""
    extremes = [each for each in compile_sql(sql).aggregates if each.function in EXTREMES]
    found = ["J0", "J1"] if parties == 2 else ["J0"]
    if all(each.argument is not None and each.argument.parties == {"hk"} for each in extremes):
        found += ["J3"] * 2 if extremes else ["J2", "J3"]
    return found


def uses(sql: str, name: str) -> bool:
    """Whether a report calculates with a column or groups by it."""
    party, _, column = name.partition(".")
    plan = compile_sql(sql)
    slots = plan.columns(party) if party in plan.parties else {}
    return column in (*slots.get("value", ()), *slots.get("group", ()))


def aggregates(random: Random, names: Sequence[str]) -> list[str]:
    """What a report may select beside its groups."""
    one, two, *more = random.sample(of(names, MEASURED), min(len(names), 3))
    three = more[0] if more else one
    fraction = random.choice(["0", "0.1", "0.5", "0.75", "1"])
    found = [
        "COUNT(DISTINCT doc)", f"COUNT({one})", f"SUM({one})", f"SUM({one} * {two})", f"AVG({one} - 2 * {two} + 1.5)",
        f"VAR_SAMP({one})", f"STDDEV_POP({two})", f"VAR_POP({one} * {two})", f"MIN({one})", f"MAX({two} * 2)",
        f"QUANTILE_DISC({one}, {fraction})", f"MEDIAN({two})", f"SUM({one} * {one} - {two})",
        f"AVG({one} * {two} * {three})", f"COUNT({three})", f"MAX({three})",
    ]  # fmt: skip
    return list(dict.fromkeys(found))


def hk_table(random: Random, repeats: bool) -> pa.Table:
    keys = [random.choice(range(30)) for _ in range(40)] if repeats else random.sample(range(36), 30)
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
    keys = [random.choice(range(32)) for _ in range(40)] if repeats else random.sample(range(38), 32)
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


def sg_table(random: Random, repeats: bool) -> pa.Table:
    keys = [random.choice(range(32)) for _ in range(42)] if repeats else random.sample(range(37), 32)
    return pa.table(
        {
            "doc": [f"P{key}" for key in keys],
            "segment": [random.choice(["corporate", "retail"]) for _ in keys],
            "risk": pa.array([Decimal(random.randint(0, 100)) / 10 for _ in keys], pa.decimal128(5, 1)),
        }
    )


def uk_table(random: Random, repeats: bool) -> pa.Table:
    keys = [random.choice(range(33)) for _ in range(42)] if repeats else random.sample(range(37), 33)
    return pa.table(
        {
            "doc": [f"P{key}" for key in keys],
            "branch": pa.array([random.choice([1, 2, None]) for _ in keys], pa.int64()),
            "fee": pa.array([None if random.random() < 0.1 else random.randint(-9, 9) for _ in keys], pa.int64()),
        }
    )
