"""A pipe between two processes that share a pair of sockets."""

import queue
import socket
import struct
import threading

_BUFFER_BYTES = 4 * 2**20  # as TCP's grow to by themselves, while those of a pair of sockets stay at 200 KiB


class SocketPipe:
    """Length-prefixed byte strings on a socket; a thread writes, so that both ends may send at once."""

    def __init__(self, end: socket.socket) -> None:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
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
        parts = []
        while size:
            parts.append(self._end.recv(size, socket.MSG_WAITALL) or self._broken())
            size -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _write(self) -> None:
        while (data := self._outgoing.get()) is not None:
            parts = [memoryview(struct.pack("<Q", len(data))), memoryview(data)]
            while parts:
                sent = self._end.sendmsg(parts)
                while parts and sent >= len(parts[0]):
                    sent -= len(parts.pop(0))
                if parts:
                    parts[0] = parts[0][sent:]

    @staticmethod
    def _broken() -> bytes:
        raise ConnectionError("the other process ended")
