"""Between one worker's socket and the links to its peers: fragments pass in both directions, nothing is kept."""

import asyncio
import contextlib
import socket
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import CancelledError

import structlog

from mpc.errors import ChannelError, ProtocolError, SealaneError
from parties.transport.frames import EndCode
from parties.transport.peer import PeerLink
from parties.transport.status import WorkerTraffic
from parties.worker.records import (
    HEADER,
    LIMIT,
    MORE,
    SOCKET_BUFFER_BYTES,
    EndKind,
    RecordKind,
    parse_header,
    recv_exactly,
)

_log = structlog.get_logger("sealane.transport")
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
        self._sock.setblocking(True)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        loop = asyncio.get_running_loop()
        reading: asyncio.Future[bool] = loop.create_future()
        reader = threading.Thread(target=self._read, args=(loop, reading), name="worker-relay", daemon=True)
        writer = asyncio.create_task(self._write())
        finished = False
        try:
            for end in self._ends:
                end.link.attach(self._session, end)
            reader.start()
            finished = await asyncio.shield(reading)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            for end in self._ends:
                end.link.detach(self._session, end, EndCode.DONE if finished else EndCode.FAILED)
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
            if reader.is_alive():
                await asyncio.wait([reading])
                reader.join()
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

    def _read(self, loop: asyncio.AbstractEventLoop, reading: "asyncio.Future[bool]") -> None:
        """In a thread, so that copying from the worker and encrypting for the wire take a core each."""
        finished = False
        try:
            while not finished:
                length, kind, flags, peer = parse_header(recv_exactly(self._sock, HEADER.size), len(self._ends))
                payload = recv_exactly(self._sock, length)
                if kind is RecordKind.EVENT:
                    asyncio.run_coroutine_threadsafe(self._event(payload), loop).result()
                elif kind is RecordKind.BYE:
                    finished = True
                else:
                    loop.call_soon_threadsafe(self._on_record, kind, flags, peer, payload)
        except (OSError, EOFError, CancelledError):
            pass  # killed, or ended without goodbye
        except Exception:  # the attempt fails, whatever it was; the node goes on
            _log.exception("a worker's session failed on this node")
        finally:
            loop.call_soon_threadsafe(reading.set_result, finished)

    async def _event(self, body: bytes) -> None:
        await self._on_event(body)

    def _on_record(self, kind: RecordKind, flags: int, peer: int, payload: bytes) -> None:
        end = self._ends[peer]
        try:
            if kind is RecordKind.DATA:
                end.link.send_data(self._session, bool(flags & MORE), payload)
                end.sent_bytes += len(payload)
            elif kind is RecordKind.GRANT:
                end.link.grant(self._session, LIMIT.unpack(payload)[0])
            else:
                raise ProtocolError("this party's worker sent a record that only a node sends")
        except ProtocolError as error:
            _log.warning("a worker broke the rules", reason=str(error))
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)  # ends the reader, and with it the session as failed

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._outgoing:
                self._wake.clear()
                await self._wake.wait()
            batch = [self._outgoing.popleft() for _ in range(min(len(self._outgoing), 2 * _RECORDS_A_CALL))]
            try:
                sent = self._sock.sendmsg(batch, [], socket.MSG_DONTWAIT)
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
