import numpy as np
import pytest

from mpc.primitives import softspoken
from mpc.rng import system_rng


def ends(session=bytes(16)):
    """Both sides, after base transfers by a random secret."""
    secret = np.unpackbits(np.frombuffer(system_rng(16), np.uint8)).astype(np.bool_)
    pairs = [(system_rng(16), system_rng(16)) for _ in range(softspoken.BASE_COUNT)]
    keys = [pair[int(bit)] for pair, bit in zip(pairs, secret, strict=True)]
    chooser, message = softspoken.plant(pairs, session, system_rng)
    assert len(message) == softspoken.SEEDS_WORDS
    return chooser, softspoken.grow(keys, secret, message, session)


def test_the_pad_chosen_is_the_one_of_the_choice_in_every_batch():
    chooser, offerer = ends()
    for words in (1, 3, 64, 100):
        choices, pads, message = chooser.choose(words)
        low, high = offerer.offer(words, message)
        bits = np.unpackbits(choices.view(np.uint8), bitorder="little").astype(np.bool_)
        assert np.array_equal(pads, np.where(bits[:, None], high, low))
        assert not (low == high).any()
        assert message.nbytes == 31 * 8 * words


def test_pads_and_choices_do_not_repeat_and_look_uniform():
    chooser, offerer = ends()
    seen = []
    for _ in range(2):
        choices, _, message = chooser.choose(256)
        low, high = offerer.offer(256, message)
        seen += [low.tobytes(), high.tobytes()]
        for array in (choices, low[:, 0], high[:, 1], low[:, 0] ^ high[:, 0]):
            assert np.unpackbits(np.ascontiguousarray(array).view(np.uint8)).mean() == pytest.approx(0.5, abs=0.03)
    assert len(set(seen)) == 4
    everything = np.frombuffer(b"".join(seen), np.uint64).reshape(-1, 2)
    assert len(np.unique(everything, axis=0)) == len(everything)


def test_sessions_give_other_pads_from_the_same_leaves():
    leaves = np.frombuffer(system_rng(16 * 16 * 32), np.uint64).reshape(32, 16, 2)
    one, other = (softspoken.Chooser(leaves, session).choose(2)[1] for session in (bytes(16), b"s" * 16))
    assert not (one == other).any()
