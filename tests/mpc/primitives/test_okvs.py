"""The store gives every value back, refuses what it cannot solve, and fails no more often than its bound says."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.kernels.okvs import eliminate
from mpc.primitives import okvs


def words(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 2**64, shape, np.uint64)


def decode(rows: okvs.Rows, seed: bytes, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return okvs.decode(rows, slice(None), okvs.band_bits(seed), low, high)[:, :2]


def encode(rows: okvs.Rows, values: np.ndarray, seed: bytes, free: np.ndarray) -> np.ndarray:
    padded = np.concatenate([free, np.full(okvs.BAND_BITS, 2**64 - 1, np.uint64)])
    return okvs.encode(rows, values, seed, padded, np.full((len(free), 4), 2**64 - 1, np.uint64))


def arrange(key_words: np.ndarray, total: int) -> okvs.Rows:
    return okvs.arrange(key_words.copy(), total, np.empty_like(key_words))


@given(keys=st.integers(1, 3000), seed=st.integers(0, 2**32))
def test_every_value_comes_back(keys: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    total = okvs.columns(keys)
    rows = arrange(words(rng, keys, 4), total)
    values, band_seed = words(rng, keys), rng.bytes(16)
    vector = encode(rows, values, band_seed, words(rng, total))
    assert (decode(rows, band_seed, vector, vector)[:, 1] == values).all()


def test_two_vectors_are_decoded_at_once() -> None:
    rng = np.random.default_rng(1)
    keys, seed = 40_000, bytes(range(16))
    total = okvs.columns(keys)
    rows = arrange(words(rng, keys, 4), total)
    values, others = words(rng, 2, keys)
    low = encode(rows, values, seed, words(rng, total))
    high = encode(rows, others, seed, words(rng, total))
    decoded = decode(rows, seed, low, high).T
    assert (decoded == [values, others]).all()


@pytest.mark.parametrize("keys", [3, 500, 20_000])
def test_the_vector_does_not_depend_on_the_parts_that_are_eliminated_at_once(
    keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of a few rows too, of which most reach into the next."""
    rng = np.random.default_rng(keys)
    total = okvs.columns(keys)
    rows, values, free = arrange(words(rng, keys, 4), total), words(rng, keys), words(rng, total)
    vectors = []
    for cores, least in ((1, 1), (2, 1), (7, 1), (1000, 1), (8, 2**15)):
        monkeypatch.setattr(okvs, "usable_cores", lambda cores=cores: cores)
        monkeypatch.setattr(okvs, "_LEAST_PART_ROWS", least)
        vectors.append(encode(rows, values, bytes(16), free))
    assert all((vector == vectors[0]).all() for vector in vectors)
    assert (decode(rows, bytes(16), vectors[0], vectors[0])[:, 0] == values).all()


