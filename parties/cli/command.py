"""What all commands share: `--home`, `--json`, and the node they work on."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from parties.cli import output

if TYPE_CHECKING:
    from parties.node import Node

_HOME_HELP = "The node's folder."
_JSON_HELP = "Print JSON, ask nothing."


@dataclass(frozen=True)
class Session:
    """One call of a command: on which node, and for whom the output is."""

    home: Path
    as_json: bool

    def node(self) -> "Node":
        """The node in `home`; raises `InputError` when there is none."""
        from parties.node import Node  # here, so that help texts need not wait for it

        return Node(self.home)

    def answer(self, document: Any, show: Callable[[], object]) -> None:
        """Print `document` as JSON, or call `show`, which prints the same for people."""
        if self.as_json:
            output.print_json(document)
        else:
            show()

    def confirm(self, question: str, *, yes: bool, instead: str = "--yes") -> None:
        """Ask unless `yes`; raises `InputError`, which names the option `instead`, unless the answer is yes."""
        output.confirm(question, yes=yes, as_json=self.as_json, instead=instead)


def home_option(*, default: Callable[[], Path] | None, envvar: str | None) -> click.Option:
    """`--home`: before the command with its default, after it to override that."""
    shown = f"~/.sealane, or {envvar}" if envvar else False
    kind = click.Path(file_okay=False, readable=False, path_type=Path)
    return click.Option(["--home"], type=kind, default=default, envvar=envvar, show_default=shown, help=_HOME_HELP)


def json_option() -> click.Option:
    return click.Option(["--json", "as_json"], is_flag=True, help=_JSON_HELP)


def command(name: str, group: click.Group | None = None) -> Callable[[Callable[..., None]], click.Command]:
    """Make a function, which gets a `Session` first, a command, and add it to `group`; its docstring is the help."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(home: Path | None, as_json: bool, **arguments: Any) -> None:
            outer: Session = click.get_current_context().obj
            function(Session(home or outer.home, as_json or outer.as_json), **arguments)

        made = click.command(name)(run)
        made.params += [home_option(default=None, envvar=None), json_option()]
        if group is not None:
            group.add_command(made)
        return made

    return decorate


def yes_option(function: Callable[..., None]) -> Callable[..., None]:
    return click.option("--yes", is_flag=True, help="Do not ask.")(function)


def force_option(function: Callable[..., None]) -> Callable[..., None]:
    return click.option("--force", is_flag=True, help="Overwrite the file.")(function)


def file_argument(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """An argument that names a file to read."""
    return click.argument(name, type=click.Path(exists=True, dir_okay=False, path_type=Path))


def out_option(help_text: str, *, required: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`--out`, a file to write."""
    kind = click.Path(dir_okay=False, path_type=Path)
    return click.option("--out", type=kind, required=required, help=help_text)
