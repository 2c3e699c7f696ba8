"""An evaluation as one HTML page, with its plots inside: it loads nothing, and runs nothing."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mpc.errors import InputError
from mpc.federated.evaluation import Evaluation
from parties.reporting import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TASKS = {
    "binary": "two classes",
    "multiclass": "several classes",
    "number": "numbers",
    "count": "counts",
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
    environment = Environment(
        loader=PackageLoader("parties.reporting", "templates"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("evaluation.html").render(
        title=title,
        task=TASKS[evaluation.task],
        rows=evaluation.rows,
        facts=facts or {},
        measures=evaluation.measures,
        plots=[(name, Markup(plots.svg(figure))) for name, figure in _figures(evaluation, fit or {})],  # noqa: S704
        tables={
            title: _columns(evaluation.tables[name]) for name, title in _SHOWN.items() if name in evaluation.tables
        },
    )


_SHOWN = {"confusion": "Confusion", "gain": "Gain and lift", "calibration": "Calibration", "classes": "Classes"}


def _columns(table: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    rows = [[f"{value:.4g}" for value in row] for row in zip(*table.values(), strict=True)]
    return {"head": [name.replace("_", " ") for name in table], "rows": rows}


def _figures(evaluation: Evaluation, fit: Mapping[str, Sequence[float]]) -> "list[tuple[str, Figure]]":
    try:
        return list(plots.figures(evaluation, fit))
    except ImportError:
        raise InputError("matplotlib is not installed", hint="install sealane[report]") from None
