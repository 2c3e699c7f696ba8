"""A worker's side of its sessions: blocking pipes to its peers, over one socket and memory shared with its node.

A thread reads the socket at all times, so that the node never waits for the worker. What a peer may send is bounded
by grants: `window_bytes` beyond what was consumed. While this worker waits, to send or for one peer's message, it
also grants for what lies unread; otherwise parties that all send before they receive, or that wait for each other in
a circle, would never end. `unread_bytes` bounds even that.
"""

import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import BinaryIO

from mpc.channel import MAX_MESSAGE_BYTES
from mpc.errors import ChannelError, ProtocolError, SealaneError
from parties.worker.records import (
    HEADER,
    MAX_INLINE_BYTES,
    MAX_RECORD_BYTES,
    MORE,
    SLOT,
    TOTAL,
    EndKind,
    RecordKind,
    charge,
    parse_header,
)
from parties.worker.slots import Emptier, Filler, receive_memory

WINDOW_BYTES = 32 * 2**20
UNREAD_BYTES = 4 * 2**30


def connect(
    sock: socket.socket, peers: Sequence[str], *, window_bytes: int = WINDOW_BYTES, unread_bytes: int = UNREAD_BYTES
) -> "WorkerLink":
    """The worker's link over `sock`, its end of the socket pair; `peers` are the names of the job's other parties.

    `window_bytes` (at least 4 MiB) is what each peer may send ahead; `unread_bytes` is the most that is held of one.
    """
    return WorkerLink(sock, peers, window_bytes, unread_bytes)


@dataclass(eq=False)
class _Peer:
    """One peer's part of the link; charges (see `records.charge`) are totals since the start."""

    name: str
    index: int
    inbox: deque[tuple[bool, bytes]] = field(default_factory=deque, repr=False)
    received: int = 0
    consumed: int = 0
    granted: int = 0
    sent: int = 0
    limit: int = 0
    end: SealaneError | None = None


