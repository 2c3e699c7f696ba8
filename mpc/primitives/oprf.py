"""Batched oblivious PRF from subfield VOLE and an OKVS: the receiver gets F(x) for its keys, the sender can compute F.

From b = c + delta·a (see `mpc.primitives.vole`) and a vector p that stores a hash h(x) in B under each of the
receiver's keys, the receiver sends p + a, which hides p. With k = b + delta·(p + a) = c + delta·p,

    F(y) = H(Dec(k, y) + delta·h(y), y)        and for the receiver's keys        F(x) = H(Dec(c, x), x).

For another key y the receiver's output would need Dec(p, y) = h(y), which happens with probability 2^-64 a key of
the sender: at most 2^-40 for the `MAX_KEYS` allowed here.

Security: semi-honest; that of the VOLE and the OKVS; BLAKE2s as random oracle; 128 bits.
Source:   Rindal, Schoppmann, EUROCRYPT 2021, eprint.iacr.org/2021/266; Raghuraman, Rindal, CCS 2022,
          eprint.iacr.org/2022/320 (subfields).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mpc.primitives import okvs
from mpc.primitives.prg import SEED_BYTES, Prg
from mpc.primitives.row_hash import hash_rows
from mpc.rng import Rng

MAX_KEYS = 2**24
MAX_ATTEMPTS = 4

_PERSON_KEY = b"slnRowK1"
_PERSON_OUTPUT = b"slnOPRF1"

U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Keys:
    """A party's keys under a seed.

    Outputs come in the order of the OKVS's rows; `rows.order` gives the place of each key in the list of digests.
    """

    rows: okvs.Rows = field(repr=False)
    seed: bytes = field(repr=False)

    @property
    def hashes(self) -> U64:
        """The hash h of each key, in the order of the rows."""
        hashes: U64 = self.rows.words[self.rows.order, 3]
        return hashes


@dataclass(frozen=True)
class Query:
    """A party's keys, the vector that stores a word under each, and how many seeds were drawn in vain."""

    keys: Keys = field(repr=False)
    vector: U64 = field(repr=False)
    retries: int


def arrange(digests: U64, total_columns: int, seed: bytes, *, overwrite: bool = False) -> Keys:
    """The keys with these digests (n x 4 words, distinct) in a matrix of `total_columns`, under a seed of 16 bytes.

    With `overwrite`, the memory of the digests is used for other things from then on.
    """
    words = hash_rows(digests, seed[:8], _PERSON_KEY, digests if overwrite else None)
    return Keys(okvs.arrange(words, total_columns), seed)


def query(digests: U64, rng: Rng) -> Query:
    """The receiver's first step; raises as `encode`."""
    return encode(digests, lambda keys: keys.hashes, rng)


def encode(digests: U64, values: Callable[[Keys], U64], rng: Rng) -> Query:
    """A vector that stores `values` of the arranged keys, in the order of their rows.

    A seed under which the keys cannot be encoded is replaced, `MAX_ATTEMPTS` in all. Raises `okvs.Unsolvable` after
    those: each fails with probability 2^-`okvs.failure_bits`, so digests repeat.
    """
    total = okvs.columns(len(digests))
    for attempt in range(MAX_ATTEMPTS):
        keys = arrange(digests, total, rng(okvs.SEED_BYTES))
        free = np.empty(total, np.uint64)
        Prg(rng(SEED_BYTES)).fill(free)
        try:
            return Query(keys, okvs.encode(keys.rows, values(keys), keys.seed, free), attempt)
        except okvs.Unsolvable:
            continue
    raise okvs.Unsolvable(f"no encoding of {len(digests)} keys in {MAX_ATTEMPTS} attempts")


def receiver_outputs(query: Query, shares: U64) -> U64:
    """F of the receiver's keys (n x 4 words) from its c (2 x columns)."""
    keys = query.keys
    messages = np.empty((len(keys.rows.order), 4), np.uint64)
    okvs.decode(keys.rows, keys.seed, shares[0], shares[1], messages)
    return hash_rows(messages, keys.seed[8:], _PERSON_OUTPUT, messages)


def sender_outputs(keys: Keys, masked: U64, delta: tuple[int, int], shares: U64) -> U64:
    """F of the sender's keys (n x 4 words) from p + a, delta and its b (2 x columns), which is overwritten."""
    from mpc.kernels import gf64

    tables = np.stack([gf64.table_of(part) for part in delta])
    for plane, table in zip(shares, tables, strict=True):
        gf64.add_products(plane[: len(masked)], masked, table)
    messages = np.empty((len(keys.rows.order), 4), np.uint64)
    okvs.decode(keys.rows, keys.seed, shares[0], shares[1], messages)
    gf64.add_pairs_of_products(messages, keys.hashes, tables)
    return hash_rows(messages, keys.seed[8:], _PERSON_OUTPUT, messages)
