"""Many rows in the order of one of their words, where that looks random, over all cores."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mpc.primitives.threads import pieces, spread, spread_in_order, usable_cores

_PIECE_ROWS = 2**15  # whose labels are made at once
_PIECE_PARTS = 2**5

U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
_Follow = Callable[[U64, U64, I32], None]
_Move = Callable[[U64, I32, int, int, I64, U64, I32], None]


def sort_rows(rows: U64, column: int, room: U64) -> I32:
    """Put rows of four words in ascending order of the word in `column`, in place; gives where each was before.

    Words are compared by their leading 40 bits or more; rows whose words are equal in those keep their order. `room` is
    as large as `rows` and overwritten. Takes long unless the words look random.
    """
    from mpc.kernels import radix

    moved, order = np.empty(len(rows), np.int32), np.empty(len(rows), np.int32)
    parts = _scatter(rows, column, None, radix.scatter, room, moved)

    def settle(each: slice) -> None:
        radix.settle(room, moved, column, *parts.some(each), rows, order)

    spread(settle, parts.count, _PIECE_PARTS)
    return order


def sort_tags(
    outputs: U64, column: int, prefix_bits: int, labels: I32, follow: _Follow | None = None
) -> tuple[U64, U64, I32]:
    """Tags cut from rows of four words, in ascending order: their first `prefix_bits` bits, the next 64, and labels.

    The bits are those of the word in `column` and the next, from the highest down. `labels` has one a row. The tags are
    in the memory of `outputs`. Meanwhile `follow`, in a thread of its own, is given those that are in place so far, the
    first ones, again and again until it is all.
    """
    from mpc.kernels import radix, tags

    count = len(outputs)
    room, moved, order = np.empty((count, 2), np.uint64), np.empty(count, np.int32), np.empty(count, np.int32)
    parts = _scatter(outputs, column, labels, radix.scatter_pairs, room, moved)
    high, low = outputs.reshape(-1)[:count], outputs.reshape(-1)[count : 2 * count]

    def cut(each: slice) -> None:
        tags.cut(room, moved, prefix_bits, *parts.some(each), high, low, order)

    if follow is None:
        spread(cut, parts.count, _PIECE_PARTS)
    else:

        def tell(each: slice) -> None:
            ready = parts.starts[each.stop]
            follow(high[:ready], low[:ready], order[:ready])

        spread_in_order(cut, parts.count, _PIECE_PARTS, tell)
    return high, low, order


@dataclass(frozen=True)
class _Parts:
    """Rows that were moved into 2^bits parts, by the leading bits of a word; a part begins at each of `starts`."""

    bits: int
    starts: I64

    @property
    def count(self) -> int:
        return 1 << self.bits

    def some(self, parts: slice) -> tuple[int, int, I64, U64, U64, I64]:
        """Bits, fine bits, starts and working memory for some parts, as `radix.settle` takes them."""
        largest = int(np.diff(self.starts).max())
        fine_bits = max(1, largest.bit_length() - 2)
        packed, scratch = np.empty((2, largest), np.uint64)
        places = np.empty(1 << fine_bits, np.int64)
        return self.bits, fine_bits, self.starts[parts.start : parts.stop + 1], packed, scratch, places


def _scatter(rows: U64, column: int, labels: I32 | None, move: _Move, room: U64, moved: I32) -> _Parts:
    """Move rows into parts with `move`, to `room`, and their labels, without which they are numbered, to `moved`."""
    from mpc.kernels import radix

    count = len(rows)
    bits = max(1, (count // radix.PART_ROWS).bit_length())
    shares = pieces(count, max(_PIECE_ROWS, -(-count // usable_cores())))
    counts = np.zeros((len(shares), 1 << bits), np.int64)
    spread(lambda each: radix.count(rows[shares[each.start]], column, bits, counts[each.start]), len(shares), 1)
    ends = np.cumsum(counts.T).reshape(counts.T.shape)  # part by part, and within it share by share
    places = np.ascontiguousarray((ends - counts.T).T)

    def scatter(each: slice) -> None:
        share = shares[each.start]
        for piece in pieces(share.stop - share.start, _PIECE_ROWS):
            here = slice(share.start + piece.start, share.start + piece.stop)
            own = np.arange(here.start, here.stop, dtype=np.int32) if labels is None else labels[here]
            move(rows[here], own, column, bits, places[each.start], room, moved)

    spread(scatter, len(shares), 1)
    return _Parts(bits, np.append(0, ends[:, -1]) if count else np.zeros((1 << bits) + 1, np.int64))
