"""Scorecards: own columns as weights of evidence, and the points of the own bins."""

from pathlib import Path

import click

from mpc.errors import InputError
from parties.cli.command import Session, command, force_option, out_option
from parties.cli.job_result import FORMATS
from parties.cli.output import say, show_table


@command("encode")
@click.argument("woe_id", metavar="ID")
@click.option("--dataset", required=True, metavar="NAME", help="The own data, with the columns of the model.")
@click.option("--as", "name", required=True, metavar="NAME", help="What the encoded data are registered as.")
def encode(session: Session, woe_id: str, dataset: str, name: str) -> None:
    """Register own data as weights of evidence.

    They are those that the feature.woe job ID has found.

    \b
    Example:
      sealane model encode 3b1c --dataset borrowers --as borrowers-woe
    """
    found = session.node().encode_evidence(woe_id, dataset, name)
    document = {"name": found.name, "rows": found.rows, "columns": list(found.column_names)}
    session.answer(document, lambda: say(f"registered {found.name}: {found.rows:,} rows"))


@command("scorecard")
@click.argument("woe_id", metavar="WOE_ID")
@click.argument("regression_id", metavar="ID")
@click.option("--base-points", type=float, default=600.0, show_default=True, help="Points that stand for --base-odds.")
@click.option("--base-odds", type=float, default=50.0, show_default=True, help="Odds of label 0 to label 1.")
@click.option("--pdo", type=float, default=20.0, show_default=True, help="Points that double the odds.")
@out_option("Where to write it: a name that ends in .csv or .parquet.")
@force_option
def scorecard(
    session: Session,
    woe_id: str,
    regression_id: str,
    base_points: float,
    base_odds: float,
    pdo: float,
    out: Path | None,
    force: bool,
) -> None:
    """Show the points of this party's bins.

    They are those of the regression ID on the evidence of the feature.woe job WOE_ID. A person's score is the
    sum of the points at all parties.

    \b
    Example:
      sealane model scorecard 3b1c 4f2a --out points.csv
    """
    from mpc.federated.scorecards import Scale
    from parties.results import export_table

    if out is not None and out.suffix.lower() not in FORMATS:
        raise InputError(f"{out} has no known format", hint="choose a name that ends in .csv or .parquet")
    scale = Scale(base_points, base_odds, pdo)
    table = session.node().scorecard(woe_id, regression_id, scale).to_arrow()
    if out is not None:
        export_table(table, out, FORMATS[out.suffix.lower()], overwrite=force)

    def show() -> None:
        if out is not None:
            say(f"written to {out}")
            return
        rows = [(row["column"], row["bin"], f"{row['woe']:.4f}", str(row["points"])) for row in table.to_pylist()]
        show_table(("COLUMN", "BIN", "WOE", "POINTS"), rows)

    session.answer(table.to_pylist(), show)
