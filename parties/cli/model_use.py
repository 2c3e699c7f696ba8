"""Jobs that use a model, and the page that an evaluation makes."""

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mpc.errors import InputError
from mpc.federated.jobs import EVALUATE, evaluation_job, prediction_job, predicts_alone, serving_job
from mpc.job import Job
from parties.cli import files
from parties.cli.command import Session, command, force_option, out_option, yes_option
from parties.cli.job_result import FORMATS
from parties.cli.job_text import describe_record
from parties.cli.output import say, show_facts, show_table
from parties.cli.proposing import deadline_option, propose_shown, purpose_option

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.federated.evaluation import Evaluation
    from parties.node import Node

_dataset_option = click.option(
    "--dataset", "datasets", multiple=True, metavar="NAME=DATASET", help="A party's data, if not as in training."
)
_min_rows_option = click.option(
    "--min-rows", type=click.IntRange(1), default=1, show_default=True, help="Fewer common rows: no result."
)


@command("predict")
@click.argument("job_id", metavar="ID")
@_dataset_option
@click.option("--receiver", "receivers", multiple=True, metavar="NAME", help="Learns the predictions.")
@click.option("--output", multiple=True, metavar="NAME=COLUMN,...", help="A receiver's own columns beside its key.")
@out_option("Predicting alone: where to write it, a name that ends in .csv or .parquet.")
@force_option
@_min_rows_option
@purpose_option
@deadline_option
@yes_option
def predict(
    session: Session,
    job_id: str,
    datasets: tuple[str, ...],
    receivers: tuple[str, ...],
    output: tuple[str, ...],
    out: Path | None,
    force: bool,
    min_rows: int,
    purpose: str | None,
    deadline: str | None,
    yes: bool,
) -> None:
    """Propose a prediction by the model that the job ID trained.

    It is for the rows that all its parties have.

    A party that has the whole model, as after train.regression_horizontal, predicts alone: nothing is proposed, no
    --receiver named, and --out says where the predictions for its own dataset go.

    \b
    Examples:
      sealane model predict 4f2a --receiver bank
      sealane model predict 4f2a --receiver bank --dataset bank=applicants --output bank=account
      sealane model predict 77d0 --dataset bank=applicants --output bank=account --out scores.csv
    """
    node = session.node()
    training = _training(node, job_id)
    own = {name: columns.split(",") for name, columns in map(_pair, output)}
    if predicts_alone(training) and not receivers:
        _predict_alone(session, node, training, dict(map(_pair, datasets)), own, out, force=force)
        return
    if not receivers or out is not None:
        raise InputError(
            "who learns the predictions?" if not receivers else "--out is for predicting alone",
            hint="name a --receiver, and read its result with `sealane job result`",
        )
    wanted = prediction_job(
        training,
        receivers,
        datasets=dict(map(_pair, datasets)),
        output=own,
        purpose=purpose or "",
        min_rows=min_rows,
    )
    propose_shown(session, node, wanted, deadline, yes=yes)


@command("evaluate")
@click.argument("job_id", metavar="ID")
@_dataset_option
@click.option("--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Tells classes apart.")
@_min_rows_option
@purpose_option
@deadline_option
@yes_option
def evaluate(
    session: Session,
    job_id: str,
    datasets: tuple[str, ...],
    threshold: float,
    min_rows: int,
    purpose: str | None,
    deadline: str | None,
    yes: bool,
) -> None:
    """Propose an evaluation of the model that the job ID trained.

    The label holder learns how well it predicts. Of a model of parties with the same columns, who all have
    labels, this party learns it, over the rows of all.

    \b
    Example:
      sealane model evaluate 4f2a --dataset bank=borrowers2024 --dataset telecom=users2024
    """
    node = session.node()
    training = _training(node, job_id)
    wanted = evaluation_job(
        training,
        datasets=dict(map(_pair, datasets)),
        threshold=threshold,
        purpose=purpose or "",
        min_rows=min_rows,
        receiver=node.name if predicts_alone(training) else "",
    )
    propose_shown(session, node, wanted, deadline, yes=yes)


@command("serve")
@click.argument("job_id", metavar="ID")
@_dataset_option
@click.option("--asking", required=True, metavar="NAME", help="The party that asks, and learns the predictions.")
@click.option("--calls", type=click.IntRange(1), required=True, help="So many calls at most.")
@click.option("--rows", type=click.IntRange(1), required=True, help="So many predictions at most, over all calls.")
@_min_rows_option
@purpose_option
@deadline_option
@yes_option
def serve(
    session: Session,
    job_id: str,
    datasets: tuple[str, ...],
    asking: str,
    calls: int,
    rows: int,
    min_rows: int,
    purpose: str | None,
    deadline: str | None,
    yes: bool,
) -> None:
    """Propose to keep a model ready for calls.

    One party then gets predictions by the model that the job ID trained within milliseconds of asking. The job
    is open until the deadline, until so many calls or rows were answered, or until `sealane model close`. Ask
    with `sealane model ask`.

    \b
    Example:
      sealane model serve 4f2a --asking bank --calls 5000 --rows 5000 --deadline 8h
    """
    node = session.node()
    wanted = serving_job(
        _training(node, job_id),
        asking,
        calls=calls,
        rows=rows,
        datasets=dict(map(_pair, datasets)),
        purpose=purpose or "",
        min_rows=min_rows,
    )
    propose_shown(session, node, wanted, deadline, yes=yes)


