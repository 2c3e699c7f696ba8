"""Plots of an evaluation as SVG, without a display."""

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mpc.federated.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE_INCHES = (4.8, 3.6)
_GUIDE: dict[str, Any] = {"linestyle": ":", "color": "grey"}
_MAX_LABELLED = 12  # classes whose shares are written into the plot


def figures(evaluation: Evaluation, fit: Mapping[str, Sequence[float]]) -> "Iterator[tuple[str, Figure]]":
    """A title and a figure for each curve that the evaluation has, and for the fit by epoch or tree."""
    tables, measures = evaluation.tables, evaluation.measures
    if "roc" in tables:
        figure, axes = _shares("share of rows with label 0", "share of rows with label 1")
        axes.plot(tables["roc"]["fall_out"], tables["roc"]["recall"])
        axes.plot([0, 1], [0, 1], **_GUIDE)
        yield f"ROC curve: area {measures['auc']:.4f}", figure
    if "ks" in tables:
        figure, axes = _axes("score", "share of rows with at least this score")
        axes.plot(tables["ks"]["threshold"], tables["ks"]["positives"], label="label 1")
        axes.plot(tables["ks"]["threshold"], tables["ks"]["negatives"], label="label 0")
        axes.axvline(measures["ks_threshold"], **_GUIDE)
        axes.legend()
        yield f"Kolmogorov-Smirnov: distance {measures['ks']:.4f}", figure
    if "precision_recall" in tables:
        figure, axes = _shares("recall", "precision")
        axes.plot(tables["precision_recall"]["recall"], tables["precision_recall"]["precision"])
        axes.axhline(measures["positives"] / evaluation.rows, **_GUIDE)
        yield f"Precision and recall: average precision {measures['average_precision']:.4f}", figure
    if "gain" in tables:
        yield from _gain(tables["gain"])
    if "calibration" in tables:
        figure, axes = _axes("mean prediction", "mean label")
        predicted = tables["calibration"]["predicted"]
        axes.plot(predicted, tables["calibration"]["observed"], marker="o")
        axes.plot([min(predicted), max(predicted)], [min(predicted), max(predicted)], **_GUIDE)
        yield "Calibration", figure
    if evaluation.task == "multiclass":
        yield "Confusion: share of each label's rows", _confusion(tables["confusion"])
    yield from _fit(fit)


def _gain(table: Mapping[str, Sequence[float]]) -> "Iterator[tuple[str, Figure]]":
    figure, axes = _shares("share of rows, highest scores first", "share of rows with label 1 found")
    axes.plot([0, *table["share"]], [0, *table["gain"]], marker="o")
    axes.plot([0, 1], [0, 1], **_GUIDE)
    yield "Gain", figure
    figure, axes = _axes("tenth of the rows, highest scores first", "times the share of all rows with label 1")
    axes.bar(range(1, len(table["lift"]) + 1), table["lift"], label="this tenth")
    axes.plot(range(1, len(table["lift"]) + 1), table["cumulative_lift"], color="C1", marker="o", label="up to here")
    axes.axhline(1, **_GUIDE)
    axes.set_xticks(range(1, len(table["lift"]) + 1))
    axes.legend()
    yield "Lift", figure


def _confusion(table: Mapping[str, Sequence[float]]) -> "Figure":
    """Rows of labels, columns of what they were called."""
    labels = [f"{label:g}" for label in table["label"]]
    counts = list(zip(*(column for name, column in table.items() if name != "label"), strict=True))
    shares = [[count / max(sum(row), 1) for count in row] for row in counts]
    figure, axes = _axes("called", "label")
    places = range(len(labels))
    axes.grid(visible=False)
    # Not `imshow`, whose image the page does not load.
    axes.pcolormesh(places, places, shares, cmap="Blues", vmin=0, vmax=1, shading="nearest", edgecolors="white")
    axes.set_xticks(places, labels)
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    if len(labels) <= _MAX_LABELLED:
        for y, row in enumerate(shares):
            for x, share in enumerate(row):
                colour = "white" if share > 0.5 else "black"
                axes.text(x, y, f"{share:.0%}", ha="center", va="center", color=colour)
    return figure


def _fit(fit: Mapping[str, Sequence[float]]) -> "Iterator[tuple[str, Figure]]":
    """A figure for all values of one kind, which is the last word of their names, such as loss."""
    from matplotlib.ticker import MaxNLocator

    kinds = list(dict.fromkeys(name.rpartition(" ")[2] for name in fit))
    for kind in kinds:
        figure, axes = _axes("epoch or tree", kind)
        for name, values in fit.items():
            if name.rpartition(" ")[2] == kind:
                axes.plot(range(1, len(values) + 1), values, marker=".", label=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
        yield f"Fit by epoch or tree: {kind}", figure


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
    axes.set_axisbelow(True)
    axes.grid(color="#e5e5e5", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _shares(x: str, y: str) -> "tuple[Figure, Axes]":
    """Axes from 0 to 1 both ways."""
    figure, axes = _axes(x, y)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    return figure, axes
