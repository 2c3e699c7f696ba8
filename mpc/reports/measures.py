"""Which sums over the joined rows a plan needs, and how its aggregates come from them.

A measure is a product of one factor of each party, summed over the joined rows of each group: COUNT(*) is the product
of 1s, SUM(a.x * b.y) that of x and y. A factor is a product of the party's own columns where all that the aggregate
names are there; it is 0 where one is NULL, as SQL leaves such rows out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact
from fractions import Fraction

from mpc.errors import InputError
from mpc.reports.expressions import Column, Monomial, Polynomial
from mpc.reports.params import Declared, Params
from mpc.reports.plan import EXTREMES, MOMENTS, SQUARES, Aggregate, Plan

_EXACT = Context(prec=76, traps=[Inexact])
_SUM_DIGITS = 38  # of Arrow's decimal128


@dataclass(frozen=True, order=True)
class Factor:
    """A party's part of a measure: the product of `columns`, 0 where one of `present` or of those is NULL."""

    columns: tuple[str, ...] = ()
    present: tuple[str, ...] = ()

    @property
    def is_one(self) -> bool:
        """Whether it is 1 for every row."""
        return not self.columns and not self.present


ONE = Factor()
#: One factor a party, in the order of the plan's tables.
Measure = tuple[Factor, ...]


def declared(params: Params, column: Column) -> Declared:
    """What the parties agreed that a column holds; raises `InputError` if they said nothing."""
    found = params.columns.get(str(column))
    if found is None or not found.lower:
        raise InputError(
            f"column {column} has no declared bounds, so that sums of it could overflow",
            hint=f"declare them: --numbers {column}=0.00..1000000.00, "
            f'in Python {{"{column}": {{"lower": "0.00", "upper": "1000000.00"}}}}',
        )
    return found


def largest(params: Params, party: str, factor: Factor) -> int:
    """The largest absolute value that a factor can have, in units of its columns' decimals."""
    product = 1
    for name in factor.columns:
        bounds = declared(params, Column(party, name))
        product *= max(abs(bounds.scaled_lower), abs(bounds.scaled_upper))
    return max(product, 1)


def interval_of(params: Params, party: str, factor: Factor) -> tuple[int, int]:
    """Between what a factor is where no value is NULL, in units of its columns' decimals."""
    low, high = 1, 1
    for name in factor.columns:
        bounds = declared(params, Column(party, name))
        ends = [end * other for end in (low, high) for other in (bounds.scaled_lower, bounds.scaled_upper)]
        low, high = min(ends), max(ends)
    return low, high


def needed(plan: Plan) -> tuple[Measure, ...]:
    """Every measure the plan needs, each once, COUNT(*) first."""
    found: dict[Measure, None] = {(ONE,) * len(plan.tables): None}
    for aggregate in plan.aggregates:
        for measure in _measures(plan, aggregate):
            found[measure] = None
    return tuple(found)


def value_of(
    plan: Plan, params: Params, aggregate: Aggregate, totals: Mapping[Measure, int], people: int
) -> int | float | Decimal | None:
    """An aggregate from the totals of one group; None where SQL has NULL. Not for `EXTREMES`.

    SUM is exact, a mean, variance or deviation the exact fraction rounded once to float64.
    """
    if aggregate.function == "people":
        return people
    argument = aggregate.argument
    if argument is None or aggregate.function == "count":
        return totals[count_measure(plan, aggregate)]
    count = totals[count_measure(plan, aggregate)]
    total = _total(plan, params, argument, argument.columns, totals)
    if count <= 0:  # with noise it may be less
        return None
    if aggregate.function == "sum":
        decimals = argument.decimals(lambda column: declared(params, column).decimals)
        scaled = total * 10**decimals
        return Decimal(int(scaled)).scaleb(-decimals, _EXACT)
    if aggregate.function == "avg":
        return float(total / count)
    squares = _total(plan, params, argument * argument, argument.columns, totals)
    sample = aggregate.function.endswith("samp")
    if count <= sample:
        return None
    variance = max(Fraction(0), (squares - total**2 / count) / (count - sample))  # with noise it may be less
    return math.sqrt(variance) if aggregate.function.startswith("stddev") else float(variance)


def count_measure(plan: Plan, aggregate: Aggregate) -> Measure:
    """The measure that counts the rows an aggregate is over."""
    columns = aggregate.argument.columns if aggregate.argument is not None else frozenset()
    return _measure(plan, (), columns)


def check(plan: Plan, params: Params) -> None:
    """Raise `InputError` for columns of unknown bounds, sums of more than 38 digits, and too many measures."""
    for aggregate in plan.aggregates:
        argument = aggregate.argument
        if argument is None or aggregate.function == "count":
            continue
        decimals = argument.decimals(lambda column: declared(params, column).decimals)
        low, high = argument.bounds(lambda column: _interval(params, column))
        if max(abs(low), abs(high)) * 10**decimals * 2**40 >= 10**_SUM_DIGITS:
            raise InputError(f"{aggregate.function} can have more than {_SUM_DIGITS} digits", hint="declare less")
    for comparison in plan.comparisons:
        declared(params, comparison.left)
        declared(params, comparison.right)
    unknown = sorted(set(params.columns) - {str(column) for column in _named(plan)})
    if unknown:
        raise InputError(f"column {unknown[0]} is declared, and the report does not use it", hint="leave it out")


def _named(plan: Plan) -> set[Column]:
    return {
        Column(party, name)
        for party in plan.parties
        for slot, names in plan.columns(party).items()
        if slot != "key"
        for name in names
    }


def _interval(params: Params, column: Column) -> tuple[Fraction, Fraction]:
    bounds = declared(params, column)
    unit = 10**bounds.decimals
    return Fraction(bounds.scaled_lower, unit), Fraction(bounds.scaled_upper, unit)


def _measures(plan: Plan, aggregate: Aggregate) -> Sequence[Measure]:
    if aggregate.function in ("rows", "people"):
        return ()
    measures = [count_measure(plan, aggregate)]
    argument = aggregate.argument
    if argument is None or aggregate.function in EXTREMES | {"count"}:
        return measures
    assert aggregate.function in MOMENTS
    polynomials = [argument, argument * argument] if aggregate.function in SQUARES else [argument]
    return measures + [
        _measure(plan, monomial, argument.columns) for polynomial in polynomials for monomial, _ in polynomial.terms
    ]


def _measure(plan: Plan, monomial: Monomial, columns: frozenset[Column]) -> Measure:
    factors = []
    for party in plan.parties:
        product = tuple(column.name for column in monomial if column.party == party)
        present = sorted({column.name for column in columns if column.party == party} - set(product))
        factors.append(Factor(product, tuple(present)))
    return tuple(factors)


def terms(
    plan: Plan, params: Params, polynomial: Polynomial, columns: frozenset[Column]
) -> list[tuple[Fraction, Measure]]:
    """The factors and measures whose products add up to the sum of a polynomial, over rows where no column is NULL."""
    found = []
    for monomial, factor in polynomial.terms:
        unit = 10 ** sum(declared(params, column).decimals for column in monomial)
        found.append((factor / unit, _measure(plan, monomial, columns)))
    return found


def _total(
    plan: Plan, params: Params, polynomial: Polynomial, columns: frozenset[Column], totals: Mapping[Measure, int]
) -> Fraction:
    found = terms(plan, params, polynomial, columns)
    return sum((factor * totals[measure] for factor, measure in found), Fraction(0))
