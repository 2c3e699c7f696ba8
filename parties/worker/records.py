"""The records between a worker and its node on their socket: a header of 8 bytes, then at most 1 MiB.

Header, little-endian: length u32 of what follows, kind u8, flags u8 (MORE: another fragment follows), peer u16 (its
place among the sorted names of the job's other parties; 0 when the record concerns none).

DATA and GRANT go both ways. A grant is the total charge (see `charge`) that the other side may have sent since the
start. EVENT and BYE go to the node; END comes from it, one byte of `EndKind`, then a sentence in UTF-8.
"""

import socket
import struct
from enum import IntEnum

from mpc.errors import ProtocolError

MAX_RECORD_BYTES = 2**20
MORE = 1
HEADER = struct.Struct("<IBBH")
LIMIT = struct.Struct("<Q")
SOCKET_BUFFER_BYTES = 4 * 2**20  # asked for; the kernel grants what it allows

_CHARGE_PER_FRAGMENT = 256  # about what holding an empty fragment costs, so that empty ones are not free


class RecordKind(IntEnum):
    DATA = 1
    GRANT = 2
    EVENT = 3
    BYE = 4
    END = 5


_SIZES = {
    RecordKind.DATA: (0, MAX_RECORD_BYTES),
    RecordKind.GRANT: (LIMIT.size, LIMIT.size),
    RecordKind.EVENT: (0, MAX_RECORD_BYTES),
    RecordKind.BYE: (0, 0),
    RecordKind.END: (1, MAX_RECORD_BYTES),
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
    if not least <= length <= most or flags & ~MORE or peer >= max(peers, 1):
        raise ProtocolError(f"a worker's socket carries a malformed {kind.name} record")
    return length, kind, flags, peer


def recv_exactly(sock: socket.socket, size: int) -> bytes:
    """The next `size` bytes of a blocking socket; `EOFError` when it ends before."""
    data = sock.recv(size, socket.MSG_WAITALL) if size else b""
    if len(data) < size:
        raise EOFError
    return data
