"""What a job leaves: its result, and the receipt that all parties signed."""

import math
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mpc.errors import InputError
from parties.cli import files
from parties.cli.command import Session, command, force_option, out_option, yes_option
from parties.cli.output import heading, say, show_facts, show_table
from parties.cli.units import parse_duration, show_time

if TYPE_CHECKING:
    import pyarrow as pa

    from parties.datasets import Format
    from parties.jobs.records import JobRecord
    from parties.node import Node

FORMATS: "dict[str, Format]" = {".csv": "csv", ".parquet": "parquet"}


@command("result")
@click.argument("job_id", metavar="ID")
@out_option("Where to write all of it: a name that ends in .csv or .parquet; for a report also .html.")
@click.option("--rows", type=click.IntRange(0, 10_000), default=20, show_default=True, help="How many to show.")
@force_option
def result(session: Session, job_id: str, out: Path | None, rows: int, force: bool) -> None:
    """Show the first rows of a result, or write it to a file.

    \b
    Examples:
      sealane job result 4f2a
      sealane job result 4f2a --out common.csv
      sealane job result 4f2a --out report.html
    """
    from parties.results import export_result

    node = session.node()
    record = node.job(job_id)
    path = node.result_path(record.id)
    if out is not None and out.suffix.lower() == ".html":
        with files.new(out, force=force, private=True) as file:
            file.write(_page(node, record).encode())
    elif out is not None:
        if out.suffix.lower() not in FORMATS:
            raise InputError(
                f"{out} has no known format",
                hint="choose a name that ends in .csv or .parquet, for a report also .html",
            )
        export_result(path, out, FORMATS[out.suffix.lower()], overwrite=force)
    count, head = _head(path, 0 if out is not None else rows)
    document = {
        "id": record.id,
        "rows": count,
        "columns": head.column_names,
        "file": None if out is None else str(out),
        "shown": [{name: _plain(value) for name, value in row.items()} for row in head.to_pylist()],
    }

    def show() -> None:
        if out is not None:
            say(f"{count:,} rows written to {out}")
            return
        show_table(head.column_names, [[_text(value) for value in row.values()] for row in head.to_pylist()])
        if head.num_rows < count:
            say(f"{head.num_rows:,} of {count:,} rows; --out writes them all to a file")

    session.answer(document, show)


@command("delete-result")
@click.argument("job_id", metavar="[ID]", required=False)
@click.option("--older-than", metavar="DURATION", help="Delete those of all jobs that ended longer ago, e.g. 90d.")
@yes_option
def delete_result(session: Session, job_id: str | None, older_than: str | None, yes: bool) -> None:
    """Delete a job's result, or all old ones, from this node.

    Jobs, receipts and evidence stay; that a result was deleted becomes evidence too.

    \b
    Examples:
      sealane job delete-result 4f2a
      sealane job delete-result --older-than 90d --yes
    """
    if (job_id is None) == (older_than is None):
        raise InputError("which result?", hint="name a job, or say --older-than DURATION")
    node = session.node()
    if job_id is not None:
        node.result_path(job_id)
        found = [node.job(job_id)]
    else:
        found = node.with_old_result(time.time() - parse_duration(older_than or ""))
    if found:
        session.confirm(f"Delete {len(found)} {'result' if len(found) == 1 else 'results'} for good?", yes=yes)
    for job in found:
        node.delete_result(job.id)
    session.answer([job.id for job in found], lambda: say(f"{len(found)} deleted"))


@command("forget")
@click.option("--older-than", metavar="DURATION", required=True, help="Those that ended longer ago, e.g. 730d.")
@yes_option
def forget(session: Session, older_than: str, yes: bool) -> None:
    """Forget what old jobs asked and found.

    That is columns, conditions, purposes, reasons and counts. Their ids, parties, outcomes and receipts stay,
    and so does all evidence, which verifies as before. Jobs whose result or model is still here, and those that
    not every peer has signed, are left as they are.

    \b
    Example:
      sealane job forget --older-than 730d
    """
    node = session.node()
    before = time.time() - parse_duration(older_than)
    found = node.old_jobs(before)
    if found:
        session.confirm(f"Forget what {found:,} {'job' if found == 1 else 'jobs'} asked and found?", yes=yes)
    forgotten = node.forget_jobs(before) if found else 0
    session.answer({"jobs": forgotten}, lambda: say(f"{forgotten:,} forgotten"))


@command("receipt")
@click.argument("job_id", metavar="ID")
def receipt(session: Session, job_id: str) -> None:
    """Show what all parties signed about how a job ended.

    The signatures are checked.

    \b
    Example:
      sealane job receipt 4f2a --json > receipt.json
    """
    signed = session.node().receipt(job_id)
    statement = signed.statement

    def show() -> None:
        show_facts(
            {
                "job": statement.job,
                "digest": statement.digest,
                "outcome": statement.outcome,
                "attempt": str(statement.attempt),
                "started": show_time(statement.started_at) if statement.started_at else "",
                "receivers": ", ".join(statement.receivers),
                **{name.replace("_", " "): f"{count:,}" for name, count in statement.counts.items()},
                "statement": statement.hash,
            }
        )
        heading("Signed by")
        show_table(
            ("PARTY", "FINGERPRINT", "SIGNATURE"),
            [
                (name, party, "holds" if party in signed.signatures else "none: it was lost on the way")
                for name, party in statement.parties.items()
            ],
        )

    session.answer(asdict(signed) | {"hash": statement.hash}, show)


def _page(node: "Node", record: "JobRecord") -> str:
    """A report's page."""
    if record.job.protocol not in ("report.sql", "report.union"):
        raise InputError("only a report in SQL has a page", hint="choose a name that ends in .csv or .parquet")
    from parties.reporting.report import html_page

    facts = {
        "Job": record.id,
        "Parties": ", ".join(record.job.members),
        "Receivers": ", ".join(record.job.receivers),
        "Purpose": record.job.purpose,
        "Computed": show_time(record.updated_at),
    }
    return html_page(record.job, node.result(record.id), title=record.job.purpose or "Joint report", facts=facts)


def _head(path: Path, rows: int) -> "tuple[int, pa.Table]":
    """How many rows a Parquet file has, and the first of them; no more than these are read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        batches = list(islice(file.iter_batches(rows), 1)) if rows else []
        return file.metadata.num_rows, pa.Table.from_batches(batches, file.schema_arrow)


def _plain(value: Any) -> Any:
    """A value as JSON has it: what JSON lacks becomes text."""
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
