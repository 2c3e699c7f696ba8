"""The plain answer: DuckDB on the pooled data, with the same minimum group."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa

from mpc.local import run_job
from mpc.reports.compiling import compile_sql
from mpc.reports.query import report_job

WIDTH_BUCKET = (
    "CREATE MACRO width_bucket(x, low, high, n) AS CASE WHEN x IS NULL THEN NULL WHEN x < low THEN 0 "
    "WHEN x >= high THEN n + 1 ELSE CAST(floor((x - low) * n / (high - low)) AS INTEGER) + 1 END"
)


def pooled(sql: str, tables: Mapping[str, pa.Table], *, minimum_group: int = 1) -> list[tuple[Any, ...]]:
    """What DuckDB answers to `sql` on the pooled tables, without the groups of too few people."""
    plan = compile_sql(sql)
    db = duckdb.connect()
    db.execute(WIDTH_BUCKET)
    text = " ".join(sql.split())
    for table in plan.tables:
        db.register("registered", tables[table.party])
        db.execute(f'CREATE SCHEMA "{table.party}"')
        db.execute(f'CREATE TABLE "{table.party}"."{table.dataset}" AS SELECT * FROM registered')
        db.unregister("registered")
        # DuckDB calls a table by its dataset where a report calls it by its party.
        text = re.sub(
            rf'("?{re.escape(table.party)}"?)\.{table.dataset}(?= JOIN| USING| ON| WHERE| GROUP|$)',
            rf'\1.{table.dataset} AS "{table.party}"',
            text,
        )
    text = re.sub(
        r"MEDIAN\(([\w.]+)\)", r"MEDIAN(CAST(\1 AS DOUBLE))", text
    )  # of a DECIMAL they would be rounded to one
    text = re.sub(r"QUANTILE_CONT\(([^,()]+),", r"QUANTILE_CONT(CAST(\1 AS DOUBLE),", text)
    key = plan.tables[0].key[0]
    counted = text.replace(" FROM ", f", COUNT(DISTINCT {key}) FROM ", 1)
    limit = re.search(r" LIMIT (\d+)$", counted)
    rows = db.execute(counted[: limit.start()] if limit else counted).fetchall()
    kept = [row[:-1] for row in rows if row[-1] >= minimum_group]
    return kept[: int(limit[1])] if limit else kept


def shared(sql: str, tables: Mapping[str, pa.Table], **job: Any) -> list[tuple[Any, ...]]:
    """What the first party receives of the report, without its suppressed groups."""
    first = compile_sql(sql).parties[0]
    made = report_job(sql, **{"receivers": (first,), **job})
    table = run_job(made, tables)[first].table
    assert table is not None
    return [tuple(row.values())[:-1] for row in table.to_pylist() if not row["suppressed"]]


def same(ours: Sequence[tuple[Any, ...]], theirs: Sequence[tuple[Any, ...]], *, ordered: bool) -> bool:
    """Whether two results are equal: exactly, but for fractions, which DuckDB rounds on its way."""
    if not ordered:
        ours, theirs = sorted(ours, key=repr_of), sorted(theirs, key=repr_of)
    return len(ours) == len(theirs) and all(
        len(a) == len(b) and all(map(equal, a, b)) for a, b in zip(ours, theirs, strict=True)
    )


def repr_of(row: tuple[Any, ...]) -> str:
    """Something to sort by: what identifies a group, which are texts, integers and NULL."""
    return repr([value for value in row if value is None or isinstance(value, str | int)])


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) or isinstance(b, float):
        return a is not None and b is not None and abs(float(a) - float(b)) <= 1e-9 * max(1.0, abs(float(a)))
    return bool(Decimal(a) == Decimal(b)) if isinstance(a, Decimal) else bool(a == b)
