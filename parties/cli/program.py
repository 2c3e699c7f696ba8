"""Programs: researchers' own, which the operator has read and lets jobs run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parties.cli.command import Session, command, file_argument, yes_option
from parties.cli.output import say, show_facts, show_table
from parties.cli.units import iso_time, show_time

if TYPE_CHECKING:
    from parties.programs import Program


@click.group()
def program() -> None:
    """Programs on shares, which you have read, that jobs may run."""


@command("add", program)
@click.argument("name")
@file_argument("file")
@yes_option
def add(session: Session, name: str, file: Path, yes: bool) -> None:
    """Let jobs run the Python program in FILE as NAME. Read it first.

    It runs with all rights of the node's user, on the columns that you approve, and says itself what it opens to whom.
    Its text is kept: a changed file is another program, to be read and added again.

    \b
    Example:
      sealane program add limits limits.py
    """
    node = session.node()
    session.confirm(f"Have you read {file}, and may it run here with all rights of the node?", yes=yes)
    added = node.add_program(name, file)
    session.answer(_document(added), lambda: show_facts({"program": added.name, "digest": added.digest}))


@command("list", program)
def list_(session: Session) -> None:
    """Show the programs that jobs may run here; jobs name them by digest.

    \b
    Example:
      sealane program list
    """
    found = session.node().programs()

    def show() -> None:
        if not found:
            say("no programs; `sealane program add` registers one")
            return
        show_table(("NAME", "DIGEST", "SINCE"), [(each.name, each.digest, show_time(each.added_at)) for each in found])

    session.answer([_document(each) for each in found], show)


@command("show", program)
@click.argument("name")
def show(session: Session, name: str) -> None:
    """Show the text of a program as jobs run it.

    \b
    Example:
      sealane program show limits
    """
    found = session.node().program(name)
    text = found.source.decode()
    session.answer({**_document(found), "text": text}, lambda: _show(text))


@command("remove", program)
@click.argument("name")
@yes_option
def remove(session: Session, name: str, yes: bool) -> None:
    """Forget a program: jobs that run it do not start here any more.

    \b
    Example:
      sealane program remove limits
    """
    node = session.node()
    node.program(name)
    session.confirm(f"Forget program {name}?", yes=yes)
    removed = node.remove_program(name)
    session.answer(_document(removed), lambda: say(f"{name} is forgotten."))


def _show(text: str) -> None:
    for line in text.expandtabs().splitlines():
        say(line)


def _document(found: "Program") -> dict[str, Any]:
    return {"name": found.name, "digest": found.digest, "added_at": iso_time(found.added_at)}
