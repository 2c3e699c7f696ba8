"""Silent transfers keep the correlation of those they grow from, in every batch, and look random."""

import hashlib

import numpy as np
import pytest

from mpc.primitives import binary_lpn, silent_transfers
from mpc.primitives.silent_transfers import Batch
from mpc.rng import system_rng
from mpc.testing import InsecureSeededRng

ONE = np.uint64(1)


def few(count, rng):
    """Correlated transfers as a dealer gives them: delta, the blocks of both, the choices."""
    delta = np.frombuffer(rng(16), np.uint64) | np.array([1, 0], np.uint64)
    offered = np.frombuffer(rng(16 * count), np.uint64).reshape(-1, 2)
    choices = (np.frombuffer(rng(count), np.uint8) & 1).astype(np.bool_)
    return delta, offered, choices, np.where(choices[:, None], offered ^ delta, offered)


def expanded(depth, rng=system_rng, session=bytes(16)):
    batch = Batch(depth)
    delta, offered, choices, chosen = few(batch.needed, rng)
    message, high = silent_transfers.offer(batch, offered, delta, session, rng)
    assert message.shape == (batch.message_words,)
    low = silent_transfers.choose(batch, choices, chosen, message, session)
    assert high.shape == low.shape == (batch.outputs, 2)
    return delta, high, low, message


@pytest.mark.parametrize("depth", [4, 5, 8])
def test_every_output_has_the_correlation(depth):
    delta, offered, chosen, _ = expanded(depth)
    bits = chosen[:, :1] & ONE
    assert not (offered[:, 0] & ONE).any()
    assert np.array_equal(chosen, offered ^ bits * delta)


def test_choices_and_blocks_look_uniform_and_do_not_repeat():
    _, offered, chosen, _ = expanded(8)
    choices = (chosen[:, 0] & ONE).astype(np.uint8)
    assert choices.mean() == pytest.approx(0.5, abs=0.01)
    half = len(choices) // 2
    parities = [choices[::2] ^ choices[1::2], choices[:-3] ^ choices[3:], choices[:half] ^ choices[half:]]
    assert all(parity.mean() == pytest.approx(0.5, abs=0.01) for parity in parities)
    bits = np.unpackbits(offered.view(np.uint8).reshape(-1, 16), axis=1, bitorder="little")
    assert not bits[:, 0].any()
    assert np.abs(bits[:, 1:].mean(axis=0) - 0.5).max() < 0.01
    assert len(np.unique(offered, axis=0)) == len(offered)


def test_noise_reaches_all_outputs_and_its_places_cannot_be_read_off():
    """Without the code, one bit in a block of leaves would be set; with it about half are."""
    _, _, chosen, _ = expanded(4, InsecureSeededRng(b"noise"))
    choices = (chosen[:, 0] & ONE).reshape(silent_transfers.VECTORS, -1)
    assert all(abs(vector.mean() - 0.5) < 0.05 for vector in choices)
    assert len({vector.tobytes() for vector in choices}) == silent_transfers.VECTORS


@pytest.mark.parametrize("level", [0, 3])
def test_a_wrong_sum_of_one_tree_changes_many_outputs(level):
    """A message is checked for its length alone: semi-honest parties do not do this. The tree is in the second half."""
    batch = Batch(4)
    rng = InsecureSeededRng(b"wrong")
    delta, offered, choices, chosen = few(batch.needed, rng)
    message, _ = silent_transfers.offer(batch, offered, delta, bytes(16), rng)
    changed = message.reshape(-1, 4, 2).copy()
    changed[binary_lpn.BLOCKS - 1, level] ^= np.uint64(4)
    honest, wrong = (
        silent_transfers.choose(batch, choices, chosen, each.reshape(-1), bytes(16)) for each in (message, changed)
    )
    differ = (honest != wrong).any(axis=1).reshape(silent_transfers.VECTORS, -1)
    assert differ[0].mean() > 0.2
    assert not differ[1:].any()


def test_the_message_of_a_seed_and_what_comes_of_it_are_those_of_this_version():
    _, offered, chosen, message = expanded(5, InsecureSeededRng(b"silent"))
    digests = [hashlib.sha256(array.tobytes()).hexdigest()[:16] for array in (message, offered, chosen)]
    assert digests == ["2ed381f74bfd0084", "3164fd5a0b87b42e", "dc200362ade8c751"]


def test_a_batch_says_what_it_takes_and_gives():
    batch = Batch(12)
    assert (batch.needed, batch.outputs) == (4 * binary_lpn.BLOCKS * 12, 2**21)
    assert 8 * batch.message_words / batch.outputs < 0.1
