"""Transfers made by either way, and by one after the other, are what they should be, both ways at once."""

import numpy as np
import pytest

from mpc.channel import encode
from mpc.errors import ProtocolError
from mpc.local import run_parties
from mpc.rng import system_rng
from mpc.sharing import transfers
from mpc.sharing.prices import Ledger, TransferPrices
from mpc.sharing.random_transfers import RandomTransfers
from mpc.sharing.ring import unpack
from mpc.sharing.transfer_stock import LEAST_WORDS, Schedule, softspoken_words, words_added
from mpc.sharing.wire import Wire
from tests.mpc.sharing.programs import run
from tests.mpc.sharing.test_engine_faults import Meddling


def play(chooser, offerer, **how):
    """What two parties get from their side's function of their transfers, and their costs."""
    session = system_rng(16)

    def part(name, peer, work):
        def run(peers):
            wire = Wire(name, peers, session, b"transfers", "no_helper", system_rng)
            return work(RandomTransfers(wire, peer, system_rng, session)), wire.costs

        return run

    return run_parties({"a": part("a", "b", chooser), "b": part("b", "a", offerer)}, **how)


def bits_of(choices, count):
    return unpack(np.ascontiguousarray(choices), (count,)).astype(np.bool_)


@pytest.mark.parametrize("counts", [[1, 64, 65], [200_000], [100, 70_000, 3, 150_000, 64, 90_000]])
def test_the_pad_chosen_is_the_one_of_the_choice_whichever_way_made_it(counts):
    ends = play(lambda end: [end.choose(count) for count in counts], lambda end: [end.offer(count) for count in counts])
    for count, (choices, pads), (low, high) in zip(counts, ends["a"][0], ends["b"][0], strict=True):
        chosen = bits_of(choices, count)
        assert np.array_equal(pads, np.where(chosen[:, None], high, low))
        assert abs(chosen.mean() - 0.5) <= 4 / np.sqrt(count)  # eight standard deviations
    everything = np.concatenate([pads for pair in ends["b"][0] for pads in pair])
    assert len(np.unique(everything, axis=0)) == len(everything)


@pytest.mark.parametrize("count", [100, 150_000])
def test_transfers_run_both_ways_at_once(count):
    ends = play(lambda end: end.both(count), lambda end: end.both(count))
    for one, other in (("a", "b"), ("b", "a")):
        choices, pads, _ = ends[one][0]
        _, _, (low, high) = ends[other][0]
        assert np.array_equal(pads, np.where(bits_of(choices, count)[:, None], high, low))


@pytest.mark.parametrize("words", [1, 5000])
def test_of_four_offers_the_chooser_knows_one(words):
    ends = play(lambda end: end.choose_of_four(words), lambda end: end.offer_of_four(words))
    (choices, chosen), offered = ends["a"][0], ends["b"][0]
    index = 2 * bits_of(choices[0], 64 * words).astype(int) + bits_of(choices[1], 64 * words)
    for output in range(2):
        bits = np.stack([bits_of(offered[choice, output], 64 * words) for choice in range(4)])
        assert np.array_equal(np.take_along_axis(bits, index[None], 0)[0], bits_of(chosen[output], 64 * words))
        total = bits[0] ^ bits[1] ^ bits[2] ^ bits[3]  # constant if the four were sums of only four bits
        assert abs(total.mean() - 0.5) < 4 / np.sqrt(64 * words)


def test_planes_of_both_ways_are_those_of_the_pads():
    words, stack = 5000, 2
    ends = play(lambda end: end.both_bits(words, stack), lambda end: end.both_bits(words, stack))
    for one, other in (("a", "b"), ("b", "a")):
        choices, chosen, _, _ = ends[one][0]
        _, _, low, high = ends[other][0]
        assert np.array_equal(chosen, low ^ (choices & (low ^ high)))


def test_few_transfers_are_made_by_softspoken_and_many_silently():
    few, many = Schedule().take(10), Schedule().take(10**6 // 64)
    assert [extension.batch for extension in few] == [None]
    assert all(extension.batch is not None for extension in many)
    sent = sum(8 * (softspoken_words(extension.words) + extension.batch.message_words) for extension in many)
    assert sent < 0.3 * 10**6


def test_what_is_made_costs_at_most_what_softspoken_would_and_little_is_left_over():
    for words in (1, LEAST_WORDS, 1000, 5000, 10**5):
        schedule = Schedule()
        made = schedule.take(words)
        sent = sum(softspoken_words(each.words) + (each.batch.message_words if each.batch else 0) for each in made)
        assert words <= sum(words_added(each) for each in made)
        assert sent <= softspoken_words(max(words, LEAST_WORDS))
        assert schedule.take(0) == []


def test_asking_by_slices_makes_what_asking_at_once_does():
    at_once, sliced = Schedule(), Schedule()
    parts = [4096] * 30 + [17]
    found = []
    for i, part in enumerate(parts):
        found += sliced.take(part, sum(parts[i + 1 :]))
    assert found == list(at_once.take(sum(parts)))


def test_the_price_of_many_transfers_is_what_they_send():
    counts = [64, 6_400_000 // 64, 64 * 3000]
    ends = play(lambda end: [end.choose(count) for count in counts], lambda end: [end.offer(count) for count in counts])
    for name, chooses in (("a", True), ("b", False)):
        ledger = Ledger(name, ["a", "b"])
        prices = TransferPrices(ledger)
        for count in counts:
            prices._transfers(chooses, -(-count // 64))
        planned, spent = ledger.costs.total, ends[name][1].total
        assert (planned.sent_bytes, planned.received_bytes) == (spent.sent_bytes, spent.received_bytes)


def test_a_silent_message_of_another_length_ends_in_an_error_that_names_the_peer():
    def shorter_if_silent(part, _earlier):
        part.data = part.data[: -16 if len(part.data) > 50_000 else None]
        return [encode(part)]

    def wrap(name, _peer, pipe):
        return Meddling(pipe, shorter_if_silent, "base_transfers") if name == "b" else pipe

    with pytest.raises(ProtocolError, match=r"^b: sent \d+ bytes where \d+ are due, in step 1 'base_transfers'"):
        play(lambda end: end.choose(200_000), lambda end: end.offer(200_000), wrap=wrap)


def test_products_of_words_of_every_size_are_right_modulo_2_to_the_64():
    words = np.array([0, 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, 12345678901234567], np.uint64)
    left, right = np.repeat(words, len(words)), np.tile(words, len(words))

    def program(engine):
        a = engine.share_words("hk", left if engine.name == "hk" else None, shape=left.shape)
        b = engine.share_words("cn", right if engine.name == "cn" else None, shape=right.shape)
        product = engine.sharing.multiply(a.parts, b.parts, left.shape)
        return engine.sharing.open(product, left.shape, ("cn", "hk"))

    for found in run("no_helper", program).values():
        assert np.array_equal(found, left * right)


def test_packing_keeps_the_bits_that_count():
    differences = np.frombuffer(system_rng(8 * 64 * 5), np.uint64).reshape(5, 64)
    packed = transfers._packed(differences)
    places = np.arange(64, dtype=np.uint64)
    assert packed.shape == (5, transfers.PACKED_WORDS)
    assert np.array_equal(transfers._unpacked(packed) << places, differences << places)
