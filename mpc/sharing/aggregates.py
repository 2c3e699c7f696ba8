"""Statistics of shared numbers. What they give is shared; dividing is left to whoever opens it.

A mean is a sum and a count, a variance a sum, a sum of squares and a count: they are exact as integers, and public
results are divided in the clear.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil

from mpc.errors import InputError
from mpc.sharing.engine import Engine
from mpc.sharing.sorting import sort
from mpc.sharing.values import Bits, Secret


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of squares of the numbers whose flag is set, still shared."""

    count: Secret
    total: Secret
    squares: Secret

    def open_mean(self) -> float:
        """The mean, opened together with the count and the sum; not a number if nothing is counted."""
        count, total = (int(self.total.engine.open(x)) for x in (self.count, self.total))
        return total / count / float(10**self.total.decimals) if count else float("nan")

    def open_variance(self) -> float:
        """The population variance, opened together with what it comes from; not a number if nothing is counted."""
        engine = self.total.engine
        count, total, squares = (int(engine.open(x)) for x in (self.count, self.total, self.squares))
        if not count:
            return float("nan")
        return (squares * count - total * total) / count**2 / float(10 ** (2 * self.total.decimals))


def moments(values: Secret, flags: Bits | None = None) -> Moments:
    """The moments of a vector, of all or of those whose flag is set."""
    engine = values.engine
    if flags is None:
        count = engine.constant(len(values))
    else:
        count = flags.sum()
        values = engine.select(flags, values)
    squares = (values * values).within(0, max(values.low**2, values.high**2))
    return Moments(count, values.sum(), squares.sum())


def histogram(values: Secret, edges: Sequence[int], flags: Bits | None = None) -> Secret:
    """How many values lie in each bin [edges[i], edges[i + 1]), in scaled integers, edges ascending."""
    if len(edges) < 2 or any(a >= b for a, b in pairwise(edges)):
        raise InputError("a histogram takes two or more ascending edges")
    reached = values.reshape(-1, 1) >= list(edges)
    if flags is not None:
        reached = reached & flags.reshape(-1, 1).broadcast_to(reached.shape)
    counts = reached.sum(0)
    return (counts[:-1] - counts[1:]).within(0, len(values))


def quantiles(engine: Engine, values: Secret, fractions: Sequence[float]) -> Secret:
    """For each fraction the smallest element of a vector such that at least this fraction of them is no larger.

    These are numpy's quantiles with method="inverted_cdf", at the fractions as they are written: 0.07 of 100 elements
    are 7 of them, though the nearest float is a little more.
    """
    if not len(values) or any(not 0 <= fraction <= 1 for fraction in fractions):
        raise InputError("quantiles are of one value or more, at fractions from 0 to 1")
    places = [ceil(Fraction(str(fraction)) * len(values)) - 1 for fraction in fractions]
    return sort(engine, values)[[max(place, 0) for place in places]]
