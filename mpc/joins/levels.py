"""The four levels of what a private join reveals, from J0 (all learn the matches) to J3 (nobody learns anything)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mpc.joins import attested
from mpc.joins.hidden import join_hidden, join_size_only
from mpc.joins.joined import Column, Joined, Table
from mpc.joins.matching import join_one_sided, join_open
from mpc.psi.multi import MOST_PARTIES
from mpc.sharing.engine import Engine
from mpc.spec import Party

Join = Callable[
    [Party[Any], Engine, bytes, str, Sequence[str], Mapping[str, Mapping[str, Column]], Table | None],
    Joined,
]


@dataclass(frozen=True)
class Level:
    """`join(party, engine, label, asker, others, declared, table)`, and what each learns beside the others' sizes.

    `most_others` is with how many others the asker can join. `verified` is the join of three computing parties of which
    one may cheat, None where there is none.
    """

    name: str
    join: Join
    asker_learns: str
    other_learns: str
    most_others: int
    verified: Join | None = None

    def reveals(self, asker: str, others: Sequence[str]) -> Mapping[str, str]:
        """For each party, a sentence that says all it learns from the join."""
        said = {}
        for name in (asker, *others):
            peers = [peer for peer in (asker, *others) if peer != name]
            listed = " and ".join([", ".join(peers[:-1]), peers[-1]] if peers[1:] else peers)
            learned = (self.asker_learns if name == asker else self.other_learns).format(peers=listed)
            said[name] = f"{learned}, and how many different keys {listed} {'have' if peers[1:] else 'has'}"
        return said


_ROWS = "which of its own rows have a key in common with {peers}"
_COUNT = "how many keys are in common with {peers}"
_NOTHING = "nothing of which keys are in common with {peers}"
_MOST = MOST_PARTIES - 1

LEVELS: Mapping[str, Level] = {
    level.name: level
    for level in (
        Level("J0", join_open, _ROWS, _ROWS, _MOST, attested.join_open),
        Level("J1", join_one_sided, _ROWS, _NOTHING, 1),
        Level("J2", join_size_only, _COUNT, _COUNT, _MOST, attested.join_size_only),
        Level("J3", join_hidden, _NOTHING, _NOTHING, _MOST, attested.join_hidden),
    )
}
