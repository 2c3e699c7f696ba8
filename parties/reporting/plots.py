"""Plots of an evaluation as SVG, without a display."""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mpc.federated.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE_INCHES = (4.8, 3.6)


def figures(evaluation: Evaluation, fit: Mapping[str, Sequence[float]]) -> "Iterator[tuple[str, Figure]]":
    """A title and a figure for each curve that the evaluation has, and for the fit by epoch or tree."""
    tables, measures = evaluation.tables, evaluation.measures
    if "roc" in tables:
        figure, axes = _axes("share of rows with label 0", "share of rows with label 1")
        axes.plot(tables["roc"]["fall_out"], tables["roc"]["recall"])
        axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
        yield f"ROC curve: area {measures['auc']:.4f}", figure
    if "ks" in tables:
        figure, axes = _axes("score", "share of rows with at least this score")
        axes.plot(tables["ks"]["threshold"], tables["ks"]["positives"], label="label 1")
        axes.plot(tables["ks"]["threshold"], tables["ks"]["negatives"], label="label 0")
        axes.axvline(measures["ks_threshold"], linestyle=":", color="grey")
        axes.legend()
        yield f"Kolmogorov-Smirnov: distance {measures['ks']:.4f}", figure
    if "precision_recall" in tables:
        figure, axes = _axes("recall", "precision")
        axes.plot(tables["precision_recall"]["recall"], tables["precision_recall"]["precision"])
        yield f"Precision and recall: average precision {measures['average_precision']:.4f}", figure
    if "gain" in tables:
        figure, axes = _axes("share of rows, highest scores first", "share of rows with label 1 found")
        axes.plot([0, *tables["gain"]["share"]], [0, *tables["gain"]["gain"]], marker="o")
        axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
        yield "Gain", figure
    if "calibration" in tables:
        figure, axes = _axes("mean prediction", "mean label")
        predicted = tables["calibration"]["predicted"]
        axes.plot(predicted, tables["calibration"]["observed"], marker="o")
        axes.plot([min(predicted), max(predicted)], [min(predicted), max(predicted)], linestyle=":", color="grey")
        yield "Calibration", figure
    if fit:
        figure, axes = _axes("epoch or tree", "value")
        for name, values in fit.items():
            axes.plot(range(1, len(values) + 1), values, marker=".", label=name)
        axes.legend()
        yield "Fit by epoch or tree", figure


def svg(figure: "Figure") -> str:
    """The figure as an SVG element, the same for the same figure."""
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "sealane"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _axes(x: str, y: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes
