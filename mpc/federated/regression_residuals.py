"""What a score is off by, in shares: the part of a regression that differs between families.

Scores are shared as z·2^SCORE_FRACTION modulo 2^128, residuals e as e·unit.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from mpc.federated.encoding import F64
from mpc.primitives import ring128
from mpc.primitives.ring128 import Ring

SCORE_FRACTION = 32


@dataclass(frozen=True)
class Rows:
    """At the label holder, the targets of some rows, shape (rows, outputs), and their weights (rows, outputs), None for
    equal ones; elsewhere None."""

    targets: F64 | None = field(repr=False)
    weights: F64 | None = field(repr=False)


class Residuals(Protocol):
    """Residuals of one family."""

    unit: int

    def of(self, scores: Ring, rows: Rows) -> Ring:
        """A share of the (weighted) residuals of shape (rows, outputs)."""
        ...

    def squared_error(self, scores: Ring, rows: Rows) -> float | None:
        """The sum of squared residuals: at the label holder; None at its partner."""
        ...

    def soft_threshold(self, weights: Ring, threshold: int) -> Ring:
        """Shares of sign(w)·max(|w| - threshold, 0)."""
        ...


@dataclass(frozen=True)
class LinearResiduals:
    """e = z·slope + intercept - y: of linear regression (1, 0), and of logistic regression with a linear sigmoid (1/4,
    1/2). Each party computes its share by itself."""

    inverse_slope: int
    middle: float

    @property
    def unit(self) -> int:
        """Residuals are held in units of the scores, over the slope."""
        return self.inverse_slope << SCORE_FRACTION

    def of(self, scores: Ring, rows: Rows) -> Ring:
        if rows.targets is None:
            return scores
        return ring128.add(scores, fixed(self.middle - rows.targets, self.unit))


def fixed(values: F64, unit: int) -> Ring:
    """Real numbers of magnitude below 2^63 / unit as ring elements."""
    return ring128.from_int64(np.rint(values * unit).astype(np.int64))


def residuals_of(party, who, *, weighted):
    """Those of a family whose residuals take no more than sums."""
    params = party.params
    return LinearResiduals(1, 0.0) if params.family == "linear" else LinearResiduals(4, 0.5)
