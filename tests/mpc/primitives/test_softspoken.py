import numpy as np
import pytest

from mpc.primitives import softspoken
from mpc.primitives.transfer_pads import Pads
from mpc.rng import system_rng


def ends(session=bytes(16)):
    """Both sides, after base transfers by a random secret."""
    secret = softspoken.fresh_secret(system_rng)
    pairs = [(system_rng(16), system_rng(16)) for _ in range(softspoken.BASE_COUNT)]
    keys = [pair[int(bit)] for pair, bit in zip(pairs, secret, strict=True)]
    chooser, message = softspoken.plant(pairs, session, system_rng)
    assert len(message) == softspoken.SEEDS_WORDS
    return chooser, softspoken.grow(keys, secret, message, session)


def test_blocks_differ_by_delta_where_the_choice_is_one_in_every_batch():
    chooser, offerer = ends()
    for words in (1, 3, 64, 100):
        choices, chosen, message = chooser.choose(words)
        offered = offerer.offer(words, message)
        bits = np.unpackbits(choices.view(np.uint8), bitorder="little").astype(np.bool_)
        assert np.array_equal(chosen, np.where(bits[:, None], offered ^ offerer.delta, offered))
        assert message.nbytes == 31 * 8 * words


def test_bit_0_of_delta_is_set_and_its_others_are_random():
    deltas = [ends()[1].delta for _ in range(20)]
    assert all(delta[0] & np.uint64(1) for delta in deltas)
    assert len({delta.tobytes() for delta in deltas}) == 20
    ones = np.unpackbits(np.stack(deltas).view(np.uint8)).mean()  # of 2,540 random bits and 20 others
    assert ones == pytest.approx(0.5, abs=0.08)


def test_pads_and_choices_do_not_repeat_and_look_uniform():
    chooser, offerer = ends()
    offered_pads, chosen_pads, seen = Pads(bytes(16)), Pads(bytes(16)), []
    for _ in range(2):
        choices, blocks, message = chooser.choose(256)
        low, high = offered_pads.offered(offerer.offer(256, message), offerer.delta)
        bits = np.unpackbits(choices.view(np.uint8), bitorder="little").astype(np.bool_)
        assert np.array_equal(chosen_pads.chosen(blocks), np.where(bits[:, None], high, low))
        seen += [low.tobytes(), high.tobytes()]
        for array in (choices, low[:, 0], high[:, 1], low[:, 0] ^ high[:, 0]):
            assert np.unpackbits(np.ascontiguousarray(array).view(np.uint8)).mean() == pytest.approx(0.5, abs=0.03)
    assert len(set(seen)) == 4
    everything = np.frombuffer(b"".join(seen), np.uint64).reshape(-1, 2)
    assert len(np.unique(everything, axis=0)) == len(everything)


def test_sessions_give_other_pads_from_the_same_blocks():
    blocks = np.frombuffer(system_rng(160), np.uint64).reshape(-1, 2)
    one, other = (Pads(session).chosen(blocks) for session in (bytes(16), b"s" * 16))
    assert not (one == other).any()


def test_each_call_has_other_pads_of_the_same_blocks():
    pads, blocks = Pads(bytes(16)), np.frombuffer(system_rng(160), np.uint64).reshape(-1, 2)
    assert not (pads.chosen(blocks) == pads.chosen(blocks)).any()
