"""What three parties do together that none of them can falsify: coins, and openings that both holders confirm.

Parts are as in `mpc.sharing.replicated`: party i holds parts i and i + 1. So what it lacks comes from the previous
party, and a hash of it from the next one.
"""

from collections.abc import Callable
from hashlib import blake2b

import numpy as np

from mpc.primitives.prg import SEED_BYTES, Prg
from mpc.rng import Rng
from mpc.sharing.circuits import Planes
from mpc.sharing.permutation import order_of
from mpc.sharing.protocol import Words
from mpc.sharing.replicated import Replicated
from mpc.sharing.ring import I64, U8, U64
from mpc.sharing.wire import Wire

HASH_BYTES = 32

_DOMAIN = b"sealane/sharing.verified/1\0"
_DENIED = "opened a part that the other one denies"


class Judges:
    """One party's side, within a step. Its errors name the two others, or one of them, and the step."""

    def __init__(self, wire: Wire, plain: Replicated, rng: Rng) -> None:
        self.wire = wire
        self.plain = plain
        self._next, self._previous = plain.neighbours
        self._rng = rng

    @property
    def neighbours(self) -> tuple[str, str]:
        """The next party and the previous one."""
        return self._next, self._previous

    @property
    def others(self) -> str:
        """Whom an error names that cannot say which of the two it was."""
        return f"{self._next} or {self._previous}"

    def reveal(self, x: Planes) -> U64:
        """What parts add up to by exclusive or."""
        parties = (self.wire.name, self._next, self._previous)
        third = self.plain.missing(x[0], parties)
        assert third is not None
        self._confirm(x[1], third)
        return x[0] ^ x[1] ^ third

    def reveal_words(self, x: Words) -> U64:
        """What parts add up to."""
        parties = (self.wire.name, self._next, self._previous)
        third = self.plain.missing(x[0], parties)
        assert third is not None
        self._confirm(x[1], third)
        return x[0] + x[1] + third

    def agree(self, x: Planes, judge: Callable[[U64], bool]) -> bool:
        """Whether the holders of each part agree and the judgement of the value is good, as all three parties say."""
        parties = (self.wire.name, self._next, self._previous)
        third = self.plain.missing(x[0], parties)
        assert third is not None
        good = self._confirmed(x[1], third, parties) and judge(x[0] ^ x[1] ^ third)
        return not self._complaints(good) and good

    def _complaints(self, good: bool) -> list[str]:
        """Tell the others whether all is well; who says that it is not."""
        for peer in (self._next, self._previous):
            self.wire.send(peer, np.array([good], np.uint64))
        return [peer for peer in (self._next, self._previous) if self.wire.receive(peer, (1,))[0] != 1]

    def end_opening(self, second: U64, third: U64 | None, to: tuple[str, ...]) -> None:
        """All parties end here if one of them was told something false."""
        self.wire.wait(1)
        good = self._confirmed(second, third, to)
        complaints = self._complaints(good)
        if not good:
            raise self.wire.fault(self.others, _DENIED)
        if complaints:
            raise self.wire.fault(complaints[0], "says that what was opened to it is false")

    def _confirm(self, second: U64, third: U64) -> None:
        if not self._confirmed(second, third, (self._previous,)):
            raise self.wire.fault(self.others, _DENIED)

    def _confirmed(self, second: U64, third: U64 | None, to: tuple[str, ...]) -> bool:
        """The part that a party lacks came from the previous party; the next one holds it too, as its second."""
        if self._previous in to:
            self.wire.send(self._previous, hash_of(second))
        if third is None:
            return True
        return np.array_equal(self.wire.receive(self._next, (HASH_BYTES,), np.uint8), hash_of(third))

    def check_zero(self, x: Words, complaint: str) -> None:
        """Raises `ProtocolError` unless the values are zero: the missing part is then minus the sum of the others."""
        self._check_third(-(x[0] + x[1]), x[1], complaint)

    def check_no_bits(self, x: Planes, complaint: str) -> None:
        """Raises `ProtocolError` unless all bits are zero."""
        self._check_third(x[0] ^ x[1], x[1], complaint)

    def _check_third(self, third: U64, second: U64, complaint: str) -> None:
        """The part that a party lacks must be what the two that it has say, as the next party, which has it, sees."""
        self.wire.send(self._next, hash_of(third))
        if not np.array_equal(self.wire.receive(self._previous, (HASH_BYTES,), np.uint8), hash_of(second)):
            raise self.wire.fault(self.others, complaint)

    def compare(self, own: U8, complaint: str) -> None:
        for peer in (self._next, self._previous):
            self.wire.send(peer, own)
        for peer in (self._next, self._previous):
            if not np.array_equal(self.wire.receive(peer, (HASH_BYTES,), np.uint8), own):
                raise self.wire.fault(peer, complaint)

    def confirm(self, partner: str, own: U64, suspects: str) -> None:
        """Raises `ProtocolError` unless the partner holds the same of what a third brought."""
        self.wire.send(partner, hash_of(own))
        if not np.array_equal(self.wire.receive(partner, (HASH_BYTES,), np.uint8), hash_of(own)):
            raise self.wire.fault(suspects, "one gave, or says that it was given, other parts")

    def common_order(self, count: int) -> I64:
        """A permutation that nobody could foresee: from seeds to which all committed first."""
        own = np.frombuffer(self._rng(HASH_BYTES), np.uint8)
        commitments = self._swap(hash_of(own))
        seeds = self._swap(own)
        for peer, seed in seeds.items():
            if not np.array_equal(hash_of(seed), commitments[peer]):
                raise self.wire.fault(peer, "revealed another seed than it committed to")
        every = {**seeds, self.wire.name: own}
        joint = blake2b(_DOMAIN, digest_size=SEED_BYTES)
        for party in sorted(every):
            joint.update(every[party].tobytes())
        keys = np.empty((2, count), np.uint64)
        Prg(joint.digest()).fill(keys.reshape(-1))
        return order_of(keys)

    def _swap(self, own: U8) -> dict[str, U8]:
        for peer in (self._next, self._previous):
            self.wire.send(peer, own)
        return {peer: self.wire.receive(peer, (HASH_BYTES,), np.uint8) for peer in (self._next, self._previous)}


def hash_of(array: U64 | U8) -> U8:
    """A hash of an array's bytes."""
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return np.frombuffer(blake2b(_DOMAIN + data.tobytes(), digest_size=HASH_BYTES).digest(), np.uint8)
