"""Keys in bins: the one party has at most one key in each, the other knows which bins each of its keys might be in."""

from dataclasses import dataclass, field

import numpy as np

from mpc.errors import SealaneError
from mpc.joins.joined import I64, U8
from mpc.primitives.row_hash import hash_rows
from mpc.rng import Rng
from mpc.sharing.ring import U64

FUNCTIONS = 3
SEED_BYTES = 16

_ATTEMPTS = 8
_MOST_MOVES = 2000
_SPARE_BINS = 64
_PERSON_PLACE = b"slnBins1"
_PERSON_KEY = b"slnBinK1"


@dataclass(frozen=True)
class Table:
    """`key_in` gives the own key of each bin, -1 for none; `digests` (bins x 4 words) what to ask for in its place."""

    seed: bytes
    key_in: I64 = field(repr=False)
    digests: U64 = field(repr=False)


def bins_for(keys: int) -> int:
    """Bins for a table of that many keys: enough that a seed under which they do not fit is rare."""
    return keys + -(-keys * 30 // 100) + _SPARE_BINS


def place_keys(keys: U8, rng: Rng) -> Table:
    """Own keys (n x 32 bytes), each in one bin. Bins without a key ask for a random one.

    A seed under which keys do not fit is replaced; raises `SealaneError` if that happens again and again.
    """
    from mpc.kernels.cuckoo import place

    count = bins_for(len(keys))
    for _ in range(_ATTEMPTS):
        seed = rng(SEED_BYTES)
        key_in, function_of = np.full(count, -1, np.int64), np.zeros(count, np.int64)
        walk = np.uint64(int.from_bytes(rng(8), "little"))
        if not place(places(keys, seed, count), walk, _MOST_MOVES, key_in, function_of):
            break
    else:
        raise SealaneError("keys do not fit the bins of a join: report this")
    digests = np.frombuffer(bytearray(rng(32 * count)), np.uint64).reshape(count, 4)
    full = key_in >= 0
    all_digests = asked(keys, seed).reshape(len(keys), FUNCTIONS, 4)
    digests[full] = all_digests[key_in[full], function_of[full]]
    return Table(seed, key_in, digests)


def places(keys: U8, seed: bytes, count: int) -> I64:
    """The bins that each key might be in (n x 3)."""
    words = hash_rows(keys.copy().view(np.uint64).reshape(-1, 4), seed[:8], _PERSON_PLACE)[:, :FUNCTIONS]
    return np.ascontiguousarray(((words >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32)).astype(np.int64)


def asked(keys: U8, seed: bytes) -> U64:
    """What is asked for in place of each key in each of its bins (3n x 4 words)."""
    rows = np.empty((len(keys), FUNCTIONS, 5), np.uint64)
    rows[:, :, :4] = keys.view(np.uint64).reshape(-1, 1, 4)
    rows[:, :, 4] = np.arange(FUNCTIONS)
    return hash_rows(rows.reshape(-1, 5), seed[8:], _PERSON_KEY)
