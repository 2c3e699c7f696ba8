"""Noise on a report's figures, so that they say little of any one person (differential privacy).

Every party with a table adds noise of its own to each figure while it is shared, so that nobody learns the exact one,
and what the others add matters to no party's people: the noise that a party adds is enough for them by itself.

Output:   the people in each group and every count and sum that aggregates are made of, with discrete Laplace noise.
          Which groups are shown, their order, means and variances follow from these noisy figures alone.
Security: epsilon-differential privacy for two inputs that are alike but for one person, all of whose rows at all
          parties are exchanged for those of another; how many different keys a dataset has is known. A person is a key
          of the join, with as many rows as was declared at most, and values within the declared bounds: a party of
          whom that is not true refuses, and the others see that it did. Basic composition: each of m measures has
          epsilon / m. It holds against semi-honest peers, and for all but 2^-92 of the noise's probability.
Source:   Dwork, McSherry, Nissim, Smith, TCC 2006; Ghosh, Roughgarden, Sundararajan, STOC 2009 (discrete Laplace);
          sampled by OpenDP, exactly: Canonne, Kamath, Steinke, NeurIPS 2020, arxiv.org/abs/2004.00010.
"""

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from mpc.errors import InputError
from mpc.reports.groups import group_count, labels_of
from mpc.reports.measures import Measure, largest, needed, terms
from mpc.reports.params import MILLION, Noise, Params
from mpc.reports.plan import EXTREMES, Aggregate, Plan

if TYPE_CHECKING:
    from mpc.reports.deciding import Totals
    from mpc.reports.sides import I64
    from mpc.reports.tally import Tally
    from mpc.sharing.values import Secret

_TAIL = 64  # noise beyond that many times its scale has probability e^-64, less than 2^-92
_SLACK = Fraction(2**40 + 1, 2**40)  # for the rounding of float64, in which OpenDP takes a scale


@dataclass(frozen=True)
class Shares:
    """What a report's figures cost: `people` is whether those in a group are counted beside its rows."""

    plan: Plan
    params: Params
    noise: Noise

    @property
    def people(self) -> bool:
        return any(self.noise.rows(party) > 1 for party in self.plan.parties)

    @property
    def epsilon(self) -> Fraction:
        """The part of epsilon that each measure has."""
        return Fraction(self.noise.millionths, MILLION) / (len(needed(self.plan)) + self.people)

    def people_scale(self) -> Fraction:
        """The scale of the noise on the people in each group."""
        touched = math.prod(
            min(self.noise.rows(party), group_count(self.plan, self.params, party) or 1) for party in self.plan.parties
        )
        return 2 * touched / self.epsilon

    def scale(self, most: int, limbs: int = 1) -> Fraction:
        """The scale of the noise on sums to which a joined row adds `most` at most, one of so many of a measure."""
        rows = math.prod(self.noise.rows(party) for party in self.plan.parties)
        return 2 * rows * most * limbs / self.epsilon


def check(plan: Plan, params: Params) -> None:
    """Raise `InputError` for a report that cannot be released with noise, and where OpenDP is not installed."""
    noise = params.noise
    if noise is None:
        return
    if params.join != "J3":
        raise InputError(
            f"at {params.join} the join itself tells who is common, which no noise undoes", hint="join at J3"
        )
    unknown = sorted(set(noise.rows_of_person) - set(plan.parties))
    if unknown:
        raise InputError(f"rows of a person are declared for {unknown[0]}, which has no table in the report")
    for key in plan.groups:
        if labels_of(key, params) is None:
            raise InputError(
                f"column {key.column} is grouped by and its values are not declared: which there are would tell of "
                "people whatever the noise",
                hint="declare its values",
            )
    extreme = next((each.function for each in plan.aggregates if each.function in EXTREMES), None)
    if extreme is not None:
        raise InputError(
            f"{extreme} shows somebody's value, which noise of this kind does not hide",
            hint="ask for counts by width_bucket, sums, means or variances",
        )
    if importlib.util.find_spec("opendp") is None:
        raise InputError(
            "noise is made by OpenDP, which is not installed here",
            hint="install it in the version of node.txt, which is beside the wheel",
        )


def add(tally: "Tally", people: "Secret", totals: "Totals", *, one_row: bool) -> "tuple[Secret, Totals]":
    """The same figures with every party's noise; `one_row`: everybody has one row, so that rows are people."""
    noise = tally.params.noise
    assert noise is not None
    shares = Shares(tally.plan, tally.params, noise)
    noisy: dict[Measure, list[tuple[int, Secret]]] = {}
    for measure, limbs in totals.items():
        scales = [shares.scale(most, len(limbs)) for most in tally.most(measure)]
        noisy[measure] = [
            (shift, _with_noise(tally, limb, scale)) for (shift, limb), scale in zip(limbs, scales, strict=True)
        ]
    if one_row and not shares.people:
        ((_, rows),) = noisy[needed(tally.plan)[0]]
        return rows, noisy
    return _with_noise(tally, people, shares.people_scale()), noisy


def _with_noise(tally: "Tally", exact: "Secret", scale: Fraction) -> "Secret":
    from mpc.reports.legality import check_within

    most = math.ceil(_TAIL * scale)
    for party in tally.plan.parties:
        own = sample(scale, exact.size) if party == tally.engine.name else None
        noise = tally.engine.share(party, own, shape=exact.shape, low=-most, high=most)
        if tally.params.verified:
            check_within(tally.engine, party, noise, -most, most)
        exact = exact + noise
    return exact


def sample(scale: Fraction, count: int) -> "I64":
    """Independent integers x with probabilities in proportion to e^(-|x| / scale), from the system's randomness."""
    from opendp.domains import atom_domain, vector_domain  # an extra, of which `check` has made sure
    from opendp.measurements import make_laplace
    from opendp.metrics import l1_distance
    from opendp.mod import enable_features

    enable_features("contrib")
    space = vector_domain(atom_domain(T="i64")), l1_distance(T="i64")
    wide = float(scale * _SLACK)
    if wide >= 2**56:
        raise InputError("the noise would not fit 64 bits", hint="declare tighter bounds or a larger epsilon")
    draw = make_laplace(*space, scale=wide)
    # OpenDP's own account of what that noise is worth.
    if draw.map(2**20) > Fraction(2**20) / scale:  # type: ignore[no-untyped-call]
        raise AssertionError("the noise is smaller than it must be")
    return np.array(draw([0] * count), np.int64)


def deviations(plan: Plan, params: Params) -> Mapping[str, float]:
    """About how far off the counts and sums are, by the name of the output: the standard deviation of their noise."""
    if params.noise is None:
        return {}
    shares = Shares(plan, params, params.noise)
    spread = math.sqrt(2 * len(plan.parties))  # of one party's noise of scale 1 it is about the square root of 2
    found: dict[str, float] = {}
    for output in plan.outputs:
        if output.kind == "aggregate":
            scale = _scale(shares, plan.aggregates[output.index])
            if scale is not None:
                found[output.name] = spread * scale
    return found


def _scale(shares: Shares, aggregate: Aggregate) -> float | None:
    plan, params, argument = shares.plan, shares.params, aggregate.argument
    if aggregate.function == "people":
        return float(shares.people_scale() if shares.people else shares.scale(1))
    if argument is None or aggregate.function == "count":
        return float(shares.scale(1))
    if aggregate.function != "sum":
        return None
    parts = [
        float(
            factor * shares.scale(math.prod(largest(params, *each) for each in zip(plan.parties, measure, strict=True)))
        )
        for factor, measure in terms(plan, params, argument, argument.columns)
    ]
    return math.hypot(*parts)
