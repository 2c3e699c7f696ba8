"""Reports from Python: the same text for tables in one process, spawned nodes and real ones."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from mpc.errors import InputError
from mpc.job import Job, Member
from mpc.reports.compiling import compile_sql
from mpc.reports.params import Level

#: What a column holds, as `mpc.reports.params.Declared` has it; bounds may be integers and decimals instead of text.
Declaration = Mapping[str, Any]


def job_of(sql: str, **arguments: Any) -> Job:
    """The job of a report on a join or on a union, whichever the SQL is: see `report_job` and `union_job`."""
    from mpc.reports.compiling_unions import is_union

    return union_job(sql, **arguments) if is_union(sql) else report_job(sql, **arguments)


def report_job(
    sql: str,
    *,
    receivers: Sequence[str],
    columns: Mapping[str, Declaration] | None = None,
    asker: str = "",
    join: Level | None = None,
    minimum_group: int = 10,
    normalisation: Sequence[str] = (),
    in_memory: bool = False,
    verified: bool = False,
    computes: str = "",
    noise: Mapping[str, Any] | None = None,
    purpose: str = "",
    deadline: int = 0,
) -> Job:
    """The job that computes the report `sql`, for `mpc.local.run_job`, a sandbox or a node.

    `columns` says what columns hold, by "party.column": {"lower": "0.00", "upper": "1000000.00"}, whose decimals are
    those that the column has, or {"values": [...]}.
    `noise`, at J3 only, is e.g. {"epsilon": "0.5", "rows_of_person": {"cn": 3}}. The `asker`, the first receiver unless
    named, learns at J1 which of its keys are common. Two parties `join` at J1, more and verified ones at J3, unless
    told otherwise. With `verified` three compute, and whoever of them cheats ends the report: three parties with
    tables, or two and a third, `computes`, that has none and is independent of both.
    Raises `InputError` with a sentence on what is wrong and what is supported.
    """
    from mpc.reports.report import SPEC

    plan = compile_sql(sql)
    if not receivers:
        raise InputError("a report has receivers", hint=f"name some of {', '.join(plan.parties)}")
    asker = asker or receivers[0]
    if asker not in plan.parties:
        raise InputError(f"{asker} has no table in the report", hint=f"its parties are {', '.join(plan.parties)}")
    members = {
        table.party: Member("asker" if table.party == asker else "other", table.dataset, plan.columns(table.party))
        for table in plan.tables
    }
    params: dict[str, Any] = {
        "sql": sql,
        "columns": _written_out(columns or {}),
        "join": join or ("J1" if len(plan.tables) == 2 and not verified else "J3"),
        "minimum_group": minimum_group,
        "normalisation": tuple(normalisation),
        "in_memory": in_memory,
        "verified": verified,
    }
    _add_third(members, computes)
    if noise is not None:
        params["noise"] = dict(noise)
    job = Job("report.sql", members, tuple(receivers), params, purpose, deadline=deadline)
    SPEC.parse(job)
    return job


def union_job(
    sql: str,
    *,
    receivers: Sequence[str],
    people: Mapping[str, Sequence[str]],
    columns: Mapping[str, Declaration] | None = None,
    minimum_group: int = 10,
    separate_people: bool = False,
    in_memory: bool = False,
    verified: bool = False,
    computes: str = "",
    purpose: str = "",
    deadline: int = 0,
) -> Job:
    """The job that computes a report on a union of tables; see `report_job`.

    `people` names, for each party, the columns of its table that tell people apart. `columns` are by "union.column",
    as the SQL calls the union. With `separate_people` the parties say that no person has rows at two of them.
    """
    from mpc.reports.compiling_unions import compile_union
    from mpc.reports.union import SPEC

    union = compile_union(sql)
    if not receivers:
        raise InputError("a report has receivers", hint=f"name some of {', '.join(union.parties)}")
    missing = [name for name in union.parties if not people.get(name)]
    if missing or set(people) != set(union.parties):
        raise InputError(
            f"a report on a union counts people: name the columns that tell them apart of {', '.join(union.parties)}",
            hint=f"e.g. {union.parties[0]}.customer_id",
        )
    members = {
        source.party: Member(
            "party", source.dataset, {"key": tuple(people[source.party]), **union.columns(source.party)}
        )
        for source in union.sources
    }
    params = {
        "sql": sql,
        "columns": _written_out(columns or {}),
        "minimum_group": minimum_group,
        "separate_people": separate_people,
        "in_memory": in_memory,
        "verified": verified,
    }
    _add_third(members, computes)
    job = Job("report.union", members, tuple(receivers), params, purpose, deadline=deadline)
    SPEC.parse(job)
    return job


def _written_out(columns: Mapping[str, Declaration]) -> dict[str, dict[str, Any]]:
    """Declarations with bounds, dates and truth values as text; raises `InputError` for floats as bounds."""
    written = {}
    for name, declared in columns.items():
        if not isinstance(declared, Mapping):
            raise InputError(f"column {name} is declared by neither bounds nor values", hint=_EXAMPLES)
        bounds = {bound: declared[bound] for bound in ("lower", "upper") if bound in declared}
        if any(isinstance(bound, float) for bound in bounds.values()):
            raise InputError(f"bounds of {name} are floats, which do not say how many decimals it has", hint=_EXAMPLES)
        texts = {bound: str(value) for bound, value in bounds.items() if isinstance(value, int | Decimal)}
        written[name] = {**declared, **texts}
        if "values" in declared:
            written[name]["values"] = [_label(value) for value in declared["values"]]
    return written


def _label(value: Any) -> Any:
    """A group as columns of truth values and dates name it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else value


_EXAMPLES = 'e.g. {"hk.balance": {"lower": "0.00", "upper": "1000000.00"}, "hk.product": {"values": ["a", "b"]}}'


def _add_third(members: dict[str, Member], name: str) -> None:
    """Let a party without a table compute too."""
    if name in members:
        raise InputError(f"{name} has a table in the report, and computes anyway", hint="name another party")
    if name:
        members[name] = Member("computes")
