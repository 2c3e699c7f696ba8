"""Three parties of which one cheats: every falsified product or part ends in an error, and no wrong result."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.channel import Pipe, decode, encode
from mpc.errors import InputError, ProtocolError
from mpc.local import run_program
from mpc.sharing.verified import bucket_size, verification_cost
from protos import sharing_pb2
from tests.mpc.sharing.programs import secret, secret_bits

PARTIES = ("cn", "hk", "sg")
X, Y = np.arange(40) - 20, np.arange(40) * 3 - 50


def program(engine):
    a, b = secret(engine, "hk", X, -100, 100), secret(engine, "cn", Y, -100, 100)
    product = a * b
    found = engine.open(product + b)
    return [engine.open(product * a + b), engine.open_to("sg", (product + 1).sum()), found]


@given(seed=st.integers(0, 2**32))
@settings(max_examples=3)
def test_honest_parties_get_what_numpy_gets(seed):
    x, y = np.random.default_rng(seed).integers(-(2**20), 2**20, (2, 17))

    def honest(engine):
        a, b = secret(engine, "hk", x, -(2**20), 2**20), secret(engine, "sg", y, -(2**20), 2**20)
        return engine.open(a * b * a + 7 - b), engine.open_to("cn", (a * b).sum()), engine.announce("cn", 3, most=3)

    results = run_program(honest, PARTIES, verified=True)
    for name, (found, total, announced) in results.items():
        assert np.array_equal(found, x * y * x + 7 - y)
        assert total == (x @ y) if name == "cn" else total is None
        assert announced == 3


@dataclass
class Falsifying:
    """Adds to one word, or flips a bit, of the parts of arrays that a party sends in one operation, from one on."""

    inner: Pipe
    operation: str
    skip: int
    amount: int

    def send_bytes(self, data: bytes, /) -> None:
        if b"sharing.v1.Part" in data[:40]:
            part = decode(data, sharing_pb2.Part)
            if part.operation == self.operation:
                self.skip -= 1
                if self.skip == -1:
                    words = np.frombuffer(bytearray(part.data), np.uint64)
                    words[len(words) // 2 :][:1] += np.uint64(self.amount)
                    part.data = words.tobytes()
                    data = encode(part)
        self.inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self.inner.recv_bytes()


@pytest.mark.parametrize("cheater", PARTIES)
@pytest.mark.parametrize("peer_after", [1, 2])
@pytest.mark.parametrize("amount", [1, 2**63])
@pytest.mark.parametrize(
    ("operation", "skip"), [("multiply", 0), ("multiply", 1), ("open", 0), ("verify", 0), ("verify_random", 0)]
)
def test_whatever_a_party_falsifies_is_found(cheater, peer_after, amount, operation, skip):
    peer = PARTIES[(PARTIES.index(cheater) + peer_after) % 3]
    ends = []

    def wrap(name, other, pipe):
        if (name, other) != (cheater, peer):
            return pipe
        ends.append(Falsifying(pipe, operation, skip, amount))
        return ends[0]

    try:
        results = run_program(program, PARTIES, verified=True, wrap=wrap)
    except ProtocolError as error:
        assert "step" in str(error)
        return
    assert ends[0].skip >= 0, "a message was falsified and nobody noticed"
    assert np.array_equal(results["hk"][0], X * Y * X + Y)


def test_the_step_with_the_wrong_product_is_named():
    def wrap(name, other, pipe):
        return Falsifying(pipe, "multiply", 1, 1) if (name, other) == ("sg", "hk") else pipe

    with pytest.raises(ProtocolError, match="products of step 7 do not hold"):
        run_program(program, PARTIES, verified=True, wrap=wrap)


def test_a_number_that_a_party_tells_differently_is_noticed():
    def wrap(name, other, pipe):
        return Falsifying(pipe, "announce", 0, 1) if (name, other) == ("cn", "hk") else pipe

    with pytest.raises(ProtocolError, match="was told another number"):
        run_program(lambda engine: engine.announce("cn", 3, most=9), PARTIES, verified=True, wrap=wrap)


def test_what_is_not_verified_is_refused():
    def unverified(engine):
        a = secret(engine, "hk", [[1, 2]], 0, 9)
        for work in (
            lambda: a < 3, lambda: a == 1, lambda: a @ a.transpose(), lambda: engine.shuffle(a),
            lambda: secret_bits(engine, "hk", [True]), lambda: engine.constant_bits([True]),
            lambda: engine.sums_by("hk", np.array([0]) if engine.name == "hk" else None, 1, a),
        ):  # fmt: skip
            with pytest.raises(InputError, match="not verified"):
                work()

    run_program(unverified, PARTIES, verified=True)
    with pytest.raises(InputError, match="only three parties"):
        run_program(program, ("cn", "hk"), verified=True)


def test_verification_costs_what_its_estimate_says():
    def spent(engine):
        program(engine)
        return engine.costs.operations

    for costs in run_program(spent, PARTIES, verified=True).values():
        found = costs["verify"] + costs["verify_random"]
        expected = verification_cost(40, 1) + verification_cost(40, 1)
        assert found == expected


@pytest.mark.parametrize("buckets", [2**10, 2**16, 2**20, 2**24])
def test_buckets_are_large_enough_for_their_number(buckets):
    assert (bucket_size(buckets) - 1) * np.log2(buckets) >= 40
    assert (bucket_size(buckets) - 2) * np.log2(buckets) < 40
