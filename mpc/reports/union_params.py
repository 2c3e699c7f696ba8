"""What the parties of report.union agree to compute: the text, what columns hold, whose people are counted how."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints, with_config

from mpc.reports.params import MAX_SQL_CHARACTERS, Declared, Params

_STRICT = ConfigDict(extra="forbid", strict=False, allow_inf_nan=False)


@with_config(_STRICT)
@dataclass(frozen=True)
class UnionParams:
    """The parameters of report.union.

    `sql` is the report, `columns` what the union's columns hold that it calculates with or groups by, by "name.column",
    the name being the union's in the SQL. A group is shown if it has `minimum_group` different people whichever
    receiver takes its own rows away. With `separate_people` no person has rows at two parties, by the parties' own
    word; else the people of a group are as many as those of the party that has most. With `in_memory` no party writes
    rows, shares or the report to disk. With `verified` three parties compute, of which one may cheat: all that
    have tables, or two and one without.
    """

    sql: Annotated[str, StringConstraints(min_length=1, max_length=MAX_SQL_CHARACTERS)]
    columns: Annotated[Mapping[str, Declared], Field(max_length=100)] = field(default_factory=dict)
    minimum_group: Annotated[int, Field(strict=True, ge=1, le=2**31)] = 10
    separate_people: bool = False
    in_memory: bool = False
    verified: bool = False

    @property
    def report(self) -> Params:
        """The same for what does not ask where rows come from."""
        return Params(self.sql, self.columns, minimum_group=self.minimum_group, in_memory=self.in_memory)
