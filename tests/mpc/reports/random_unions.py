"""Random reports on unions of small random tables, the same for the same seed, and the plain answer."""

import re
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

import duckdb
import pyarrow as pa

from mpc.reports.compiling_unions import compile_union

DECLARED: dict[str, Any] = {
    "u.region": {"values": ["east", "north", "south"], "nulls": True},
    "u.amount": {"lower": "-500.00", "upper": "500.00"},
    "u.age": {"lower": "0", "upper": "99", "nulls": True},
}
GROUPS = ["region", "width_bucket(age, 20, 80, 3)"]
OWN = ["amount > -100", "age BETWEEN 10 AND 90", "region IS NOT NULL", "NOT (age < 30 AND amount > 0)"]
WIDTH_BUCKET = (
    "CREATE MACRO width_bucket(x, low, high, n) AS CASE WHEN x IS NULL THEN NULL WHEN x < low THEN 0 "
    "WHEN x >= high THEN n + 1 ELSE CAST(floor((x - low) * n / (high - low)) AS INTEGER) + 1 END"
)


@dataclass(frozen=True)
class RandomUnion:
    """A report on a union, its tables, and what its job needs beside the text."""

    sql: str
    tables: dict[str, pa.Table]
    columns: dict[str, Any]
    minimum_group: int
    separate_people: bool
    receivers: tuple[str, ...]
    ordered: bool


def random_union(seed: int, parties: int) -> RandomUnion:
    """Report number `seed` of those on as many tables."""
    random = Random(seed)
    names = [f"p{i}" for i in range(parties)]
    separate = random.random() < 0.4
    tables = {name: _table(random, index * 100 if separate else 0) for index, name in enumerate(names)}
    groups = random.sample(GROUPS, random.choice([0, 1, 1, 2]))
    selected = [*groups, *random.sample(_aggregates(random), random.randint(1, 4)), "COUNT(*) AS n"]
    branches = []
    for name in names:
        where = f" WHERE {random.choice(OWN)}" if random.random() < 0.4 else ""
        branches.append(f"SELECT region, amount, age FROM {name}.sales{where}")
    sql = f"SELECT {', '.join(selected)} FROM ({' UNION ALL '.join(branches)}) AS u"
    sql += f" GROUP BY {', '.join(groups)}" * bool(groups)
    if random.random() < 0.3:
        sql += f" HAVING COUNT(*) >= {random.randint(1, 25)}"
    ordered = bool(groups) and random.random() < 0.4
    if ordered:
        sql += " ORDER BY n DESC, " + ", ".join(str(i + 1) for i in range(len(groups)))
    plan = compile_union(sql)
    used = {name for names in plan.used().values() for name in names}
    columns = {name: declared for name, declared in DECLARED.items() if name[2:] in used}
    if not any(str(key.column) == "u.age" for key in plan.plan.groups) and "u.age" in columns:
        columns["u.age"] = {"lower": "0", "upper": "99"}
    receivers = tuple(random.sample(names, random.choice([1, 1, 2])))
    return RandomUnion(sql, tables, columns, random.choice([1, 2, 5]), separate, receivers, ordered)


def _aggregates(random: Random) -> list[str]:
    one, two = random.sample(["amount", "age"], 2)
    return [
        f"COUNT({one})", f"SUM({one})", f"AVG({one} * 2 - {two})", f"VAR_SAMP({one})", f"STDDEV_POP({two})",
        f"SUM({one} * {two})", f"MIN({one})", f"MAX({two} * 3)", f"MAX({one} - {two})",
    ]  # fmt: skip


def _table(random: Random, first: int) -> pa.Table:
    count = random.randint(15, 40)
    return pa.table(
        {
            "id": [None if random.random() < 0.03 else first + random.randint(0, 30) for _ in range(count)],
            "region": [random.choice(["east", "north", "south", None]) for _ in range(count)],
            "amount": pa.array(
                [None if random.random() < 0.1 else Decimal(random.randint(-50000, 50000)) / 100 for _ in range(count)],
                pa.decimal128(9, 2),
            ),
            "age": pa.array(
                [None if random.random() < 0.1 else random.randint(0, 99) for _ in range(count)], pa.int64()
            ),
        }
    )


def pooled(union: RandomUnion) -> list[tuple[Any, ...]]:
    """What DuckDB answers on the pooled tables, without the groups that a receiver's rows alone make large enough."""
    db = duckdb.connect()
    db.execute(WIDTH_BUCKET)
    for name, table in union.tables.items():
        db.register("registered", table)
        db.execute(f'CREATE SCHEMA "{name}"')
        db.execute(f'CREATE TABLE "{name}".sales AS SELECT * FROM registered')
        db.unregister("registered")
    text = re.sub(
        r"SELECT region, amount, age FROM (p\d+)\.sales", r"SELECT region, amount, age, id, '\1' AS who FROM \1.sales",
        union.sql,
    )  # fmt: skip
    parties = list(union.tables)
    for_each = ", ".join(f"COUNT(DISTINCT CASE WHEN who = '{name}' THEN id END)" for name in parties)
    rows = db.execute(text.replace(" FROM (", f", {for_each} FROM (", 1)).fetchall()
    kept = []
    for row in rows:
        people = dict(zip(parties, row[-len(parties) :], strict=True))
        if all(_enough(people, receiver, union) for receiver in union.receivers):
            kept.append(row[: -len(parties)])
    return kept


def _enough(people: dict[str, int], receiver: str, union: RandomUnion) -> bool:
    others = [count for name, count in people.items() if name != receiver]
    return (sum(others) if union.separate_people else max(others)) >= union.minimum_group
