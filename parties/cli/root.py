"""`sealane` itself: its nouns, its global options, and the one place where errors become exit codes."""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from mpc.errors import SealaneError
from parties.cli import (
    command,
    dataset,
    evidence,
    exits,
    grant,
    job,
    job_result,
    job_watch,
    model,
    model_scorecard,
    model_use,
    node,
    peer,
    program,
    protocol,
    schedule,
    sql,
)
from parties.cli.exits import Exit
from parties.store import explained, is_unusable

__all__ = ["main", "sealane"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sealane", message="sealane %(version)s")
@click.pass_context
def sealane(context: click.Context, home: Path, as_json: bool) -> None:
    """Compute with other institutions on data that never leaves home.

    \b
    A first job, on each side:
      sealane init hk-bank --listen 0.0.0.0:7443 --advertise node.hk-bank.example:7443
      sealane serve
      sealane peer invite --out for-cn-bank.json        (the other: sealane peer accept)
      sealane dataset add cards cards.csv --key id
      sealane grant add cn-bank ...                     (what it may compute: sealane grant add --help)
      sealane job propose job.json                      (the other: sealane job approve)
      sealane job result ID
    """
    context.obj = command.Session(home, as_json)


sealane.params += [
    command.home_option(default=lambda: Path.home() / ".sealane", envvar="SEALANE_HOME"),
    command.json_option(),
]
for _part in (job_watch.watch, job_result.result, job_result.delete_result, job_result.forget, job_result.receipt):
    job.job.add_command(_part)
for _part in (
    model_use.predict,
    model_use.evaluate,
    model_use.serve,
    model_use.ask,
    model_use.close,
    model_use.report,
    model_scorecard.encode,
    model_scorecard.scorecard,
):
    model.model.add_command(_part)
for _part in (node.init, node.serve, node.status):
    sealane.add_command(_part)
sealane.add_command(sql.sql)
for _noun in (
    peer.peer,
    dataset.dataset,
    grant.grant,
    protocol.protocol,
    job.job,
    schedule.schedule,
    model.model,
    program.program,
    evidence.evidence,
):
    sealane.add_command(_noun)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command line and exit with one of `exits.Exit`."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    sys.exit(_run(words, as_json="--json" in words))


def _run(words: list[str], *, as_json: bool) -> int:
    try:
        code = sealane.main(words, prog_name="sealane", standalone_mode=False)
        return code if isinstance(code, int) else Exit.OK
    except click.exceptions.NoArgsIsHelpError as error:
        if as_json:
            command_path = error.ctx.command_path if error.ctx is not None else "sealane"
            exits.tell("UsageError", "Missing command.", f"see {command_path} --help", as_json=True)
        else:
            error.show()
        return Exit.INPUT
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        command_path = context.command_path if context is not None else "sealane"
        exits.tell("UsageError", error.format_message(), f"see {command_path} --help", as_json=as_json)
        return Exit.INPUT
    except click.Abort:
        click.echo("interrupted", err=True)
        return Exit.INTERRUPTED
    except SealaneError as error:
        exits.tell(type(error).__name__, str(error), error.hint, as_json=as_json)
        return exits.code_of(error)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        exits.tell("OSError", f"{where}{error.strerror or type(error).__name__}", "", as_json=as_json)
        return Exit.INPUT
    except Exception as error:
        if is_unusable(error):
            unusable = explained(error)
            exits.tell(type(unusable).__name__, str(unusable), unusable.hint, as_json=as_json)
            return Exit.STORE
        # Its words may hold data, so only its type and place are told.
        place = traceback.extract_tb(error.__traceback__)[-1]
        name = type(error).__name__
        message = f"unexpected {name} in {Path(place.filename).name}, line {place.lineno}: this is a bug in Sealane"
        exits.tell(name, message, "please report this line and the release (sealane --version)", as_json=as_json)
        return Exit.UNEXPECTED
