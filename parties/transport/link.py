"""The state of the link to one peer, apart from any connection: pure, so that its rules can be tested alone.

Sequenced frames (messages, session data, grants, ends) are numbered from 1 and kept until the peer acknowledges
them; after a reconnection both sides say what they have and the rest is sent again, so each arrives exactly once, in
order. The bytes of session data under way are bounded by a window. Session data is moreover sent only against a
grant from the worker at the far end, so that a node need not hold any for a worker that is slow or not there yet.

`boot` names this state. A side that gives the state up takes a new one, by which the other learns that all sessions
and undelivered messages of the old one are lost.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from mpc.errors import ChannelError, ProtocolError
from mpc.rng import Rng
from parties.transport import frames
from parties.transport.frames import BOOT_BYTES, MORE, NO_BOOT, EndCode, Frame, Hello, Kind
from parties.worker.records import charge

ACK_EVERY_BYTES = 4 * 2**20
WINDOW_BYTES = 32 * 2**20  # a path of 400 MB/s with 80 ms round trip
SESSION_QUEUE_BYTES = 8 * 2**20
MAX_URGENT_FRAMES = 4096
REMEMBERED_SESSIONS = 1024


class Message(NamedTuple):
    """A control message arrived."""

    body: bytes


class Data(NamedTuple):
    """A fragment arrived for a session's worker."""

    session: bytes
    more: bool
    payload: memoryview


class Granted(NamedTuple):
    """What the session's worker may send in all has grown; ask `Link.allowance`."""

    session: bytes


class Ended(NamedTuple):
    """The peer sends no more on the session."""

    session: bytes
    code: EndCode


class Violated(NamedTuple):
    """The peer broke a session's rules; the session is over, the link is not."""

    session: bytes
    reason: str


class Pong(NamedTuple):
    """The answer to a ping."""

    value: int


Event = Message | Data | Granted | Ended | Violated | Pong


class Outgoing(NamedTuple):
    """A frame to write, and the session whose allowance it renewed, if any."""

    frame: bytes
    session: bytes | None


@dataclass(slots=True)
class _Session:
    """`granted` and `received` count what the peer may send and has; `limit` and `queued`/`framed` the reverse."""

    attached: bool = False
    closing: bool = False
    granted: int = 0
    received: int = 0
    limit: int = 0
    queued: int = 0
    framed: int = 0
    queue: deque[tuple[Kind, int, bytes | memoryview]] = field(default_factory=deque)


