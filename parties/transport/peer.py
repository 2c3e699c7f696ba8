"""The living side of a link: its stream, its timers, and the order in which the server hears of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import structlog

from mpc.errors import ChannelError, InputError, ProtocolError, SealaneError
from mpc.rng import Rng
from parties.transport import frames
from parties.transport.frames import EndCode
from parties.transport.link import Data, Ended, Event, Granted, Link, Message, Pong, Violated
from parties.transport.status import Handler, Limits, LinkStatus

_log = structlog.get_logger("sealane.transport")
_INBOX_MESSAGES = 64
_WATCH_S = 1.0


class SupersededError(Exception):
    """Another stream serves the same two peers, and it stays."""


@dataclass(frozen=True, eq=False)
class Stream:
    """Either side of a gRPC call. `read` gives a frame, or None at the end; both raise `ChannelError`."""

    read: Callable[[], Awaitable[bytes | None]]
    write: Callable[[bytes], Awaitable[None]]
    dialed_by: str
    closed: asyncio.Event = field(default_factory=asyncio.Event)


class SessionEnd(Protocol):
    """What a link tells the holder of one of its sessions."""

    def on_data(self, payload: memoryview, more: bool, /) -> None: ...

    def on_allowance(self, limit: int, /) -> None: ...

    def on_framed(self, limit: int, /) -> None:
        """The oldest fragment given to `send_data` was copied, which renewed the allowance."""
        ...

    def on_end(self, error: SealaneError | None, /) -> None:
        """The peer sends no more: it finished (None), or why not. Called once at most."""
        ...


class PeerLink:
    """One registered peer: at most one stream, the sessions by id, and a queue of what the server is to hear."""

    def __init__(self, me: str, peer: str, handler: Handler, limits: Limits, rng: Rng) -> None:
        self.peer = peer
        self._me = me
        self._handler = handler
        self._limits = limits
        self._link = Link(rng, max_sessions=limits.sessions_per_peer, max_message_bytes=limits.message_bytes)
        self._status = LinkStatus()
        self._sent_bytes = self._received_bytes = self._connections = 0
        self._wake = asyncio.Event()  # there may be something to write
        self._room = asyncio.Event()  # control messages were written, or the link went down
        self._stream: Stream | None = None
        self._down = asyncio.Event()
        self._down.set()
        self._down_since = time.monotonic()
        self._sessions: dict[bytes, SessionEnd] = {}
        self._inbox: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._inbox_room = asyncio.Semaphore(_INBOX_MESSAGES)
        self._tasks = [asyncio.create_task(self._deliver()), asyncio.create_task(self._watch())]

    # -- for the transport -----------------------------------------------------------------------------------------

    @property
    def status(self) -> LinkStatus:
        """As it is now."""
        return replace(
            self._status,
            sent_bytes=self._sent_bytes,
            received_bytes=self._received_bytes,
            reconnects=max(0, self._connections - 1),
        )

    async def wait_down(self) -> None:
        """Return once no stream serves the link."""
        await self._down.wait()

    def refused(self, reason: str) -> None:
        """Note why an attempt to connect failed."""
        self._set_status(replace(self._status, refused=reason))

    def has_room(self, size: int) -> bool:
        """Whether a control message of so many bytes can be queued now."""
        return self._link.queued_message_bytes + size <= self._limits.queued_message_bytes

    async def send(self, message: bytes) -> None:
        """Queue a control message; waits while too many are queued. `ChannelError` when not connected."""
        if len(message) > self._limits.message_bytes:
            raise InputError(f"a control message of {len(message)} bytes (at most {self._limits.message_bytes})")
        while self._stream and not self.has_room(len(message)):
            self._room.clear()
            await self._room.wait()
        if self._stream is None:
            raise ChannelError(f"{self._name}: not connected")
        self._link.send_message(message)
        self._wake.set()

    async def close(self, reason: str) -> None:
        """Cut the stream, fail the sessions, stop."""
        if self._stream is not None:
            self._leave(self._stream)
        self._give_up(reason)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- for the holder of a session -------------------------------------------------------------------------------

    def attach(self, session: bytes, end: SessionEnd) -> None:
        """Take part in a session; `end` hears at once what the peer has said of it already."""
        if len(self._sessions) >= self._limits.sessions_per_peer:
            raise ChannelError(f"{self._name}: this node has too many sessions with it")
        replay = self._link.open_session(session)
        self._sessions[session] = end
        for event in replay:
            self._dispatch(event)

    def send_data(self, session: bytes, more: bool, payload: bytes | memoryview) -> bool:
        """Queue a fragment from this side's worker, to stay as it is until `on_framed`; False if nobody wants it."""
        queued = self._link.send_data(session, more, payload)
        self._wake.set()
        return queued

    def grant(self, session: bytes, limit: int) -> None:
        """Pass on a grant of this side's worker."""
        self._link.grant(session, limit)
        self._wake.set()

    def detach(self, session: bytes, end: SessionEnd, code: EndCode) -> None:
        """This side's worker has gone; nothing happens unless `end` holds the session."""
        if self._sessions.get(session) is end:
            del self._sessions[session]
            self._link.end_session(session, code)
            self._wake.set()

    # -- streams ---------------------------------------------------------------------------------------------------

    async def serve(self, stream: Stream) -> None:
        """Carry the link on `stream` until it ends or another takes its place.

        Raises `SupersededError` when another serves already, `ProtocolError` or `ChannelError` as the peer gives
        cause, and `TimeoutError` when it does not greet.
        """
        async with asyncio.timeout(self._limits.handshake_s):
            await stream.write(self._link.hello(self._handler.hello()))
            first = await stream.read()
        if first is None:
            raise ChannelError(f"{self._name}: closed the stream before it greeted")
        hello = frames.decode_hello(first)
        self._enter(stream, hello)
        tasks = [
            asyncio.create_task(self._read(stream)),
            asyncio.create_task(self._write(stream)),
            asyncio.create_task(stream.closed.wait()),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._leave(stream)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        errors = [error for task in done if (error := task.exception()) is not None]
        if errors:  # what the peer did wrong says more than that the stream broke
            raise next((error for error in errors if isinstance(error, ProtocolError)), errors[0])

    def _enter(self, stream: Stream, hello: frames.Hello) -> None:
        current = self._stream
        if current is not None:
            keeper = min(self._me, self.peer)
            if current.dialed_by == keeper != stream.dialed_by:
                raise SupersededError
            self._leave(current)
        if not self._link.resume(hello):
            self._fail_sessions("its node restarted or gave the session up")
        self._stream = stream
        self._connections += 1
        self._down.clear()
        self._link.ping(time.monotonic_ns())
        self._wake.set()
        self._set_status(replace(self._status, connected=True, refused="", hello=hello.body))

    def _leave(self, stream: Stream) -> None:
        stream.closed.set()
        if self._stream is not stream:
            return
        self._stream = None
        self._link.disconnected()
        self._down_since = time.monotonic()
        self._down.set()
        self._room.set()
        self._set_status(replace(self._status, connected=False, round_trip_s=None))

    async def _write(self, stream: Stream) -> None:
        while self._stream is stream:
            outgoing = self._link.next_frame()
            if outgoing is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            if outgoing.session is not None and (end := self._sessions.get(outgoing.session)) is not None:
                end.on_framed(self._link.allowance(outgoing.session))
            await stream.write(outgoing.frame)
            self._sent_bytes += len(outgoing.frame)
            self._room.set()

    async def _read(self, stream: Stream) -> None:
        while (data := await stream.read()) is not None and self._stream is stream:
            self._received_bytes += len(data)
            event = self._link.receive(data)
            self._wake.set()
            if isinstance(event, Message):
                await self._inbox_room.acquire()
                self._inbox.put_nowait(partial(self._on_message, event.body))
            elif event is not None:
                self._dispatch(event)

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, Pong):
            round_trip_s = (time.monotonic_ns() - event.value) / 1e9
            if 0 <= round_trip_s < 1e4:
                self._status = replace(self._status, round_trip_s=round_trip_s)
        elif not isinstance(event, Message) and (end := self._sessions.get(event.session)) is not None:
            match event:
                case Data():
                    end.on_data(event.payload, event.more)
                case Granted():
                    end.on_allowance(self._link.allowance(event.session))
                case Ended(code=EndCode.DONE):
                    end.on_end(None)
                case Ended():
                    del self._sessions[event.session]
                    end.on_end(self._end_error(event.code))
                case Violated():
                    del self._sessions[event.session]
                    _log.warning("session violated", peer=self.peer, session=event.session.hex(), reason=event.reason)
                    end.on_end(ProtocolError(f"{self._name}: {event.reason}"))

    def _end_error(self, code: EndCode) -> SealaneError:
        if code is EndCode.VIOLATION:
            return ProtocolError(f"{self._name}: its node says that this party sent more than it was granted")
        if code is EndCode.BUSY:
            return ChannelError(f"{self._name}: its node holds too many sessions of this party", hint="try again later")
        return ChannelError(f"{self._name}: its worker ended before it finished")

    # -- timers and the server -------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        pinged = time.monotonic()
        while True:
            await asyncio.sleep(min(_WATCH_S, self._limits.resume_s / 4))
            now = time.monotonic()
            if self._stream is not None and now - pinged >= self._limits.keepalive_s:
                pinged = now
                self._link.ping(time.monotonic_ns())
                self._wake.set()
            elif self._stream is None and now - self._down_since >= self._limits.resume_s:
                self._down_since = now
                self._give_up(f"no connection for {self._limits.resume_s:g} s")

    def _give_up(self, reason: str) -> None:
        self._link.give_up()
        self._fail_sessions(reason)

    def _fail_sessions(self, reason: str) -> None:
        sessions, self._sessions = self._sessions, {}
        for end in sessions.values():
            end.on_end(ChannelError(f"{self._name}: {reason}", hint="a new attempt may succeed"))

    def _set_status(self, status: LinkStatus) -> None:
        changed = (status.connected, status.refused) != (self._status.connected, self._status.refused)
        self._status = status
        if changed:
            self._inbox.put_nowait(partial(self._handler.on_link, self.peer, self.status))

    async def _on_message(self, body: bytes) -> None:
        self._inbox_room.release()
        await self._handler.on_message(self.peer, body)

    async def _deliver(self) -> None:
        while True:
            call = await self._inbox.get()
            try:
                await call()
            except Exception:  # one message's failure must not silence the peer
                _log.exception("a peer's message could not be handled", peer=self.peer)

    @property
    def _name(self) -> str:
        return f"peer {self.peer[:16]}"
