"""Who is still there, and what survivors may hand out about those who are not: the rules, without messages."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from mpc.errors import ChannelError, InputError, ProtocolError
from mpc.primitives.shamir import Share


def threshold(parties: int, survive_dropouts: int) -> int:
    """How many of `parties` must stay, and how many it takes to unmask anyone: all but `survive_dropouts`.

    Raises `InputError` unless 2·threshold > parties + 1. Then any two sets of `threshold` parties have one in common
    beside the aggregator, so that it cannot make two sets of them go by different survivors and so collect enough
    shares of both of a party's secrets.
    """
    left = parties - survive_dropouts
    if survive_dropouts < 0 or (survive_dropouts and 2 * left <= parties + 1):
        most = max(0, (parties - 2) // 2)
        raise InputError(
            f"{parties} parties cannot survive {survive_dropouts} drop-outs, at most {most}",
            hint=f"set survive_dropouts to {most} or less",
        )
    return left


def require_enough(members: Sequence[str], left: Collection[str], needed: int) -> None:
    """Raise `ChannelError` that names the missing unless `needed` of `members` are `left`."""
    if len(left) < needed:
        gone = ", ".join(name for name in members if name not in left)
        raise ChannelError(
            f"dropped out: {gone}; {len(left)} of {len(members)} parties are left and the sum takes {needed}",
            hint="start a new attempt when they are back, or agree on a larger survive_dropouts",
        )


def names_of(indices: Sequence[int], members: Sequence[str], sender: str) -> list[str]:
    """The names a peer's list of indices stands for; raises `ProtocolError` unless it is ascending and in range."""
    if any(b <= a for a, b in pairwise(indices)) or any(i >= len(members) for i in indices):
        raise ProtocolError(f"{sender}: sent a list of parties that is out of order or out of range")
    return [members[i] for i in indices]


def mutual(heard: Mapping[str, Collection[str]], aggregator: str) -> list[str]:
    """The parties, sorted, to go on with: each has heard each other. Leaves out those with most missing links first."""
    left = sorted(heard)
    while True:
        missing = {a: sum(b not in heard[a] or a not in heard[b] for b in left if b != a) for a in left}
        if not any(missing.values()):
            return left
        left.remove(max((name for name in left if name != aggregator), key=lambda name: missing[name]))


def check_roster(
    roster: Sequence[str], allowed: Collection[str], name: str, aggregator: str, members: Sequence[str], needed: int
) -> None:
    """Check, as party `name`, the parties that the aggregator wants to go on with; `allowed` are all it may name."""
    require_enough(members, roster, needed)
    if name not in roster:
        raise ChannelError(f"{aggregator}: goes on without this party", hint="start a new attempt")
    if aggregator not in roster or not set(roster) <= set(allowed):
        raise ProtocolError(f"{aggregator}: counts in a party that had dropped out, or itself out")


@dataclass(frozen=True)
class SharePair:
    """One party's share of another's two secrets, of which it may ever hand out one."""

    seed: Share = field(repr=False)
    key: Share = field(repr=False)


class HeldShares:
    """The shares that one party holds. It opens them once, and of each party one of the two.

    Both would unmask the party's vector: the key share is given for a party whose vector is not in the sum, the
    seed share for one whose vector is.
    """

    def __init__(self, pairs: Mapping[str, SharePair]) -> None:
        self._pairs: dict[str, SharePair] | None = dict(pairs)

    def open(self, roster: Sequence[str], survivors: Collection[str]) -> dict[str, Share]:
        """For each of `roster`, its seed share if it is one of `survivors`, else its key share."""
        if self._pairs is None:
            raise ProtocolError("shares were asked for a second time")
        pairs, self._pairs = self._pairs, None
        return {name: pairs[name].seed if name in survivors else pairs[name].key for name in roster}
