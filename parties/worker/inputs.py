"""What a worker reads of its party's dataset for a job, and which rows its figures are of."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpc.errors import InputError
from mpc.job import Job
from mpc.spec import Rows, Spec
from parties import differencing, reading, results
from parties.datasets import Dataset
from parties.worker.task import Task

if TYPE_CHECKING:
    import pyarrow as pa

    Tables = Mapping[str, pa.Table]

ROWS_IN_MEMORY = 2_000_000  # more are mapped from a file in the attempt's own folder
_MAPPED, _MAPPED_KEYS = "input.arrow", "keys.arrow"


def read(task: Task, dataset: Dataset, spec: Spec[Any], job: Job) -> "tuple[Tables, Rows | None]":
    """The party's table for each slot, and which rows of the dataset they hold, None: all.

    Rows that the job's own conditions leave out are not read. Raises `InputError` for a job that is computed in memory
    and would need more than that.
    """
    member, params = job.members[task.name], spec.parse(job)
    columns = list(dict.fromkeys(column for names in member.columns.values() for column in names))
    slots = spec.roles[member.role].slots
    booleans = {column.name for column in dataset.columns if column.type == "boolean"}
    kinds = [(slots[slot].kind, name) for slot, names in member.columns.items() for name in names]
    numbers = [
        name for kind, name in kinds if kind == "number" or (kind == "number or boolean" and name not in booleans)
    ]
    conditions = spec.conditions(job, params, task.name)
    mapped = None if spec.in_memory(params) else Path(task.folder) / _MAPPED
    if conditions:
        table, rows = reading.load_where(
            dataset, columns, conditions, numbers=numbers, most_rows=ROWS_IN_MEMORY, mapped=mapped
        )
    else:
        if dataset.rows <= ROWS_IN_MEMORY:
            mapped = None
        elif mapped is None:
            raise InputError(
                f"the job is computed in memory only, and the dataset has {dataset.rows} rows (at most "
                f"{ROWS_IN_MEMORY})",
                hint="register fewer rows, or propose the job without in_memory",
            )
        table, rows = reading.load(dataset, columns, numbers=numbers, mapped=mapped), None
    return {slot: table.select(list(names)) for slot, names in member.columns.items()}, rows


def compare_sets(task: Task, dataset: Dataset, spec: Spec[Any], job: Job, tables: "Tables", rows: Rows | None) -> None:
    """Raise `PolicyDenied` if the result's rows are too close to those of earlier results; leave them for the node."""
    assert spec.row_sets is not None
    params = spec.parse(job)
    sets = spec.row_sets(job, params, task.name, tables, rows)
    if task.earlier:
        people = differencing.people_of(_keys(task, dataset, spec, job, tables, rows))
        differencing.check(sets, people, task.earlier, spec.minimum_result(params))
    results.write_bytes(differencing.pack(sets), Path(task.sets))


def _keys(task: Task, dataset: Dataset, spec: Spec[Any], job: Job, tables: "Tables", rows: Rows | None) -> "pa.Table":
    """The key columns of all rows: also of those that only earlier results were of."""
    member = job.members[task.name]
    slots = spec.roles[member.role].slots
    slot = next(slot for slot in member.columns if slots[slot].kind == "key")
    if rows is None:
        return tables[slot]
    large = dataset.rows > ROWS_IN_MEMORY and not spec.in_memory(spec.parse(job))
    return reading.load(dataset, member.columns[slot], mapped=Path(task.folder) / _MAPPED_KEYS if large else None)
