"""Scorecards: points for each bin of a party's own columns, from a logistic regression on weights of evidence.

Each party makes its own table from its own parts of two models: of kind "woe", by which it turned its columns into
weights of evidence (`as_evidence`), and of the regression trained on these. A row's score is the sum of its points at
all parties and of the base points, which the label holder has:

    score = base_points + pdo/ln 2 · (ln(odds of label 0) - ln(base_odds))

The log-odds of label 1 are taken to be z for the linear sigmoid and 2/3·z for the piecewise one, which has 2/3 of its
slope where both give 1/2. Points are whole: of a row, the sum is within half a point a column of the exact one.
Source: Siddiqi, Credit Risk Scorecards, 2006, chapter 6.
"""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from mpc.errors import InputError
from mpc.federated.binning import Bins
from mpc.federated.columns import check_schema, read_columns
from mpc.federated.encoding import CLIP, I64
from mpc.federated.features_local import WOE_KIND, WOE_VERSION, Evidence, evidence_from
from mpc.federated.model import Model
from mpc.federated.regression import KIND, MODEL_VERSION

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Scale:
    """`base_points` stand for odds of label 0 to label 1 of `base_odds`; each `pdo` more points double these odds."""

    base_points: float = 600.0
    base_odds: float = 50.0
    pdo: float = 20.0

    def __post_init__(self) -> None:
        values = (self.base_points, self.base_odds, self.pdo)
        if not all(math.isfinite(value) for value in values) or self.base_odds <= 0 or self.pdo <= 0:
            raise InputError("a scorecard's base_odds and pdo are above 0, and its base_points finite")

    @property
    def factor(self) -> float:
        """Points a unit of log-odds."""
        return self.pdo / math.log(2)


@dataclass(frozen=True)
class Scorecard:
    """A party's own table: the points of each bin of each of its columns; `base` points, 0 but at the label holder."""

    party: str
    evidence: tuple[Evidence, ...]
    points: tuple[I64, ...] = field(repr=False)  # a column, by bin
    base: int

    def to_arrow(self) -> "pa.Table":
        """One row a bin: column, bin, woe and points; the base points, where there are such, as a first row."""
        import pyarrow as pa

        rows: list[dict[str, Any]] = [{"column": "base", "bin": "all", "woe": 0.0, "points": self.base}]
        for each, points in zip(self.evidence, self.points, strict=True):
            names = bin_names(each.bins)
            for name, woe, point in zip(names, each.woe.tolist(), points.tolist(), strict=True):
                rows.append({"column": each.bins.name, "bin": name, "woe": woe, "points": point})
        kinds = pa.schema(
            [("column", pa.string()), ("bin", pa.string()), ("woe", pa.float64()), ("points", pa.int64())]
        )
        return pa.Table.from_pylist(rows if self.base else rows[1:], kinds)

    def score(self, table: "pa.Table") -> I64:
        """The own points of each row of a table that has the scorecard's columns, the base points included."""
        columns = _columns(table, self.evidence, self.party)
        total = np.full(table.num_rows, self.base, np.int64)
        for each, points, column in zip(self.evidence, self.points, columns, strict=True):
            total += points[each.bins.encode(column)]
        return total


def scorecard(woe: Model, regression: Model, scale: Scale | None = None) -> Scorecard:
    """The party's own scorecard; raises `InputError` unless these are its parts of a WOE model and of a logistic
    regression of two classes on the same columns."""
    evidence, scale = _evidence(woe), scale or Scale()
    regression.require(KIND, MODEL_VERSION, regression.job)
    if regression.parameters.get("family") != "logistic" or regression.parameters.get("classes") != 2:
        raise InputError("a scorecard takes a logistic regression of two classes")
    names = [feature.name for feature in regression.features]
    if woe.party != regression.party or names != [each.bins.name for each in evidence]:
        raise InputError(
            f"{regression.party}: the regression was trained on other columns than the weights of evidence are of",
            hint="train it on the columns that as_evidence gives, in their order",
        )
    count = len(names)
    weights = regression.array("weights", "float64", (count, 1))[:, 0]
    mean, deviation = (regression.array(name, "float64", (count,)) for name in ("mean", "deviation"))
    slope = 1.0 if regression.parameters.get("sigmoid") == "linear" else 2 / 3
    unit = -scale.factor * slope
    points = [
        np.rint(unit * w * np.clip((each.woe - m) / d, -CLIP, CLIP)).astype(np.int64)
        for each, w, m, d in zip(evidence, weights, mean, deviation, strict=True)
    ]
    base = 0
    if regression.label:
        intercept = float(regression.array("intercept", "float64", (1,))[0])
        base = round(scale.base_points - scale.factor * math.log(scale.base_odds) + unit * intercept)
    return Scorecard(regression.party, tuple(evidence), tuple(points), base)


def as_evidence(woe: Model, table: "pa.Table") -> "pa.Table":
    """The table with the model's columns as weights of evidence: what a scorecard's regression is trained on."""
    import pyarrow as pa

    evidence = _evidence(woe)
    for each, column in zip(evidence, _columns(table, evidence, woe.party), strict=True):
        name = each.bins.name
        table = table.set_column(table.column_names.index(name), name, pa.array(each.encode(column), pa.float64()))
    return table


def bin_names(bins: Bins) -> list[str]:
    """What is in each bin, for people."""
    if bins.kind == "category":
        return [*bins.categories, "others", "missing"]
    edges = [f"{edge:g}" for edge in bins.edges]
    if not edges:
        return ["all", "missing"]
    between = [f"above {low} up to {high}" for low, high in pairwise(edges)]
    return [f"up to {edges[0]}", *between, f"above {edges[-1]}", "missing"]


def _evidence(woe: Model) -> list[Evidence]:
    woe.require(WOE_KIND, WOE_VERSION, woe.job)
    return evidence_from(woe)


def _columns(table: "pa.Table", evidence: "tuple[Evidence, ...] | list[Evidence]", party: str) -> list[Any]:
    """The table's columns that the evidence is of, in its order."""
    wanted = [(each.bins.name, each.bins.kind) for each in evidence]
    missing = [name for name, _ in wanted if name not in table.column_names]
    if missing:
        raise InputError(f"{party}: the table has no column {missing[0]!r}")
    slots = {
        "feature": table.select([name for name, kind in wanted if kind == "number"]),
        "category": table.select([name for name, kind in wanted if kind == "category"]),
    }
    return check_schema(read_columns(slots), wanted, party)
