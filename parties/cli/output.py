"""What people see: lines, tables, questions. Whatever text comes here may be a peer's, and is shown as text only."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mpc.errors import InputError
from parties.policy import showable

Cell = str | Text
_LONGEST_WORD = 20  # characters
_UNLIMITED = 10_000  # columns; nothing is wrapped or cut when a program reads


def clean(text: str, *, keep_lines: bool = False) -> str:
    """`text` with every character that could move the cursor, change colours or reverse text shown as U+FFFD."""
    return "".join(char if showable(char) or (keep_lines and char == "\n") else "\ufffd" for char in text)


def say(line: str = "") -> None:
    """Print one line, however long."""
    click.echo(clean(line))


def print_json(document: Any) -> None:
    """Print one JSON document on one line, in ASCII: no text in it can act on a terminal."""
    click.echo(json.dumps(document, allow_nan=False))


def console() -> Console:
    """A console that takes no text for markup; colours only on a terminal."""
    width = None if sys.stdout.isatty() else _UNLIMITED
    return Console(markup=False, emoji=False, highlight=False, width=width)


def cell(text: str, style: str = "", *, keep_lines: bool = False) -> Text:
    """Text for a table, in a style of rich. With `keep_lines` it may have several lines, all within its column."""
    return Text(clean(text, keep_lines=keep_lines), style, overflow="fold")


def show_table(headers: Sequence[str], rows: Sequence[Sequence[Cell]], *, right: Sequence[str] = ()) -> None:
    """Print aligned columns; those named in `right` are set to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header, *values in zip(headers, *rows, strict=True):
        side: Literal["left", "right"] = "right" if header in right else "left"
        table.add_column(cell(header), justify=side, overflow="fold", no_wrap=all(map(_is_word, values)))
    for row in rows:
        table.add_row(*(value if isinstance(value, Text) else cell(value) for value in row))
    _print(table)


def tell_of_more(option: str, shown: int) -> None:
    """Say on standard error, for programs too, that only the newest were `shown`, and how to see more."""
    click.echo(f"There are more, older ones: add {option} {10 * shown}, or narrow it down (see --help).", err=True)


def _is_word(value: Cell) -> bool:
    """Whether `value` is a name, an id or a number, which nobody can read or copy in two pieces."""
    text = str(value)
    return " " not in text and len(text) <= _LONGEST_WORD


def show_facts(facts: Mapping[str, Cell]) -> None:
    """Print names and values, one a line; empty values are left out."""
    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts.items():
        if value:
            grid.add_row(cell(name), value if isinstance(value, Text) else cell(value))
    _print(grid)


def show_markdown(text: str) -> None:
    """Print Markdown: laid out on a terminal, as it is elsewhere."""
    if not sys.stdout.isatty():
        click.echo(clean(text, keep_lines=True), nl=False)
    else:
        from rich.markdown import Markdown  # takes long to load

        console().print(Markdown(clean(text, keep_lines=True)))


def heading(text: str) -> None:
    """Print a title above what follows."""
    say()
    click.secho(clean(text), bold=True)


def confirm(question: str, *, yes: bool, as_json: bool, instead: str) -> None:
    """Ask, unless `yes`; raises `InputError` when the answer is no or there is nobody to ask.

    `instead` is the option that makes the question needless.
    """
    if yes:
        return
    if as_json:
        raise InputError("this needs a confirmation, and with --json nothing is asked", hint=f"add {instead}")
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        raise InputError(
            "there was no answer, so nothing was done", hint=f"where nobody can answer, add {instead}"
        ) from None
    if not agreed:
        raise InputError("not confirmed, so nothing was done")


def _print(table: Table) -> None:
    screen = console()
    with screen.capture() as captured:
        screen.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))
