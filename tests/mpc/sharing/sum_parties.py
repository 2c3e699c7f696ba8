"""Parties of a sum for tests: honest ones, ones that die at a chosen message, ones that alter a message."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from google.protobuf.message import Message

from mpc.channel import Channel, Pipe, decode, encode
from mpc.errors import ChannelError, SealaneError
from mpc.local import run_parties
from mpc.sharing.links import Links
from mpc.sharing.masked_sum import Setting, Sum, masked_sum
from mpc.testing import InsecureSeededRng

SESSION = b"session of tests"


class Died(Exception):
    """What ends a party that is made to drop out."""


@dataclass
class DyingPipe:
    """Raises `Died` instead of sending the party's message number `after` of a kind, counted over all of its pipes."""

    inner: Pipe
    sent: list[int]
    kind: str
    after: int

    def send_bytes(self, data: bytes, /) -> None:
        if self.kind.encode() in data[: 1 + data[0]]:
            if self.sent[0] == self.after:
                raise Died
            self.sent[0] += 1
        self.inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self.inner.recv_bytes()


@dataclass
class CheatingPipe:
    """Passes each message of type `kind` that is sent through `alter`, which changes it."""

    inner: Pipe
    kind: type[Message]
    alter: Callable[[Any, int], None]
    seen: list[int] = field(default_factory=lambda: [0])

    def send_bytes(self, data: bytes, /) -> None:
        if data[1 : 1 + data[0]] == self.kind.DESCRIPTOR.full_name.encode():
            message = decode(data, self.kind)
            self.alter(message, self.seen[0])
            self.seen[0] += 1
            data = encode(message)
        self.inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self.inner.recv_bytes()


def names(count: int) -> list[str]:
    return [f"p{i}" for i in range(count)]


def run_all(
    parts: Mapping[str, Callable[[Mapping[str, Channel]], Any]],
    wrap: Callable[[str, str, Pipe], Pipe] = lambda _name, _peer, pipe: pipe,
) -> dict[str, Any]:
    """Each party's result, or the error that ended it."""

    def caught(part: Callable[[Mapping[str, Channel]], Any]) -> Callable[[Mapping[str, Channel]], Any]:
        def play(peers: Mapping[str, Channel]) -> Any:
            try:
                return part(peers)
            except (SealaneError, Died) as error:
                return error

        return play

    return run_parties({name: caught(part) for name, part in parts.items()}, wrap=wrap)


def sum_vectors(
    vectors: Sequence[np.ndarray],
    survive_dropouts: int = 0,
    wrap: Callable[[str, str, Pipe], Pipe] = lambda _name, _peer, pipe: pipe,
    session: bytes = SESSION,
    seed: bytes = b"seed",
) -> dict[str, Sum | Exception]:
    """One sum among p0, p1, ...; p1 aggregates."""
    members = tuple(sorted(names(len(vectors))))

    def part(name: str, vector: np.ndarray) -> Callable[[Mapping[str, Channel]], Sum]:
        rng = InsecureSeededRng(seed + name.encode())
        return lambda peers: masked_sum(
            Setting(name, members, "p1", session, b"test", Links(peers), rng, survive_dropouts), vector
        )

    return run_all({name: part(name, vector) for name, vector in zip(names(len(vectors)), vectors, strict=True)}, wrap)


def dying(deaths: Mapping[str, tuple[str, int]]) -> Callable[[str, str, Pipe], Pipe]:
    """Makes each named party die instead of sending its message of that kind ("" for any) and number."""
    counters: dict[str, list[int]] = {name: [0] for name in deaths}
    return lambda name, _peer, pipe: DyingPipe(pipe, counters[name], *deaths[name]) if name in deaths else pipe


def cheating(
    cheater: str, kind: type[Message], alter: Callable[[Any, int], None], victim: str | None = None
) -> Callable[[str, str, Pipe], Pipe]:
    """Makes one party alter the messages of a type that it sends, to one other or to all."""
    return lambda name, peer, pipe: (
        CheatingPipe(pipe, kind, alter) if name == cheater and victim in (None, peer) else pipe
    )


@dataclass(frozen=True)
class CutPipe:
    """A link that is down, while both of its ends go on."""

    def send_bytes(self, data: bytes, /) -> None:
        raise ChannelError("the link is down")

    def recv_bytes(self) -> bytes:
        raise ChannelError("the link is down")


def cut(*ends: str) -> Callable[[str, str, Pipe], Pipe]:
    """Cuts the link between two parties."""
    return lambda name, peer, pipe: CutPipe() if {name, peer} == set(ends) else pipe
