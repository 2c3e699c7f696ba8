"""A link between two cities on one machine: a proxy that holds every byte back and lets only so many a second pass."""

import contextlib
import queue
import socket
import threading
import time
from typing import Self

_CHUNK_BYTES = 2**14
_WAITING_CHUNKS = 64  # a sender that is ahead by more waits
_PATIENCE_S = 60.0
_TRY_EVERY_S = 0.02


class SlowLink:
    """Carries connections to ports of this machine, each way with its own share: `bytes_per_second` for all connections
    together, and `delay_s` from one end to the other, half a round trip.
    """

    def __init__(self, bytes_per_second: float, delay_s: float) -> None:
        self._delay_s = delay_s
        self._ways = [_Way(bytes_per_second), _Way(bytes_per_second)]
        self._listeners: list[socket.socket] = []
        self._sockets: list[socket.socket] = []

    @property
    def carried_bytes(self) -> int:
        """Payload of both directions."""
        return sum(way.carried_bytes for way in self._ways)

    def forward(self, port: int) -> int:
        """A port at which `port` is reached through this link; the caller's bytes go one way, answers the other."""
        listener = socket.create_server(("127.0.0.1", 0))
        reverse = len(self._listeners) % 2 == 1  # two parties that connect to each other use opposite ways
        self._listeners.append(listener)
        threading.Thread(target=self._accept, args=(listener, port, reverse), daemon=True).start()
        return int(listener.getsockname()[1])

    def sockets(self) -> tuple[socket.socket, socket.socket]:
        """Two connected sockets with this link between them."""
        with socket.create_server(("127.0.0.1", 0)) as target:
            caller = socket.create_connection(("127.0.0.1", self.forward(target.getsockname()[1])))
            called, _ = target.accept()
        for end in (caller, called):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return caller, called

    def close(self) -> None:
        for each in (*self._listeners, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self, listener: socket.socket, port: int, reverse: bool) -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            called = _reach(port)
            if called is None:
                caller.close()
                continue
            for end in (caller, called):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets += [caller, called]
            there, back = reversed(self._ways) if reverse else self._ways
            self._carry(caller, called, there)
            self._carry(called, caller, back)

    def _carry(self, source: socket.socket, target: socket.socket, way: "_Way") -> None:
        waiting: queue.Queue[tuple[float, bytes]] = queue.Queue(_WAITING_CHUNKS + int(way.in_flight(self._delay_s)))

        def read() -> None:
            chunk = b"-"
            while chunk:
                try:
                    chunk = source.recv(_CHUNK_BYTES)
                except OSError:
                    chunk = b""
                waiting.put((way.passes(len(chunk)) + self._delay_s, chunk))

        def write() -> None:
            while True:
                due, chunk = waiting.get()
                time.sleep(max(0.0, due - time.monotonic()))
                with contextlib.suppress(OSError):
                    if not chunk:
                        target.shutdown(socket.SHUT_WR)
                        return
                    target.sendall(chunk)

        for work in (read, write):
            threading.Thread(target=work, daemon=True).start()


def _reach(port: int) -> socket.socket | None:
    """A connection to a port at which somebody may yet begin to listen."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            return socket.create_connection(("127.0.0.1", port))
        time.sleep(_TRY_EVERY_S)
    return None


class _Way:
    """One direction, shared by all connections."""

    def __init__(self, bytes_per_second: float) -> None:
        self.carried_bytes = 0
        self._rate = bytes_per_second
        self._free_at = 0.0
        self._lock = threading.Lock()

    def in_flight(self, delay_s: float) -> float:
        """Chunks that are on their way at full rate."""
        return self._rate * delay_s / _CHUNK_BYTES

    def passes(self, size: int) -> float:
        """When the last of `size` bytes will have entered, behind all that came before."""
        with self._lock:
            self.carried_bytes += size
            self._free_at = max(self._free_at, time.monotonic()) + size / self._rate
            return self._free_at
