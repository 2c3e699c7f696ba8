"""Random reports over real tables: two parties' columns, and all clauses of the grammar, the same for the same seed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.csv

from mpc.reports.compiling import compile_sql
from mpc.reports.plan import EXTREMES

CREDIT = Path(__file__).parents[3] / "examples" / "data" / "uci_credit_card.csv"


@dataclass(frozen=True)
class Schema:
    """Two parties' tables, and what reports over them may name. Columns are qualified; `groups` have their values."""

    source: str
    people: str
    tables: Mapping[str, pa.Table]
    bounds: Mapping[str, tuple[str, str]]
    groups: Mapping[str, list[Any]]
    filters: list[str]
    compared: list[str] = field(default_factory=list)  # columns of both parties, where a key has one row


@dataclass(frozen=True)
class Query:
    """A report and how it is asked for. `universe` are the labels of all its groups."""

    sql: str
    columns: dict[str, Any]
    minimum_group: int
    join: str
    asker: str
    ordered: bool
    group_count: int
    universe: list[tuple[Any, ...]]


def random_query(schema: Schema, seed: int) -> Query:
    """Report number `seed` over the schema."""
    random = Random(seed)
    keys = random.sample(list(schema.groups), random.choice([0, 1, 1, 2]))
    aggregates = random.sample(_aggregates(schema, random), random.randint(1, 3))
    outputs = [*keys, *(f"{each} AS x{i}" for i, each in enumerate(aggregates)), "COUNT(*) AS n"]
    conditions = random.sample(schema.filters, random.choice([0, 1, 1, 2]))
    if schema.compared and random.random() < 0.25:
        left, right = schema.compared
        conditions.append(f"{left} {random.choice(['<', '<=', '=', '<>', '>', '>='])} {right}")
    sql = f"SELECT {', '.join(outputs)} {schema.source}"
    sql += f" WHERE {' AND '.join(conditions)}" * bool(conditions)
    sql += f" GROUP BY {', '.join(keys)}" * bool(keys)
    sql += f" HAVING COUNT(*) >= {random.randint(2, 30)}" * (random.random() < 0.3)
    ordered = bool(keys) and random.random() < 0.6
    if ordered:
        sums = [f"x{i}" for i, each in enumerate(aggregates) if each.startswith(("SUM", "COUNT"))]
        limited = random.random() < 0.5
        first = random.choice([*sums, "n"] if limited else [*(f"x{i}" for i in range(len(aggregates))), "n"])
        sql += f" ORDER BY {first} {random.choice(['ASC', 'DESC'])}, {', '.join(keys)}"
        sql += f" LIMIT {random.randint(1, 4)}" * limited
    asker, join = _asked(sql, schema, random)
    columns = {
        **{name: {"lower": low, "upper": high} for name, (low, high) in schema.bounds.items() if _uses(sql, name)},
        **{name: {"values": schema.groups[name]} for name in keys if "(" not in name},
    }
    universe = list(product(*(schema.groups[key] for key in keys)))
    return Query(sql, columns, random.choice([1, 2, 5, 10]), join, asker, ordered, len(keys), universe)


def _asked(sql: str, schema: Schema, random: Random) -> tuple[str, str]:
    """Who asks, and at which level: extremes are of the asker's columns at J3, and there are none at J2."""
    extremes = [each for each in compile_sql(sql).aggregates if each.function in EXTREMES]
    owners = {party for each in extremes if each.argument is not None for party in each.argument.parties}
    parties = list(schema.tables)
    asker = random.choice(sorted(owners) if len(owners) == 1 else parties)
    levels = ["J0", "J1"] + ["J2"] * (not extremes) + ["J3"] * (owners <= {asker})
    return asker, random.choice(levels)


def _uses(sql: str, name: str) -> bool:
    party, _, column = name.partition(".")
    slots = compile_sql(sql).columns(party)
    return column in slots.get("value", ())


