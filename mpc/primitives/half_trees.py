"""Correlated GGM trees (half-trees): the nodes of each level add up to a secret offset, the same for every tree.

A tree's owner grows it from its first left node and keeps the sum of the left nodes of each level. Who holds, by a
correlated transfer with the same offset, the sums of the sides off the path to one leaf regrows all other leaves; their
sum is the missing one plus the offset. Bit 0 of the offset is one: of leaves it is cleared, but in the missing one,
where it is set, so that it says where the two parties differ.

Security: a fixed-key AES-128 permutation, keyed by the batch's session, as a random one; circular correlation
          robustness of x -> AES(s(x)) + s(x) for a linear orthomorphism s.
Source:   Guo et al., EUROCRYPT 2023, eprint.iacr.org/2022/1431 (half-tree); hash: Guo, Katz, Wang, Yu, IEEE S&P 2020,
          eprint.iacr.org/2019/074.
"""

from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from mpc.primitives.aes import KEY_BYTES, FixedKey

_DOMAIN = b"sealane/half_trees/1\0"

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Trees:
    """The key of the permutation."""

    key: bytes = field(repr=False)

    @classmethod
    def of_session(cls, session: bytes) -> "Trees":
        """Both sides of a session use the same permutation."""
        return cls(blake2b(_DOMAIN, digest_size=KEY_BYTES, salt=session).digest())


def plant(trees: Trees, firsts: U64, offset: U64, depth: int, leaves: U64) -> U64:
    """Write the leaves (trees x 2^depth x 2) of trees from their first nodes (trees x 2); gives the sums of the left
    nodes of each level (trees x depth x 2).
    """
    from mpc.kernels import aes

    if not aes.AVAILABLE:
        return portable_plant(trees, firsts, offset, depth, leaves)
    from mpc.kernels import half_trees

    sums = np.empty((len(firsts), depth, 2), np.uint64)
    half_trees.plant(firsts, offset, aes.expand_key(trees.key), depth, leaves, sums)
    return sums


def puncture(trees: Trees, points: I64, sums: U64, depth: int, leaves: U64) -> None:
    """Write all leaves, that at each point being the owner's plus the offset.

    `sums` (trees x depth x 2) are of the sides off the paths.
    """
    from mpc.kernels import aes

    if not aes.AVAILABLE:
        return portable_puncture(trees, points, sums, depth, leaves)
    from mpc.kernels import half_trees

    return half_trees.puncture(points, aes.expand_key(trees.key), depth, sums, leaves)


def portable_plant(trees: Trees, firsts: U64, offset: U64, depth: int, leaves: U64) -> U64:
    """`plant` for every processor."""
    cipher = FixedKey(trees.key)
    sums = np.empty((len(firsts), depth, 2), np.uint64)
    nodes = np.stack([firsts, firsts ^ offset], axis=1)
    sums[:, 0] = firsts
    for level in range(1, depth):
        nodes = _children(cipher, nodes)
        sums[:, level] = np.bitwise_xor.reduce(nodes[:, ::2], axis=1)
    leaves[:] = nodes
    leaves[:, :, 0] &= ~np.uint64(1)
    return sums


def portable_puncture(trees: Trees, points: I64, sums: U64, depth: int, leaves: U64) -> None:
    """`puncture` for every processor."""
    cipher, tree = FixedKey(trees.key), np.arange(len(points))
    path = (points >> (depth - 1)) & 1
    nodes = np.zeros((len(points), 2, 2), np.uint64)
    nodes[tree, path ^ 1] = sums[:, 0]
    for level in range(1, depth):
        nodes = _children(cipher, nodes)
        path = 2 * path + ((points >> (depth - 1 - level)) & 1)
        nodes[tree, path] = nodes[tree, path ^ 1] = 0
        by_side = np.bitwise_xor.reduce(nodes.reshape(len(points), -1, 2, 2), axis=1)
        nodes[tree, path ^ 1] = by_side[tree, (path ^ 1) & 1] ^ sums[:, level]
    nodes[tree, path] = np.bitwise_xor.reduce(nodes, axis=1)
    leaves[:] = nodes
    leaves[:, :, 0] &= ~np.uint64(1)
    leaves[tree, points, 0] |= np.uint64(1)


def _children(cipher: FixedKey, parents: U64) -> U64:
    mixed = np.stack([parents[..., 0] ^ parents[..., 1], parents[..., 0]], axis=-1)
    left = cipher.encrypt(mixed) ^ mixed
    children = np.stack([left, left ^ parents], axis=2)
    return children.reshape(len(parents), -1, 2)
