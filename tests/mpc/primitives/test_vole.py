"""Both parties' steps, one after the other in one thread, against the correlation b = c + delta·a."""

import numpy as np
import pytest

from mpc.errors import ProtocolError
from mpc.kernels import gf64
from mpc.primitives import base_ot, lpn, vole
from mpc.testing import InsecureSeededRng

SESSION = bytes(range(16))


def correlate(outputs: int, weight: int = lpn.WEIGHT) -> tuple[tuple[int, int], np.ndarray, np.ndarray]:
    """Run all steps; gives delta, the receiver's planes a and c, and the sender's planes b."""
    rng = InsecureSeededRng(b"vole")
    secret = rng(32)
    bits = [bool(secret[i // 8] >> i % 8 & 1) for i in range(vole.BASE_COUNT)]
    offered = base_ot.offer(rng)
    keys, reply = base_ot.choose(offered.point, bits, SESSION, rng)
    plan = vole.levels(outputs, weight)
    pairs = base_ot.keys(offered, reply, vole.BASE_COUNT, SESSION)
    receiver, request = vole.ask(pairs, plan, SESSION, rng)
    assert len(request) == vole.request_bytes(plan)
    sender = vole.answer(keys, secret, request, plan, SESSION)
    noise, shares, own = receiver.noise, receiver.shares, sender.shares
    for index, level in enumerate(plan):
        received = np.empty((3, level.chunks * level.chunk_outputs), np.uint64)
        sent = np.empty((2, level.chunks * level.chunk_outputs), np.uint64)
        for chunk in range(level.chunks):
            message, leaves = vole.plant_chunk(sender, plan, index, chunk, own, vole.draw_seeds(rng))
            assert len(message) == level.message_words
            vole.encode_leaves(level, chunk, leaves, sent)
            vole.puncture_chunk(receiver, plan, index, chunk, message, noise, shares, received)
        noise, shares, own = received[0], received[1:], sent
    return sender.delta, received, sent


@pytest.mark.parametrize(
    ("outputs", "weight"), [(1, lpn.WEIGHT), (1105, lpn.CONSERVATIVE_WEIGHT), (300_000, lpn.WEIGHT)]
)
def test_every_output_satisfies_the_correlation(outputs: int, weight: int) -> None:
    delta, received, sent = correlate(outputs, weight)
    assert received.shape[1] >= outputs
    for plane in (0, 1):
        expected = received[1 + plane].copy()
        gf64.add_products(expected, received[0], gf64.table_of(delta[plane]))
        assert (sent[plane] == expected).all()


def test_outputs_look_random() -> None:
    _, received, _ = correlate(2000)
    assert len(np.unique(received[0])) == received.shape[1]
    ones = np.unpackbits(received.view(np.uint8)).mean()
    assert abs(ones - 0.5) < 0.01


def test_levels_end_in_one_chunk_of_base_noise_and_reach_every_size() -> None:
    for outputs in (1, 552, 553, 282_624, 282_625, 1_100_000, 18_500_000):
        plan = vole.levels(outputs, lpn.WEIGHT)
        assert plan[0].chunks == 1
        wanted = [level.trees for level in plan[1:]] + [outputs]
        assert all(level.chunks * level.chunk_outputs >= want for level, want in zip(plan, wanted, strict=True))
        assert plan[-1].depth <= 10


def test_a_point_that_is_none_and_a_wrong_number_of_points_are_refused() -> None:
    rng = InsecureSeededRng(b"hostile")
    for offered in (b"", bytes(32), b"\xff" * 32):
        with pytest.raises(ProtocolError):
            base_ot.choose(offered, [True], SESSION, rng)
    own = base_ot.offer(rng)
    for reply in (b"", bytes(32), b"\xff" * 32, own.point * 2):
        with pytest.raises(ProtocolError):
            base_ot.keys(own, reply, 1, SESSION)


def test_base_transfers_give_the_chosen_key_and_another() -> None:
    rng = InsecureSeededRng(b"base")
    offered = base_ot.offer(rng)
    chosen, reply = base_ot.choose(offered.point, [False, True, True], SESSION, rng)
    pairs = base_ot.keys(offered, reply, 3, SESSION)
    assert chosen == [pairs[0][0], pairs[1][1], pairs[2][1]]
    assert len({key for pair in pairs for key in pair}) == 6


def test_what_is_wanted_of_a_chunk_is_what_its_leaves_give() -> None:
    rng = InsecureSeededRng(b"wanted")
    level = vole.Level(2, 3, lpn.WEIGHT)
    pads = np.zeros((level.trees, level.depth, 2), np.uint64)
    shares = np.zeros((2, level.trees), np.uint64)
    sender = vole.Sender(SESSION, (1, 2), shares, ((pads, pads),))
    size = level.chunk_outputs
    whole, some = np.empty((2, 2 * size), np.uint64), np.zeros((2, 2 * size), np.uint64)
    wanted = [slice(1, 9), slice(size - 5, size + 4), slice(size + 10, 2 * size)]
    for chunk in range(2):
        seeds = vole.draw_seeds(rng)
        _, leaves = vole.plant_chunk(sender, [level], 0, chunk, shares, seeds)
        vole.encode_leaves(level, chunk, leaves, whole)
        vole.encode_wanted(sender, level, chunk, seeds, wanted, some)
    for each in wanted:
        assert (some[:, each] == whole[:, each]).all()
        some[:, each] = 0
    assert not some.any()
    vole.encode_wanted(sender, level, 0, seeds, [slice(size, size + 1)], some)
    assert not some.any()
