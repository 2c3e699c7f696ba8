"""Models: this party's parts of what jobs trained."""

from typing import TYPE_CHECKING, Any

import click

from parties.cli.command import Session, command, yes_option
from parties.cli.job_text import SHORT
from parties.cli.output import say, show_facts, show_table
from parties.cli.units import iso_time, show_time

if TYPE_CHECKING:
    from parties.models import Model


@click.group()
def model() -> None:
    """Own parts of trained models; a model is named by the job that trained it."""


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


def _document(found: "Model") -> dict[str, Any]:
    return {
        "job": found.job,
        "protocol": found.protocol,
        "parties": list(found.parties),
        "digest": found.digest,
        "kept_at": iso_time(found.kept_at),
    }
