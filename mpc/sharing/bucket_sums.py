"""Sums of one party's numbers by groups that only the other party knows, as shares: two parties, no third.

For each row the holder of the numbers grows a tree with a leaf for every group; the chooser, who knows the row's group,
learns all leaves but that group's, by one oblivious transfer a level. With the sum of all leaves and the row's number
added to it, the chooser completes its leaf so that it exceeds the holder's by the number. So the two parties' sums of
leaves by group differ by the sums of the numbers by group.

Leaks:    nothing but the number of rows and of groups.
Security: semi-honest; that of the transfers and of `mpc.primitives.ggm`.
Source:   the single-point correlation of Boyle et al., CCS 2019, eprint.iacr.org/2019/1159, one tree a row.
"""

from hashlib import blake2b

import numpy as np

from mpc.primitives import ggm
from mpc.primitives.aes import KEY_BYTES, FixedKey
from mpc.rng import Rng
from mpc.sharing.random_transfers import RandomTransfers
from mpc.sharing.ring import I64, U64
from mpc.sharing.wire import Wire

_BATCH_ROWS = 2**16  # of transfers at once
_LEAVES = 2**17  # at once: fewer calls weigh more than a smaller cache
_DOMAIN = b"sealane/bucket_sums/1\0"


def choose(
    wire: Wire, peer: str, transfers: RandomTransfers, session: bytes, groups: I64, count: int, width: int
) -> U64:
    """The chooser's part (count x width) for `groups`, 0 to count - 1, or another number for a row in no group."""
    depth, trees = _depth(count), ggm.Trees.of_session(session)
    points = np.where((groups < 0) | (groups >= count), count, groups)
    sums = np.zeros((-(-width // 2), count, 2), np.uint64)
    pads = [
        transfers.choose_given(ggm.sides(points[batch], depth).reshape(-1)).reshape(-1, depth, 2)
        for batch in _slices(len(points), _BATCH_ROWS)
    ]
    for batch in _slices(len(points), _rows_at_once(depth)):
        own = points[batch]
        masked = wire.receive(peer, (len(own), depth, 2, 2))
        side = ggm.sides(own, depth).astype(np.int64)
        chosen = pads[batch.start // _BATCH_ROWS][batch.start % _BATCH_ROWS :][: len(own)]
        known = np.take_along_axis(masked, side[:, :, None, None], axis=2)[:, :, 0] ^ chosen
        leaves = ggm.puncture(trees, own, known, depth)
        inside = own < count
        for pair, by_group in enumerate(sums):
            values = _values(leaves, session, pair)
            values[np.arange(len(own)), own] = 0
            missing = wire.receive(peer, (len(own), 2)) - _add(values, by_group)
            np.add.at(by_group, own[inside], missing[inside])
    return _joined(sums, width)


def hold(wire: Wire, peer: str, transfers: RandomTransfers, session: bytes, numbers: U64, count: int, rng: Rng) -> U64:
    """The holder's part (count x width) for `numbers`, rows x width."""
    depth, trees = _depth(count), ggm.Trees.of_session(session)
    rows, width = numbers.shape
    pairs = np.zeros((rows, width + width % 2), np.uint64)
    pairs[:, :width] = numbers
    sums = np.zeros((-(-width // 2), count, 2), np.uint64)
    step = _rows_at_once(depth)
    for batch in _slices(rows, _BATCH_ROWS):
        low, high = transfers.offer_given((batch.stop - batch.start) * depth)
        pads = np.stack([low.reshape(-1, depth, 2), high.reshape(-1, depth, 2)], axis=2)
        for start in range(batch.start, batch.stop, step):
            part = slice(start, min(start + step, batch.stop))
            seeds = np.frombuffer(bytearray(rng(16 * (part.stop - part.start))), np.uint64).reshape(-1, 2)
            leaves, level_sums = ggm.plant(trees, seeds, depth)
            wire.send(peer, level_sums ^ pads[part.start - batch.start : part.stop - batch.start])
            for pair, by_group in enumerate(sums):
                totals = _add(_values(leaves, session, pair), by_group)
                wire.send(peer, totals + pairs[part, 2 * pair : 2 * pair + 2])
    return -_joined(sums, width)


def transfers(rows: int, count: int) -> list[int]:
    """The numbers of transfers, batch by batch."""
    return [(batch.stop - batch.start) * _depth(count) for batch in _slices(rows, _BATCH_ROWS)]


def sent_bytes(rows: int, count: int, width: int) -> int:
    """What the holder sends, beside the transfers."""
    return rows * (32 * _depth(count) + 16 * -(-width // 2))


def _depth(count: int) -> int:
    """Levels of a tree with a leaf for every group, and one for none."""
    return max(1, count.bit_length())


def _rows_at_once(depth: int) -> int:
    """How many trees are grown together: a power of two, so that batches of transfers hold whole numbers of them."""
    return max(1, _LEAVES >> depth)


def _slices(rows: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


def _values(leaves: U64, session: bytes, pair: int) -> U64:
    """Two pseudorandom words a leaf."""
    key = blake2b(_DOMAIN + pair.to_bytes(4, "little"), digest_size=KEY_BYTES, salt=session).digest()
    values = FixedKey(key).encrypt(leaves)
    values ^= leaves
    return values


def _add(values: U64, by_group: U64) -> U64:
    from mpc.kernels.buckets import sum_leaves

    by_row = np.empty((len(values), 2), np.uint64)
    sum_leaves(values, by_group, by_row)
    return by_row


def _joined(sums: U64, width: int) -> U64:
    return np.ascontiguousarray(np.concatenate(list(sums), axis=1)[:, :width])
