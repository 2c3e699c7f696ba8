"""Puncturable pseudorandom functions from GGM trees, many at once.

A tree's owner grows it from a seed and keeps the sums of the left and of the right nodes of every level. Who is given,
by oblivious transfer, the sums of the sides off the path to one leaf regrows all leaves but that one.

Security: two fixed-key AES-128 permutations in Matyas-Meyer-Oseas mode as random oracles, keyed by the session.
Source:   Goldreich, Goldwasser, Micali, J. ACM 33(4), 1986; puncturing by oblivious transfer:
          Boyle et al., CCS 2019, eprint.iacr.org/2019/1159.
"""

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from mpc.primitives.aes import KEY_BYTES, FixedKey

_DOMAIN = b"sealane/ggm/1\0"
LEAST_DEPTH = 2  # of trees that `mpc.kernels.aes` grows

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Trees:
    """The keys of the permutations that make a node's left and right child."""

    left: bytes = field(repr=False)
    right: bytes = field(repr=False)

    @classmethod
    def of_session(cls, session: bytes) -> "Trees":
        """Both sides of a session use the same two permutations."""
        keys = blake2b(_DOMAIN, digest_size=2 * KEY_BYTES, salt=session).digest()
        return cls(keys[:KEY_BYTES], keys[KEY_BYTES:])

    @cached_property
    def round_keys(self) -> U64:
        """Of both permutations, for `mpc.kernels.aes`."""
        from mpc.kernels.aes import expand_key

        return np.stack([expand_key(self.left), expand_key(self.right)])


def plant(trees: Trees, seeds: U64, depth: int) -> tuple[U64, U64]:
    """From n seeds (n x 2 words): the leaves (n x 2^depth x 2), and the sums (n x depth x side x 2)."""
    from mpc.kernels import aes

    if not aes.AVAILABLE or depth < LEAST_DEPTH:
        return portable_plant(trees, seeds, depth)
    leaves = np.empty((len(seeds), 1 << depth, 2), np.uint64)
    sums = np.empty((len(seeds), depth, 4), np.uint64)
    aes.plant(seeds, trees.round_keys, depth, leaves, sums, np.empty(8, np.uint64))
    return leaves, sums.reshape(-1, depth, 2, 2)


def portable_plant(trees: Trees, seeds: U64, depth: int) -> tuple[U64, U64]:
    """`plant` for every processor."""
    from mpc.kernels.ggm import grow

    make_left, make_right = FixedKey(trees.left), FixedKey(trees.right)
    nodes = seeds[:, None, :].copy()
    sums = np.empty((len(seeds), depth, 2, 2), np.uint64)
    for level in range(depth):
        children = np.empty((len(seeds), 2 * nodes.shape[1], 2), np.uint64)
        level_sums = np.empty((len(seeds), 2, 2), np.uint64)
        grow(nodes, make_left.encrypt(nodes), make_right.encrypt(nodes), children, level_sums)
        sums[:, level] = level_sums
        nodes = children
    return nodes, sums


def sides(points: I64, depth: int) -> npt.NDArray[np.bool_]:
    """For each point and level, the side off the path to it (true: right), whose sum its chooser needs."""
    bits: npt.NDArray[np.bool_] = (points[:, None] >> np.arange(depth - 1, -1, -1)) & 1 == 0
    return bits


def puncture(trees: Trees, points: I64, sums: U64, depth: int) -> U64:
    """All leaves but those at `points`, which are zero; `sums` (n x depth x 2) are of the sides off the paths."""
    from mpc.kernels import aes

    if not aes.AVAILABLE or depth < LEAST_DEPTH:
        return portable_puncture(trees, points, sums, depth)
    leaves = np.empty((len(points), 1 << depth, 2), np.uint64)
    aes.puncture(points, trees.round_keys, depth, sums, leaves, np.empty(8, np.uint64))
    return leaves


def portable_puncture(trees: Trees, points: I64, sums: U64, depth: int) -> U64:
    """`puncture` for every processor."""
    from mpc.kernels.ggm import grow

    make_left, make_right = FixedKey(trees.left), FixedKey(trees.right)
    count = np.arange(len(points))
    nodes = np.zeros((len(points), 1, 2), np.uint64)
    path = np.zeros(len(points), np.int64)
    off_path = sides(points, depth).astype(np.int64)
    for level in range(depth):
        children = np.empty((len(points), 2 * nodes.shape[1], 2), np.uint64)
        level_sums = np.empty((len(points), 2, 2), np.uint64)
        grow(nodes, make_left.encrypt(nodes), make_right.encrypt(nodes), children, level_sums)
        side = off_path[:, level]
        sibling, unknown = 2 * path + side, 2 * path + 1 - side
        # The kernel grew children of the unknown node too, from zero: they leave the sum again.
        children[count, sibling] ^= level_sums[count, side] ^ sums[:, level]
        children[count, unknown] = 0
        nodes, path = children, unknown
    return nodes
