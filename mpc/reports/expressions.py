"""Arithmetic inside an aggregate, as a polynomial over columns with exact coefficients.

SUM and AVG of a polynomial come from the sums of its monomials, VAR and STDDEV also from those of its square. A
monomial is a product of columns of one or several parties, each in units of its declared decimals.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce

MAX_TERMS = 64
MAX_DEGREE = 4


@dataclass(frozen=True, order=True)
class Column:
    """A column of a party's dataset."""

    party: str
    name: str

    def __str__(self) -> str:
        return f"{self.party}.{self.name}"


#: The columns of a product, sorted; one that occurs twice is squared.
Monomial = tuple[Column, ...]


@dataclass(frozen=True)
class Polynomial:
    """`terms` maps monomials to coefficients other than 0, sorted; `columns` are all that were written, so that a
    NULL in any of them makes the value NULL even where it cancels out."""

    terms: tuple[tuple[Monomial, Fraction], ...]
    columns: frozenset[Column]

    @property
    def degree(self) -> int:
        return max((len(monomial) for monomial, _ in self.terms), default=0)

    @property
    def parties(self) -> frozenset[str]:
        return frozenset(column.party for column in self.columns)

    def __add__(self, other: "Polynomial") -> "Polynomial":
        return _collect([*self.terms, *other.terms], self.columns | other.columns)

    def __neg__(self) -> "Polynomial":
        return _collect([(monomial, -factor) for monomial, factor in self.terms], self.columns)

    def __mul__(self, other: "Polynomial") -> "Polynomial":
        products = [(tuple(sorted(left + right)), a * b) for left, a in self.terms for right, b in other.terms]
        return _collect(products, self.columns | other.columns)

    def decimals(self, of_column: Callable[[Column], int]) -> int:
        """How many decimals hold every value exactly, given each column's."""
        return max((_decimals(factor) + sum(map(of_column, monomial)) for monomial, factor in self.terms), default=0)

    def bounds(self, of_column: Callable[[Column], tuple[Fraction, Fraction]]) -> tuple[Fraction, Fraction]:
        """Between which values it stays, given between which each column does, by interval arithmetic."""
        low = high = Fraction(0)
        for monomial, factor in self.terms:
            ends = reduce(_interval_product, map(of_column, monomial), (factor, factor))
            low, high = low + ends[0], high + ends[1]
        return low, high

    def describe(self) -> Mapping[str, str]:
        """The coefficients by monomial, as text that does not depend on how the polynomial was written."""
        return {"*".join(map(str, monomial)) or "1": str(factor) for monomial, factor in self.terms}


def column(name: Column) -> Polynomial:
    """The polynomial that is one column."""
    return Polynomial((((name,), Fraction(1)),), frozenset({name}))


def constant(value: Fraction) -> Polynomial:
    """The polynomial that is a number."""
    return _collect([((), value)], frozenset())


def _collect(terms: list[tuple[Monomial, Fraction]], columns: frozenset[Column]) -> Polynomial:
    factors: dict[Monomial, Fraction] = {}
    for monomial, factor in terms:
        factors[monomial] = factors.get(monomial, Fraction(0)) + factor
    return Polynomial(tuple(sorted((m, f) for m, f in factors.items() if f)), columns)


def _decimals(factor: Fraction) -> int:
    """The decimals of a number that has finitely many."""
    decimals = 0
    while factor.denominator != 1:
        factor, decimals = factor * 10, decimals + 1
    return decimals


def _interval_product(a: tuple[Fraction, Fraction], b: tuple[Fraction, Fraction]) -> tuple[Fraction, Fraction]:
    products = [x * y for x in a for y in b]
    return min(products), max(products)
