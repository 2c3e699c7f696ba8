"""An oblivious PRF with an instance a row: the sender computes what the receiver got, of its key of that row alone."""

import numpy as np
import numpy.typing as npt

from mpc.kernels.gf64 import add_products, table_of
from mpc.primitives import row_oprf
from mpc.testing import InsecureSeededRng

U64 = npt.NDArray[np.uint64]
ROWS = 40
DELTA = (0x123456789ABCDEF1, 0xFEDCBA9876543210)


def words(seed: bytes, *shape: int) -> U64:
    rng = InsecureSeededRng(seed)
    return np.frombuffer(bytearray(rng(8 * int(np.prod(shape)))), np.uint64).reshape(shape)


def correlation() -> tuple[U64, U64, U64]:
    """a and c of the receiver, b of the sender."""
    a, c = words(b"a", ROWS), words(b"c", 2, ROWS)
    b = c.copy()
    for plane, part in zip(b, DELTA, strict=True):
        add_products(plane, a, table_of(part))
    return a, c, b


def test_the_sender_computes_what_the_receiver_has_of_its_key_in_its_row_and_of_no_other() -> None:
    keys, others = words(b"keys", ROWS, 4), words(b"others", ROWS, 4)
    a, c, b = correlation()
    query = row_oprf.query(keys, InsecureSeededRng(b"query"))
    got = row_oprf.receiver_outputs(query, c)
    in_order, elsewhere = np.arange(ROWS), np.roll(np.arange(ROWS), 1)

    def computed(digests: U64, rows: npt.NDArray[np.int64]) -> U64:
        return row_oprf.sender_outputs(digests, rows, query.seed, query.vector ^ a, DELTA, b.copy())

    assert np.array_equal(computed(keys, in_order), got)
    assert not (computed(keys, elsewhere) == got).any()
    assert not (computed(others, in_order) == got).any()
    assert np.array_equal(computed(keys[::-1].copy(), in_order[::-1].copy()), got[::-1])
