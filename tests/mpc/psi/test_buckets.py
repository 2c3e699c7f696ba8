"""Bucket sizes that chance does not exceed, and keys that are spread over parts without loss."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from fractions import Fraction
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import InputError
from mpc.keys import encode_keys
from mpc.psi import buckets, vole_steps
from mpc.spool import MemorySpool
from mpc.testing import InsecureSeededRng

SALT = bytes(range(16))
values = st.none() | st.sampled_from(["", "a", "b", "c"]) | st.text(max_size=3).filter(lambda text: "\0" not in text)


def spread(table: pa.Table, spool: MemorySpool) -> buckets.Spread:
    with ThreadPoolExecutor(2) as pool:
        return buckets.spread(table, ("exact/1",), SALT, spool, pool)


def numbered(count: int) -> pa.Table:
    return pa.table({"id": [f"id{i}" for i in range(count)]})


@pytest.mark.parametrize(("keys", "count"), [(200, 2), (300, 16), (60, 64), (40, 256), (1, 4)])
def test_a_bucket_overflows_with_probability_at_most_2_to_the_minus_40(keys: int, count: int) -> None:
    most = buckets.most_in_bucket(keys, count)
    p = Fraction(1, count)
    tail = sum(math.comb(keys, k) * p**k * (1 - p) ** (keys - k) for k in range(most + 1, keys + 1))
    assert count * tail <= Fraction(1, 2**40)


def test_buckets_are_no_larger_than_the_bound_asks() -> None:
    for keys, count in ((10**6, 4), (10**8, 32), (2**27, 256), (1000, 32)):
        most = buckets.most_in_bucket(keys, count)
        mean, deviation = keys / count, math.sqrt(keys / count)
        assert mean < most < mean + 9 * deviation + 30
    assert buckets.most_in_bucket(0, 16) == 0
    assert buckets.most_in_bucket(1000, 1) == 1000


@pytest.mark.parametrize("batch", [3, 1000])
@given(column=st.lists(values, max_size=20))
@settings(max_examples=30, deadline=None)
def test_every_row_is_found_again_by_its_key(batch: int, column: list[str | None]) -> None:
    table = pa.table({"id": pa.array(column, pa.string())})
    whole = encode_keys(table, ("exact/1",), SALT, vole_steps.digests)
    with patch.object(buckets, "BATCH_ROWS", batch):
        found = spread(table, MemorySpool())
    assert astuple(found.quality) == astuple(whole.quality)
    rows_of: dict[bytes, list[int]] = {}
    rng = InsecureSeededRng(b"fill")
    for number in range(4):
        keys = found.bucket(number, 4, 20, rng)
        assert keys.shape == (20, 32)
        for index in range(found.count(number, 4)):
            assert keys[index, 0] // 64 == number
            rows = np.concatenate(list(found.rows(number, 4, np.array([index]))))
            rows_of[keys[index].tobytes()] = sorted(rows.tolist())
    expected = {
        digest.tobytes(): np.flatnonzero(whole.key_of_row == index).tolist()
        for index, digest in enumerate(whole.digests)
    }
    assert rows_of == expected


def test_a_spread_that_is_complete_is_found_again_and_a_partial_one_is_done_anew() -> None:
    spool = MemorySpool()
    first = spread(numbered(500), spool)
    with patch.object(buckets, "_encode", side_effect=AssertionError("again")):
        assert spread(numbered(500), spool).counts == first.counts
    partial = MemorySpool()
    with patch.object(buckets, "_gather", side_effect=OSError), pytest.raises(OSError):
        spread(numbered(500), partial)
    assert spread(numbered(500), partial).counts == first.counts


def test_parts_are_flushed_before_the_spread_counts_as_complete() -> None:
    spool, order = MemorySpool(), []
    with (
        patch.object(spool, "flush", lambda: order.append("flush")),
        patch.object(spool, "replace", lambda name, _data: order.append(name)),
    ):
        spread(numbered(5), spool)
    assert order == ["flush", buckets._DONE]


def test_a_row_whose_number_does_not_fit_is_refused() -> None:
    with patch.object(buckets, "MAX_ROWS", 4), pytest.raises(InputError, match="5 rows are too many"):
        spread(numbered(5), MemorySpool())


def test_a_bucket_is_filled_with_random_keys_and_overflows_loudly() -> None:
    found = spread(numbered(300), MemorySpool())
    own = found.count(1, 2)
    one, two = (found.bucket(1, 2, own + 5, InsecureSeededRng(seed)) for seed in (b"1", b"2"))
    assert (one[:own] == two[:own]).all()
    assert (one[own:] != two[own:]).any(axis=1).all()
    with pytest.raises(buckets.BucketOverflow, match="bucket 1 of 2"):
        found.bucket(1, 2, own - 1, InsecureSeededRng(b""))


def test_an_unusable_value_is_named_by_its_row_in_the_whole_table() -> None:
    table = pa.table({"id": [*map(str, range(10)), "x"]})
    with (
        patch.object(buckets, "BATCH_ROWS", 4),
        ThreadPoolExecutor(2) as pool,
        pytest.raises(InputError, match="row 11:"),
    ):
        buckets.spread(table, ("integer/1",), SALT, MemorySpool(), pool)


def test_the_salt_is_the_jobs() -> None:
    assert buckets.salt("00" * 32) == buckets.salt("00" * 32) != buckets.salt("01" * 32)
    assert len(buckets.salt("00" * 32)) == 16