def _aggregates(schema: Schema, random: Random) -> list[str]:
    one, two = random.sample(list(schema.bounds), 2)
    mine, other = random.sample(list(schema.bounds), 2)
    fraction = random.choice(["0", "0.1", "0.25", "0.5", "0.9", "1"])
    return [
        f"COUNT(DISTINCT {schema.people})", f"COUNT({one})", f"SUM({one})", f"SUM({one} - {two})",
        f"SUM({mine} * 2 + 1)", f"AVG({two})", f"AVG({mine} * {other})", f"VAR_SAMP({one})", f"VAR_POP({two})",
        f"STDDEV_SAMP({mine})", f"STDDEV_POP({other})", f"MIN({one})", f"MAX({two})", f"MEDIAN({mine})",
        f"QUANTILE_DISC({other}, {fraction})", f"QUANTILE_CONT({one} * 2, {fraction})",
    ]  # fmt: skip


def credit() -> Schema:
    """Cards of one bank and bills of another, one row a customer."""
    whole = pyarrow.csv.read_csv(CREDIT).slice(0, 500)
    hk = whole.slice(0, 320).select(["ID", "LIMIT_BAL", "EDUCATION", "MARRIAGE", "AGE"])
    cn = whole.slice(130).select(["ID", "SEX", "PAY_0", "BILL_AMT1", "PAY_AMT1"])
    return Schema(
        "FROM hk.cards JOIN cn.bills USING (ID)",
        "ID",
        {"hk": hk, "cn": cn},
        {
            "hk.LIMIT_BAL": ("0", "1000000"),
            "hk.AGE": ("18", "100"),
            "cn.BILL_AMT1": ("-200000", "1000000"),
            "cn.PAY_AMT1": ("0", "1000000"),
        },
        {
            "hk.EDUCATION": [0, 1, 2, 3, 4, 5, 6],
            "hk.MARRIAGE": [0, 1, 2, 3],
            "cn.SEX": [1, 2],
            "width_bucket(hk.AGE, 20, 60, 4)": list(range(6)),
        },
        [
            "hk.AGE BETWEEN 25 AND 45", "cn.PAY_AMT1 > 0", "(hk.EDUCATION = 2 OR hk.MARRIAGE IN (1, 3))",
            "NOT cn.PAY_0 >= 1", "cn.BILL_AMT1 <= 51000.5", "hk.LIMIT_BAL <> 50000",
        ],
        ["hk.LIMIT_BAL", "cn.BILL_AMT1"],
    )  # fmt: skip


def orders() -> Schema:
    """Customers of a bank and their orders at a shop, many a customer, in the manner of TPC-H."""
    random = Random(8)
    segments, priorities = ["BUILDING", "HOUSEHOLD", "MACHINERY"], ["1-URGENT", "3-MEDIUM", "5-LOW"]
    customers = {
        "c_custkey": list(range(90)),
        "c_mktsegment": [random.choice(segments) for _ in range(90)],
        "c_acctbal": pa.array(
            [None if random.random() < 0.1 else Decimal(random.randint(-99999, 999999)) / 100 for _ in range(90)]
        ),
    }
    made = {
        "o_custkey": [random.randint(0, 120) for _ in range(400)],
        "o_orderpriority": [random.choice(priorities) for _ in range(400)],
        "o_totalprice": pa.array([Decimal(random.randint(90000, 50000000)) / 100 for _ in range(400)]),
        "o_shippriority": pa.array([None if random.random() < 0.1 else random.randint(0, 9) for _ in range(400)]),
        "o_orderdate": pa.array([random.randint(8000, 10400) for _ in range(400)], pa.int32()).cast(pa.date32()),
    }
    return Schema(
        "FROM bank.customer JOIN shop.orders ON bank.c_custkey = shop.o_custkey",
        "c_custkey",
        {"bank": pa.table(customers), "shop": pa.table(made)},
        {
            "bank.c_acctbal": ("-1000.00", "10000.00"),
            "shop.o_totalprice": ("0.00", "1000000.00"),
            "shop.o_shippriority": ("0", "9"),
        },
        {
            "bank.c_mktsegment": segments,
            "shop.o_orderpriority": priorities,
            "width_bucket(shop.o_totalprice, 0, 500000, 3)": list(range(5)),
        },
        [
            "shop.o_orderdate < DATE '1997-01-01'", "bank.c_acctbal > 0", "shop.o_shippriority IS NOT NULL",
            "NOT (bank.c_mktsegment = 'BUILDING' AND bank.c_acctbal < 500.25)",
            "shop.o_totalprice BETWEEN 1000 AND 400000",
            "shop.o_orderpriority <> '5-LOW'",
        ],
    )  # fmt: skip
