"""An evaluation as one HTML page, with its plots inside: it loads nothing, and runs nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from mpc.federated.evaluation import Evaluation
from parties.reporting import page, plots

TASKS = {
    "binary": "two classes",
    "multiclass": "several classes",
    "number": "numbers",
    "count": "counts",
}
_NAMES = {
    "auc": "AUC",
    "ks": "KS",
    "ks_threshold": "KS at score",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier score",
    "positives": "rows with label 1",
    "f1": "F1",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "deviance": "Poisson deviance",
}


def html_page(
    evaluation: Evaluation,
    *,
    title: str,
    facts: Mapping[str, Any] | None = None,
    fit: Mapping[str, Sequence[float]] | None = None,
) -> str:
    """The page: measures, plots and tables of an evaluation.

    `facts` are shown as they are, such as the model's id and the parties; `fit` are values by epoch or tree, such as
    {"validation error": [...]}. Every text is escaped. The same input gives the same page. Raises `InputError` where
    matplotlib is not installed.
    """
    return page.render(
        "evaluation.html",
        plots.figures(evaluation, fit or {}),
        title=title,
        task=TASKS[evaluation.task],
        rows=evaluation.rows,
        facts=facts or {},
        measures={_NAMES.get(name, name): shown(value) for name, value in evaluation.measures.items()},
        tables={
            title: _columns(evaluation.tables[name])
            for name, title in _titles(evaluation).items()
            if name in evaluation.tables
        },
    )


def shown(value: float) -> str:
    """A figure for people: whole numbers with thousands marked, others to four digits."""
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:,.4g}"


def _titles(evaluation: Evaluation) -> dict[str, str]:
    """The tables that are shown, and how they are called."""
    threshold = evaluation.measures.get("threshold")
    at = "" if threshold is None else f" at the threshold {threshold:g}"
    return {
        "confusion": f"Confusion{at}",
        "gain": "Gain and lift by tenths of the rows, highest scores first",
        "calibration": "Calibration",
        "classes": "Classes",
    }


def _columns(table: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    rows = [[shown(value) for value in row] for row in zip(*table.values(), strict=True)]
    return {"head": [name.replace("_", " ") for name in table], "rows": rows}
