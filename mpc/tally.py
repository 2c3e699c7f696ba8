"""How much a job has released before its end: kept on its spool, so that it counts over attempts and for the evidence.

The node puts these counts into its evidence log when the job has ended, in whatever way.
"""

import struct
from dataclasses import dataclass, field

from mpc.spool import Spool

NAME = "tally"  # on the spool: for each call the number of rows, 4 bytes, little-endian
_CALL = struct.Struct("<I")


def count(data: bytes) -> tuple[int, int]:
    """How many calls there were, and how many rows they released. A call that a crash left half written counts."""
    whole = len(data) - len(data) % _CALL.size
    rows = [rows for (rows,) in _CALL.iter_unpack(data[:whole])]
    return len(rows) + (whole < len(data)), sum(rows)


@dataclass
class Tally:
    """The calls so far, of this attempt and those before."""

    spool: Spool = field(repr=False)
    calls: int = 0
    rows: int = 0

    @classmethod
    def of(cls, spool: Spool) -> "Tally":
        return cls(spool, *count(spool.read(NAME).tobytes()))

    def add(self, rows: int) -> None:
        """Note a call before it is answered. A crash of the process does not undo it; one of the machine may."""
        import numpy as np

        self.spool.append(NAME, np.frombuffer(_CALL.pack(rows), np.uint8))
        self.calls, self.rows = self.calls + 1, self.rows + rows
