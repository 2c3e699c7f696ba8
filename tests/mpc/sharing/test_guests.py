"""Guests of three computing parties: what they bring is computed with, and what is opened they are told."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from mpc.channel import Pipe, decode, encode
from mpc.errors import InputError, ProtocolError, SealaneError
from mpc.local import run_program
from mpc.sharing.engine import Engine
from protos import sharing_pb2
from tests.mpc.sharing.programs import secret, secret_bits

HOSTS, GUESTS = ("b", "d", "e"), ("a", "c")


def run(program, **more):
    return run_program(program, HOSTS, guests=GUESTS, **more)


@pytest.mark.parametrize(("count", "verified"), [(1, False), (63, False), (64, False), (65, True), (200, False)])
def test_all_parties_learn_what_is_computed_from_everybodys_values(count, verified):
    random = np.random.default_rng(count)
    values = {name: random.integers(-1000, 1000, count) for name in (*HOSTS, *GUESTS)}
    chosen = random.integers(0, 2, count).astype(bool)

    def program(engine: Engine):
        shared = {name: secret(engine, name, own, -1000, 1000) for name, own in values.items()}
        bits = secret_bits(engine, "a", chosen)
        product = shared["a"] * shared["c"] + shared["b"] * shared["d"]
        picked = engine.where(bits, product, shared["e"])
        groups = np.arange(count) % 3 if engine.name == "b" else None
        sums = engine.sums_by("b", groups, 3, picked.reshape(-1, 1))
        return engine.open(picked), engine.open(shared["a"] < shared["b"]), engine.open(sums.ravel())

    a, b, c, d, e = (values[name] for name in "abcde")
    picked = np.where(chosen, a * c + b * d, e)
    sums = np.array([picked[np.arange(count) % 3 == group].sum() for group in range(3)])
    for found in run(program, verified=verified).values():
        for ours, truth in zip(found, (picked, a < b, sums), strict=True):
            np.testing.assert_array_equal(ours, truth)


@pytest.mark.parametrize("verified", [False, True])
def test_what_is_opened_to_one_party_no_other_is_told(verified):
    def program(engine: Engine):
        x = secret(engine, "a", [7, -7], -10, 10)
        return [engine.open_to(name, x) for name in (*HOSTS, *GUESTS)]

    for name, found in run(program, verified=verified).items():
        for receiver, opened in zip((*HOSTS, *GUESTS), found, strict=True):
            assert (None if opened is None else opened.tolist()) == ([7, -7] if receiver == name else None)


@pytest.mark.parametrize("owner", ["a", "b", "e"])
@pytest.mark.parametrize("verified", [False, True])
def test_a_number_is_announced_by_guests_and_to_guests(owner, verified):
    def program(engine: Engine):
        return engine.announce(owner, 2**63 if engine.name == owner else None, most=2**63)

    found = run(program, verified=verified)
    assert set(found.values()) == {2**63}


def test_the_shares_that_computing_parties_hold_of_a_guests_value_look_random():
    def program(engine: Engine):
        return secret(engine, "a", np.zeros(1000), 0, 1).parts

    parts = run(program)
    for name in HOSTS:
        for part in parts[name]:
            assert len(np.unique(part)) == 1000
    assert parts["a"] == ()
    whole = parts["b"][0] + parts["b"][1] + parts["d"][1]
    assert not whole.any()


def test_each_value_of_a_guest_costs_it_one_word():
    def program(engine: Engine):
        engine.open_to("c", secret(engine, "a", np.zeros(100), 0, 1))
        return engine.costs.total

    costs = run(program)
    assert (costs["a"].sent_bytes, costs["a"].received_bytes) == (800, 0)
    assert (costs["c"].sent_bytes, costs["c"].received_bytes) == (0, 1600)


@pytest.mark.parametrize(
    ("parties", "more", "message"),
    [
        (("b", "d"), {}, "guests bring values to three parties"),
        (HOSTS, {"helper": "e"}, "guests bring values to three parties"),
    ],
)
def test_guests_need_three_parties_that_compute(parties, more, message):
    with pytest.raises(InputError, match=message):
        run_program(lambda engine: None, parties, guests=("a",), **more)


def test_a_guest_does_not_compute():
    def program(engine: Engine):
        x = secret(engine, "b", np.zeros((4, 1)), 0, 1)
        engine.sums_by("a", np.zeros(4, np.int64) if engine.name == "a" else None, 1, x)

    with pytest.raises(InputError, match="a does not compute"):
        run(program)


@dataclass
class Meddling:
    """Changes the parts of arrays that a party sends."""

    inner: Pipe
    step: int = 0
    cut: int = 0

    def send_bytes(self, data: bytes, /) -> None:
        if b"sharing.v1.Part" in data[:40]:
            part = decode(data, sharing_pb2.Part)
            part.step += self.step
            part.data = part.data[: len(part.data) - self.cut]
            data = encode(part)
        self.inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self.inner.recv_bytes()


@pytest.mark.parametrize(
    ("cheat", "victim", "more", "message"),
    [
        ("a", "d", {"step": 1}, "a: sent part 1, of step 2 'share', in step 1 'share'"),
        ("a", "d", {"cut": 8}, "a: sent 16 bytes where 24 are due, in step 1 'share'"),
        ("b", "c", {"step": 1}, "b: sent part 1, of step 2 'open', in step 1 'open'"),
        ("d", "c", {"cut": 8}, "d: sent 16 bytes where 24 are due, in step 1 'open'"),
    ],
)
def test_what_the_program_does_not_lead_to_is_refused_by_name(cheat, victim, more, message):
    def program(engine: Engine):
        return engine.open_to("c", secret(engine, "a", [1, 2, 3], 0, 5))

    def wrap(name: str, peer: str, pipe: Pipe) -> Pipe:
        return Meddling(pipe, **more) if (name, peer) == (cheat, victim) else pipe

    with pytest.raises(ProtocolError, match=message):
        run(program, wrap=wrap)


# Of those who verify each other, and their guests, any one may cheat.


@dataclass
class Falsifying:
    """Adds one to the first byte of part `number` of those that a party sends in one operation to one peer."""

    inner: Pipe
    operation: str
    number: int
    done: bool = False

    def send_bytes(self, data: bytes, /) -> None:
        if b"sharing.v1.Part" in data[:40]:
            part = decode(data, sharing_pb2.Part)
            if part.operation == self.operation and part.data:
                self.number -= 1
                if self.number == -1:
                    part.data = bytes([(part.data[0] + 1) % 256]) + part.data[1:]
                    data, self.done = encode(part), True
        self.inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self.inner.recv_bytes()


def with_guests(engine: Engine):
    x, y = secret(engine, "a", np.arange(9), 0, 9), secret(engine, "d", np.arange(9), 0, 9)
    bits = secret_bits(engine, "c", np.arange(9) > 3)
    engine.announce("a", 7 if engine.name == "a" else None, most=9)
    engine.announce("b", 7 if engine.name == "b" else None, most=9)
    product = engine.select(bits, x * y)
    return engine.open(product).tolist(), engine.open(bits ^ (x > 7)).tolist(), engine.open_to("a", product.sum())


TRUE = ([n * n if n > 3 else 0 for n in range(9)], [3 < n < 8 for n in range(9)], sum(n * n for n in range(4, 9)))


BY_HOSTS = ("check_guest", "announce", "open", "open_bits", "select", "multiply")


@pytest.mark.parametrize(
    ("cheater", "operation"),
    [
        ("a", "guest_seeds"), ("a", "share"), ("a", "announce"), ("c", "guest_seeds"), ("c", "share_bits"),
        *itertools.product(HOSTS, BY_HOSTS),
    ],
)  # fmt: skip
def test_whatever_a_party_falsifies_to_anybody_nobody_else_gets_a_wrong_value(cheater, operation):
    falsified = []

    def guarded(engine):
        try:
            return with_guests(engine)
        except SealaneError as error:
            return error

    for peer, number in itertools.product([name for name in (*HOSTS, *GUESTS) if name != cheater], range(2)):
        ends = []

        def wrap(name, other, pipe, peer=peer, number=number, ends=ends):
            if (name, other) != (cheater, peer):
                return pipe
            ends.append(Falsifying(pipe, operation, number))
            return ends[-1]

        try:
            found = run(guarded, verified=True, wrap=wrap)
        except ProtocolError as error:  # before there is an engine
            assert " in step " in str(error)
            falsified.append(peer)
            continue
        if not any(end.done for end in ends):
            continue
        falsified.append(peer)
        honest = {name: end for name, end in found.items() if name != cheater}
        for name, end in honest.items():
            assert isinstance(end, SealaneError) or end == (*TRUE[:2], TRUE[2] if name == "a" else None), end
        named = [str(end) for end in honest.values() if isinstance(end, ProtocolError)]
        assert any(" in step " in error for error in named), (peer, number, found)
    assert falsified
    assert set(falsified) & set(GUESTS) or operation not in ("announce", "open", "open_bits") or cheater in GUESTS
