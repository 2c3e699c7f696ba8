"""Both parties' steps on a correlation drawn in the clear."""

import numpy as np
import pytest

from mpc.kernels import gf64
from mpc.primitives import okvs, oprf
from mpc.testing import InsecureSeededRng


def words(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 2**64, shape, np.uint64)


def test_the_sender_computes_what_the_receiver_got_and_nothing_else_agrees() -> None:
    rng = np.random.default_rng(1)
    digests = words(rng, 5000, 4)
    ours, theirs = digests[:4000], digests[1000:][::-1].copy()
    query = oprf.query(ours, InsecureSeededRng(b"oprf"))
    total = okvs.columns(len(ours))
    a, c = words(rng, total), words(rng, 2, total)
    delta = (int(words(rng)), int(words(rng)))
    b = c.copy()
    for plane, part in zip(b, delta, strict=True):
        gf64.add_products(plane, a, gf64.table_of(part))
    keys = oprf.arrange(theirs, total, query.keys.seed)
    received, sent = np.empty((2, 4000, 4), np.uint64)
    received[query.keys.rows.order] = oprf.receiver_outputs(query.keys, c)
    sent[keys.rows.order] = oprf.sender_outputs(keys, query.vector ^ a, delta, b)
    in_place = oprf.arrange(theirs, total, query.keys.seed, overwrite=True)
    assert (in_place.rows.words == keys.rows.words).all()
    again = oprf.receiver_outputs(query.keys, c, overwrite=True)
    assert (again == received[query.keys.rows.order]).all()
    assert query.retries == 0
    assert (received[1000:] == sent[::-1][:3000]).all()
    assert len(np.unique(np.concatenate([received[:1000], sent]), axis=0)) == 5000


def test_keys_that_cannot_be_encoded_fail_after_a_few_seeds() -> None:
    """Two equal digests are the same row twice: with equal values too, the matrix has not full rank."""
    digests = words(np.random.default_rng(2), 10, 4)
    digests[3] = digests[7]
    with pytest.raises(okvs.Unsolvable, match="4 attempts"):
        oprf.query(digests, InsecureSeededRng(b"oprf"))


def test_a_seed_that_fails_is_replaced_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[bytes] = []
    encode = okvs.encode

    def fail_twice(rows: okvs.Rows, values: np.ndarray, seed: bytes, free: np.ndarray, room: np.ndarray) -> np.ndarray:
        seeds.append(seed)
        if len(seeds) <= 2:
            raise okvs.Unsolvable("as if")
        return encode(rows, values, seed, free, room)

    monkeypatch.setattr(okvs, "encode", fail_twice)
    query = oprf.query(words(np.random.default_rng(3), 10, 4), InsecureSeededRng(b"oprf"))
    assert query.retries == 2
    assert len(set(seeds)) == 3
    assert query.keys.seed == seeds[2]


def test_keys_arranged_for_one_vector_can_have_words_stored_in_another_of_their_own_size() -> None:
    rng = np.random.default_rng(4)
    digests, values, seed = words(rng, 3000, 4), words(rng, 3000), bytes(range(16))
    for columns in (400, 3620, 100_000):
        keys = oprf.arrange_to_encode(digests, columns, seed)
        assert keys.rows.positions == columns - okvs.BAND_BITS + 1
        vector = oprf.store(keys, values, InsecureSeededRng(b"store"))
        assert len(vector) == okvs.columns(3000)
        again = oprf.in_columns(keys, len(vector))
        assert (again.rows.starts(slice(None)) == np.sort(again.rows.starts(slice(None)))).all()
        decoded = okvs.decode(again.rows, slice(None), okvs.band_bits(seed), vector, vector)
        assert (decoded[:, 0] == values).all()
        assert (again.rows.order == keys.rows.order).all()
