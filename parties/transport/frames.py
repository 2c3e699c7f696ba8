"""The frames of a link between two nodes: a fixed header, then at most 1 MiB of payload.

Header, little-endian, 36 bytes:

    version   u8       1
    kind      u8       see `Kind`
    flags     u16      MORE on a fragment that another one follows; else 0
    session   16 bytes of DATA, GRANT and END; else zeros
    sequence  u64      from 1, of MESSAGE, DATA, GRANT and END; else 0
    ack       u64      highest sequence that the sender of this frame has received in order

One gRPC message is one frame, so its length is gRPC's to tell. Anything that does not fit is a `ProtocolError`.
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum

from mpc.errors import ProtocolError

VERSION = 1
MAX_PAYLOAD_BYTES = 2**20
MAX_HELLO_BYTES = 64 * 2**10
MORE = 1
SESSION_BYTES = 16
BOOT_BYTES = 16
NO_SESSION = bytes(SESSION_BYTES)
NO_BOOT = bytes(BOOT_BYTES)

_HEADER = struct.Struct("<BBH16sQQ")
_HELLO = struct.Struct("<16s16sQ")
_U64 = struct.Struct("<Q")
HEADER_BYTES = _HEADER.size
MAX_FRAME_BYTES = HEADER_BYTES + MAX_PAYLOAD_BYTES


class Kind(IntEnum):
    """What a frame is. Those up to PONG belong to one stream; the others are numbered and survive its loss."""

    HELLO = 1
    ACK = 2
    PING = 3
    PONG = 4
    MESSAGE = 5
    DATA = 6
    GRANT = 7
    END = 8


class EndCode(IntEnum):
    """Why a side of a session sends no more."""

    DONE = 0  # its worker finished
    FAILED = 1  # its worker died or was stopped
    BUSY = 2  # it holds too many sessions of this peer
    VIOLATION = 3  # the peer sent more than it was granted


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame; `payload` is a view of the bytes it came in."""

    kind: Kind
    flags: int
    session: bytes
    sequence: int
    ack: int
    payload: memoryview = field(repr=False)


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame on a stream, each way.

    `boot` names the sender's present state of the link; `peer_boot` and `received` say whose frames it has, and up
    to which sequence. `body` is the node server's own.
    """

    boot: bytes
    peer_boot: bytes
    received: int
    body: bytes = field(repr=False)


_SESSION_KINDS = frozenset({Kind.DATA, Kind.GRANT, Kind.END})
_FRAGMENT_KINDS = frozenset({Kind.MESSAGE, Kind.DATA})
_SIZES = {
    Kind.HELLO: (_HELLO.size, _HELLO.size + MAX_HELLO_BYTES),
    Kind.ACK: (0, 0),
    Kind.PING: (8, 8),
    Kind.PONG: (8, 8),
    Kind.MESSAGE: (0, MAX_PAYLOAD_BYTES),
    Kind.DATA: (0, MAX_PAYLOAD_BYTES),
    Kind.GRANT: (8, 8),
    Kind.END: (1, 1),
}


def encode(
    kind: Kind,
    payload: bytes | memoryview = b"",
    *,
    flags: int = 0,
    session: bytes = NO_SESSION,
    sequence: int = 0,
    ack: int = 0,
) -> bytes:
    """The bytes of a frame."""
    return b"".join((_HEADER.pack(VERSION, kind, flags, session, sequence, ack), payload))


def decode(data: bytes) -> Frame:
    """The frame in `data`; raises `ProtocolError` unless every field is as its kind wants it."""
    if len(data) < HEADER_BYTES:
        raise ProtocolError(f"expected a frame, got {len(data)} bytes")
    version, number, flags, session, sequence, ack = _HEADER.unpack_from(data)
    if version != VERSION:
        raise ProtocolError(
            f"expected transport version {VERSION}, got {version}", hint="use releases that share a transport version"
        )
    try:
        kind = Kind(number)
    except ValueError:
        raise ProtocolError(f"expected a frame, got one of unknown kind {number}") from None
    least, most = _SIZES[kind]
    size = len(data) - HEADER_BYTES
    if not least <= size <= most:
        raise ProtocolError(f"expected {least} to {most} bytes in a {kind.name} frame, got {size}")
    if flags not in ((0, MORE) if kind in _FRAGMENT_KINDS else (0,)):
        raise ProtocolError(f"a {kind.name} frame with flags {flags}")
    if (session != NO_SESSION) != (kind in _SESSION_KINDS):
        raise ProtocolError(f"a {kind.name} frame {'of no' if kind in _SESSION_KINDS else 'with a'} session")
    if (sequence != 0) != (kind >= Kind.MESSAGE):
        raise ProtocolError(f"a {kind.name} frame with sequence {sequence}")
    return Frame(kind, flags, session, sequence, ack, memoryview(data)[HEADER_BYTES:])


def encode_hello(hello: Hello) -> bytes:
    """The whole HELLO frame."""
    if len(hello.body) > MAX_HELLO_BYTES:
        raise ValueError(f"a greeting of {len(hello.body)} bytes (at most {MAX_HELLO_BYTES})")
    return encode(Kind.HELLO, _HELLO.pack(hello.boot, hello.peer_boot, hello.received) + hello.body)


def decode_hello(data: bytes) -> Hello:
    """The greeting in a whole frame; raises `ProtocolError` when it is another frame or names no boot."""
    frame = decode(data)
    if frame.kind is not Kind.HELLO:
        raise ProtocolError(f"expected HELLO, got {frame.kind.name}")
    boot, peer_boot, received = _HELLO.unpack_from(frame.payload)
    if boot == NO_BOOT or (peer_boot == NO_BOOT and received):
        raise ProtocolError("a HELLO frame whose boot ids do not fit")
    return Hello(boot, peer_boot, received, bytes(frame.payload[_HELLO.size :]))


def encode_u64(value: int) -> bytes:
    """The payload of PING, PONG and GRANT."""
    return _U64.pack(value)


def decode_u64(payload: bytes | memoryview) -> int:
    """The number in the payload of PING, PONG or GRANT."""
    return int(_U64.unpack(payload)[0])


def decode_end(payload: memoryview) -> EndCode:
    """The reason in an END frame."""
    try:
        return EndCode(payload[0])
    except ValueError:
        raise ProtocolError(f"an END frame with unknown reason {payload[0]}") from None
