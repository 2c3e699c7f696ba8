"""Between one worker and the links to its peers: fragments pass in both directions, nothing is kept."""

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from mpc.errors import ChannelError, ProtocolError, SealaneError
from parties.transport.frames import EndCode
from parties.transport.peer import PeerLink
from parties.transport.status import WorkerTraffic
from parties.worker.records import HEADER, MAX_INLINE_BYTES, MORE, SLOT, TOTAL, EndKind, RecordKind, parse_header
from parties.worker.slots import Emptier, Filler, send_memory

_log = structlog.get_logger("sealane.transport")
_ALLOWANCE_STEP_BYTES = 2 * 2**20
_CHUNK_BYTES = 64 * 2**10


async def relay(
    sock: socket.socket,
    session: bytes,
    links: Mapping[str, PeerLink],
    on_event: Callable[[bytes], Awaitable[None]],
    on_failed: Callable[[Mapping[str, SealaneError]], Awaitable[None]],
) -> WorkerTraffic:
    """Relay the worker at the other end of `sock` until it closes it, and close this end.

    `on_failed` is awaited, with what happened to each peer, before peers are told that the worker did not finish.
    Cancelling ends the session as failed.
    """
    filled, emptied = send_memory(sock, len(links))
    sock.setblocking(False)
    outbox = _Outbox(sock)
    ends = [
        _End(outbox, index, name, session, links[name], Filler(filled[index]), Emptier(emptied[index]))
        for index, name in enumerate(sorted(links))
    ]
    finished = False
    writing = asyncio.create_task(outbox.write())
    try:
        for end in ends:
            end.link.attach(session, end)
        finished = await _read(_Inbox(sock), ends, on_event)
        if not finished:
            await on_failed(_errors(ends))
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        for end in ends:
            end.link.detach(session, end, EndCode.DONE if finished else EndCode.FAILED)
        sock.close()
    return WorkerTraffic(
        finished=finished,
        sent_bytes={end.name: end.sent_bytes for end in ends},
        received_bytes={end.name: end.received_bytes for end in ends},
        errors=_errors(ends),
    )


def _errors(ends: Sequence["_End"]) -> dict[str, SealaneError]:
    return {end.name: end.error for end in ends if end.error is not None}


async def _read(inbox: "_Inbox", ends: Sequence["_End"], on_event: Callable[[bytes], Awaitable[None]]) -> bool:
    """Take what the worker sends until it ends; gives whether it said that it finished."""
    try:
        while True:
            length, kind, flags, peer = parse_header(await inbox.read(HEADER.size), len(ends))
            if flags & SLOT:
                ends[peer].on_slot(flags, length)
                continue
            payload = await inbox.read(length)
            if kind is RecordKind.BYE:
                return True
            if kind is RecordKind.EVENT:
                await on_event(payload)
            else:
                ends[peer].on_record(kind, flags, payload)
    except (OSError, EOFError):
        pass  # killed, or ended without goodbye
    except ProtocolError as error:
        _log.warning("a worker broke the rules", reason=str(error))
    except Exception:  # the attempt fails, whatever it was; the node goes on
        _log.exception("a worker's session failed on this node")
    return False


# Not asyncio's streams: after a write that failed they lose what the worker had sent before it left.


@dataclass
class _Inbox:
    """What comes from the worker."""

    _sock: socket.socket
    _unread: bytearray = field(default_factory=bytearray)

    async def read(self, size: int) -> bytes:
        """The next `size` bytes; `EOFError` when the worker ends before."""
        loop = asyncio.get_running_loop()
        while len(self._unread) < size:
            chunk = await loop.sock_recv(self._sock, _CHUNK_BYTES)
            if not chunk:
                raise EOFError
            self._unread += chunk
        data = bytes(self._unread[:size])
        del self._unread[:size]
        return data