class WorkerLink:
    """All of a worker's pipes. Leaving its `with` block normally says that the worker finished; by an error, not."""

    def __init__(self, sock: socket.socket, peers: Sequence[str], window_bytes: int, unread_bytes: int) -> None:
        self._sock = sock
        self._window_bytes = window_bytes
        self._unread_bytes = max(unread_bytes, window_bytes)
        self._sending = threading.Lock()  # a record at a time; never taken while `_changed` is held
        self._changed = threading.Condition()  # guards everything below
        self._peers = [_Peer(name, index) for index, name in enumerate(sorted(peers))]
        self._waiting = 0
        self._closed = False
        self._fillers: list[Filler] = []  # one a peer; none before the node has sent the memory, nor any grant then
        self.pipes: Mapping[str, WorkerPipe] = MappingProxyType({p.name: WorkerPipe(self, p) for p in self._peers})
        sock.setblocking(True)
        self._grant(self._peers)
        self._reader = threading.Thread(target=self._read, name="worker-link", daemon=True)
        self._reader.start()

    def event(self, body: bytes) -> None:
        """Tell the node something, at most 1 MiB."""
        if len(body) > MAX_RECORD_BYTES:
            raise ValueError(f"an event of {len(body)} bytes (at most {MAX_RECORD_BYTES})")
        self._put(RecordKind.EVENT, 0, body)

    def close(self, *, finished: bool) -> None:
        """End every pipe; unless `finished`, the peers learn that this worker failed. Safe to repeat."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
        try:
            if finished:
                self._put(RecordKind.BYE, 0, b"")
            self._sock.shutdown(socket.SHUT_RDWR)
        except (ChannelError, OSError):
            pass  # the node has gone already
        self._reader.join()
        self._sock.close()

    def __enter__(self) -> "WorkerLink":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close(finished=kind is None)

    # -- for the pipes ---------------------------------------------------------------------------------------------

    def send(self, peer: _Peer, data: bytes) -> None:
        """Send one byte string, in fragments, as the peer's grants allow."""
        if len(data) > MAX_MESSAGE_BYTES:
            raise ValueError(f"a message of {len(data)} bytes (at most {MAX_MESSAGE_BYTES})")
        view = memoryview(data)
        while True:
            part, view = view[:MAX_RECORD_BYTES], view[MAX_RECORD_BYTES:]
            cost = charge(len(part))
            slot = len(part) > MAX_INLINE_BYTES
            self._wait_until(lambda: peer.end is not None or self._may_send(peer, cost, slot))  # noqa: B023
            if peer.end is not None:
                raise peer.end
            peer.sent += cost
            flags = MORE if view else 0
            if slot:
                self._fillers[peer.index].fill(part)
                self._put(RecordKind.DATA, peer.index, b"", flags | SLOT, len(part))
            else:
                self._put(RecordKind.DATA, peer.index, part, flags)
            if not view:
                return

    def _may_send(self, peer: _Peer, cost: int, slot: bool) -> bool:
        return peer.sent + cost <= peer.limit and not (slot and self._fillers[peer.index].full)

    def receive(self, peer: _Peer) -> bytes:
        """The next byte string of a peer."""
        parts: list[bytes] = []
        size = 0
        while True:
            self._wait_until(lambda: bool(peer.inbox) or peer.end is not None)
            with self._changed:
                if not peer.inbox:
                    assert peer.end is not None
                    raise peer.end
                more, part = peer.inbox.popleft()
                peer.consumed += charge(len(part))
            self._grant([peer])
            parts.append(part)
            size += len(part)
            if size > MAX_MESSAGE_BYTES or (more and len(part) != MAX_RECORD_BYTES):
                raise ProtocolError(f"{peer.name}: sent a message over {MAX_MESSAGE_BYTES} bytes or in odd fragments")
            if not more:
                return part if len(parts) == 1 else b"".join(parts)

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        with self._changed:
            if ready():
                return
            self._waiting += 1
        try:
            self._grant(self._peers)
            with self._changed:
                self._changed.wait_for(ready)
        finally:
            with self._changed:
                self._waiting -= 1

    def _grant(self, peers: Iterable[_Peer]) -> None:
        for peer in peers:
            with self._changed:
                base = peer.received if self._waiting else peer.consumed
                limit = min(base + self._window_bytes, peer.consumed + self._unread_bytes)
                if limit < peer.granted + self._window_bytes // 4 or peer.end is not None:
                    continue
                peer.granted = limit
            self._put(RecordKind.GRANT, peer.index, TOTAL.pack(limit))

    # -- the socket ------------------------------------------------------------------------------------------------

    def _put(self, kind: RecordKind, peer: int, payload: bytes | memoryview, flags: int = 0, size: int = 0) -> None:
        """Write a record; `size` is that of a fragment in a slot."""
        record = b"".join((HEADER.pack(size or len(payload), kind, flags, peer), payload))
        try:
            with self._sending:
                self._sock.sendall(record)
        except OSError:
            raise ChannelError("this party's node has ended") from None

    def _read(self) -> None:
        try:
            filled, emptied = receive_memory(self._sock, len(self._peers))
            emptiers = [Emptier(ring) for ring in emptied]
            with self._changed:
                self._fillers = [Filler(ring) for ring in filled]
            with self._sock.makefile("rb") as stream:
                while True:
                    length, kind, flags, peer = parse_header(_read_exactly(stream, HEADER.size), len(self._peers))
                    if flags & SLOT:
                        self._on_slot(flags, self._peers[peer], emptiers[peer], length)
                    else:
                        self._on_record(kind, flags, self._peers[peer], _read_exactly(stream, length))
        except (OSError, EOFError, ProtocolError, ChannelError):
            pass  # whatever it was, the node cannot be relied on any more
        finally:
            with self._changed:
                for other in self._peers:
                    other.end = other.end or ChannelError(f"{other.name}: this party's node ended the session")
                self._changed.notify_all()

    def _on_slot(self, flags: int, peer: _Peer, emptier: Emptier, size: int) -> None:
        payload = bytes(emptier.take(size))
        if (total := emptier.empty()) is not None:
            self._put(RecordKind.EMPTIED, peer.index, TOTAL.pack(total))
        self._on_record(RecordKind.DATA, flags, peer, payload)

    def _on_record(self, kind: RecordKind, flags: int, peer: _Peer, payload: bytes) -> None:
        with self._changed:
            if kind is RecordKind.DATA:
                peer.inbox.append((bool(flags & MORE), payload))
                peer.received += charge(len(payload))
            elif kind is RecordKind.GRANT:
                peer.limit = max(peer.limit, TOTAL.unpack(payload)[0])
            elif kind is RecordKind.EMPTIED:
                self._fillers[peer.index].on_emptied(TOTAL.unpack(payload)[0])
            elif kind is RecordKind.END:
                peer.end = peer.end or _end_error(peer.name, payload)
            else:
                raise ProtocolError("the node sent a record that only a worker sends")
            self._changed.notify_all()
        if kind is RecordKind.DATA:
            self._grant([peer])


@dataclass(frozen=True)
class WorkerPipe:
    """A `Pipe` to one peer. One thread may send and one may receive at a time.

    When the peer ended, what it had sent can still be received; then, and when sending, `ChannelError` or
    `ProtocolError` names it.
    """

    _link: WorkerLink = field(repr=False)
    _peer: _Peer

    def send_bytes(self, data: bytes, /) -> None:
        self._link.send(self._peer, data)

    def recv_bytes(self) -> bytes:
        return self._link.receive(self._peer)


def _end_error(name: str, payload: bytes) -> SealaneError:
    reason = payload[1:].decode(errors="replace")
    if payload[0] == EndKind.PROTOCOL:
        return ProtocolError(f"{name}: {reason}")
    return ChannelError(f"{name}: {reason or 'ended before it sent or took the next message'}")


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data