@command("ask")
@click.argument("job_id", metavar="ID")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
def ask(session: Session, job_id: str, keys: tuple[str, ...]) -> None:
    """Ask the serving job ID for predictions.

    A KEY of several columns has their values with commas between. With "-" in place of keys they are read from
    the standard input, one a line: other users of the machine can see a command's arguments.

    \b
    Examples:
      sealane model ask 91be A123456 B765432 --json
      sealane model ask 91be - < applicants.txt
    """
    if keys == ("-",):
        keys = tuple(line for line in sys.stdin.read().splitlines() if line)
    node = session.node()
    found = node.job(job_id)
    names = found.job.members[node.name].columns["key"]
    with node.questions(found.id) as questions:
        table = questions.ask(_key_table(names, keys))
    rows = table.to_pylist()

    def show() -> None:
        cells = [[_shown(row[name]) for name in table.column_names] for row in rows]
        show_table([name.upper() for name in table.column_names], cells)

    session.answer(rows, show)


@command("close")
@click.argument("job_id", metavar="ID")
def close(session: Session, job_id: str) -> None:
    """End the serving job ID for all parties.

    Its result tells how much was asked.

    \b
    Example:
      sealane model close 91be
    """
    node = session.node()
    found = node.job(job_id)
    with node.questions(found.id) as questions:
        questions.finish()
    ended = node.wait(found.id)
    session.answer(describe_record(ended), lambda: say(f"job {ended.id} {ended.state}"))


@command("report")
@click.argument("job_id", metavar="ID")
@out_option("Where to write the page: a name that ends in .html.")
@force_option
def report(session: Session, job_id: str, out: Path | None, force: bool) -> None:
    """Show what the evaluation job ID measured.

    With --out, as a page with plots.

    \b
    Examples:
      sealane model report 7c01
      sealane model report 7c01 --out default-model.html
    """
    from mpc.federated.evaluation import Evaluation

    if out is not None and out.suffix.lower() != ".html":
        raise InputError(f"{out} has no known format", hint="choose a name that ends in .html")
    node = session.node()
    record = node.job(job_id)
    if not record.job.protocol.startswith(EVALUATE):
        raise InputError(f"job {record.id} evaluates no model: it runs {record.job.protocol}")
    found = Evaluation.from_arrow(node.result(record.id))
    if out is not None:
        with files.new(out, force=force, private=True) as file:
            file.write(_page(node, record.job, found).encode())
    document = {
        "job": record.id,
        "model": record.job.params["model"],
        "rows": found.rows,
        "measures": dict(found.measures),
        "file": None if out is None else str(out),
    }

    def show() -> None:
        if out is None:
            show_facts({"rows": f"{found.rows:,}"} | {name: f"{value:.4g}" for name, value in found.measures.items()})
        else:
            say(f"written to {out}")

    session.answer(document, show)


def _page(node: "Node", job: Job, found: "Evaluation") -> str:
    from parties.reporting.evaluation import html_page

    trained_by = str(job.params["model"])
    facts = {
        "Model": trained_by,
        "Evaluated by job": job.id,
        "Parties": ", ".join(job.members),
        "Purpose": job.purpose,
    }
    return html_page(found, title="How well the model predicts", facts=facts, fit=_fit(node, trained_by))


def _fit(node: "Node", trained_by: str) -> dict[str, Any]:
    """What the training told this party of each epoch or round, in its part of the model or in its result."""
    import pyarrow as pa

    from mpc.federated.model import Model as Part

    errors = Part.from_bytes(node.model_part(trained_by)).content.get("validation_errors")
    if errors:
        return {"validation error": errors}
    if node.job(trained_by).result is None:
        return {}
    table = node.result(trained_by)
    return {
        name.replace("_", " "): table[name].to_pylist()
        for name in table.column_names
        if table.num_rows > 1 and pa.types.is_floating(table[name].type) and not table[name].null_count
    }


def _training(node: "Node", job_id: str) -> Job:
    return node.job(node.model(job_id).job).job


def _predict_alone(
    session: Session,
    node: "Node",
    training: Job,
    datasets: Mapping[str, str],
    output: Mapping[str, Sequence[str]],
    out: Path | None,
    *,
    force: bool,
) -> None:
    """Predict for an own dataset by the own, whole model, and write that to a file."""
    from parties.results import export_table

    others = sorted({*datasets, *output} - {node.name})
    if others:
        raise InputError(f"{others[0]} is another party: this one predicts alone, for its own data")
    if out is None or out.suffix.lower() not in FORMATS:
        raise InputError(
            "where to?" if out is None else f"{out} has no known format",
            hint="give --out a name that ends in .csv or .parquet",
        )
    dataset = datasets.get(node.name, training.members[node.name].dataset)
    table = node.predict_alone(training.id, dataset, output.get(node.name, ()))
    export_table(table, out, FORMATS[out.suffix.lower()], overwrite=force)
    document = {"model": training.id, "rows": table.num_rows, "columns": table.column_names, "file": str(out)}
    session.answer(document, lambda: say(f"{table.num_rows:,} rows written to {out}"))


def _key_table(names: Sequence[str], keys: Sequence[str]) -> "pa.Table":
    """Keys as given on the command line, by column."""
    import pyarrow as pa

    split = [next(csv.reader([key])) if len(names) > 1 else [key] for key in keys]
    for key, values in zip(keys, split, strict=True):
        if len(values) != len(names):
            raise InputError(f"{key[:80]!r} has {len(values)} values for the key columns {', '.join(names)}")
    return pa.table({name: [values[i] for values in split] for i, name in enumerate(names)})


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise InputError(f"{text[:80]!r} is not NAME=...", hint="write a party, an equals sign, and what it brings")
    return name, value