@dataclass
class _Outbox:
    """The records for the worker; what its grants allow bounds them."""

    _sock: socket.socket
    _records: list[bytes] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, record: bytes) -> None:
        """Queue a record."""
        self._records.append(record)
        self._wake.set()

    async def write(self) -> None:
        """Write what is queued until the worker has gone."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # the reader sees it too
            while True:
                await self._wake.wait()
                self._wake.clear()
                records, self._records = self._records, []
                await loop.sock_sendall(self._sock, b"".join(records))


class _End:
    """One peer of the worker."""

    def __init__(
        self,
        outbox: _Outbox,
        index: int,
        name: str,
        session: bytes,
        link: PeerLink,
        filler: Filler,
        emptier: Emptier,
    ) -> None:
        self.name = name
        self.link = link
        self.sent_bytes = 0
        self.received_bytes = 0
        self.error: SealaneError | None = None
        self._outbox = outbox
        self._index = index
        self._session = session
        self._filler = filler
        self._emptier = emptier
        self._told = 0
        self._unframed: deque[bool] = deque()  # of each fragment that the link holds, whether it is in a slot
        self._waiting: deque[tuple[RecordKind, memoryview, int]] = deque()  # for a slot; bounded by the grants

    # -- from the worker -------------------------------------------------------------------------------------------

    def on_slot(self, flags: int, size: int) -> None:
        """The worker sent a fragment in a slot."""
        self._send(flags, self._emptier.take(size), True)

    def on_record(self, kind: RecordKind, flags: int, payload: bytes) -> None:
        """The worker sent another record for this peer."""
        if kind is RecordKind.DATA:
            self._send(flags, payload, False)
        elif kind is RecordKind.GRANT:
            self.link.grant(self._session, TOTAL.unpack(payload)[0])
        elif kind is RecordKind.EMPTIED:
            self._filler.on_emptied(TOTAL.unpack(payload)[0])
            self._pass_on()
        else:
            raise ProtocolError("this party's worker sent a record that only a node sends")

    def _send(self, flags: int, payload: bytes | memoryview, slot: bool) -> None:
        if self.link.send_data(self._session, bool(flags & MORE), payload):
            self._unframed.append(slot)
            self.sent_bytes += len(payload)

    # -- from the link ---------------------------------------------------------------------------------------------

    def on_data(self, payload: memoryview, more: bool, /) -> None:
        self.received_bytes += len(payload)
        self._waiting.append((RecordKind.DATA, payload, MORE if more else 0))
        self._pass_on()

    def on_allowance(self, limit: int, /) -> None:
        # Small steps would cost a record for each fragment; the first must pass, for nothing else may follow it.
        if limit > self._told and (limit - self._told >= _ALLOWANCE_STEP_BYTES or not self._told):
            self._told = limit
            self._put(RecordKind.GRANT, TOTAL.pack(limit))

    def on_framed(self, limit: int, /) -> None:
        if self._unframed.popleft() and (total := self._emptier.empty()) is not None:
            self._put(RecordKind.EMPTIED, TOTAL.pack(total))
        self.on_allowance(limit)

    def on_end(self, error: SealaneError | None, /) -> None:
        self.error = error
        kind = EndKind.DONE
        if error is not None:
            kind = EndKind.CHANNEL if isinstance(error, ChannelError) else EndKind.PROTOCOL
        self._waiting.append((RecordKind.END, memoryview(bytes([kind]) + str(error or "").encode()), 0))
        self._pass_on()

    # -- to the worker ---------------------------------------------------------------------------------------------

    def _pass_on(self) -> None:
        while self._waiting:
            kind, payload, flags = self._waiting[0]
            if len(payload) > MAX_INLINE_BYTES:
                if self._filler.full:
                    return
                self._filler.fill(payload)
                self._put(kind, b"", flags | SLOT, len(payload))
            else:
                self._put(kind, payload, flags)
            self._waiting.popleft()

    def _put(self, kind: RecordKind, payload: bytes | memoryview, flags: int = 0, size: int = 0) -> None:
        """Queue a record; `size` is that of a fragment in a slot."""
        self._outbox.put(b"".join((HEADER.pack(size or len(payload), kind, flags, self._index), payload)))
