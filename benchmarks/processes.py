"""Parties of a benchmark in processes of their own, on sockets."""

import multiprocessing
import queue
import socket
import struct
import threading
from dataclasses import dataclass


class SocketPipe:
    """Length-prefixed byte strings on a socket; a thread writes, so that both ends may send at once."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write)
        self._writer.start()

    def send_bytes(self, data: bytes, /) -> None:
        self._outgoing.put(data)

    def recv_bytes(self) -> bytes:
        (size,) = struct.unpack("<Q", self._read(8))
        return self._read(size)

    def close(self) -> None:
        self._outgoing.put(None)
        self._writer.join()
        self._end.close()

    def _read(self, size: int) -> bytes:
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            count = self._end.recv_into(rest)
            if not count:
                raise ConnectionError("the other process ended")
            rest = rest[count:]
        return bytes(data)

    def _write(self) -> None:
        while (data := self._outgoing.get()) is not None:
            self._end.sendall(struct.pack("<Q", len(data)) + data)


@dataclass(frozen=True)
class Part:
    """What one party's process reports."""

    seconds: float
    cpu_seconds: float
    sent_bytes: int
    peak_mb: float
    matched: int


def together(target: object, arguments: list[tuple[object, ...]]) -> list[object]:
    """Run `target` in one new process a tuple, begin all at once, and give what each reports."""
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe() for _ in arguments]
    processes = [
        context.Process(target=target, args=(there, *rest)) for (_, there), rest in zip(ends, arguments, strict=True)
    ]
    for process in processes:
        process.start()
    for here, _ in ends:
        here.recv()
    for here, _ in ends:
        here.send(None)
    reports = [here.recv() for here, _ in ends]
    for process in processes:
        process.join()
    return reports
