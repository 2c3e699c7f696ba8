"""What a computation on shares costs one party: rounds, bytes and elements, by operation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Cost:
    """Of one operation over all its calls; bytes are those of the arrays, without framing."""

    calls: int = 0
    elements: int = 0
    rounds: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.calls + other.calls,
            self.elements + other.elements,
            self.rounds + other.rounds,
            self.sent_bytes + other.sent_bytes,
            self.received_bytes + other.received_bytes,
        )


@dataclass
class Costs:
    """Counts up as an engine works. A round is a wait for messages, other than those that fill a stock of transfers."""

    _operations: dict[str, Cost] = field(default_factory=dict)

    @property
    def operations(self) -> Mapping[str, Cost]:
        """By the name of the operation, in the order of first use."""
        return MappingProxyType(self._operations)

    @property
    def total(self) -> Cost:
        return sum(self._operations.values(), Cost())

    def add(self, operation: str, cost: Cost) -> None:
        self._operations[operation] = self._operations.get(operation, Cost()) + cost
