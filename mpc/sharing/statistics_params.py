"""What the parties of sum.masked agree to compute: values, groups, bins, statistics, and the smallest group."""

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints, with_config

from mpc.errors import InputError
from mpc.primitives.fixed_point import MAX_DECIMALS, scaled
from mpc.sharing.limbs import LIMBS

MAX_VALUES = 8
MAX_CELLS = 100_000
_STRICT = ConfigDict(extra="forbid", strict=False, allow_inf_nan=False)

Statistic = Literal["count", "sum", "mean", "variance"]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]


@with_config(_STRICT)
@dataclass(frozen=True)
class Value:
    """A number column as all parties agree on it: its name in the result, its least and greatest value, and how many
    decimals it has at most. Every party's column at the same position of its slot is meant, whatever its own name."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]
    lower: Decimal
    upper: Decimal
    decimals: Annotated[int, Field(strict=True, ge=0, le=MAX_DECIMALS)] = 0

    def __post_init__(self) -> None:
        if self.scaled_lower > self.scaled_upper:
            raise InputError(f"value {self.name!r}: its lower bound is above its upper bound")

    @property
    def scaled_lower(self) -> int:
        """The lower bound in units of 10^-decimals."""
        return self._scaled(self.lower)

    @property
    def scaled_upper(self) -> int:
        """The upper bound in units of 10^-decimals."""
        return self._scaled(self.upper)

    def _scaled(self, bound: Decimal) -> int:
        try:
            return scaled(bound, self.decimals)
        except InputError as error:
            raise InputError(f"a bound of value {self.name!r}: {error}") from None


@with_config(_STRICT)
@dataclass(frozen=True)
class Params:
    """The parameters of sum.masked.

    The table has a cell for each of `groups` (all rows, if there are none) and each bin. `bins` are the ascending
    edges of bins of the one value: a bin holds its lower edge, and the last one its upper edge too; the edges
    enclose the value's bounds. A cell in which a count is under `minimum_group` is suppressed; 0 suppresses none.
    `survive_dropouts` is how many parties may be lost on the way.
    """

    values: Annotated[tuple[Value, ...], Field(max_length=MAX_VALUES)] = ()
    groups: Annotated[tuple[Text, ...], Field(max_length=MAX_CELLS)] = ()
    bins: Annotated[tuple[Decimal, ...], Field(max_length=1001)] = ()
    statistics: Annotated[tuple[Statistic, ...], Field(min_length=1)] = ("count", "sum", "mean")
    minimum_group: Annotated[int, Field(strict=True, ge=0, le=2**31)] = 10
    survive_dropouts: Annotated[int, Field(strict=True, ge=0, le=24)] = 0

    def __post_init__(self) -> None:
        if not self.values and not self.groups:
            raise InputError("give values to sum, groups to count, or both")
        for what, names in (
            ("values", [value.name for value in self.values]),
            ("groups", self.groups),
            ("statistics", self.statistics),
        ):
            if len(set(names)) != len(names):
                raise InputError(f"{what} names one twice")
        if self.bins:
            self._check_bins()
        if self.cells > MAX_CELLS:
            raise InputError(f"groups times bins give {self.cells} cells, more than {MAX_CELLS}")

    def _check_bins(self) -> None:
        if len(self.values) != 1:
            raise InputError("bins are of one value: give exactly one")
        edges = self.scaled_bins
        if len(edges) < 2 or any(b <= a for a, b in pairwise(edges)):
            raise InputError("bins are given by two or more ascending edges")
        if edges[0] > self.values[0].scaled_lower or edges[-1] < self.values[0].scaled_upper:
            raise InputError("the bins do not enclose the bounds of the value", hint="add outer edges")

    @property
    def scaled_bins(self) -> list[int]:
        """The edges in units of the value's 10^-decimals."""
        try:
            return [scaled(edge, self.values[0].decimals) for edge in self.bins]
        except InputError as error:
            raise InputError(f"an edge of the bins: {error}") from None

    @property
    def bin_count(self) -> int:
        """How many bins a group has; 1 when none are asked for."""
        return max(1, len(self.bins) - 1)

    @property
    def cells(self) -> int:
        """How many rows the result has."""
        return max(1, len(self.groups)) * self.bin_count

    @property
    def takes_sums(self) -> bool:
        """Whether sums of values are computed, not only counts."""
        return set(self.statistics) != {"count"}

    @property
    def takes_squares(self) -> bool:
        """Whether sums of squares are computed."""
        return "variance" in self.statistics

    @property
    def value_width(self) -> int:
        """How many integers a party brings for a value in a cell: count, sum, limbs of the sum of squares."""
        return 1 + self.takes_sums + LIMBS * self.takes_squares

    @property
    def width(self) -> int:
        """How many integers a party brings for a cell: the count of rows, and its values."""
        return 1 + len(self.values) * self.value_width

    @property
    def count_columns(self) -> list[int]:
        """Which of a cell's integers are counts: of rows, then of each value."""
        return [0, *range(1, self.width, self.value_width)]
