"""What the parties of report.sql agree to compute: the text, what columns hold, how it joins, the smallest group."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StrictInt, StringConstraints, with_config

from mpc.errors import InputError
from mpc.primitives.fixed_point import MAX_DECIMALS, scaled

MAX_SQL_CHARACTERS = 10_000
MAX_LABELS = 1000
MAX_PARTIES = 100
MAX_EPSILON = 100
MILLION = 10**6
#: Which leaks of the join the parties accept; see docs/reports.md.
Level = Literal["J0", "J1", "J2", "J3"]

_STRICT = ConfigDict(extra="forbid", strict=False, allow_inf_nan=False)
_Label = StrictInt | Annotated[str, StringConstraints(max_length=200)]


@with_config(_STRICT)
@dataclass(frozen=True)
class Declared:
    """What a column holds: numbers from `lower` to `upper`, written with as many decimals as the column has; or one
    of `values`, texts or integers, whose order decides between equals of a LIMIT. `nulls`: a group key may be NULL,
    which is a group of its own.
    """

    lower: Annotated[str, StringConstraints(max_length=40)] = ""
    upper: Annotated[str, StringConstraints(max_length=40)] = ""
    values: Annotated[tuple[_Label, ...], Field(max_length=MAX_LABELS)] = ()
    nulls: bool = False

    def __post_init__(self) -> None:
        if bool(self.lower) != bool(self.upper):
            raise InputError("a declared column has both a lower and an upper bound, or neither")
        if len({str(value) for value in self.values}) != len(self.values):
            raise InputError("a declared column names a value twice")
        if len({type(value) for value in self.values}) > 1:
            raise InputError("a declared column's values are all texts or all integers")
        if self.lower and self.scaled_lower > self.scaled_upper:
            raise InputError("a declared column's lower bound is above its upper bound")

    @cached_property
    def decimals(self) -> int:
        """How many decimals the bounds are written with."""
        return max(-int(_number(bound).as_tuple().exponent) for bound in (self.lower, self.upper)) if self.lower else 0

    @property
    def scaled_lower(self) -> int:
        """The lower bound in units of 10^-decimals."""
        return scaled(_number(self.lower), max(self.decimals, 0))

    @property
    def scaled_upper(self) -> int:
        """The upper bound in units of 10^-decimals."""
        return scaled(_number(self.upper), max(self.decimals, 0))


@with_config(_STRICT)
@dataclass(frozen=True)
class Noise:
    """How much a report may say of one person: see `mpc.reports.noise`.

    `epsilon` is written out, e.g. "0.5", from 0.000001 to 100. `rows_of_person` gives the most rows that a person has
    at a party, 1 where it is left out; a party with a person of more rows refuses.
    """

    epsilon: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}(\.[0-9]{1,6})?$")]
    rows_of_person: Annotated[
        Mapping[str, Annotated[int, Field(strict=True, ge=1, le=2**20)]], Field(max_length=MAX_PARTIES)
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.millionths <= MAX_EPSILON * MILLION:
            raise InputError(f"an epsilon is more than 0 and at most {MAX_EPSILON}")

    @property
    def millionths(self) -> int:
        """Epsilon in millionths, exactly."""
        return int(Decimal(self.epsilon) * MILLION)

    def rows(self, party: str) -> int:
        """The most rows that a person has at a party."""
        return self.rows_of_person.get(party, 1)


@with_config(_STRICT)
@dataclass(frozen=True)
class Params:
    """The parameters of report.sql.

    `sql` is the report, `columns` what the columns hold that it calculates with or groups by, by "party.column".
    `join` is the level of the join's leaks, `normalisation` names one profile a key column. A group with fewer than
    `minimum_group` different people is shown as suppressed. With `in_memory` no party writes rows, shares or the report
    to disk. With `noise` no figure is exact, and the report is charged to the privacy budgets of its people. With
    `verified` three parties compute, two of which may have all tables, and any one party may cheat.
    """

    sql: Annotated[str, StringConstraints(min_length=1, max_length=MAX_SQL_CHARACTERS)]
    columns: Annotated[Mapping[str, Declared], Field(max_length=100)] = field(default_factory=dict)
    join: Level = "J1"
    normalisation: tuple[str, ...] = ()
    minimum_group: Annotated[int, Field(strict=True, ge=1, le=2**31)] = 10
    in_memory: bool = False
    verified: bool = False
    noise: Noise | None = None


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise InputError("a declared bound is no number") from None
    if not number.is_finite() or -int(number.as_tuple().exponent) > MAX_DECIMALS or int(number.as_tuple().exponent) > 0:
        raise InputError(f"a declared bound is written out, with at most {MAX_DECIMALS} decimals")
    return number
