"""Between one worker's socket and the links to its peers: fragments pass in both directions, nothing is kept."""

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

from mpc.errors import ChannelError, ProtocolError, SealaneError
from parties.transport.frames import EndCode
from parties.transport.peer import PeerLink
from parties.transport.status import WorkerTraffic
from parties.worker.records import HEADER, LIMIT, MORE, SOCKET_BUFFER_BYTES, EndKind, RecordKind, parse_header

_ALLOWANCE_STEP_BYTES = 2 * 2**20
_RECORDS_A_CALL = 8


class Relay:
    """One worker. The socket is closed when `run` returns."""

    def __init__(
        self,
        sock: socket.socket,
        session: bytes,
        links: Mapping[str, PeerLink],
        on_event: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self._sock = sock
        self._session = session
        self._ends = [_End(self, index, name, links[name]) for index, name in enumerate(sorted(links))]
        self._on_event = on_event
        self._outgoing: deque[memoryview] = deque()
        self._wake = asyncio.Event()

    async def run(self) -> WorkerTraffic:
        """Relay until the worker closes its end; cancelling ends the session as failed."""
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        finished = False
        writer = asyncio.create_task(self._write())
        try:
            for end in self._ends:
                end.link.attach(self._session, end)
            finished = await self._read()
        except ConnectionError:
            pass  # killed with unread data in its socket
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            for end in self._ends:
                end.link.detach(self._session, EndCode.DONE if finished else EndCode.FAILED)
            self._sock.close()
        return WorkerTraffic(
            finished=finished,
            sent_bytes={end.name: end.sent_bytes for end in self._ends},
            received_bytes={end.name: end.received_bytes for end in self._ends},
            errors={end.name: end.error for end in self._ends if end.error is not None},
        )

    def put(self, kind: RecordKind, peer: int, payload: memoryview | bytes, flags: int = 0) -> None:
        """Queue a record for the worker; what its grants allow bounds the queue."""
        self._outgoing.append(memoryview(HEADER.pack(len(payload), kind, flags, peer)))
        if payload:
            self._outgoing.append(memoryview(payload))
        self._wake.set()

    async def _read(self) -> bool:
        header = bytearray(HEADER.size)
        while await self._fill(header):
            length, kind, flags, peer = parse_header(header, len(self._ends))
            payload = bytearray(length)
            if not await self._fill(payload):
                return False
            if kind is RecordKind.BYE:
                return True
            if kind is RecordKind.EVENT:
                await self._on_event(bytes(payload))
            elif kind is RecordKind.DATA:
                end = self._ends[peer]
                end.sent_bytes += length
                end.link.send_data(self._session, bool(flags & MORE), payload)
            elif kind is RecordKind.GRANT and length == LIMIT.size:
                self._ends[peer].link.grant(self._session, LIMIT.unpack(payload)[0])
            else:
                raise ProtocolError("this party's worker sent a record that only a node sends")
        return False

    async def _fill(self, buffer: bytearray) -> bool:
        view, loop = memoryview(buffer), asyncio.get_running_loop()
        while view:
            count = await loop.sock_recv_into(self._sock, view)
            if not count:
                return False
            view = view[count:]
        return True

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._outgoing:
                self._wake.clear()
                await self._wake.wait()
            batch = [self._outgoing.popleft() for _ in range(min(len(self._outgoing), 2 * _RECORDS_A_CALL))]
            try:
                sent = self._sock.sendmsg(batch)
            except BlockingIOError:
                sent = 0
            except ConnectionError:
                return  # the worker has gone: the reader sees it too
            rest = _after(batch, sent)
            self._outgoing.extendleft(reversed(rest))
            if rest:
                await _writable(loop, self._sock)


class _End:
    """One peer of the worker."""

    def __init__(self, relay: Relay, index: int, name: str, link: PeerLink) -> None:
        self.name = name
        self.link = link
        self.sent_bytes = 0
        self.received_bytes = 0
        self.error: SealaneError | None = None
        self._relay = relay
        self._index = index
        self._told = 0

    def on_data(self, payload: memoryview, more: bool, /) -> None:
        self.received_bytes += len(payload)
        self._relay.put(RecordKind.DATA, self._index, payload, MORE if more else 0)

    def on_allowance(self, limit: int, /) -> None:
        # Small steps would cost a record for each fragment; the first must pass, for nothing else may follow it.
        if limit > self._told and (limit - self._told >= _ALLOWANCE_STEP_BYTES or not self._told):
            self._told = limit
            self._relay.put(RecordKind.GRANT, self._index, LIMIT.pack(limit))

    def on_end(self, error: SealaneError | None, /) -> None:
        self.error = error
        kind = EndKind.DONE
        if error is not None:
            kind = EndKind.CHANNEL if isinstance(error, ChannelError) else EndKind.PROTOCOL
        self._relay.put(RecordKind.END, self._index, bytes([kind]) + str(error or "").encode())


def _after(batch: list[memoryview], sent: int) -> list[memoryview]:
    for index, view in enumerate(batch):
        if sent < len(view):
            return [view[sent:], *batch[index + 1 :]]
        sent -= len(view)
    return []


async def _writable(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    ready = asyncio.Event()
    loop.add_writer(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(sock)
