"""The seam between a protocol and whatever carries its messages.

A protocol sees `Channel`: ordered, authenticated, one peer at its end. Under it lies a `Pipe`, which carries
byte strings of any length: two queues in memory, or a session between two nodes. `MessageChannel` turns the
second into the first, so that every transport shares one encoding and one set of checks.

Encoding of a message: one byte N, the N bytes of its protobuf full name, its protobuf body.
"""

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from google.protobuf.message import DecodeError, Message

from mpc.errors import ChannelError, ProtocolError

M = TypeVar("M", bound=Message)

# A peer may not make us hold a longer message. Protocols send long vectors in chunks of about 1 MiB.
MAX_MESSAGE_BYTES = 64 * 2**20

_LENGTH_DELIMITED = 2  # protobuf's wire type of bytes


@contextmanager
def naming(peer: str) -> Iterator[None]:
    """Puts the peer's name in front of the errors that its link or its messages raise, if it is not there yet."""
    try:
        yield
    except (ChannelError, ProtocolError) as error:
        if str(error).startswith(f"{peer}: "):
            raise
        raise type(error)(f"{peer}: {error}", hint=error.hint) from error


@contextmanager
def in_step(step: str) -> Iterator[None]:
    """Puts the step behind errors of what a peer sent, if they do not name a step yet."""
    try:
        yield
    except ProtocolError as error:
        if " step " in str(error):
            raise
        raise ProtocolError(f"{error}, in step {step!r}", hint=error.hint) from error


class Channel(Protocol):
    """Ordered, authenticated link to one peer. After any exception: close it, never reuse it."""

    def send(self, message: Message, /) -> None:
        """Hand over a message. Does not deadlock when the peer is sending too."""
        ...

    def recv(self, expected: type[M], /) -> M:
        """The peer's next message; another type or a malformed one raises `ProtocolError`."""
        ...

    def send_bulk(self, message: Message, data: memoryview, /) -> None:
        """`send` the message with its last field, of bytes and empty so far, holding `data`."""
        ...

    def recv_bulk(self, expected: M, into: memoryview, /) -> M | None:
        """`recv`, into memory: None if the peer's message is `expected` with as much in its last field as is now in
        `into`; otherwise the message, which differs, for the caller to say in what.
        """
        ...


class Pipe(Protocol):
    """Ordered, authenticated carrier of byte strings to one peer."""

    def send_bytes(self, data: bytes, /) -> None: ...

    def recv_bytes(self) -> bytes: ...


def encode(message: Message) -> bytes:
    """The bytes of a message on a pipe."""
    name = message.DESCRIPTOR.full_name.encode()
    return bytes([len(name)]) + name + message.SerializeToString(deterministic=True)


def encode_bulk(message: Message, data: memoryview) -> bytes:
    """The bytes of a message on a pipe, with `data` in its last field, of bytes: `data` is copied once."""
    return b"".join((_bulk_head(message, len(data)), data))


def decode_bulk(data: bytes, expected: M, into: memoryview) -> M | None:
    """Read what `encode_bulk` wrote, as `Channel.recv_bulk` says."""
    head = _bulk_head(expected, len(into))
    if len(data) == len(head) + len(into) and data.startswith(head):
        into[:] = memoryview(data)[len(head) :]
        return None
    message = decode(data, type(expected))  # of other content, or encoded in another way
    name = expected.DESCRIPTOR.fields[-1].name
    payload = getattr(message, name)
    if len(payload) != len(into):
        return message
    whole = type(expected)()
    whole.CopyFrom(expected)
    setattr(whole, name, payload)
    if whole != message:
        return message
    into[:] = payload
    return None


def _bulk_head(message: Message, size: int) -> bytes:
    """All of a message before the content of its last field, which has `size` bytes; an empty one is left out."""
    if not size:
        return encode(message)
    tag = message.DESCRIPTOR.fields[-1].number << 3 | _LENGTH_DELIMITED
    return encode(message) + _varint(tag) + _varint(size)


def _varint(value: int) -> bytes:
    """As protobuf encodes it: seven bits a byte, the lowest first."""
    digits = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def decode(data: bytes, expected: type[M]) -> M:
    """The message in `data`; raises `ProtocolError` unless it is a well-formed `expected`."""
    wanted = expected.DESCRIPTOR.full_name
    if len(data) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"expected {wanted}, got a message of {len(data)} bytes (at most {MAX_MESSAGE_BYTES})")
    end = 1 + data[0] if data else 1
    name = data[1:end]
    if name != wanted.encode():
        shown = name.decode("ascii", "replace") if name.isascii() else "bytes that name no message"
        raise ProtocolError(f"expected {wanted}, got {shown[:80]!r}")
    try:
        return expected.FromString(memoryview(data)[end:])  # type: ignore[arg-type]
    except DecodeError:
        raise ProtocolError(f"expected {wanted}, got bytes that are not one") from None


class MessageChannel:
    """A `Channel` over a `Pipe`."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def send(self, message: Message, /) -> None:
        self._pipe.send_bytes(encode(message))

    def recv(self, expected: type[M], /) -> M:
        return decode(self._pipe.recv_bytes(), expected)

    def send_bulk(self, message: Message, data: memoryview, /) -> None:
        self._pipe.send_bytes(encode_bulk(message, data))

    def recv_bulk(self, expected: M, into: memoryview, /) -> M | None:
        return decode_bulk(self._pipe.recv_bytes(), expected, into)


@dataclass(frozen=True)
class NamedChannel:
    """A channel whose errors name the peer."""

    peer: str
    channel: Channel = field(repr=False)

    def send(self, message: Message, /) -> None:
        with naming(self.peer):
            self.channel.send(message)

    def recv(self, expected: type[M], /) -> M:
        with naming(self.peer):
            return self.channel.recv(expected)

    def send_bulk(self, message: Message, data: memoryview, /) -> None:
        with naming(self.peer):
            self.channel.send_bulk(message, data)

    def recv_bulk(self, expected: M, into: memoryview, /) -> M | None:
        with naming(self.peer):
            return self.channel.recv_bulk(expected, into)


@dataclass(frozen=True)
class MemoryPipe:
    """One end of a pair of unbounded queues. `close` ends both directions for the other side."""

    _outgoing: "queue.SimpleQueue[bytes | None]"
    _incoming: "queue.SimpleQueue[bytes | None]"

    def send_bytes(self, data: bytes, /) -> None:
        self._outgoing.put(data)

    def recv_bytes(self) -> bytes:
        data = self._incoming.get()
        if data is None:
            self._incoming.put(None)
            raise ChannelError("the other party ended before it sent the next message")
        return data

    def close(self) -> None:
        self._outgoing.put(None)


def memory_pipes() -> tuple[MemoryPipe, MemoryPipe]:
    """Two connected ends in one process."""
    a: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    b: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    return MemoryPipe(a, b), MemoryPipe(b, a)


@dataclass
class CountingPipe:
    """Counts the messages and bytes that pass through `inner`, each way."""

    inner: Pipe
    sent_bytes: int = 0
    received_bytes: int = 0
    sent_messages: int = 0
    received_messages: int = 0

    def send_bytes(self, data: bytes, /) -> None:
        self.inner.send_bytes(data)
        self.sent_bytes += len(data)
        self.sent_messages += 1

    def recv_bytes(self) -> bytes:
        data = self.inner.recv_bytes()
        self.received_bytes += len(data)
        self.received_messages += 1
        return data
