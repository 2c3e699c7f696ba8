"""A model card: what a person should know of a model before using it, in Markdown (Mitchell et al., FAT* 2019)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mpc.federated.model import Feature, Model


def model_card(model: Model) -> str:
    """Data sizes, parameters, metrics, what was revealed to whom, and the importance of this party's own features.

    It holds no row and nothing of other parties but what this party learned in the training.
    """
    return "\n".join(_lines(model)) + "\n"


def _lines(model: Model) -> Iterator[str]:
    yield f"# Model {model.job}\n"
    yield f"The part of {_text(model.party)} in a model of kind {model.kind}, version {model.version}.\n"
    yield f"Training job `{model.job}`, digest `{model.job_digest}`; this part's digest `{model.digest}`.\n"
    yield from _table("Parties", ("Party", "Role"), sorted(model.members.items()))
    yield from _table("Data", ("What", "Count"), sorted(model.sizes.items()))
    yield from _table("Parameters", ("Parameter", "Value"), sorted(model.parameters.items()))
    yield from _table("Metrics", ("Metric", "Value"), [(name, f"{x:.6g}") for name, x in sorted(model.metrics.items())])
    yield from _table("What the training revealed", ("To", "What"), sorted(model.revealed.items()))
    yield from _features(model.features, model.label)


def _features(features: Sequence[Feature], label: str) -> Iterator[str]:
    if label:
        yield f"The label is column {_text(label)}.\n"
    rows = [(f.name, f.kind, "" if f.importance is None else f"{f.importance:.6g}") for f in _by_importance(features)]
    yield from _table("Own features", ("Feature", "Kind", "Importance"), rows)


def _by_importance(features: Sequence[Feature]) -> list[Feature]:
    return sorted(features, key=lambda feature: (-(feature.importance or 0), feature.name))


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    if not rows:
        return
    yield f"## {title}\n"
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(_text(cell) for cell in row)} |"
    yield ""


def _text(value: Any) -> str:
    """One line, in which no character has a meaning for Markdown or HTML."""
    if isinstance(value, Mapping):
        value = ", ".join(f"{key}: {item}" for key, item in sorted(value.items()))
    elif isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    line = " ".join(str(value).split())
    return "".join(f"\\{c}" if c in "\\|`*_[]<>#" else c for c in line)
