"""The four levels of what a private join reveals, from J0 (both learn the matches) to J3 (nobody learns anything)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mpc.joins.hidden import join_hidden, join_size_only
from mpc.joins.joined import Column, Joined, Table
from mpc.joins.matching import join_one_sided, join_open
from mpc.sharing.engine import Engine
from mpc.spec import Party

Join = Callable[
    [Party[Any], Engine, bytes, str, str, Mapping[str, Mapping[str, Column]], Table | None],
    Joined,
]


@dataclass(frozen=True)
class Level:
    """`join(party, engine, label, asker, other, declared, table)`, and what the two learn beside each other's sizes."""

    name: str
    join: Join
    asker_learns: str
    other_learns: str

    def reveals(self, asker: str, other: str) -> Mapping[str, str]:
        """For each of the two, a sentence that says all it learns from the join."""
        return {
            asker: f"{self.asker_learns.format(peer=other)}, and how many different keys {other} has",
            other: f"{self.other_learns.format(peer=asker)}, and how many different keys {asker} has",
        }


_ROWS = "which of its own rows have a key that {peer} also has"
_COUNT = "how many keys it shares with {peer}"
_NOTHING = "nothing of which keys are common with {peer}"

LEVELS: Mapping[str, Level] = {
    level.name: level
    for level in (
        Level("J0", join_open, _ROWS, _ROWS),
        Level("J1", join_one_sided, _ROWS, _NOTHING),
        Level("J2", join_size_only, _COUNT, _COUNT),
        Level("J3", join_hidden, _NOTHING, _NOTHING),
    )
}
