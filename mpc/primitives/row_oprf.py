"""Oblivious PRF with an instance a row: the receiver gets F_i(x_i) of one key in row i, the sender can compute any.

From b = c + delta·a (see `mpc.primitives.vole`), an entry a row, and the hash h(x_i) in B of the receiver's key of each
row, the receiver sends h(x_i) + a_i. With k_i = b_i + delta·(h(x_i) + a_i) = c_i + delta·h(x_i),

    F_i(y) = H(k_i + delta·h(y), y)        and for the receiver's key        F_i(x_i) = H(c_i, x_i).

Of another key of the same row the receiver's output would need h(y) = h(x_i): unlike `mpc.primitives.oprf`, whose
receiver has so many keys in all, this one has one in each row, whichever it chooses.

Security: semi-honest; that of the VOLE; BLAKE2s as random oracle; 128 bits.
Source:   Kolesnikov, Kumaresan, Rosulek, Trieu, CCS 2016, eprint.iacr.org/2016/799 (a key a row); Rindal, Schoppmann,
          EUROCRYPT 2021, eprint.iacr.org/2021/266 (from VOLE).
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mpc.primitives.okvs import SEED_BYTES
from mpc.primitives.row_hash import hash_rows
from mpc.rng import Rng

_PERSON_KEY = b"slnRowK2"
_PERSON_OUTPUT = b"slnOPRF2"

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Query:
    """The receiver's keys, one a row, under a seed of 16 bytes."""

    seed: bytes
    words: U64 = field(repr=False)

    @property
    def vector(self) -> U64:
        """What the receiver hides and sends: a word a row."""
        return self.words[:, 3]


def query(digests: U64, rng: Rng) -> Query:
    """The receiver's first step, for the key (4 words) of each row."""
    seed = rng(SEED_BYTES)
    return Query(seed, hash_rows(digests, seed[:8], _PERSON_KEY))


def receiver_outputs(asked: Query, shares: U64) -> U64:
    """F of the receiver's keys (rows x 4 words) from its c (2 x rows or more)."""
    return _outputs(shares[:, : len(asked.words)].T, asked.words, asked.seed)


def sender_outputs(digests: U64, rows: I64, seed: bytes, masked: U64, delta: tuple[int, int], shares: U64) -> U64:
    """F (n x 4 words) of the sender's n keys, each in its row, from what the receiver sent, delta and b, which is
    overwritten."""
    from mpc.kernels import gf64

    words = hash_rows(digests, seed[:8], _PERSON_KEY)
    tables = np.stack([gf64.table_of(part) for part in delta])
    for plane, table in zip(shares, tables, strict=True):
        gf64.add_products(plane[: len(masked)], masked, table)
    pairs = np.ascontiguousarray(shares[:, rows].T)
    gf64.add_pairs_of_products(pairs, np.ascontiguousarray(words[:, 3]), tables)
    return _outputs(pairs, words, seed)


def _outputs(pairs: U64, words: U64, seed: bytes) -> U64:
    return hash_rows(np.concatenate([pairs, words[:, :2]], axis=1), seed[8:], _PERSON_OUTPUT)
