"""What scores are off by, in shares: the part of a regression in which its families differ.

Scores are shared as z·2^SCORE_FRACTION, modulo 2^64 where they are clipped and else modulo 2^128, and residuals e as
e·unit modulo 2^128. Each party of the pair computes linear residuals by itself; for the others the pair compares and
multiplies modulo 2^64, where every number has bounds that follow from the parameters.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mpc.errors import InputError
from mpc.federated.encoding import CLIP, F64, MAX_COUNT
from mpc.federated.fixed_shares import clip, narrow, soft_threshold, truncate, widen
from mpc.federated.regression_params import MAX_CLASS_WEIGHT, POISSON_POWER, POISSON_RANGE, Params, Parties
from mpc.primitives import ring128
from mpc.primitives.ring128 import Ring
from mpc.sharing import engine as engines
from mpc.sharing.engine import Engine
from mpc.sharing.values import Secret
from mpc.spec import Party

SCORE_FRACTION = 32
_FRACTION = 20  # of scores that are compared, but for clipped ones, whose bits all stay
_CLASS_WEIGHT_FRACTION = 14
_ERROR_FRACTION = 10  # of residuals that are squared
_ERROR_LIMIT = 1 << (_ERROR_FRACTION + 12)
MAX_SQUARES = 2**18  # that are summed up: below 2^62
_WEIGHT_LIMIT = 1 << 60
_LINEAR_LIMIT = 1 << 37  # of linear residuals that are weighted

_POISSON_FRACTION = _FRACTION + POISSON_POWER
_POISSON_LIMIT = math.ceil((1 + POISSON_RANGE[1] / 2**POISSON_POWER) ** 2**POISSON_POWER)

Shape = Literal["linear", "half", "clipped", "exponential"]


@dataclass(frozen=True)
class Rows:
    """At the label holder, the targets of some rows, shape (rows, outputs), and their weights (rows, outputs), None for
    equal ones; None elsewhere."""

    targets: F64 | None = field(repr=False)
    weights: F64 | None = field(repr=False)


@dataclass(frozen=True)
class Residuals:
    """Residuals of one family, at a party of the pair.

    `shape` is of the function from scores to predictions: linear z, half 1/2 + z/4, clipped clip(1/2 + z/6, 0, 1) or
    exponential. `weighted` rows have weights; `score_limit` bounds |z|. `engine` is None if nothing is compared.
    """

    shape: Shape
    label_holder: str
    first: bool
    weighted: bool
    score_limit: int
    engine: Engine | None = field(repr=False)

    @property
    def unit(self) -> int:
        """What a residual of 1 is held as."""
        if self.engine is None:
            return self._slope << SCORE_FRACTION
        return self._plain_unit << _CLASS_WEIGHT_FRACTION if self.weighted else self._plain_unit

    @property
    def _slope(self) -> int:
        return {"linear": 1, "half": 4, "clipped": 6, "exponential": 1 << POISSON_POWER}[self.shape]

    @property
    def _plain_unit(self) -> int:
        return self._slope << (SCORE_FRACTION if self.shape == "clipped" else _FRACTION)

    def of(self, scores: Ring, rows: Rows) -> Ring:
        """A share of the (weighted) residuals, of shape (rows, outputs)."""
        if self.engine is None:
            return self._linear(scores, rows.targets, self.unit)
        errors = self._errors(self.engine, scores, rows.targets)
        if self.weighted:
            factors = None if rows.weights is None else np.rint(rows.weights * 2**_CLASS_WEIGHT_FRACTION).astype(int)
            most = MAX_CLASS_WEIGHT << _CLASS_WEIGHT_FRACTION
            errors = errors * self.engine.share(self.label_holder, factors, shape=errors.shape, low=0, high=most)
        return widen(self.engine, errors)

    def squared_error(self, scores: Ring, targets: F64 | None) -> float | None:
        """The sum of squared residuals, unweighted: at the label holder; None at its partner."""
        assert self.engine is not None
        errors = widen(self.engine, self._errors(self.engine, scores, targets))
        excess = self._plain_unit.bit_length() - 1 - _ERROR_FRACTION
        small = narrow(self.engine, truncate(errors, excess, first=self.first), _ERROR_LIMIT)
        opened = self.engine.open_to(self.label_holder, (small * small).sum())
        return None if opened is None else float(opened) * (2.0**excess / self._plain_unit) ** 2

    def shrink(self, weights: Ring, threshold: int) -> Ring:
        """Shares of sign(w)·max(|w| - threshold, 0)."""
        assert self.engine is not None
        return widen(self.engine, soft_threshold(self.engine, narrow(self.engine, weights, _WEIGHT_LIMIT), threshold))

    def _linear(self, scores: Ring, targets: F64 | None, unit: int) -> Ring:
        if targets is None:
            return scores
        middle = 0.5 if self.shape == "half" else 0.0
        return ring128.add(scores, ring128.from_int64(np.rint((middle - targets) * unit).astype(np.int64)))

    def _errors(self, engine: Engine, scores: Ring, targets: F64 | None) -> Secret:
        """Residuals times `_plain_unit`."""
        one = self._plain_unit
        if self.shape == "clipped":
            secret = narrow(engine, scores, self.score_limit << SCORE_FRACTION)
            predictions = clip(engine, secret + one // 2, 0, one)
        else:
            z = truncate(scores, SCORE_FRACTION - _FRACTION, first=self.first)
            if self.shape != "exponential":
                return narrow(engine, self._linear(z, targets, one), _LINEAR_LIMIT)
            low, high = (bound << _FRACTION for bound in POISSON_RANGE)
            secret = narrow(engine, z, self.score_limit << _FRACTION)
            predictions = self._exponential(engine, clip(engine, secret, low, high))
        largest = 1 if self.shape == "clipped" else MAX_COUNT
        known = None if targets is None else np.rint(targets * one).astype(np.int64)
        return predictions - engine.share(self.label_holder, known, shape=predictions.shape, low=0, high=largest * one)

    def _exponential(self, engine: Engine, z: Secret) -> Secret:
        """(1 + z/2^k)^(2^k) by squaring k times; 1 + z/2^k is positive, and held with k bits more than z."""
        power = z + (1 << _POISSON_FRACTION)
        for _ in range(POISSON_POWER):
            square = widen(engine, (power * power).within(0, _POISSON_LIMIT << 2 * _POISSON_FRACTION))
            shorter = truncate(square, _POISSON_FRACTION, first=self.first)
            limit = min(_POISSON_LIMIT << _POISSON_FRACTION, (power.high**2 >> _POISSON_FRACTION) + 2)
            power = narrow(engine, shorter, limit)
        return power


def residuals_of(party: Party[Params], who: Parties, columns: Mapping[str, int], rows: int) -> Residuals:
    """Those that the parameters ask for, over so many columns and training rows; for a party of the pair."""
    params = party.params
    shapes: dict[str, Shape] = {"linear": "linear", "poisson": "exponential"}
    shape = shapes.get(params.family, "clipped" if params.clips else "half")
    engine = None
    if params.compares:
        (peer,) = set(who.pair) - {party.name}
        engine = engines.start(
            party.name, {peer: party.peers[peer]}, session=party.session, label=b"train.regression", rng=party.rng
        )
    limit = _score_limit(params, shape, sum(columns.values()), rows)
    first = party.name == min(who.pair)
    return Residuals(shape, who.label_holder, first, bool(params.class_weight), limit, engine)


def _score_limit(params: Params, shape: Shape, columns: int, rows: int) -> int:
    """A power of two above every |z| that the training can lead to, as no residual is beyond its bounds."""
    if shape in ("linear", "half"):
        return 0
    steps = params.epochs * -(-rows // params.batch_rows)
    residual = MAX_COUNT if shape == "exponential" else 1
    if params.class_weight:
        residual *= MAX_CLASS_WEIGHT
    weight = steps * params.learning_rate / (1 - params.momentum) * residual * CLIP
    limit = 1 << max(4, math.ceil(math.log2(weight * CLIP * columns)))
    if limit << (SCORE_FRACTION if shape == "clipped" else _FRACTION) >= 1 << 61:
        raise InputError(
            "scores could overflow in so many steps", hint="ask for fewer epochs or a smaller learning_rate"
        )
    return limit
