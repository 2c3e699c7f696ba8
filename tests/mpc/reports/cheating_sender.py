"""A party of a computation on shares that sends something else than it should."""

import numpy as np

from mpc.channel import Pipe, decode, encode
from protos import sharing_pb2


class Sender:
    """Counts the parts of arrays that a party sends, changes one by `amount`, or sends the one before it again."""

    def __init__(self, inner: Pipe, number: int = 0, amount: int | None = None) -> None:
        self._inner = inner
        self._number = number
        self._amount = amount
        self._before = b""
        self.count = 0

    def send_bytes(self, data: bytes, /) -> None:
        if data[1 : 1 + data[0]] == b"sealane.sharing.v1.Part":
            self.count += 1
            sent = data
            if self.count == self._number:
                data = self._before if self._amount is None else self._changed(data)
            self._before = sent
        self._inner.send_bytes(data)

    def _changed(self, data: bytes) -> bytes:
        message = decode(data, sharing_pb2.Part)
        words = np.frombuffer(message.data, np.uint64) + np.uint64(self._amount or 0)
        message.data = words.tobytes()
        return encode(message)

    def recv_bytes(self) -> bytes:
        return self._inner.recv_bytes()