class Link:
    """One peer's link. Feed it what arrives, write what `next_frame` gives."""

    def __init__(
        self, rng: Rng, *, max_sessions: int, max_message_bytes: int, window_bytes: int = WINDOW_BYTES
    ) -> None:
        self._rng = rng
        self._max_sessions = max_sessions
        self._max_message_bytes = max_message_bytes
        self._window_bytes = window_bytes
        self.connected = False
        self.progress = 0  # grows with every sequenced frame that arrives or is acknowledged
        self._clear()

    def _clear(self) -> None:
        self._boot = self._rng(BOOT_BYTES)
        self._peer_boot = NO_BOOT
        self._next = 1
        self._acked = 0
        self._received = 0
        self._unreported_bytes = 0
        self._unacked: deque[tuple[int, int, bytes]] = deque()
        self._unacked_bytes = 0
        self._resend: deque[tuple[int, int, bytes]] = deque()
        self._urgent: deque[tuple[Kind, int, bytes, bytes]] = deque()
        self._urgent_bytes = 0
        self._grants: dict[bytes, int] = {}
        self._sessions: dict[bytes, _Session] = {}
        self._ended: OrderedDict[bytes, EndCode | None] = OrderedDict()  # None: ended on this side
        self._ready: deque[bytes] = deque()
        self._ping: int | None = None
        self._pong: int | None = None
        self._parts: list[memoryview] = []
        self._parts_bytes = 0

    # -- streams ---------------------------------------------------------------------------------------------------

    def hello(self, body: bytes) -> bytes:
        """The frame to send first on a new stream."""
        return frames.encode_hello(Hello(self._boot, self._peer_boot, self._received, body))

    def resume(self, hello: Hello) -> bool:
        """Take up the link on a stream on which the peer sent `hello`; False if what was under way is lost.

        When the peer has lost what only this side still knows, this raises `ChannelError` after giving all of it up:
        the stream must be closed, and the next one begins afresh.
        """
        kept = hello.boot == self._peer_boot
        if not kept and self._peer_boot != NO_BOOT:
            self._start_over(hello)
            return False
        if hello.peer_boot == self._boot:
            self._acknowledge(hello.received)  # may be stale, when the peer wrote it before it left another stream
        elif self._acked:
            self.give_up()
            raise ChannelError("the peer no longer has the state of the link")
        self._peer_boot = hello.boot
        self._resend = deque(self._unacked)
        self._ping = self._pong = None
        self.connected = True
        return True

    def _start_over(self, hello: Hello) -> None:
        boot = self._boot  # the peer has our greeting already, so it stays
        self._clear()
        self._boot = boot
        self._peer_boot = hello.boot
        self.connected = True

    def disconnected(self) -> None:
        """The stream is gone; everything is kept for the next."""
        self.connected = False

    def give_up(self) -> None:
        """Forget sessions and undelivered messages; the peer will learn from the new boot id."""
        self.connected = False
        self._clear()

    # -- sending ---------------------------------------------------------------------------------------------------

    def send_message(self, body: bytes) -> None:
        """Queue a control message; it overtakes session data."""
        view = memoryview(body)
        for start in range(0, max(len(body), 1), frames.MAX_PAYLOAD_BYTES):
            part = view[start : start + frames.MAX_PAYLOAD_BYTES]
            more = start + len(part) < len(body)
            self._push(Kind.MESSAGE, bytes(part), MORE if more else 0)

    @property
    def queued_message_bytes(self) -> int:
        """Control bytes that wait to be written."""
        return self._urgent_bytes

    def open_session(self, session: bytes) -> list[Event]:
        """Attach this side's worker; gives what the peer has already said. `ChannelError` if it was used before."""
        known = self._sessions.get(session)
        if (known and known.attached) or (session in self._ended and self._ended[session] is None):
            raise ChannelError("the session was used before", hint="an attempt needs a new session id")
        if known is None and session in self._ended:
            code = self._ended[session]
            self._ended[session] = None
            return [Ended(session, code)] if code is not None else []
        state = self._sessions.setdefault(session, _Session())
        state.attached = True
        return [Granted(session)] if state.limit else []

    def send_data(self, session: bytes, more: bool, payload: bytes | memoryview) -> bool:
        """Queue a fragment of this side's worker; False if the session ended, and nobody wants it.

        `ProtocolError` beyond its allowance. `payload` must stay as it is until it is framed.
        """
        state = self._sessions.get(session)
        if state is None:
            return False
        if state.queued + charge(len(payload)) > self.allowance(session):
            raise ProtocolError("this party's worker sent more than it was granted")
        state.queued += charge(len(payload))
        self._enqueue(session, state, Kind.DATA, MORE if more else 0, payload)
        return True

    def allowance(self, session: bytes) -> int:
        """The charge that this side's worker may have sent in all: within the far worker's grant and the queue here."""
        state = self._sessions.get(session)
        return min(state.limit, state.framed + SESSION_QUEUE_BYTES) if state else 0

    def grant(self, session: bytes, limit: int) -> None:
        """This side's worker lets the peer send up to `limit` in all."""
        state = self._sessions.get(session)
        if state is not None and limit > state.granted:
            state.granted = limit
            self._grants[session] = limit

    def end_session(self, session: bytes, code: EndCode) -> None:
        """This side's worker has gone: after what it sent when DONE, else at once and without it."""
        state = self._sessions.get(session)
        if state is None:
            return
        if code is EndCode.DONE:
            state.closing = True
            self._enqueue(session, state, Kind.END, 0, bytes([code]))
        else:
            self._forget(session, None)
            self._push(Kind.END, bytes([code]), session=session)

    def ping(self, value: int) -> None:
        """Ask the peer to return `value`."""
        self._ping = value

    def next_frame(self) -> Outgoing | None:
        """What to write next on the stream; None when there is nothing, or the window is full."""
        if not self.connected:
            return None
        if self._pong is not None:
            frame, self._pong = frames.encode(Kind.PONG, frames.encode_u64(self._pong)), None
            return Outgoing(frame, None)
        if self._ping is not None:
            frame, self._ping = frames.encode(Kind.PING, frames.encode_u64(self._ping)), None
            return Outgoing(frame, None)
        if self._unreported_bytes >= ACK_EVERY_BYTES:
            self._unreported_bytes = 0
            return Outgoing(frames.encode(Kind.ACK, ack=self._received), None)
        if self._resend:
            return Outgoing(self._resend.popleft()[2], None)
        if self._urgent:
            kind, flags, session, payload = self._urgent.popleft()
            self._urgent_bytes -= len(payload)
            return Outgoing(self._number(kind, flags, session, payload), None)
        if self._grants:
            session = next(iter(self._grants))
            payload = frames.encode_u64(self._grants.pop(session))
            return Outgoing(self._number(Kind.GRANT, 0, session, payload), None)
        return self._next_data()

    def _next_data(self) -> Outgoing | None:
        if not self._ready or self._unacked_bytes >= self._window_bytes:
            return None
        session = self._ready.popleft()
        state = self._sessions[session]
        kind, flags, payload = state.queue.popleft()
        frame = self._number(kind, flags, session, payload)
        if kind is Kind.END:
            self._forget(session, None)
            return Outgoing(frame, None)
        state.framed += charge(len(payload))
        if state.queue:
            self._ready.append(session)
        return Outgoing(frame, session)

    def _number(self, kind: Kind, flags: int, session: bytes, payload: bytes | memoryview) -> bytes:
        frame = frames.encode(kind, payload, flags=flags, session=session, sequence=self._next, ack=self._received)
        self._unreported_bytes = 0
        cost = charge(len(frame))
        self._unacked.append((self._next, cost, frame))
        self._unacked_bytes += cost
        self._next += 1
        return frame

    def _push(self, kind: Kind, payload: bytes, flags: int = 0, session: bytes = frames.NO_SESSION) -> None:
        self._urgent.append((kind, flags, session, payload))
        self._urgent_bytes += len(payload)

    def _enqueue(self, session: bytes, state: _Session, kind: Kind, flags: int, payload: bytes | memoryview) -> None:
        state.queue.append((kind, flags, payload))
        if len(state.queue) == 1:
            self._ready.append(session)

    # -- receiving -------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> Event | None:
        """Take in a frame; gives what it means to the node, if anything. After `ProtocolError` close the stream."""
        frame = frames.decode(data)
        if frame.kind is Kind.HELLO:
            raise ProtocolError("a second HELLO on a stream")
        self._acknowledge(frame.ack)
        if frame.kind is Kind.PING:
            self._pong = frames.decode_u64(frame.payload)
        if frame.kind is Kind.PONG:
            return Pong(frames.decode_u64(frame.payload))
        if frame.sequence <= self._received:  # also the kinds without one
            return None
        if frame.sequence != self._received + 1:
            raise ProtocolError(f"expected frame {self._received + 1}, got {frame.sequence}")
        if len(self._urgent) > MAX_URGENT_FRAMES:
            raise ProtocolError("the peer provokes answers and does not read them")
        self._received = frame.sequence
        self._unreported_bytes += charge(len(data))
        self.progress += 1
        return _RECEIVERS[frame.kind](self, frame)

    def _acknowledge(self, ack: int) -> None:
        if ack >= self._next:
            raise ProtocolError(f"frame {ack} acknowledged, only {self._next - 1} were sent")
        while self._unacked and self._unacked[0][0] <= ack:
            self._unacked_bytes -= self._unacked.popleft()[1]
            self.progress += 1
        self._acked = max(self._acked, ack)

    def _on_message(self, frame: Frame) -> Event | None:
        self._parts.append(frame.payload)
        self._parts_bytes += len(frame.payload)
        if self._parts_bytes > self._max_message_bytes:
            raise ProtocolError(f"a control message longer than {self._max_message_bytes} bytes")
        if frame.flags & MORE and len(frame.payload) != frames.MAX_PAYLOAD_BYTES:
            raise ProtocolError("a control message in parts that are not full")
        if frame.flags & MORE:
            return None
        body, self._parts, self._parts_bytes = b"".join(self._parts), [], 0
        return Message(body)

    def _on_data(self, frame: Frame) -> Event | None:
        state = self._sessions.get(frame.session)
        if state is None or state.closing:
            return None  # under way when this side ended the session, or never granted: nobody here wants it
        state.received += charge(len(frame.payload))
        if state.received > state.granted:
            return self._violated(frame.session, "sent more than it was granted")
        return Data(frame.session, bool(frame.flags & MORE), frame.payload)

    def _on_grant(self, frame: Frame) -> Event | None:
        session, limit = frame.session, frames.decode_u64(frame.payload)
        state = self._sessions.get(session)
        if state is None:
            if session in self._ended:
                return None
            if sum(not known.attached for known in self._sessions.values()) >= self._max_sessions:
                self._remember(session, None)
                self._push(Kind.END, bytes([EndCode.BUSY]), session=session)
                return None
            state = self._sessions[session] = _Session()
        if limit <= state.limit:
            return self._violated(session, "took back a grant")
        state.limit = limit
        return Granted(session) if state.attached else None

    def _on_end(self, frame: Frame) -> Event | None:
        session, code = frame.session, frames.decode_end(frame.payload)
        state = self._sessions.get(session)
        if state is None:
            if session not in self._ended:
                self._remember(session, code)
            return None
        if not state.attached:
            self._forget(session, code)
            return None
        if code is not EndCode.DONE:  # what waits for the peer's worker is of no use to anybody
            self._forget(session, None)
        return Ended(session, code)

    def _violated(self, session: bytes, reason: str) -> Violated:
        self._forget(session, None)
        self._push(Kind.END, bytes([EndCode.VIOLATION]), session=session)
        return Violated(session, reason)

    def _forget(self, session: bytes, code: EndCode | None) -> None:
        del self._sessions[session]
        self._grants.pop(session, None)
        if session in self._ready:
            self._ready.remove(session)
        self._remember(session, code)

    def _remember(self, session: bytes, code: EndCode | None) -> None:
        self._ended[session] = code
        if len(self._ended) > REMEMBERED_SESSIONS:
            self._ended.popitem(last=False)


_RECEIVERS: dict[Kind, Callable[[Link, Frame], Event | None]] = {
    Kind.MESSAGE: Link._on_message,
    Kind.DATA: Link._on_data,
    Kind.GRANT: Link._on_grant,
    Kind.END: Link._on_end,
}
