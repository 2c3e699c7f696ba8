"""The order of many rows by one of their words, where that looks random."""

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


def order_of(rows: U64, column: int) -> I64:
    """The rows' indices in ascending order of the word in `column`, compared by its leading 40 bits or more.

    Rows whose words are equal in those keep their order. Takes long unless the words look random.
    """
    from mpc.kernels import radix

    count = len(rows)
    index_bits = max(count - 1, 0).bit_length()
    fine = min(index_bits // 2, radix.MOST_BITS)
    coarse = min(max(index_bits - fine, 1), radix.MOST_BITS)
    packed, scratch = np.empty(count, np.uint64), np.empty(count, np.uint64)
    starts = np.empty((1 << coarse) + 1, np.int64)
    places = np.empty(1 << max(coarse, fine), np.int64)
    radix.order(rows, column, index_bits, coarse, fine, packed, scratch, starts, places)
    packed &= np.uint64((1 << index_bits) - 1)
    return packed.view(np.int64)
