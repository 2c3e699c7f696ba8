"""Where a worker takes questions of its own operator, and what both say there.

The worker listens on a socket of the file system, `ask.sock` in the folder of its attempt, which only the node's owner
can enter: no question and no answer passes the node, the database or the network. A message is its length (u32,
little-endian) and its kind (u8), then an Arrow table as an IPC stream, or for REFUSED a JSON object of `message` and
`hint`, or nothing. The operator's process sends ASK or CLOSE and gets one ANSWER or REFUSED for each.
"""

import json
import os
import selectors
import socket
import struct
import time
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mpc.errors import ChannelError, InputError
from mpc.questions import Question

if TYPE_CHECKING:
    import pyarrow as pa

SOCKET = "ask.sock"
MAX_BYTES = 64 * 2**20
_HEADER = struct.Struct("<IB")
_PATIENCE_S = 10.0  # for a client in the middle of a message
_BEFORE_DEADLINE_S = 5.0  # when the last question is taken, so that the job can end well


class Kind(IntEnum):
    ASK = 1
    CLOSE = 2
    ANSWER = 3
    REFUSED = 4


class Desk:
    """The worker's side: iterating gives the questions as they come, until CLOSE or shortly before `deadline`."""

    def __init__(self, deadline: float) -> None:
        """Listen in the current folder; `deadline` is in seconds since 1970."""
        self._until = deadline - _BEFORE_DEADLINE_S
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(SOCKET)
        Path(SOCKET).chmod(0o600)
        self._listener.listen()
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)

    def __iter__(self) -> Iterator[Question]:
        try:
            while (left := self._until - time.time()) > 0:
                for key, _ in self._selector.select(left):
                    client = key.fileobj
                    assert isinstance(client, socket.socket)
                    if client is self._listener:
                        self._accept()
                        continue
                    question = self._take(client)
                    if question is Kind.CLOSE:
                        return
                    if question is not None:
                        yield question
        finally:
            for key in list(self._selector.get_map().values()):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()  # whoever waits for an answer sees that there will be none
            self._selector.close()

    def _take(self, client: socket.socket) -> Question | Literal[Kind.CLOSE] | None:
        """What a client says; None if that was nothing to answer."""
        try:
            kind, body = receive(client)
            if kind is not Kind.CLOSE:
                return self._question(client, body)
            self._reply(client, Kind.ANSWER, b"")
            return Kind.CLOSE
        except InputError as error:
            self._refuse(client, error)
        except (ChannelError, OSError):
            self._drop(client)
        return None

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return  # it has gone already
        client.settimeout(_PATIENCE_S)
        self._selector.register(client, selectors.EVENT_READ)

    def _question(self, client: socket.socket, body: bytes) -> Question:
        return Question(
            unpack_table(body),
            answer=lambda table: self._reply(client, Kind.ANSWER, pack_table(table)),
            refuse=lambda error: self._refuse(client, error),
        )

    def _refuse(self, client: socket.socket, error: InputError) -> None:
        self._reply(client, Kind.REFUSED, json.dumps({"message": str(error), "hint": error.hint}).encode())

    def _reply(self, client: socket.socket, kind: Kind, body: bytes) -> None:
        try:
            send(client, kind, body)
        except OSError:
            self._drop(client)  # who asked has gone, or does not listen

    def _drop(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        client.close()


def connect(folder: Path) -> socket.socket:
    """A connection to the worker whose attempt has that folder; `OSError` if it does not listen."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(f"/proc/self/fd/{directory}/{SOCKET}")  # a folder's own path may be too long for an address
        except BaseException:
            client.close()
            raise
        return client
    finally:
        os.close(directory)


def send(sock: socket.socket, kind: Kind, body: bytes) -> None:
    if len(body) > MAX_BYTES:
        raise InputError(f"a message of {len(body)} bytes (at most {MAX_BYTES})", hint="ask in parts")
    sock.sendall(_HEADER.pack(len(body), kind) + body)


def receive(sock: socket.socket) -> tuple[Kind, bytes]:
    """The next message; raises `ChannelError` when the other side has gone or sends what is none."""
    length, number = _HEADER.unpack(_exactly(sock, _HEADER.size))
    if length > MAX_BYTES or number not in set(Kind):
        raise ChannelError("what came is no message")
    return Kind(number), _exactly(sock, length)


def pack_table(table: "pa.Table") -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def unpack_table(data: bytes) -> "pa.Table":
    """Raises `InputError` for bytes that are no table."""
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(data) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowInvalid, OSError):
        raise InputError("what was asked is not a table") from None
    return table


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(min(size - len(data), 2**20))
        if not piece:
            raise ChannelError("the other side has gone")
        data += piece
    return bytes(data)
