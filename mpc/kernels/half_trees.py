"""Correlated GGM trees with the processor's AES, in place: the nodes of every level add up to the same offset.

A node x has the left child H(x) and the right child H(x) + x, with H(x) = AES_k(s) + s and s = (high + low, low) for
x = (low, high): one encryption for two children. For x86 processors as in `mpc.kernels.aes`.
Source: Guo et al., EUROCRYPT 2023, eprint.iacr.org/2022/1431 (half-tree).
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from mpc.kernels.aes import BATCH, PAIR, encrypt
from mpc.kernels.instructions import load, shuffle, store, vector, word
from mpc.kernels.jit import Instruction, inline, instruction, kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

_ONE = np.uint64(1)


@kernel("void(const uint64[:, ::1], const uint64[::1], const uint64[::1], int64, uint64[:, :, ::1], uint64[:, :, ::1])")
def plant(firsts: U64, offset: U64, round_keys: U64, depth: int, trees: U64, sums: U64) -> None:
    """Grow every tree from its first left node to its 2^depth leaves (trees x leaves x 2), bit 0 of them cleared.

    `sums` (trees x depth x 2) receives the sum of the left nodes of each level. The depth is at least 1.
    """
    for tree in range(trees.shape[0]):
        nodes = trees[tree]
        for j in range(2):
            nodes[0, j] = sums[tree, 0, j] = firsts[tree, j]
            nodes[1, j] = firsts[tree, j] ^ offset[j]
        for level in range(1, depth):
            _grow(nodes, 1 << level, round_keys)
            left_low, left_high = np.uint64(0), np.uint64(0)
            for i in range(0, 2 << level, 2):
                left_low ^= nodes[i, 0]
                left_high ^= nodes[i, 1]
            sums[tree, level, 0], sums[tree, level, 1] = left_low, left_high
        for i in range(1 << depth):
            nodes[i, 0] &= ~_ONE


@kernel("void(const int64[::1], const uint64[::1], int64, const uint64[:, :, ::1], uint64[:, :, ::1])")
def puncture(points: I64, round_keys: U64, depth: int, sums: U64, trees: U64) -> None:
    """Regrow every tree but for the leaf at its point, which becomes the sum of all others.

    `sums` (trees x depth x 2) are, of each level, those of the nodes on the side off the path to the point. Bit 0 of
    leaves is cleared, and set in that at the point.
    """
    for tree in range(trees.shape[0]):
        nodes = trees[tree]
        path = (points[tree] >> (depth - 1)) & 1
        for j in range(2):
            nodes[path, j] = 0
            nodes[path ^ 1, j] = sums[tree, 0, j]
        for level in range(1, depth):
            _grow(nodes, 1 << level, round_keys)
            path = 2 * path + ((points[tree] >> (depth - 1 - level)) & 1)
            for j in range(2):  # the unknown node has grown children too, from zero: both leave again
                nodes[path, j] = nodes[path ^ 1, j] = 0
            low, high = sums[tree, level, 0], sums[tree, level, 1]
            for i in range((path ^ 1) & 1, 2 << level, 2):
                low ^= nodes[i, 0]
                high ^= nodes[i, 1]
            nodes[path ^ 1, 0], nodes[path ^ 1, 1] = low, high
        low, high = np.uint64(0), np.uint64(0)
        for i in range(1 << depth):
            low ^= nodes[i, 0]
            high ^= nodes[i, 1]
            nodes[i, 0] &= ~_ONE
        nodes[path, 0], nodes[path, 1] = low | _ONE, high


@inline
def _grow(nodes: U64, count: int, round_keys: U64) -> None:
    """Put the children of the first `count` nodes, an even number, in their place."""
    if count >= 2 * BATCH:
        for i in range(count - 2 * BATCH, -1, -2 * BATCH):
            _children_of_several(nodes, i, round_keys)
    else:
        for i in range(count - 2, -1, -2):
            _children_of_two(nodes, i, round_keys)


def _children_of(pairs: int) -> Instruction:
    @instruction("void(array, int64, array)")
    def emit(builder: Any, nodes: Any, first: Any, round_keys: Any) -> None:
        kind = vector(64, PAIR)
        low = ir.Constant(kind, [2**64 - 1, 0] * (PAIR // 2))
        start = builder.mul(first, word(2))
        parents = [load(builder, nodes, builder.add(start, word(PAIR * i)), kind) for i in range(pairs)]
        mixed = [
            builder.xor(shuffle(builder, parent, parent, [1, 0, 3, 2]), builder.and_(parent, low)) for parent in parents
        ]
        blocks = encrypt(builder, mixed, round_keys, 0)
        start = builder.mul(start, word(2))
        for i, (block, own, parent) in enumerate(zip(blocks, mixed, parents, strict=True)):
            left = builder.xor(block, own)
            right = builder.xor(left, parent)
            for half in (0, 1):
                children = shuffle(builder, left, right, [2 * half, 2 * half + 1, 4 + 2 * half, 5 + 2 * half])
                store(builder, children, nodes, builder.add(start, word(PAIR * (2 * i + half))))

    return emit


_children_of_two, _children_of_several = _children_of(1), _children_of(BATCH)