@pytest.mark.parametrize("cores", [1, 5])
def test_more_rows_than_columns_at_the_end_of_a_part_are_refused(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 400 rows that start within a few columns at most about 256 are independent, in whichever part they are."""
    rng = np.random.default_rng(9)
    key_words = words(rng, 2000, 4)
    key_words[800:1200, 2] = (1 << 63) + rng.integers(0, 2**50, 400, np.uint64)
    monkeypatch.setattr(okvs, "usable_cores", lambda: cores)
    monkeypatch.setattr(okvs, "_LEAST_PART_ROWS", 1)
    total = okvs.columns(2000)
    with pytest.raises(okvs.Unsolvable):
        encode(arrange(key_words, total), words(rng, 2000), bytes(16), words(rng, total))


@pytest.mark.parametrize("total", [okvs.CACHED_COLUMNS, okvs.CACHED_COLUMNS + 1])
def test_rows_decode_alike_in_any_order(total: int) -> None:
    rng = np.random.default_rng(7)
    key_words, vectors = words(rng, 20_000, 4), words(rng, 2, total)
    results = []
    for make_rows in (arrange, okvs.arrange_to_decode):
        rows = make_rows(key_words, total)
        results.append(np.empty((len(key_words), 2), np.uint64))
        results[-1][rows.order] = decode(rows, bytes(16), *vectors)
    assert (results[0] == results[1]).all()


@pytest.mark.parametrize(("keys", "total"), [(0, 400), (1, 400), (30, 400), (30, 100_000), (3000, 100_000)])
def test_spans_are_the_columns_that_bands_are_in(keys: int, total: int) -> None:
    rows = arrange(words(np.random.default_rng(keys), keys, 4), total)
    inside = np.zeros(total, bool)
    for start in rows.starts(slice(None)).tolist():
        inside[start : start + okvs.BAND_BITS] = True
    marked = np.zeros(total, int)
    found = okvs.spans(rows)
    for span in found:
        marked[span] += 1
    assert (marked == inside).all()
    assert all(one.stop < other.start for one, other in itertools.pairwise(found))


def test_another_seed_decodes_nothing() -> None:
    rng = np.random.default_rng(2)
    total = okvs.columns(1000)
    rows = arrange(words(rng, 1000, 4), total)
    values = words(rng, 1000)
    vector = encode(rows, values, bytes(16), words(rng, total))
    decoded = decode(rows, bytes(15) + b"\1", vector, vector).T
    assert not (decoded[0] == values).any()


def test_columns_that_no_key_determines_keep_the_free_choice() -> None:
    free = words(np.random.default_rng(3), okvs.columns(0))
    rows = arrange(np.empty((0, 4), np.uint64), len(free))
    assert (encode(rows, np.empty(0, np.uint64), bytes(16), free) == free).all()


def test_equal_keys_with_different_values_are_refused() -> None:
    rng = np.random.default_rng(4)
    total = okvs.columns(100)
    key_words = words(rng, 100, 4)
    key_words[57] = key_words[11]
    rows = arrange(key_words, total)
    with pytest.raises(okvs.Unsolvable):
        encode(rows, words(rng, 100), bytes(16), words(rng, total))


@pytest.mark.parametrize("start", [0, 2**64 - 1])
def test_bands_stay_inside_the_matrix(start: int) -> None:
    rows = arrange(np.array([[1, 2, start, 0]], np.uint64), okvs.columns(1))
    assert rows.starts(slice(None)).tolist() == [0 if start == 0 else okvs.columns(1) - okvs.BAND_BITS]


def test_starts_are_the_exact_fraction_of_the_columns() -> None:
    key_words = words(np.random.default_rng(5), 1000, 4)
    rows = arrange(key_words, 2**24)
    positions = 2**24 - okvs.BAND_BITS + 1
    assert rows.starts(slice(None)).tolist() == sorted(int(word) * positions >> 64 for word in key_words[:, 2])


def test_failure_is_below_2_to_the_minus_40_up_to_the_largest_size() -> None:
    assert okvs.failure_bits(2**24) > 40
    assert okvs.failure_bits(1000) > okvs.failure_bits(10**6)


def test_narrow_bands_fail_no_more_often_than_the_bound() -> None:
    """At 256 bits failures cannot be seen; at 56 they can, and the bound is not yet vacuous."""
    keys, band_bits, trials = 2**13, 56, 800
    rng = np.random.default_rng(6)
    total = keys + keys // 10 + band_bits + 64
    mask = np.array([(1 << band_bits) - 1, 0, 0, 0], np.uint64)
    failed = 0
    for _ in range(trials):
        starts = np.sort(rng.integers(0, total - band_bits + 1, keys))
        pivots, sides = np.zeros((total, 4), np.uint64), np.zeros(total, np.uint64)
        aside, none = np.empty((okvs.BAND_BITS, 6), np.uint64), np.zeros(1, np.int64)
        bands = words(rng, keys, 4) & mask
        failed += bool(eliminate(bands, starts, sides[:keys], total, pivots, sides, aside, none))
    assert 0 < failed / trials <= 2.0 ** -okvs.failure_bits(keys, band_bits) < 1
