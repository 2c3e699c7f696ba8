"""The Chinese remainder theorem for batches of residues."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Joining:
    """How residues modulo p² and modulo q² become one modulo (p·q)², on one backend; see `Residues.join`.

    Each of `factors` belongs to the residues modulo the square of the same place; it is a unit modulo that. `rows` are
    the backend's own.
    """

    factors: tuple[int, int] = field(repr=False)
    rows: NDArray[Any] = field(repr=False)

    @classmethod
    def of(cls, p: int, q: int, unit: int, rows: NDArray[Any]) -> "Joining":
        """For a backend that computes (a·q² + b·p²)/unit from rows of a and of b."""
        return cls((pow(q**2, -1, p**2) * unit % p**2, pow(p**2, -1, q**2) * unit % q**2), np.ascontiguousarray(rows))
