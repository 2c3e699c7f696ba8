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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mpc.primitives import okvs
from mpc.primitives.prg import SEED_BYTES, Prg
from mpc.primitives.row_hash import hash_piece, hash_rows
from mpc.primitives.threads import spread
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
        return self.rows.words[:, 3]


@dataclass(frozen=True)
class Query:
    """A party's keys, the vector that stores a word under each, and how many seeds were drawn in vain."""

    keys: Keys = field(repr=False)
    vector: U64 = field(repr=False)
    retries: int


def arrange(digests: U64, total_columns: int, seed: bytes, *, overwrite: bool = False) -> Keys:
    """Keys to evaluate F of (n x 4 words, all distinct), under a seed of 16 bytes, in a matrix of `total_columns`.

    With `overwrite`, the memory of the digests is used for other things from then on.
    """
    words = hash_rows(digests, seed[:8], _PERSON_KEY, digests if overwrite else None)
    return Keys(okvs.arrange_to_decode(words, total_columns), seed)


def arrange_to_encode(digests: U64, total_columns: int, seed: bytes) -> Keys:
    """As `arrange`, in an order in which a word can be stored under each of these keys, too (see `store`)."""
    words = hash_rows(digests, seed[:8], _PERSON_KEY)
    return Keys(okvs.arrange(words, total_columns, np.empty_like(words)), seed)


def in_columns(keys: Keys, total_columns: int) -> Keys:
    """The same keys under the same seed in a matrix of another size: their order does not depend on it."""
    return replace(keys, rows=replace(keys.rows, positions=okvs.positions(total_columns)))


def store(keys: Keys, values: U64, rng: Rng) -> U64:
    """A vector that stores a word under each key, in the order of their rows, as `encode` makes it.

    Its length is `okvs.columns` of their number. Raises `okvs.Unsolvable`.
    """
    total = okvs.columns(len(values))
    room, free = np.empty((total, 4), np.uint64), np.empty(total + okvs.BAND_BITS, np.uint64)
    Prg(rng(SEED_BYTES)).fill(free[:total])
    return okvs.encode(in_columns(keys, total).rows, values, keys.seed, free, room)


def query(digests: U64, rng: Rng) -> Query:
    """The receiver's first step; `digests` as in `arrange`, raises as `encode`."""
    return encode(digests, lambda keys: keys.hashes, rng)


def encode(digests: U64, values: Callable[[Keys], U64], rng: Rng) -> Query:
    """A vector that stores `values` of the arranged keys, in the order of their rows; `digests` as in `arrange`.

    A seed under which the keys cannot be encoded is replaced, `MAX_ATTEMPTS` in all. Raises `okvs.Unsolvable` after
    those: each fails with probability 2^-`okvs.failure_bits`, so digests repeat.
    """
    count = len(digests)
    total = okvs.columns(count)
    room, free = np.empty((total, 4), np.uint64), np.empty(total + okvs.BAND_BITS, np.uint64)
    words = np.empty((count, 4), np.uint64)
    for attempt in range(MAX_ATTEMPTS):
        seed = rng(okvs.SEED_BYTES)
        words = hash_rows(digests, seed[:8], _PERSON_KEY, words)
        keys = Keys(okvs.arrange(words, total, room[:count]), seed)
        Prg(rng(SEED_BYTES)).fill(free[:total])
        try:
            return Query(keys, okvs.encode(keys.rows, values(keys), keys.seed, free, room), attempt)
        except okvs.Unsolvable:
            continue
    raise okvs.Unsolvable(f"no encoding of {count} keys in {MAX_ATTEMPTS} attempts")


def receiver_outputs(keys: Keys, shares: U64, *, overwrite: bool = False) -> U64:
    """F of the receiver's keys (n x 4 words) from its c (2 x columns).

    With `overwrite`, the outputs take the place of the keys, which are of no use from then on.
    """
    return _outputs(keys, shares, _as_decoded, overwrite)


def each_receiver_output(keys: Keys, shares: U64, use: Callable[[slice, U64], None]) -> None:
    """Call `use` with slices of the receiver's keys and F of those, as `receiver_outputs` gives it, on all cores."""
    _evaluate(keys, shares, _as_decoded, None, use)


def sender_outputs(
    keys: Keys,
    masked: U64,
    delta: tuple[int, int],
    shares: U64,
    *,
    overwrite: bool = False,
    spans: Sequence[slice] | None = None,
) -> U64:
    """F of the sender's keys (n x 4 words) from p + a, delta and its b (2 x columns), which is overwritten.

    `overwrite` is as in `receiver_outputs`. With `spans`, `okvs.spans` of the keys, b is read there alone.
    """
    from mpc.kernels import gf64

    tables = np.stack([gf64.table_of(part) for part in delta])
    for plane, table in zip(shares, tables, strict=True):
        for each in [slice(0, len(masked))] if spans is None else spans:
            gf64.add_products(plane[each], masked[each], table)

    def add_hashes(piece: slice, messages: U64) -> None:
        gf64.add_pairs_of_products(messages, np.ascontiguousarray(keys.hashes[piece]), tables)

    return _outputs(keys, shares, add_hashes, overwrite)


def _outputs(keys: Keys, shares: U64, complete: Callable[[slice, U64], None], overwrite: bool) -> U64:
    outputs = keys.rows.words if overwrite else np.empty_like(keys.rows.words)
    _evaluate(keys, shares, complete, outputs, lambda _piece, _outputs: None)
    return outputs


def _evaluate(
    keys: Keys,
    shares: U64,
    complete: Callable[[slice, U64], None],
    outputs: U64 | None,
    use: Callable[[slice, U64], None],
) -> None:
    """Decode, complete, hash and use piece by piece, while a piece is in the cache; into `outputs`, if there are."""
    from mpc.kernels.blake2s import initial_state

    rows, bands, state = keys.rows, okvs.band_bits(keys.seed), initial_state(keys.seed[8:], _PERSON_OUTPUT)

    def work(piece: slice) -> None:
        messages = okvs.decode(rows, piece, bands, shares[0], shares[1])
        complete(piece, messages)
        results = messages if outputs is None else outputs[piece]
        hash_piece(messages, state, results)
        use(piece, results)

    spread(work, len(rows.order), okvs.PIECE_ROWS)


def _as_decoded(_piece: slice, _messages: U64) -> None:
    """What the receiver decodes is complete."""
