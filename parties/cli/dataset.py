"""Datasets: what this party can bring to a job."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parties.cli.command import Session, command, file_argument, yes_option
from parties.cli.output import say, show_facts, show_table
from parties.cli.units import iso_time, show_time

if TYPE_CHECKING:
    from parties.datasets import Dataset


@click.group()
def dataset() -> None:
    """Own data: register files; they stay where they are."""


@command("add", dataset)
@click.argument("name")
@file_argument("file")
@click.option("--key", "key", multiple=True, required=True, metavar="COLUMN", help="Identifies a row; may be repeated.")
def add(session: Session, name: str, file: Path, key: tuple[str, ...]) -> None:
    """Register a CSV or Parquet FILE as NAME.

    It is read from end to end, and stays where it is. Register it again after a change: jobs run only on what was
    approved.

    \b
    Example:
      sealane dataset add cards cards.csv --key id --key country
    """
    added = session.node().add_dataset(name, file, key)
    session.answer(_document(added), lambda: _show(added))


@command("list", dataset)
def list_(session: Session) -> None:
    """Show all datasets.

    \b
    Example:
      sealane dataset list
    """
    found = session.node().datasets()

    def show() -> None:
        if not found:
            say("no datasets; `sealane dataset add` registers one")
            return
        show_table(
            ("NAME", "ROWS", "KEY", "COLUMNS", "FILE"),
            [
                (each.name, f"{each.rows:,}", ", ".join(each.key), str(len(each.columns)), str(each.path))
                for each in found
            ],
            right=("ROWS", "COLUMNS"),
        )

    session.answer([_document(each) for each in found], show)


@command("show", dataset)
@click.argument("name")
def show(session: Session, name: str) -> None:
    """Show one dataset and its columns.

    \b
    Example:
      sealane dataset show cards
    """
    found = session.node().dataset(name)
    session.answer(_document(found), lambda: _show(found))


@command("stability", dataset)
@click.argument("before")
@click.argument("after")
@click.option("--column", "columns", multiple=True, metavar="COLUMN", help="Without it, all but the key.")
def stability(session: Session, before: str, after: str, columns: tuple[str, ...]) -> None:
    """Show how much columns moved between two periods.

    Each period is a dataset; the measure is the population stability index (PSI). Below 0.1 is commonly called
    stable, above 0.25 shifted. With --json, the rows in each bin too.

    \b
    Example:
      sealane dataset stability customers-2023 customers-2024 --column income
    """
    node = session.node()
    first = node.dataset(before)
    wanted = columns or [name for name in first.column_names if name not in first.key]
    rows = node.stability(before, after, wanted).to_pylist()
    indices = {row["column"]: row["index"] for row in rows}

    def show() -> None:
        show_table(("COLUMN", "PSI"), [(name, f"{index:.4f}") for name, index in indices.items()])

    session.answer(rows, show)


@command("remove", dataset)
@click.argument("name")
@yes_option
def remove(session: Session, name: str, yes: bool) -> None:
    """Forget a dataset and revoke its grants; the file stays.

    \b
    Example:
      sealane dataset remove cards
    """
    node = session.node()
    node.dataset(name)
    session.confirm(f"Forget dataset {name} and revoke its grants?", yes=yes)
    node.remove_dataset(name)
    session.answer({"name": name}, lambda: say(f"{name} is forgotten; its grants are revoked."))


def _show(found: "Dataset") -> None:
    show_facts(
        {
            "dataset": found.name,
            "file": str(found.path),
            "rows": f"{found.rows:,}",
            "key": ", ".join(found.key),
            "registered": show_time(found.registered_at),
            "commitment": found.commitment,
        }
    )
    say()
    show_table(
        ("COLUMN", "TYPE", "MAY BE EMPTY"),
        [(column.name, column.type, "yes" if column.nullable else "no") for column in found.columns],
    )


def _document(found: "Dataset") -> dict[str, Any]:
    return {
        "name": found.name,
        "path": str(found.path),
        "format": found.format,
        "rows": found.rows,
        "key": list(found.key),
        "columns": [
            {"name": column.name, "type": column.type, "nullable": column.nullable} for column in found.columns
        ],
        "commitment": found.commitment,
        "registered_at": iso_time(found.registered_at),
    }
