"""Keys in buckets by their salted digests: how many buckets, how large they may get, and how they are spooled.

Digests are salted by the job, so that both parties sort alike and a later attempt finds the same buckets. A job's id
is random and its digest known to its parties only: nobody can choose keys that meet in one bucket.

Bucket sizes would tell something of the keys (how many of them begin with these bits), so every bucket is filled up to
`most_in_bucket`, which follows from the number of keys alone. With n keys in b buckets the number in one is binomial;
by the Chernoff-Hoeffding bound P(more than m in any) <= b·exp(-n·D(m/n || 1/b)), D the relative entropy, and m is the
smallest for which that is 2^-40. The surplus is about the root of the bucket's size, so large buckets cost little.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mpc.errors import InputError, SealaneError
from mpc.psi import vole_steps as fast
from mpc.rng import Rng
from mpc.spec import Progress, no_progress
from mpc.spool import U8, Spool

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.keys import Quality

PARTS = 256  # by the first byte of a digest; a bucket is a range of parts
OVERFLOW_BITS = 40
BATCH_ROWS = 2**20
SALT_BYTES = 16
MAX_ROWS = 2**32  # a row's number has four bytes

_DIGEST_BYTES = 32
_RECORD_WORDS = _DIGEST_BYTES // 4 + 1  # a digest, and the number of its row
_SALT = b"sealane/psi.buckets/1\0"
_DONE = "spread"
_BATCHES_AHEAD = 2

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
BOOL = npt.NDArray[np.bool_]


class BucketOverflow(SealaneError):
    """More keys begin alike than happens by chance once in 2^40 jobs."""


def salt(job_digest: str) -> bytes:
    """The salt of all digests of a job, the same in every attempt."""
    return hashlib.sha256(_SALT + bytes.fromhex(job_digest)).digest()[:SALT_BYTES]


def most_in_bucket(keys: int, buckets: int) -> int:
    """The size to which each of `buckets` buckets is filled: more belong in one with probability at most 2^-40."""
    if buckets == 1 or keys == 0:
        return keys
    low, high = -(-keys // buckets), keys
    while low < high:
        middle = (low + high) // 2
        if overflow_log2(keys, buckets, middle + 1) <= -OVERFLOW_BITS:
            high = middle
        else:
            low = middle + 1
    return low


def overflow_log2(keys: int, buckets: int, count: int) -> float:
    """log2 of a bound on the probability that any bucket holds `count` keys or more."""
    if count > keys:
        return -math.inf
    p, q = 1 / buckets, count / keys
    if q <= p:
        return 0.0
    # log1p of differences: the ratios are close to 1, and their logarithms would lose all digits
    entropy = q * math.log1p((q - p) / p) + ((1 - q) * math.log1p((p - q) / (1 - p)) if q < 1 else 0.0)
    return (math.log(buckets) - keys * entropy) / math.log(2)


@dataclass(frozen=True)
class Spread:
    """A party's keys in parts on a spool: `counts` keys a part."""

    spool: Spool = field(repr=False)
    quality: "Quality"
    counts: tuple[int, ...] = field(repr=False)

    def bucket(self, number: int, buckets: int, most: int, rng: Rng) -> U8:
        """The digests of a bucket, filled up to `most` with random ones behind; raises `BucketOverflow`."""
        own = [self.spool.read(f"keys-{part}") for part in parts_of(number, buckets)]
        missing = most * _DIGEST_BYTES - sum(len(each) for each in own)
        if missing < 0:
            raise BucketOverflow(
                f"bucket {number} of {buckets} is too small for its keys",
                hint="propose the job again: under a new id keys are spread anew",
            )
        filler = np.frombuffer(rng(missing), np.uint8)
        return np.concatenate([*own, filler]).reshape(-1, _DIGEST_BYTES)

    def count(self, number: int, buckets: int) -> int:
        """How many of the bucket's keys are not filled up."""
        parts = parts_of(number, buckets)
        return sum(self.counts[parts.start : parts.stop])

    def row_of_each(self, number: int, buckets: int, common: I32) -> I64:
        """The table's row of each key in `common`, given as indices into a bucket, where no two rows have one key."""
        parts = [self.spool.read(f"rows-{part}").view(np.uint32) for part in parts_of(number, buckets)]
        return np.concatenate(parts)[common].astype(np.int64)

    def rows(self, number: int, buckets: int, common: I32) -> Iterator[I64]:
        """The table's rows whose keys are `common`, given as indices into a bucket."""
        chosen = np.zeros(self.count(number, buckets), np.bool_)
        chosen[common] = True
        start = 0
        for part in parts_of(number, buckets):
            wanted = chosen[start : start + self.counts[part]]
            start += self.counts[part]
            key_of_row = self.spool.read(f"key-of-row-{part}").view(np.uint32)
            yield self.spool.read(f"rows-{part}").view(np.uint32)[wanted[key_of_row]].astype(np.int64)


