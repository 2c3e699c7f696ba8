"""How fast a peer may make this node keep what leads to nothing: records of misdeeds, and jobs that are denied."""

from dataclasses import dataclass, field

BURST = 500
EVERY_S = 60.0


@dataclass
class Throttle:
    """Each peer has a burst of fruitless messages, and one more each `every_s`; then its next one has to wait.

    Nothing is refused: who sends too many is heard more slowly, and what it makes this node keep grows no faster.
    """

    burst: int = BURST
    every_s: float = EVERY_S
    _spent: dict[str, tuple[float, float]] = field(default_factory=dict)  # peer -> how many, at what time
    _slowed: set[str] = field(default_factory=set)

    def charge(self, peer: str, now: float) -> bool:
        """Count a fruitless message; whether the next is the first in a long time that has to wait."""
        before = self._level(peer, now)
        self._spent[peer] = before + 1, now
        if before < self.burst / 2:
            self._slowed.discard(peer)
        if peer in self._slowed or not self.wait_s(peer, now):
            return False
        self._slowed.add(peer)
        return True

    def wait_s(self, peer: str, now: float) -> float:
        """How long the peer's next message has to wait."""
        return max(0.0, self._level(peer, now) - self.burst + 1) * self.every_s

    def _level(self, peer: str, now: float) -> float:
        spent, since = self._spent.get(peer, (0.0, now))
        return max(0.0, spent - (now - since) / self.every_s)
