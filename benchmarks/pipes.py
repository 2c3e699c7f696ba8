"""A pipe between two processes that share a pair of sockets."""

import queue
import socket
import struct
import threading


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
        view = memoryview(data)
        while view:
            view = view[self._end.recv_into(view) or self._broken() :]
        return bytes(data)

    def _write(self) -> None:
        while (data := self._outgoing.get()) is not None:
            self._end.sendall(struct.pack("<Q", len(data)))
            self._end.sendall(data)

    @staticmethod
    def _broken() -> bytes:
        raise ConnectionError("the other process ended")
