"""Many rows in the order of one of their words, where that looks random, over all cores."""

import numpy as np
import numpy.typing as npt

from mpc.primitives.threads import pieces, spread, usable_cores

_PIECE_ROWS = 2**15  # whose labels are made at once
_PIECE_PARTS = 2**5

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


def sort_rows(rows: U64, column: int, room: U64, labels: I64 | None = None) -> I64:
    """Put rows of four words in ascending order of the word in `column`, in place; gives their labels in that order.

    Without `labels`, one a row, these are the rows' indices. Words are compared by their leading 40 bits or more; rows
    whose words are equal in those keep their order. `room` is as large as `rows` and overwritten. Takes long unless
    the words look random.
    """
    from mpc.kernels import radix

    count = len(rows)
    bits = max(1, (count // radix.PART_ROWS).bit_length())
    shares = pieces(count, max(_PIECE_ROWS, -(-count // usable_cores())))
    counts = np.zeros((len(shares), 1 << bits), np.int64)
    spread(lambda each: radix.count(rows[shares[each.start]], column, bits, counts[each.start]), len(shares), 1)
    ends = np.cumsum(counts.T).reshape(counts.T.shape)  # part by part, and within it share by share
    places = np.ascontiguousarray((ends - counts.T).T)
    starts = np.append(0, ends[:, -1]) if count else np.zeros((1 << bits) + 1, np.int64)
    moved, result = np.empty(count, np.int64), np.empty(count, np.int64)

    def scatter(each: slice) -> None:
        share = shares[each.start]
        for piece in pieces(share.stop - share.start, _PIECE_ROWS):
            here = slice(share.start + piece.start, share.start + piece.stop)
            own = np.arange(here.start, here.stop) if labels is None else labels[here]
            radix.scatter(rows[here], own, column, bits, places[each.start], room, moved)

    spread(scatter, len(shares), 1)
    largest = int(np.diff(starts).max())
    fine_bits = max(1, largest.bit_length() - 2)

    def settle(parts: slice) -> None:
        packed, scratch = np.empty(largest, np.uint64), np.empty(largest, np.uint64)
        radix.settle(
            room,
            moved,
            column,
            bits,
            fine_bits,
            starts[parts.start : parts.stop + 1],
            packed,
            scratch,
            np.empty(1 << fine_bits, np.int64),
            rows,
            result,
        )

    spread(settle, 1 << bits, _PIECE_PARTS)
    return result
