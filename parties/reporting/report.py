"""A joint report as one HTML page, with its charts inside: it loads nothing, and runs nothing."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mpc.job import Job
from mpc.reports.compiling import compile_sql
from mpc.reports.compiling_unions import compile_union
from mpc.reports.explain import explain
from parties.reporting import page

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

_MAX_BARS = 40
_SIZE_INCHES = (4.8, 3.6)
_SUPPRESSED = "suppressed"


def html_page(job: Job, table: "pa.Table", *, title: str, facts: Mapping[str, Any]) -> str:
    """The page of the report that `job` computed: its table, suppressed groups among it, a chart of each figure.

    `facts` are shown as they are, such as the parties and the purpose. Every text is escaped. The same input gives the
    same page. Raises `InputError` for a job that is no report, and where matplotlib is not installed.
    """
    sql = job.params["sql"]
    plan = compile_union(sql).plan if job.protocol == "report.union" else compile_sql(sql)
    keys = [output.name for output in plan.outputs if output.kind == "group"]
    explained = explain(job, dict.fromkeys(job.members, 0), next(iter(job.members)))
    return page.render(
        "report.html",
        _figures(table, keys),
        title=title,
        facts=facts,
        heads=[name for name in table.column_names if name != _SUPPRESSED],
        rows=[_row(row) for row in table.to_pylist()],
        sql=sql,
        suppression=explained.suppression,
        integrity=explained.integrity,
    )


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    hidden = row[_SUPPRESSED]
    cells = []
    for name, value in row.items():
        if name == _SUPPRESSED:
            continue
        if value is None:
            cells.append({"text": "suppressed" if hidden else "NULL", "number": False})
        else:
            cells.append({"text": _text(value), "number": not isinstance(value, str)})
    return {"suppressed": hidden, "cells": cells}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4f}"
    return f"{value:,}" if isinstance(value, int | Decimal) else str(value)


def _figures(table: "pa.Table", keys: Sequence[str]) -> "Iterator[tuple[str, Figure]]":
    """A bar chart of each figure over the released groups; none where there is one group, or very many."""
    rows = [row for row in table.to_pylist() if not row[_SUPPRESSED]]
    if not 2 <= len(rows) <= _MAX_BARS or not keys:
        return
    from matplotlib.figure import Figure

    labels = [", ".join("NULL" if row[key] is None else str(row[key]) for key in keys) for row in rows]
    for name in table.column_names:
        if name in keys or name == _SUPPRESSED:
            continue
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        axes = figure.subplots()
        axes.barh(range(len(rows)), [0.0 if row[name] is None else float(row[name]) for row in rows])
        # A "$" would begin a formula.
        axes.set_yticks(range(len(rows)), [label.replace("$", r"\$") for label in labels])
        axes.invert_yaxis()
        yield name, figure
