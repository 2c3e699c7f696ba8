"""Models: this party's parts of what jobs trained."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mpc.errors import InputError
from parties.cli import files
from parties.cli.command import Session, command, force_option, out_option, yes_option
from parties.cli.job_text import SHORT
from parties.cli.output import say, show_facts, show_markdown, show_table
from parties.cli.units import iso_time, show_time

if TYPE_CHECKING:
    from mpc.federated.model import Model as Part
    from parties.models import Model


@click.group()
def model() -> None:
    """Own parts of trained models, each named by its training job."""


@command("list", model)
def list_(session: Session) -> None:
    """Show the models that this party has a part of, the oldest first.

    \b
    Example:
      sealane model list
    """
    found = session.node().models()

    def show() -> None:
        if not found:
            say("no models; a job of a protocol train.* leaves one")
            return
        show_table(
            ("TRAINED BY", "PROTOCOL", "PARTIES", "SINCE"),
            [(each.job[:SHORT], each.protocol, ", ".join(each.parties), show_time(each.kept_at)) for each in found],
        )

    session.answer([_document(each) for each in found], show)


@command("show", model)
@click.argument("job_id", metavar="ID")
def show(session: Session, job_id: str) -> None:
    """Show this party's part: its model card; with --json, all of it.

    The card tells data sizes, parameters, metrics, what the training revealed, and how much each own feature matters.

    \b
    Example:
      sealane model show 4f2a
    """
    from mpc.federated.model import readable
    from mpc.federated.model_card import model_card

    part = _part(session, job_id)
    session.answer(readable(part), lambda: show_markdown(model_card(part)))


@command("export", model)
@click.argument("job_id", metavar="ID")
@out_option("Where to write it: a name that ends in .json (all of it) or .md (the model card).", required=True)
@force_option
def export(session: Session, job_id: str, out: Path, force: bool) -> None:
    """Write this party's part, for people or programs.

    \b
    Examples:
      sealane model export 4f2a --out default-model.json
      sealane model export 4f2a --out default-model.md
    """
    from mpc.federated.model import readable
    from mpc.federated.model_card import model_card

    part = _part(session, job_id)
    forms = {
        ".json": lambda: json.dumps(readable(part), indent=2, ensure_ascii=False, sort_keys=True) + "\n",
        ".md": lambda: model_card(part),
    }
    if out.suffix.lower() not in forms:
        raise InputError(f"{out} has no known format", hint="choose a name that ends in .json or .md")
    with files.new(out, force=force, private=True) as file:
        file.write(forms[out.suffix.lower()]().encode())
    session.answer({"job": part.job, "file": str(out)}, lambda: say(f"written to {out}"))


@command("remove", model)
@click.argument("job_id", metavar="ID")
@yes_option
def remove(session: Session, job_id: str, yes: bool) -> None:
    """Forget this party's part; then nobody can use the model any more.

    \b
    Example:
      sealane model remove 4f2a
    """
    node = session.node()
    found = node.model(job_id)
    if not session.as_json:
        show_facts({"trained by": found.job, "protocol": found.protocol, "parties": ", ".join(found.parties)})
    session.confirm("Remove this party's part of the model?", yes=yes)
    removed = node.remove_model(found.job)
    session.answer(_document(removed), lambda: say(f"removed the part of the model that job {removed.job} trained"))


def _part(session: Session, job_id: str) -> "Part":
    from mpc.federated.model import Model as Part  # loads numpy

    return Part.from_bytes(session.node().model_part(job_id))


def _document(found: "Model") -> dict[str, Any]:
    return {
        "job": found.job,
        "protocol": found.protocol,
        "parties": list(found.parties),
        "digest": found.digest,
        "kept_at": iso_time(found.kept_at),
    }
