"""Three parties of which one cheats: every falsified product or part ends in an error, and no wrong result."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.channel import Pipe, decode, encode
from mpc.errors import InputError, ProtocolError, SealaneError
from mpc.local import run_program
from mpc.sharing import verified, verified_prices
from mpc.sharing.aggregates import histogram
from mpc.sharing.grouping import group_by
from mpc.sharing.plan import plan
from mpc.sharing.replicated import Replicated
from mpc.sharing.sorting import sort_by
from mpc.sharing.verified_costs import bucket_size
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

    with pytest.raises(ProtocolError, match="products of step 7 'multiply' do not hold"):
        run_program(program, PARTIES, verified=True, wrap=wrap)


def test_a_number_that_a_party_tells_differently_is_noticed():
    def wrap(name, other, pipe):
        return Falsifying(pipe, "announce", 0, 1) if (name, other) == ("cn", "hk") else pipe

    with pytest.raises(ProtocolError, match="was told another number"):
        run_program(lambda engine: engine.announce("cn", 3, most=9), PARTIES, verified=True, wrap=wrap)


def everything(engine):
    """What numpy gets beside what is opened, for every operation."""
    a, b = secret(engine, "hk", X, -100, 100), secret(engine, "cn", Y, -100, 100)
    groups = X % 5 - 1
    less, same = a < b, a == b
    bits = secret_bits(engine, "sg", X > 3)
    words = a.reshape(2, 20) @ b.reshape(20, 2)
    return [
        (engine.open(less), X < Y),
        (engine.open(same), X == Y),
        (engine.open(engine.where(less, a, b)), np.minimum(X, Y)),
        (engine.open((less & bits) | ~same), ((X < Y) & (X > 3)) | (X != Y)),
        (engine.open(bits.sum()), (X > 3).sum()),
        (engine.open(engine.concatenate([a.min().reshape(1), b.max().reshape(1)])), [X.min(), Y.max()]),
        (engine.open(a.clip(-3, 5)), X.clip(-3, 5)),
        (engine.open(words), X.reshape(2, 20) @ Y.reshape(20, 2)),
        (
            engine.open(engine.sums_by("hk", groups if engine.name == "hk" else None, 3, b.reshape(-1, 1))).ravel(),
            [Y[groups == group].sum() for group in range(3)],
        ),
        (np.sort(engine.open(engine.shuffle(a.reshape(-1, 1))), axis=None), X),
        (engine.open(histogram(a, [-10, 0, 10])), [10, 10]),
    ]


def test_every_operation_gets_what_numpy_gets():
    for results in run_program(everything, PARTIES, verified=True).values():
        for found, expected in results:
            assert np.array_equal(found, expected)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 63, 64])
def test_comparisons_of_every_width_are_right_at_their_edges(width):
    low, high = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    values = np.array(sorted({low, min(low + 1, high), -1, 0, min(1, high), high - 1 if high else high, high}))

    def program(engine):
        a = secret(engine, "cn", values, low, high)
        return engine.open(a < 0), engine.open(a == 0)

    for negative, zero in run_program(program, PARTIES, verified=True).values():
        assert np.array_equal(negative, values < 0)
        assert np.array_equal(zero, values == 0)


STEPS = {
    "compare": lambda engine, a, b, _bits: engine.open(a < b),
    "equal": lambda engine, a, b, _bits: engine.open(a == b),
    "conjoin": lambda engine, _a, _b, bits: engine.open(bits & ~bits),
    "integers": lambda engine, _a, _b, bits: engine.open(bits.integers()),
    "select": lambda engine, a, _b, bits: engine.open(engine.select(bits, a)),
    "shuffle": lambda engine, a, _b, _bits: engine.open(engine.shuffle(a.reshape(20, 2))),
    "matmul": lambda engine, a, b, _bits: engine.open(a @ b),
    "open_bits": lambda engine, _a, _b, bits: engine.open(bits),
    "verify_bits": lambda engine, a, b, _bits: engine.open(a < b),
}


@dataclass
class Flipping:
    """Flips one bit of the message with this number of those that a party sends in one operation."""

    inner: Pipe
    operation: str
    number: int
    at: int
    done: bool = False

    def send_bytes(self, data: bytes, /) -> None:
        if b"sharing.v1.Part" in data[:40]:
            part = decode(data, sharing_pb2.Part)
            if part.operation == self.operation and part.data:
                self.number -= 1
                if self.number == -1:
                    changed = bytearray(part.data)
                    changed[self.at % len(changed)] ^= 1 << self.at % 8
                    part.data, self.done = bytes(changed), True
                    data = encode(part)
        self.inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self.inner.recv_bytes()


def ends_of(program, wrap):
    """What each party gets, or the error it ends in."""

    def guarded(engine):
        try:
            return program(engine)
        except SealaneError as error:
            return error

    return run_program(guarded, PARTIES, verified=True, wrap=wrap)


@pytest.mark.parametrize("operation", STEPS)
@pytest.mark.parametrize("cheater", PARTIES)
@pytest.mark.parametrize("at", [0, 11])
def test_one_bit_of_any_message_of_any_step_ends_in_errors_that_name_it_and_no_wrong_result(operation, cheater, at):
    """Each of the first messages in turn, to either peer. An honest party says the step, or that a peer has gone."""

    def program(engine):
        a, b = secret(engine, "hk", X, -100, 100), secret(engine, "cn", Y, -100, 100)
        return STEPS[operation](engine, a, b, secret_bits(engine, "sg", X > 3))

    falsified = 0
    honest = [party for party in PARTIES if party != cheater]
    for peer in honest:
        for number in range(4):
            flipping = []

            def wrap(name, other, pipe, peer=peer, number=number, flipping=flipping):
                if (name, other) != (cheater, peer):
                    return pipe
                flipping.append(Flipping(pipe, operation, number, at))
                return flipping[0]

            ends = ends_of(program, wrap)
            if not flipping[0].done:
                continue
            falsified += 1
            errors = [ends[party] for party in honest if isinstance(ends[party], SealaneError)]
            # A false complaint about an opening reaches one of the two; the other one has what is right.
            others = [ends[party] for party in honest if not isinstance(ends[party], SealaneError)]
            assert not others or (operation == "open_bits" and np.array_equal(others[0], X > 3))
            named = [str(error) for error in errors if isinstance(error, ProtocolError)]
            assert any(re.search(rf"step \d+ '({operation}|verify.*)'", error) for error in named), errors
    assert falsified


@pytest.mark.parametrize(("operation", "step"), [("compare", 3), ("equal", 4), ("compare", 5)])
def test_the_step_with_the_wrong_bits_is_named_at_both_honest_parties(operation, step):
    def program(engine):
        a, b = secret(engine, "hk", X, -100, 100), secret(engine, "cn", Y, -100, 100)
        first, second, third = a < b, a == b, a < 3
        return engine.open(first ^ second ^ third)

    number = 1 if step < 5 else 7

    def wrap(name, other, pipe):
        return Flipping(pipe, operation, number, 5) if (name, other) == ("sg", "hk") else pipe

    ends = ends_of(program, wrap)
    for honest in ("cn", "hk"):
        assert re.search(rf"bits of step {step} '{operation}' do not hold", str(ends[honest])), ends


@pytest.mark.parametrize("cheater", PARTIES)
@pytest.mark.parametrize("call", [0, 2])
@pytest.mark.parametrize("operation", ["compare", "equal", "conjoin", "select", "integers", "shuffle", "matmul"])
def test_a_cheater_that_goes_on_with_its_own_false_part_is_found_by_the_step(monkeypatch, cheater, call, operation):
    """It computes a gate or a product wrongly, keeps what it sends, and follows the protocol otherwise."""
    found = []

    def falsified(original):
        def make(self, x, y, out):
            for there in original(self, x, y, out):
                if (self._wire.name, self._wire.operation) == (cheater, operation):
                    found.append(operation)
                    if len(found) == call + 1:
                        out.reshape(-1)[0] ^= np.uint64(1)
                yield there

        return make

    for name in ("_gates", "_products"):
        monkeypatch.setattr(Replicated, name, falsified(getattr(Replicated, name)))

    def program(engine):
        a, b = secret(engine, "hk", X, -100, 100), secret(engine, "cn", Y, -100, 100)
        return STEPS[operation](engine, a, b, secret_bits(engine, "sg", X > 3))

    ends = ends_of(program, lambda _name, _peer, pipe: pipe)
    if len(found) <= call:
        return
    errors = [ends[party] for party in PARTIES if party != cheater]
    assert all(isinstance(error, SealaneError) for error in errors), errors
    named = [str(error) for error in errors if isinstance(error, ProtocolError)]
    assert any(re.search(rf"(bits|products) of step \d+ '{operation}' do not hold", error) for error in named), errors


@pytest.mark.parametrize("cheater", PARTIES)
def test_random_products_that_are_all_wrong_alike_are_found_by_those_that_are_opened(monkeypatch, cheater):
    """Beside each other they hold."""
    honest, falsified = Replicated._products, []

    def make(self, x, y, out):
        words, before = out.reshape(-1), 0
        for there in honest(self, x, y, out):
            if (self._wire.name, self._wire.operation) == (cheater, "verify_random"):
                words[before:there] += np.uint64(1)
                falsified.append(there - before)
                before = there
            yield there

    monkeypatch.setattr(Replicated, "_products", make)
    ends = ends_of(program, lambda _name, _peer, pipe: pipe)
    assert sum(falsified) > 1000
    for party in set(PARTIES) - {cheater}:
        assert "made random products that do not hold" in str(ends[party])


def test_more_gates_than_are_checked_at_once_are_checked_in_lots(monkeypatch):
    for module in (verified, verified_prices):
        monkeypatch.setattr(module, "MOST_GATE_WORDS", 5)
        monkeypatch.setattr(module, "MOST_PRODUCTS", 7)

    def program(engine):
        a, b = secret(engine, "hk", X, -100, 100), secret(engine, "cn", Y, -100, 100)
        found = engine.open((a < b) ^ (a == b))
        engine.open(a * b + b * b)
        return found, engine.costs.operations

    planned = plan("hk", PARTIES, verified=True)
    program(planned)
    results = run_program(program, PARTIES, verified=True)
    assert np.array_equal(results["hk"][0], Y >= X)
    assert dict(results["hk"][1]) == dict(planned.costs.operations)
    assert planned.costs.operations["verify_bits"].calls > 5
    assert planned.costs.operations["verify"].calls == 12


def test_only_three_parties_verify():
    with pytest.raises(InputError, match="only three parties"):
        run_program(program, ("cn", "hk"), verified=True)


@pytest.mark.parametrize("rows", [1, 2, 5, 33])
def test_a_shuffle_keeps_rows_and_changes_their_order(rows):
    table = np.stack([np.arange(rows), np.arange(rows) ** 2], axis=1)

    def shuffled(engine):
        return engine.open(engine.shuffle(secret(engine, "hk", table, 0, 2000)))

    found = run_program(shuffled, PARTIES, verified=True)
    for result in found.values():
        assert np.array_equal(result[np.argsort(result[:, 0])], table)
        assert np.array_equal(result, found["cn"])
    assert rows < 33 or not np.array_equal(found["cn"], table)


def test_every_order_of_a_shuffle_comes():
    """Of 150 shuffles of three rows none of the 6 orders is missing, but with probability 10^-11."""

    def shuffled(engine):
        rows = secret(engine, "hk", np.tile(np.arange(3), 200).reshape(-1, 1), 0, 2)
        return [engine.open(engine.shuffle(rows[:3]))[:, 0].tolist() for _ in range(150)]

    found = run_program(shuffled, PARTIES, verified=True)["sg"]
    assert len({tuple(order) for order in found}) == 6


def test_rows_are_sorted_and_grouped():
    keys, values = X % 4, Y.reshape(-1, 1)

    def program(engine):
        a, b = secret(engine, "hk", keys, 0, 3), secret(engine, "cn", values, -100, 100)
        groups = group_by(engine, a, b)
        ordered, _ = sort_by(engine, b[:, 0], b)
        return engine.open(groups.keys), engine.open(groups.sums[:, 0]), engine.open(ordered)

    for found, sums, ordered in run_program(program, PARTIES, verified=True).values():
        assert found.tolist() == [0, 1, 2, 3]
        assert sums.tolist() == [values[keys == key].sum() for key in range(4)]
        assert np.array_equal(ordered, np.sort(Y))


@pytest.mark.parametrize("work", [program, everything])
def test_a_plan_has_exactly_the_costs_of_a_verified_run(work):
    def spent(engine):
        work(engine)
        engine.announce("sg", 3 if engine.name == "sg" else None, most=9)
        return engine.costs.operations

    for name, found in run_program(spent, PARTIES, verified=True).items():
        assert dict(spent(plan(name, PARTIES, verified=True))) == dict(found), name


@pytest.mark.parametrize("buckets", [2**10, 2**16, 2**20, 2**24])
def test_buckets_are_large_enough_for_their_number(buckets):
    assert (bucket_size(buckets) - 1) * np.log2(buckets) >= 40
    assert (bucket_size(buckets) - 2) * np.log2(buckets) < 40
