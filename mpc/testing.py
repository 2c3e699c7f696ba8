"""What tests of protocols share. Nothing here is secure, and production code imports none of it."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from mpc.channel import MessageChannel, Pipe
from mpc.errors import ChannelError, ProtocolError
from mpc.local import run_parties
from mpc.primitives.paillier import keys as paillier_keys
from protos import session_pb2

__all__ = [
    "INSECURE_PAILLIER_BITS",
    "InsecureSeededRng",
    "PipePair",
    "RecordingPipe",
    "check_pipe_contract",
    "insecure_paillier",
    "run_parties",
]

INSECURE_PAILLIER_BITS = 512  # quick, and factored in hours


class InsecureSeededRng:
    """A reproducible stream, SHAKE-128 of a seed and a counter: for golden digests only."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._calls = 0
        self._lock = threading.Lock()

    def __call__(self, size: int, /) -> bytes:
        with self._lock:
            self._calls += 1
            calls = self._calls
        return hashlib.shake_128(self._seed + calls.to_bytes(8, "little")).digest(size)


@contextmanager
def insecure_paillier(bits: int = INSECURE_PAILLIER_BITS) -> Iterator[None]:
    """Within it, Paillier keys of `bits` bits or more are accepted by every thread of this process."""
    secure = paillier_keys.MIN_BITS
    paillier_keys.MIN_BITS = bits
    try:
        yield
    finally:
        paillier_keys.MIN_BITS = secure


@dataclass
class RecordingPipe:
    """Keeps every byte string that passes through `inner`: for golden digests and for replaying in tests."""

    inner: Pipe
    sent: list[bytes] = field(default_factory=list, repr=False)
    received: list[bytes] = field(default_factory=list, repr=False)

    def send_bytes(self, data: bytes, /) -> None:
        self.inner.send_bytes(data)
        self.sent.append(data)

    def recv_bytes(self) -> bytes:
        data = self.inner.recv_bytes()
        self.received.append(data)
        return data

    @staticmethod
    def digest(messages: list[bytes]) -> str:
        """SHA-256 over the length-prefixed messages of one direction, in hexadecimal."""
        state = hashlib.sha256()
        for message in messages:
            state.update(len(message).to_bytes(8, "little") + message)
        return state.hexdigest()


class PipePair(NamedTuple):
    """Two connected ends, and what ends the first as a party that has finished does."""

    near: Pipe
    far: Pipe
    finish_near: Callable[[], None]


def check_pipe_contract(make_pair: Callable[[], AbstractContextManager[PipePair]]) -> None:
    """Assert all that protocols rely on in a `Pipe`; `make_pair` gives a new pair, its ends usable from two threads."""
    for check in (_keeps_order, _carries_any_length, _lets_both_send_first, _ends, _refuses_malformed):
        with make_pair() as pair:
            check(pair)


def _keeps_order(pair: PipePair) -> None:
    messages = [b"%d" % i for i in range(300)]
    _in_thread(lambda: _send_all(pair.near, messages))
    assert [pair.far.recv_bytes() for _ in messages] == messages


def _send_all(pipe: Pipe, messages: list[bytes]) -> None:
    for message in messages:
        pipe.send_bytes(message)


def _carries_any_length(pair: PipePair) -> None:
    for size in (0, 1, 2**20 - 1, 2**20, 2**20 + 1, 5 * 2**20 + 3, 64 * 2**20):
        message = (hashlib.sha256(b"%d" % size).digest() * (size // 32 + 1))[:size]
        _in_thread(partial(pair.near.send_bytes, message))
        received = pair.far.recv_bytes()
        assert type(received) is bytes
        assert received == message


def _lets_both_send_first(pair: PipePair) -> None:
    message = bytes(2**20)
    counts: list[int] = []

    def play(pipe: Pipe) -> None:
        for _ in range(48):
            pipe.send_bytes(message)
        counts.append(sum(len(pipe.recv_bytes()) for _ in range(48)))

    threads = [_in_thread(partial(play, end)) for end in (pair.near, pair.far)]
    for thread in threads:
        thread.join()
    assert counts == [48 * 2**20] * 2


def _ends(pair: PipePair) -> None:
    pair.near.send_bytes(b"last")
    pair.finish_near()
    assert pair.far.recv_bytes() == b"last"
    for _ in range(2):
        try:
            pair.far.recv_bytes()
        except ChannelError:
            continue
        raise AssertionError("a message arrived from a party that had ended")


def _refuses_malformed(pair: PipePair) -> None:
    pair.near.send_bytes(b"\x03abc")
    try:
        MessageChannel(pair.far).recv(session_pb2.Hello)
    except ProtocolError:
        return
    raise AssertionError("bytes that are no message were taken for one")


def _in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
