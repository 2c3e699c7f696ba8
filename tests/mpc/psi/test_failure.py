"""What can go wrong by chance is bounded for every allowed size, and no simulation sees it more often."""

import math

import numpy as np
import pytest

from mpc.errors import ProtocolError
from mpc.primitives import okvs, oprf
from mpc.psi import buckets, failure, multi_steps, tags
from mpc.psi.canaries import CANARIES
from mpc.psi.params import MAX_KEYS
from mpc.psi.steps import Link, tag_bytes
from mpc.psi.vole_buckets import MAX_TOTAL_KEYS

MOST = oprf.MAX_KEYS - CANARIES
SIZES = [(x, y) for x in (0, 1, 1000, 2**20, MOST) for y in (0, 1, 1000, 2**20, MOST)]


@pytest.mark.parametrize(("x", "y"), SIZES)
def test_psi_vole_makes_a_false_match_with_probability_at_most_2_to_the_minus_39(x: int, y: int) -> None:
    bounds = failure.vole(x, y)
    assert failure.total(bounds, "false match") <= -39
    assert failure.total(bounds, "retry") <= -40
    assert failure.total(bounds, "error") <= -160


@pytest.mark.parametrize(("x", "y"), [*SIZES, (MAX_KEYS, MAX_KEYS)])
def test_psi_ecdh_makes_a_false_match_with_probability_at_most_2_to_the_minus_40(x: int, y: int) -> None:
    assert failure.total(failure.ecdh(x, y), "false match") <= -40
    assert failure.total(failure.ecdh(x, y), "error") <= -70


@pytest.mark.parametrize(("keys", "count"), [(10**6, 1), (10**7, 8), (10**8, 32), (MAX_TOTAL_KEYS, 256)])
def test_buckets_cost_no_more_than_their_keys_hits_of_64_bits(keys: int, count: int) -> None:
    bounds = failure.vole_buckets(keys, keys, count)
    assert failure.total(bounds, "false match") <= max(-39.0, math.log2(keys) - 64 + 1.0)
    assert failure.total(bounds, "false match") <= -36
    assert failure.total(bounds, "error") <= -39
    assert failure.total(bounds, "retry") <= -40


@pytest.mark.parametrize("parties", [3, 10])
def test_psi_multi_keeps_the_bounds_of_its_page(parties: int) -> None:
    others = [multi_steps.MOST_KEYS] * (parties - 1)
    bounds = failure.multi(multi_steps.MOST_KEYS, others, parties - 1)
    assert failure.total(bounds, "false match") <= -40
    assert failure.total(bounds, "error") <= -40 + math.log2(parties - 1) + 0.01
    assert failure.total(bounds, "retry") <= -40


def test_the_bound_of_the_okvs_has_the_slope_that_its_authors_measured_and_is_stricter() -> None:
    """Bienstock et al., section 4, for eleven columns for ten keys: 0.2691 bits a band bit, less 15.21."""
    slope = okvs.failure_bits(2**20, 257) - okvs.failure_bits(2**20, 256)
    assert slope == pytest.approx(0.2691, abs=0.002)
    for keys in (2**18, 2**20, 2**22, 2**24):
        assert okvs.failure_bits(keys) < 0.2691 * okvs.BAND_BITS - 15.21


def few_bits(rng: np.random.Generator, count: int, bits: int) -> np.ndarray:
    """Outputs of the PRF that differ in their first bits only."""
    words = np.zeros((count, 4), np.uint64)
    words[:, 0] = rng.integers(0, 2**bits, count, np.uint64) << np.uint64(64 - bits)
    return words


def test_tags_agree_no_more_often_than_the_bound() -> None:
    x, y, bits, trials = 100, 90, 18, 1500
    rng = np.random.default_rng(1)
    agreed = 0
    for _ in range(trials):
        ours, theirs = (
            tags.cut_tags(few_bits(rng, count, bits), np.arange(count, dtype=np.int32), bits) for count in (x, y)
        )
        try:
            hits, _ = tags.match(Link(None, "b", x, y), ours, theirs.high, theirs.low)
        except ProtocolError:  # two of one set agree, and with them one of the other
            agreed += 1
            continue
        agreed += hits.any()
    expected = 2.0 ** failure.any_pair(x, y, bits)
    assert 0.5 * expected < agreed / trials < expected + 4 * math.sqrt(expected / trials)


def test_buckets_overflow_no_more_often_than_the_bound() -> None:
    keys, count, most, trials = 4000, 8, 570, 3000
    bound = 2.0 ** buckets.overflow_log2(keys, count, most + 1)
    rng = np.random.default_rng(4)
    overflown = sum(np.bincount(rng.integers(0, count, keys)).max() > most for _ in range(trials))
    assert 0 < overflown / trials <= bound < 0.1


def test_widths_follow_from_the_bounds() -> None:
    assert failure.any_pair(10**6, 10**6, 8 * (tag_bytes(10**6, 10**6) - 1)) > -40
    assert failure.any_pair(10**6, 10**6, 63 + tags.prefix_bits(10**6, 10**6)) > -40
