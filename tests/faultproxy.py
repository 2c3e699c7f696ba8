"""A TCP proxy that misbehaves on purpose: put it between two nodes.

    with FaultProxy(port, cut_every_bytes=20 * 2**20) as proxy:
        ...  # connect to proxy.port

Directions are seen from whoever connects: "up" to the target, "down" back. What can be changed while it runs are
`drop` (swallow everything in these directions, leaving the connection up), `meddle` and `cut`.
"""

import contextlib
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Literal

Direction = Literal["up", "down"]
#: Gets a direction, the offset in that direction of the connection, and a chunk; gives what is passed on.
Meddle = Callable[[Direction, int, bytes], bytes]

_CHUNK_BYTES = 256 * 2**10
_DELAYED_CHUNKS = 4096


def flip_bit(direction: Direction, at: int) -> Meddle:
    """Flip one bit of the byte at an offset."""
    return _at(direction, at, lambda chunk, i: chunk[:i] + bytes([chunk[i] ^ 1]) + chunk[i + 1 :])


def duplicate(direction: Direction, at: int, size: int) -> Meddle:
    """Send `size` bytes before an offset twice."""
    return _at(direction, at, lambda chunk, i: chunk[:i] + chunk[max(0, i - size) :])


def truncate(direction: Direction, at: int, size: int) -> Meddle:
    """Leave out `size` bytes from an offset on."""
    return _at(direction, at, lambda chunk, i: chunk[:i] + chunk[i + size :])


def _at(direction: Direction, at: int, change: Callable[[bytes, int], bytes]) -> Meddle:
    def meddle(towards: Direction, offset: int, chunk: bytes) -> bytes:
        hit = towards == direction and offset <= at < offset + len(chunk)
        return change(chunk, at - offset) if hit else chunk

    return meddle


class FaultProxy:
    """Forwards connections to a port of this machine. `delay_s` holds back each direction by that much;
    `cut_every_bytes` resets each connection once that many bytes went through it, both directions together."""

    def __init__(self, target_port: int, *, delay_s: float = 0.0, cut_every_bytes: int = 0) -> None:
        self.drop: frozenset[Direction] = frozenset()
        self.meddle: Meddle = lambda _direction, _offset, chunk: chunk
        self.connections = 0
        self._target_port = target_port
        self._delay_s = delay_s
        self._cut_every_bytes = cut_every_bytes
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> "FaultProxy":
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def cut(self) -> None:
        """Reset every connection that is up; new ones are accepted."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.reset()

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:
                near.close()
                continue
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(near, far)
            with self._lock:
                self.connections += 1
                self._pairs.append(pair)
            if self._closing.is_set():  # perhaps after the last cut
                pair.reset()
                return
            self._forward(pair, near, far, "up")
            self._forward(pair, far, near, "down")

    def _forward(self, pair: "_Pair", source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        if not self._delay_s:
            self._start(lambda: self._pump(pair, source, sink.sendall, direction))
            return
        held: queue.Queue[tuple[float, bytes]] = queue.Queue(_DELAYED_CHUNKS)

        def release() -> None:
            while (item := held.get())[1]:
                wait_s = item[0] - time.monotonic()
                if wait_s > 0:
                    time.sleep(wait_s)
                with contextlib.suppress(OSError):
                    sink.sendall(item[1])

        def hold() -> None:
            self._pump(pair, source, lambda chunk: held.put((time.monotonic() + self._delay_s, chunk)), direction)
            held.put((0.0, b""))

        self._start(release)
        self._start(hold)

    def _pump(self, pair: "_Pair", source: socket.socket, put: Callable[[bytes], object], direction: Direction) -> None:
        offset = 0
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK_BYTES):
                changed = b"" if direction in self.drop else self.meddle(direction, offset, chunk)
                offset += len(chunk)
                pair.passed_bytes += len(chunk)
                if self._cut_every_bytes and pair.passed_bytes >= self._cut_every_bytes:
                    break
                if changed:
                    put(changed)
        pair.reset()


class _Pair:
    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self._sockets = (near, far)
        self._lock = threading.Lock()
        self.passed_bytes = 0

    def reset(self) -> None:
        with self._lock:
            for sock in self._sockets:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
