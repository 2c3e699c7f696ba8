"""The messages of a computation on shares: arrays, each bound to the step of the program that it belongs to."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from mpc.channel import Channel
from mpc.errors import ChannelError, ProtocolError
from mpc.primitives.prg import SEED_BYTES, Prg
from mpc.rng import Rng
from mpc.sharing.buffers import Buffers
from mpc.sharing.costs import Cost, Costs
from protos import sharing_pb2

PIECE_WORDS = 2**17
PIECE_BYTES = 8 * PIECE_WORDS

_DOMAIN_KEY = b"sealane/sharing.key/1\0"
_DOMAIN_STREAM = b"sealane/sharing.stream/1\0"
_DOMAIN_DIGEST = b"sealane/sharing.digest/1\0"
_DIGEST_BYTES = 32

A = npt.NDArray[Any]
U64 = npt.NDArray[np.uint64]
M = TypeVar("M", bound=Message)


class Wire:
    """One party's channels to all others, and a key with each that both had a part in.

    Raises `ProtocolError` naming the peer and the step for whatever is not the array that is due.
    """

    def __init__(self, name: str, peers: Mapping[str, Channel], session: bytes, label: bytes, setting: str, rng: Rng):
        self.name = name
        self.costs = Costs()
        self._peers = dict(peers)
        self._step = 0
        self._operation = "start"
        self._streams: dict[str, Prg] = {}
        self._buffers = Buffers()
        self._sent, self._received = dict.fromkeys(peers, 0), dict.fromkeys(peers, 0)
        parties = sorted([name, *peers])
        digest = _digest(_DOMAIN_DIGEST, session, setting.encode(), label, *(party.encode() for party in parties))
        seeds = {peer: rng(SEED_BYTES) for peer in peers}
        for peer in peers:
            self.send_message(peer, sharing_pb2.Start(seed=seeds[peer], digest=digest))
        self._keys = {}
        for peer in peers:
            start = self.receive_message(peer, sharing_pb2.Start)
            if start.digest != digest:
                raise ProtocolError(f"{peer}: started another stage, with other parties, or in another setting")
            if len(start.seed) != SEED_BYTES:
                raise ProtocolError(f"{peer}: sent a seed of {len(start.seed)} bytes, not {SEED_BYTES}")
            halves = (seeds[peer], start.seed) if name < peer else (start.seed, seeds[peer])
            pair = sorted([name, peer])
            self._keys[peer] = _digest(_DOMAIN_KEY, session, label, pair[0].encode(), pair[1].encode(), *halves)

    @property
    def step(self) -> int:
        """The number of the current step."""
        return self._step

    @property
    def operation(self) -> str:
        """The name of the current step."""
        return self._operation

    def begin(self, operation: str, elements: int, rounds: int = 1) -> None:
        """Start the next step of the program, the same at all parties."""
        self.enter(self._step + 1, operation)
        self.costs.add(operation, Cost(calls=1, elements=elements, rounds=rounds))

    def wait(self, rounds: int) -> None:
        """Count further rounds of the current step."""
        self.costs.add(self._operation, Cost(rounds=rounds))

    def enter(self, step: int, operation: str) -> None:
        """Go on to a step of this number and name."""
        self._step = step
        self._operation = operation
        self._streams.clear()

    def words(self, peer: str, *shape: int) -> U64:
        """The next pseudorandom words that only this party and the peer know; each step has a stream of its own."""
        out = self.empty(*shape)
        self.stream(peer).fill(out.reshape(-1))
        return out

    def stream(self, peer: str) -> Prg:
        """What `words` takes its words from."""
        if peer not in self._streams:
            seed = _digest(_DOMAIN_STREAM, self._keys[peer], self._step.to_bytes(8, "little"))
            self._streams[peer] = Prg(seed[:SEED_BYTES])
        return self._streams[peer]

    def empty(self, *shape: int) -> U64:
        """An array of words with any content, in memory that earlier arrays have left if possible."""
        return self._buffers.empty(*shape)

    def send(self, peer: str, array: A) -> None:
        """Send an array whose shape the peer knows."""
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        for start in range(0, max(len(data), 1), PIECE_BYTES):
            self._sent[peer] += 1
            with self._naming(peer):
                self._peers[peer].send_bulk(self._part(self._sent[peer]), data[start : start + PIECE_BYTES])
        self.costs.add(self._operation, Cost(sent_bytes=len(data)))

    def send_made(self, peer: str, array: U64, made: Iterable[int]) -> None:
        """Send a contiguous array while it is made: `made` says again and again how many of its words there are."""
        flat, sent = array.reshape(-1), 0
        for count in made:
            whole = count if count == flat.size else count - count % PIECE_WORDS
            if whole > sent:
                self.send(peer, flat[sent:whole])
                sent = whole
        if not flat.size:
            self.send(peer, flat)

    def receive(self, peer: str, shape: Sequence[int], kind: npt.DTypeLike = np.uint64) -> A:
        """The peer's array of this step."""
        return self.receive_into(peer, self.empty(*shape) if kind is np.uint64 else np.empty(shape, kind))

    def receive_into(self, peer: str, out: A) -> A:
        """The peer's array of this step, in memory of its shape, contiguous."""
        data = out.reshape(-1).view(np.uint8).data
        for start in range(0, max(len(data), 1), PIECE_BYTES):
            target = data[start : start + PIECE_BYTES]
            self._received[peer] += 1
            expected = self._part(self._received[peer])
            with self._naming(peer):
                part = self._peers[peer].recv_bulk(expected, target)
            if part is not None:
                raise self.fault(peer, _difference(part, expected, len(target)))
        self.costs.add(self._operation, Cost(received_bytes=len(data)))
        return out

    def announce(self, owner: str, others: Sequence[str], value: int | None) -> int:
        """A number of `owner`'s, told to the other computing parties."""
        self.begin("announce", 1)
        if owner != self.name:
            return int(self.receive(owner, (1,))[0])
        assert value is not None
        for peer in others:
            self.send(peer, np.array([value], np.uint64))
        return value

    def send_message(self, peer: str, message: Message) -> None:
        """Send a message that is no array."""
        with self._naming(peer):
            self._peers[peer].send(message)

    def receive_message(self, peer: str, expected: type[M]) -> M:
        """The peer's next message."""
        with self._naming(peer):
            return self._peers[peer].recv(expected)

    @contextmanager
    def _naming(self, peer: str) -> Iterator[None]:
        """Puts the peer's name, and for what it sent the step, in front of errors."""
        try:
            yield
        except ChannelError as error:
            raise ChannelError(f"{peer}: {error}", hint=error.hint) from error
        except ProtocolError as error:
            raise ProtocolError(f"{peer}: in {self._where()}: {error}", hint=error.hint) from error

    def _part(self, number: int) -> sharing_pb2.Part:
        """A part of an array of this step, without its data."""
        return sharing_pb2.Part(step=self._step, operation=self._operation, number=number)

    def fault(self, peer: str, what: str) -> ProtocolError:
        """The error that a peer did something that is not allowed in this step."""
        return ProtocolError(f"{peer}: {what}, in {self._where()}")

    def _where(self) -> str:
        return f"step {self._step} {self._operation!r}"


def _difference(part: sharing_pb2.Part, expected: sharing_pb2.Part, size: int) -> str:
    """In what a part is not the one of `size` bytes that is due."""
    if (part.step, part.operation, part.number) != (expected.step, expected.operation, expected.number):
        return f"sent part {part.number}, of step {part.step} {part.operation[:20]!r}"
    return f"sent {len(part.data)} bytes where {size} are due"


def _digest(*parts: bytes) -> bytes:
    state = blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        state.update(len(part).to_bytes(8, "little") + part)
    return state.digest()
