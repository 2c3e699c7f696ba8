"""Sums by bucket of rows that have a value for every bucket, made from the leaves of a GGM tree a row.

A value is two words: a leaf encrypted and added to itself (Matyas-Meyer-Oseas). Where the processor has AES
instructions, a row's tree is grown, summed and forgotten before the next, so that it never leaves the cache.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mpc.kernels.aes import BATCH, PAIR, encrypt, grow
from mpc.kernels.instructions import load, store, vector, word
from mpc.kernels.jit import Instruction, inline, instruction, kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


@kernel("void(const uint64[:, :, ::1], uint64[:, ::1], uint64[:, ::1])")
def sum_leaves(leaves: U64, by_bucket: U64, by_row: U64) -> None:
    """Add up values (rows x buckets x 2), modulo 2^64: onto `by_bucket` over rows, and into `by_row` over buckets."""
    for row in range(leaves.shape[0]):
        low = high = np.uint64(0)
        for bucket in range(leaves.shape[1]):
            low += leaves[row, bucket, 0]
            high += leaves[row, bucket, 1]
            by_bucket[bucket, 0] += leaves[row, bucket, 0]
            by_bucket[bucket, 1] += leaves[row, bucket, 1]
        by_row[row, 0], by_row[row, 1] = low, high


@kernel(
    "void(const uint64[:, ::1], const uint64[:, ::1], const uint64[:, ::1], const uint64[:, :, ::1], "
    "const uint64[:, :, ::1], uint64[:, :, ::1], uint64[:, :, ::1], uint64[:, :, ::1], uint64[:, ::1], uint64[::1])"
)
def hold(
    seeds: U64,
    tree_keys: U64,
    value_keys: U64,
    left: U64,
    right: U64,
    masked: U64,
    by_bucket: U64,
    by_row: U64,
    nodes: U64,
    room: U64,
) -> None:
    """Grow a tree from each seed, and sum up its values by bucket and by row, under each of `value_keys`.

    `left` and `right` (rows x depth x 2) are added to the sums of each level's sides in `masked` (rows x depth x 4).
    Sums are added to `by_bucket` (keys x 2^depth x 2) and put into `by_row` (rows x keys x 2). `nodes` (2^depth x 2)
    and `room` (8 words) are memory for one tree.
    """
    depth = masked.shape[1]
    for row in range(seeds.shape[0]):
        nodes[0, 0], nodes[0, 1] = seeds[row, 0], seeds[row, 1]
        for level in range(depth):
            grow(nodes, 1 << level, tree_keys, room)
            for j in range(2):
                masked[row, level, j] = room[j] ^ room[j + 2] ^ left[row, level, j]
                masked[row, level, 2 + j] = room[4 + j] ^ room[6 + j] ^ right[row, level, j]
        for pair in range(value_keys.shape[0]):
            _sum_values(nodes, value_keys[pair], by_bucket[pair], room)
            for j in range(2):
                by_row[row, pair, j] = room[j] + room[j + 2]


@kernel(
    "void(const int64[::1], const uint64[:, ::1], const uint64[:, ::1], const uint64[:, :, ::1], "
    "const uint64[:, :, ::1], const uint64[:, :, ::1], uint64[:, :, ::1], uint64[:, ::1], uint64[::1])"
)
def choose(
    points: I64,
    tree_keys: U64,
    value_keys: U64,
    pads: U64,
    masked: U64,
    by_row: U64,
    by_bucket: U64,
    nodes: U64,
    room: U64,
) -> None:
    """Regrow trees but for the leaf at each row's point, and sum up values by bucket as `hold` does.

    `masked` are those of `hold`, and `pads` (rows x depth x 2) what it added to the sides off the path to the point. At
    the point stands what is missing from `by_row` (rows x keys x 2).
    """
    depth = masked.shape[1]
    for row in range(points.shape[0]):
        point = points[row]
        nodes[0, 0] = nodes[0, 1] = 0
        path = 0
        for level in range(depth):
            grow(nodes, 1 << level, tree_keys, room)
            unknown = 2 * path + ((point >> (depth - 1 - level)) & 1)
            sibling = unknown ^ 1
            side = sibling & 1
            for j in range(2):  # the unknown node has grown children too, from zero: they leave the sum again
                known = masked[row, level, 2 * side + j] ^ pads[row, level, j]
                nodes[sibling, j] ^= room[4 * side + j] ^ room[4 * side + 2 + j] ^ known
                nodes[unknown, j] = 0
            path = unknown
        for pair in range(value_keys.shape[0]):
            _sum_values(nodes, value_keys[pair], by_bucket[pair], room)
            for j in range(2):
                by_bucket[pair, point, j] += by_row[row, pair, j] - room[j] - room[j + 2]


@inline
def _sum_values(leaves: U64, round_keys: U64, by_bucket: U64, total: U64) -> None:
    """Add the values of leaves to `by_bucket`, and put their sum into `total`, in two halves."""
    total[:PAIR] = 0
    if leaves.shape[0] >= 2 * BATCH:
        for i in range(0, leaves.shape[0], 2 * BATCH):
            _values_of_several(leaves, i, round_keys, by_bucket, total)
    else:
        for i in range(0, leaves.shape[0], 2):
            _values_of_two(leaves, i, round_keys, by_bucket, total)


def _values_of(pairs: int) -> Instruction:
    @instruction("void(array, int64, array, array, array)")
    def emit(builder: Any, leaves: Any, first: Any, round_keys: Any, by_bucket: Any, total: Any) -> None:
        kind = vector(64, PAIR)
        places = [builder.add(builder.mul(first, word(2)), word(PAIR * i)) for i in range(pairs)]
        blocks = [load(builder, leaves, place, kind) for place in places]
        whole = load(builder, total, 0, kind)
        for place, block, made in zip(places, blocks, encrypt(builder, blocks, round_keys, 0), strict=True):
            value = builder.xor(block, made)
            whole = builder.add(whole, value)
            store(builder, builder.add(load(builder, by_bucket, place, kind), value), by_bucket, place)
        store(builder, whole, total, 0)

    return emit


_values_of_two, _values_of_several = _values_of(1), _values_of(BATCH)
