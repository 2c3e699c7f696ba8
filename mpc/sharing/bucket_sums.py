"""Sums of one party's numbers by groups that only the other party knows, as shares: two parties, no third.

For each row the holder of the numbers grows a tree with a leaf for every group; the chooser, who knows the row's group,
learns all leaves but that group's, by one oblivious transfer a level. With the sum of all leaves and the row's number
added to it, the chooser completes its leaf so that it exceeds the holder's by the number. So the two parties' sums of
leaves by group differ by the sums of the numbers by group.

Leaks:    nothing but the number of rows and of groups.
Security: semi-honest; that of the transfers and of `mpc.primitives.ggm`.
Source:   the single-point correlation of Boyle et al., CCS 2019, eprint.iacr.org/2019/1159, one tree a row.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import TypeVar

import numpy as np

from mpc.primitives import ggm
from mpc.primitives.aes import KEY_BYTES
from mpc.rng import Rng
from mpc.sharing.bucket_trees import Forest
from mpc.sharing.random_transfers import RandomTransfers
from mpc.sharing.ring import I64, U64
from mpc.sharing.wire import Wire

T = TypeVar("T")

_BATCH_ROWS = 2**16  # of transfers at once
_MESSAGE_ROWS = 2**13  # so that one party works on a message while the other makes the next
_DOMAIN = b"sealane/bucket_sums/1\0"


def choose(
    wire: Wire, peer: str, transfers: RandomTransfers, session: bytes, groups: I64, count: int, width: int
) -> U64:
    """The chooser's part (count x width) for `groups`, 0 to count - 1, or another number for a row in no group."""
    forest = _forest(session, count, width)
    depth = forest.depth
    points = np.where((groups < 0) | (groups >= count), count, groups)

    def take(batch: slice) -> U64:
        return transfers.choose_given(ggm.sides(points[batch], depth).reshape(-1)).reshape(-1, depth, 2)

    for batch, pads in _one_ahead(take, _slices(0, len(points), _BATCH_ROWS)):
        for part in _slices(batch.start, batch.stop, _MESSAGE_ROWS):
            own = points[part]
            masked = wire.receive(peer, (len(own), depth, 2, 2))
            by_row = wire.receive(peer, (len(own), len(forest.keys), 2))
            chosen = pads[part.start - batch.start :][: len(own)]
            forest.choose(own, np.ascontiguousarray(chosen), masked, by_row)
    return _sums(forest, count, width)


def hold(wire: Wire, peer: str, transfers: RandomTransfers, session: bytes, numbers: U64, count: int, rng: Rng) -> U64:
    """The holder's part (count x width) for `numbers`, rows x width."""
    rows, width = numbers.shape
    forest = _forest(session, count, width)
    depth = forest.depth
    pairs = np.zeros((rows, width + width % 2), np.uint64)
    pairs[:, :width] = numbers

    def take(batch: slice) -> tuple[U64, U64]:
        low, high = transfers.offer_given((batch.stop - batch.start) * depth)
        return low.reshape(-1, depth, 2), high.reshape(-1, depth, 2)

    for batch, (low, high) in _one_ahead(take, _slices(0, rows, _BATCH_ROWS)):
        for part in _slices(batch.start, batch.stop, _MESSAGE_ROWS):
            seeds = np.frombuffer(bytearray(rng(16 * (part.stop - part.start))), np.uint64).reshape(-1, 2)
            own = slice(part.start - batch.start, part.stop - batch.start)
            masked, by_row = forest.hold(seeds, low[own], high[own])
            wire.send(peer, masked)
            wire.send(peer, by_row + pairs[part].reshape(-1, len(forest.keys), 2))
    return -_sums(forest, count, width)


def _one_ahead(take: Callable[[slice], T], batches: Sequence[slice]) -> Iterator[tuple[slice, T]]:
    """Each batch with its transfers, taken before the messages of the batch before it: both sides send while they take
    some, so both take them in this order."""
    taken = [take(batch) for batch in batches[:1]]
    for index, batch in enumerate(batches):
        taken += [take(following) for following in batches[index + 1 : index + 2]]
        yield batch, taken.pop(0)


def transfers(rows: int, count: int) -> list[int]:
    """The numbers of transfers, batch by batch."""
    return [(batch.stop - batch.start) * _depth(count) for batch in _slices(0, rows, _BATCH_ROWS)]


def sent_bytes(rows: int, count: int, width: int) -> int:
    """What the holder sends, beside the transfers."""
    return rows * (32 * _depth(count) + 16 * -(-width // 2))


def _depth(count: int) -> int:
    """Levels of a tree with a leaf for every group, and one for none."""
    return max(1, count.bit_length())


def _slices(start: int, stop: int, step: int) -> list[slice]:
    return [slice(first, min(first + step, stop)) for first in range(start, stop, step)]


def _forest(session: bytes, count: int, width: int) -> Forest:
    """Trees whose leaves have as many words as a row has numbers."""
    keys = [
        blake2b(_DOMAIN + pair.to_bytes(4, "little"), digest_size=KEY_BYTES, salt=session).digest()
        for pair in range(-(-width // 2))
    ]
    return Forest.empty(ggm.Trees.of_session(session), keys, _depth(count))


def _sums(forest: Forest, count: int, width: int) -> U64:
    return np.ascontiguousarray(np.concatenate(list(forest.by_bucket), axis=1)[:count, :width])
