"""Minimum, maximum and quantiles as values at ranks among the sorted values of a group."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from mpc.errors import InputError
from mpc.reports.expressions import Column, Polynomial
from mpc.reports.measures import declared
from mpc.reports.params import Params
from mpc.reports.plan import Aggregate

_LARGEST = 2**61


@dataclass(frozen=True)
class Sought:
    """The `rank`-th smallest value (from 1) of an aggregate's argument in a cell."""

    aggregate: Aggregate
    cell: int
    rank: int


def ranks(aggregate: Aggregate, count: int) -> list[int]:
    """Which of `count` sorted values, from 1, an aggregate is made of; none if there are no values."""
    if count == 0:
        return []
    if aggregate.function == "min":
        return [1]
    if aggregate.function == "max":
        return [count]
    if aggregate.function == "quantile_disc":
        return [max(1, -int(-aggregate.fraction * count // 1))]
    place = aggregate.fraction * (count - 1)
    return sorted({int(place // 1) + 1, -int(-place // 1) + 1})


def assemble(params: Params, aggregate: Aggregate, count: int, values: Sequence[int]) -> Decimal | float | None:
    """The aggregate from the values at its `ranks`."""
    if not values:
        return None
    argument = argument_of(aggregate)
    decimals = decimals_of(params, argument)
    if aggregate.function != "quantile_cont":
        return Decimal(values[0]).scaleb(-decimals)
    between = aggregate.fraction * (count - 1) % 1
    exact = values[0] + between * (values[-1] - values[0])
    return float(Fraction(exact) / 10**decimals)


def interval(params: Params, aggregate: Aggregate) -> tuple[int, int]:
    """Between which integers the argument lies, in units of its decimals; raises `InputError` if they are too large."""
    argument = argument_of(aggregate)

    def bounds(column: Column) -> tuple[Fraction, Fraction]:
        known = declared(params, column)
        return Fraction(known.scaled_lower, 10**known.decimals), Fraction(known.scaled_upper, 10**known.decimals)

    scale = 10 ** decimals_of(params, argument)
    low, high = (int(bound * scale) for bound in argument.bounds(bounds))
    if max(abs(low), abs(high)) >= _LARGEST:
        raise InputError(f"{aggregate.function} of values of more than 18 digits", hint="declare tighter bounds")
    return low, high


def argument_of(aggregate: Aggregate) -> Polynomial:
    """What an aggregate is of, for one that has an argument."""
    assert aggregate.argument is not None
    return aggregate.argument


def decimals_of(params: Params, argument: Polynomial) -> int:
    """How many decimals hold every value of a polynomial."""
    return argument.decimals(lambda column: declared(params, column).decimals)
