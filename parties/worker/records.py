"""The records between a worker and its node on their socket: a header of 8 bytes, then at most 1 MiB.

Header, little-endian: length u32, kind u8, flags u8, peer u16 (its place among the sorted names of the job's other
parties; 0 when the record concerns none). So many bytes follow, or with the flag SLOT none: then they are a fragment
in the next slot of the peer's ring (see `slots`). The flag MORE says that another fragment follows.

DATA, GRANT and EMPTIED go both ways. A grant is the total charge (see `charge`) that the other side may have sent
since the start; EMPTIED is the total of slots of the peer that may be filled again. EVENT and BYE go to the node; END
comes from it, one byte of `EndKind`, then a sentence in UTF-8. Before its first record the node sends one byte, and
with it the descriptor of the memory that holds the slots.
"""

import struct
from enum import IntEnum

from mpc.errors import ProtocolError

MAX_RECORD_BYTES = 2**20
MAX_INLINE_BYTES = 16 * 2**10  # of a fragment that is not worth a slot
MORE = 1
SLOT = 2
HEADER = struct.Struct("<IBBH")
TOTAL = struct.Struct("<Q")

_CHARGE_PER_FRAGMENT = 256  # about what holding an empty fragment costs, so that empty ones are not free


class RecordKind(IntEnum):
    DATA = 1
    GRANT = 2
    EVENT = 3
    BYE = 4
    END = 5
    EMPTIED = 6


_SIZES = {
    RecordKind.DATA: (0, MAX_RECORD_BYTES),
    RecordKind.GRANT: (TOTAL.size, TOTAL.size),
    RecordKind.EVENT: (0, MAX_RECORD_BYTES),
    RecordKind.BYE: (0, 0),
    RecordKind.END: (1, MAX_RECORD_BYTES),
    RecordKind.EMPTIED: (TOTAL.size, TOTAL.size),
}


class EndKind(IntEnum):
    """How a peer ended: having finished, by a broken link, or by breaking the rules."""

    DONE = 0
    CHANNEL = 1
    PROTOCOL = 2


def charge(size: int) -> int:
    """What a fragment of `size` bytes counts against a grant."""
    return size + _CHARGE_PER_FRAGMENT


def parse_header(header: bytes | bytearray, peers: int) -> tuple[int, RecordKind, int, int]:
    """(length, kind, flags, peer) of a record on a socket shared with `peers` peers."""
    length, number, flags, peer = HEADER.unpack(header)
    try:
        kind = RecordKind(number)
    except ValueError:
        raise ProtocolError(f"a worker's socket carries a record of unknown kind {number}") from None
    least, most = _SIZES[kind]
    allowed = MORE | SLOT if kind is RecordKind.DATA else 0
    if not least <= length <= most or flags & ~allowed or peer >= max(peers, 1):
        raise ProtocolError(f"a worker's socket carries a malformed {kind.name} record")
    return length, kind, flags, peer