def parts_of(number: int, buckets: int) -> range:
    """The parts that make up a bucket; `buckets` is a power of two up to `PARTS`."""
    each = PARTS // buckets
    return range(number * each, (number + 1) * each)


def spread(
    table: "pa.Table",
    profiles: Sequence[str],
    job_salt: bytes,
    spool: Spool,
    pool: Executor,
    progress: Progress = no_progress,
) -> Spread:
    """Hash the key columns of `table` into parts on `spool`, or find them there from an earlier attempt.

    Works in batches of rows on `pool`, so that little more than one batch a worker is in memory. Raises as
    `encode_keys`.
    """
    from mpc.keys import Quality

    kept = spool.read(_DONE).view(np.int64)
    if len(kept) == 5 + PARTS:
        return Spread(spool, Quality(*map(int, kept[:5])), tuple(map(int, kept[5:])))
    if table.num_rows > MAX_ROWS:
        raise InputError(f"{table.num_rows} rows are too many (at most {MAX_ROWS})", hint="split the dataset")
    for part in range(PARTS):
        for name in ("scattered", "keys", "rows", "key-of-row"):
            spool.remove(f"{name}-{part}")
    nulls = _scatter(table, profiles, job_salt, spool, pool, progress)
    found = []
    for counts_of_part in pool.map(_gather, [spool] * PARTS, range(PARTS)):
        found.append(counts_of_part)
        progress("sort keys in parts", len(found), PARTS)
    distinct, rows = sum(keys for keys, _ in found), sum(rows for _, rows in found)
    quality = Quality(table.num_rows, nulls, 0, rows - distinct, distinct)
    counts = tuple(keys for keys, _ in found)
    spool.flush()
    spool.replace(_DONE, np.array([*astuple(quality), *counts], np.int64).view(np.uint8))
    return Spread(spool, quality, counts)


def _scatter(
    table: "pa.Table", profiles: Sequence[str], job_salt: bytes, spool: Spool, pool: Executor, progress: Progress
) -> int:
    """Append each row's record, its digest and number, to its part; gives how many rows have no key."""
    work: list[Future[tuple[U32, I64]]] = []
    nulls = 0
    starts = range(0, table.num_rows, BATCH_ROWS)
    for index in range(len(starts) + _BATCHES_AHEAD):
        if index < len(starts):
            batch = table.slice(starts[index], BATCH_ROWS)
            work.append(pool.submit(_encode, batch, tuple(profiles), job_salt, starts[index]))
        if index >= _BATCHES_AHEAD:
            records, ends = work.pop(0).result()
            nulls += min(BATCH_ROWS, table.num_rows - starts[index - _BATCHES_AHEAD]) - len(records)
            for part in range(PARTS):
                piece = records[ends[part] : ends[part + 1]]
                if len(piece):
                    spool.append(f"scattered-{part}", piece.reshape(-1).view(np.uint8))
            progress("hash keys into parts", index - _BATCHES_AHEAD + 1, len(starts))
    return nulls


def _encode(table: "pa.Table", profiles: Sequence[str], job_salt: bytes, first_row: int) -> tuple[U32, I64]:
    """The records of a batch's rows that have a key, in order of their parts, and where each part begins."""
    from mpc.keys import encode_keys

    keys = encode_keys(table, profiles, job_salt, fast.digests, first_row=first_row)
    with_key = np.flatnonzero(keys.key_of_row >= 0)
    chosen = keys.key_of_row[with_key]
    parts = keys.digests[chosen, 0]
    order = np.argsort(parts, kind="stable")
    records = np.empty((len(order), _RECORD_WORDS), np.uint32)
    records[:, :-1] = keys.digests.view(np.uint32).reshape(-1, _RECORD_WORDS - 1)[chosen[order]]
    records[:, -1] = with_key[order] + first_row
    return records, np.searchsorted(parts[order], np.arange(PARTS + 1))


def _gather(spool: Spool, part: int) -> tuple[int, int]:
    """Put a part's distinct digests in order, and for each row its key; gives how many keys and rows there are."""
    records = spool.read(f"scattered-{part}").view(np.uint32).reshape(-1, _RECORD_WORDS)
    digests = np.ascontiguousarray(records[:, :-1]).view(np.uint64).reshape(-1, 4)
    order = np.argsort(digests[:, 0])
    if (np.diff(digests[order, 0]) == 0).any():
        order = np.lexsort(digests.T)
    digests = digests[order]
    first = np.ones(len(digests), np.bool_)
    first[1:] = (digests[1:] != digests[:-1]).any(axis=1)
    distinct = digests if first.all() else digests[first]
    spool.append(f"keys-{part}", distinct.reshape(-1).view(np.uint8))
    spool.append(f"rows-{part}", records[order, -1].view(np.uint8))
    spool.append(f"key-of-row-{part}", (np.cumsum(first) - 1).astype(np.uint32).view(np.uint8))
    spool.remove(f"scattered-{part}")
    return len(distinct), len(order)
