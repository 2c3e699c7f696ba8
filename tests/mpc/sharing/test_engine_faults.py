"""Peers that send what the program does not lead to: each ends in an error that names the peer and the step."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from mpc.channel import Pipe, decode, encode
from mpc.errors import ProtocolError
from mpc.sharing import permutation
from protos import sharing_pb2
from tests.mpc.sharing.programs import SETTINGS, run, secret

Edit = Callable[[sharing_pb2.Part, list[bytes]], list[bytes]]


@dataclass
class Meddling:
    """Replaces the parts of arrays that a party sends from the first on that belongs to one operation."""

    inner: Pipe
    edit: Edit
    operation: str
    earlier: list[bytes] = field(default_factory=list)

    def send_bytes(self, data: bytes, /) -> None:
        messages = [data]
        if b"sharing.v1.Part" in data[:40]:
            part = decode(data, sharing_pb2.Part)
            if part.operation == self.operation:
                messages = self.edit(part, self.earlier)
            self.earlier.append(data)
        for message in messages:
            self.inner.send_bytes(message)

    def recv_bytes(self) -> bytes:
        return self.inner.recv_bytes()


def shorter(part, _earlier):
    return [encode(sharing_pb2.Part(step=part.step, operation=part.operation, number=part.number, data=part.data[:-8]))]


def longer(part, _earlier):
    return [
        encode(
            sharing_pb2.Part(step=part.step, operation=part.operation, number=part.number, data=part.data + bytes(8))
        )
    ]


def replayed(part, earlier):
    return [earlier[-1] if earlier else encode(part)]


def of_another_step(part, _earlier):
    return [encode(sharing_pb2.Part(step=part.step + 1, operation=part.operation, number=part.number, data=part.data))]


def of_another_operation(part, _earlier):
    return [encode(sharing_pb2.Part(step=part.step, operation="open", number=part.number, data=part.data))]


def of_another_kind(part, _earlier):
    return [encode(sharing_pb2.Request(step=part.step))]


def garbled(part, _earlier):
    return [encode(part)[:-1]]


def program(engine):
    a, b = secret(engine, "hk", np.arange(70), 0, 100), secret(engine, "cn", np.arange(70), 0, 100)
    engine.open(a)
    engine.open(engine.where(a < b, a * b, a))
    return engine.open(a.sum())


EDITS = [shorter, longer, replayed, of_another_step, of_another_operation, of_another_kind, garbled]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("operation", ["multiply", "compare", "select"])
@pytest.mark.parametrize("edit", EDITS, ids=[edit.__name__ for edit in EDITS])
def test_a_wrong_message_ends_in_an_error_that_names_the_peer_and_the_step(setting, operation, edit):
    def wrap(name, _peer, pipe):
        return Meddling(pipe, edit, operation) if name == "cn" else pipe

    with pytest.raises(ProtocolError, match=rf"^cn: .*step \d+ '{operation}'"):
        run(setting, program, wrap=wrap)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_message_more_than_the_program_has_is_noticed_at_the_next(setting):
    def twice(part, _earlier):
        return [encode(part)] * 2

    with pytest.raises(ProtocolError, match="cn: sent"):
        run(setting, program, wrap=lambda name, _p, pipe: Meddling(pipe, twice, "multiply") if name == "cn" else pipe)


def test_parties_that_run_different_programs_find_out():
    def differs(engine):
        a, b = secret(engine, "hk", [1, 2], 0, 9), secret(engine, "cn", [3, 4], 0, 9)
        return engine.open(a * b if engine.name == "hk" else engine.where(a < b, a, b))

    with pytest.raises(ProtocolError, match=r"(hk|cn): .*step"):
        run("no_helper", differs)


@dataclass
class Requesting:
    """Replaces the requests that the second party sends to the helper."""

    inner: Pipe
    request: sharing_pb2.Request

    def send_bytes(self, data: bytes, /) -> None:
        self.inner.send_bytes(encode(self.request) if b"sharing.v1.Request" in data[:40] else data)

    def recv_bytes(self) -> bytes:
        return self.inner.recv_bytes()


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (sharing_pb2.Request(step=9, operation="multiply", correlation="secrets", sizes=[1]), "that there is not"),
        (sharing_pb2.Request(step=9, operation="multiply", correlation="triples", sizes=[1, 2]), "that there is not"),
        (sharing_pb2.Request(step=9, operation="m" * 99, correlation="triples", sizes=[1]), "that there is not"),
        (sharing_pb2.Request(step=9, operation="multiply", correlation="triples", sizes=[2**40]), "impossible size"),
        (
            sharing_pb2.Request(step=9, operation="matmul", correlation="matrices", sizes=[2**20, 2**20, 1]),
            "impossible size",
        ),
    ],
)
def test_the_helper_refuses_requests_that_no_program_makes(request_, complaint):
    def wrap(name, peer, pipe):
        return Requesting(pipe, request_) if (name, peer) == ("hk", "aid") else pipe

    with pytest.raises(ProtocolError, match=f"hk: .*{complaint}"):
        run("helper", program, wrap=wrap)


def test_an_order_that_is_none_is_refused(monkeypatch):
    def repeats(wire, holder, third, order, width):
        wire.send(holder, np.zeros(len(order), np.uint64))
        return np.zeros((len(order), width), np.uint64)

    monkeypatch.setattr(permutation, "choose", repeats)
    with pytest.raises(ProtocolError, match=r"cn: asked for an order that is no permutation, in step \d+ 'shuffle'"):
        run("helper", lambda engine: engine.shuffle(secret(engine, "hk", [[1], [2]], 0, 9)))


def test_a_count_beyond_what_is_allowed_is_refused_by_name():
    with pytest.raises(ProtocolError, match="cn: brings 7"):
        run("replicated", announce)


def announce(engine):
    return engine.announce("cn", 7 if engine.name == "cn" else None, most=9 if engine.name == "cn" else 5)


def test_parties_of_different_stages_do_not_start():
    def relabelled(name, _peer, pipe):
        return Relabelling(pipe) if name == "cn" else pipe

    with pytest.raises(ProtocolError, match="cn: started another stage"):
        run("replicated", program, wrap=relabelled)


@dataclass
class Relabelling:
    """A pipe that says the party behind it is in another stage."""

    inner: Pipe

    def send_bytes(self, data: bytes, /) -> None:
        if b"sharing.v1.Start" in data[:40]:
            data = encode(sharing_pb2.Start(seed=decode(data, sharing_pb2.Start).seed, digest=bytes(32)))
        self.inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self.inner.recv_bytes()


@dataclass
class Reseeding:
    """Replaces the seed that a party starts with."""

    inner: Pipe
    seed: bytes

    def send_bytes(self, data: bytes, /) -> None:
        if b"sharing.v1.Start" in data[:40]:
            start = decode(data, sharing_pb2.Start)
            start.seed = self.seed
            data = encode(start)
        self.inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self.inner.recv_bytes()


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_seed_of_another_length_is_refused(setting, size):
    def wrap(name, peer, pipe):
        return Reseeding(pipe, bytes(size)) if (name, peer) == ("cn", "hk") else pipe

    with pytest.raises(ProtocolError, match=rf"^cn: sent a seed of {size} bytes, not 16"):
        run(setting, program, wrap=wrap)
