"""Comparison of shared numbers by circuits of conjunctions on bit planes, the same in every setting.

Planes are arrays of packed bits: row j has bit j of every number. A setting says how parts of two planes are
conjoined: `And(x, ys)` gives x & y for each y of a stack `ys`, in one round.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from mpc.sharing.ring import I64, U64, words_of

Planes = tuple[U64, ...]
And = Callable[[Planes, Planes], Planes]


def planes_of(words: U64, width: int) -> U64:
    """The lowest `width` bits of each word, as planes."""
    from mpc.kernels.bits import SIDE_BY_SIDE, to_planes

    flat = np.ascontiguousarray(words).reshape(-1)
    planes = np.empty((width, words_of(flat.size)), np.uint64)
    to_planes(flat, planes, np.empty((64, SIDE_BY_SIDE), np.uint64))
    return planes


def carry_rounds(bits: int) -> int:
    """Levels of the tree over that many bits."""
    return max(bits - 1, 0).bit_length()


def carry(propagate: Planes, generate: Planes, conjoin: And) -> Planes:
    """The carry out of the highest bit: one plane.

    Segments of neighbouring bits are joined in pairs: a joined segment generates a carry if its upper half does, or
    propagates the one that the lower half generates; it propagates if both halves do.
    """
    while len(generate[0]) > 1:
        pairs = len(generate[0]) // 2
        last = len(generate[0]) == 2
        upper = tuple(p[1::2] for p in propagate)
        lower = tuple(
            g[None, 0 : 2 * pairs : 2] if last else np.stack([g[0 : 2 * pairs : 2], p[0 : 2 * pairs : 2]])
            for g, p in zip(generate, propagate, strict=True)
        )
        joined = conjoin(upper, lower)
        above = tuple(g[1::2] ^ z[0] for g, z in zip(generate, joined, strict=True))
        generate = tuple(_with_rest(a, g) for a, g in zip(above, generate, strict=True))
        if not last:
            propagate = tuple(_with_rest(z[1], p) for z, p in zip(joined, propagate, strict=True))
    return tuple(g[0] for g in generate)


def all_of(planes: Planes, conjoin: And) -> Planes:
    """The conjunction of all planes: one plane."""
    while len(planes[0]) > 1:
        pairs = len(planes[0]) // 2
        upper = tuple(p[1::2] for p in planes)
        lower = tuple(p[None, 0 : 2 * pairs : 2] for p in planes)
        planes = tuple(_with_rest(z[0], p) for z, p in zip(conjoin(upper, lower), planes, strict=True))
    return tuple(p[0] for p in planes)


def _with_rest(joined: U64, before: U64) -> U64:
    """Joined pairs, and the highest plane if it had no partner."""
    return np.concatenate([joined, before[-1:]]) if len(before) % 2 else joined


@dataclass(frozen=True)
class Level:
    """One round of conjunctions of rows: x & y ^ z for each gate (x, y, z), z being no row if it is -1.

    Its results, in order, are the first rows of the next level, and those that are kept come after.
    """

    gates: I64
    kept: Sequence[int] = ()


CONJUNCTION = Level(np.array([[0, 1, -1]]))


@cache
def carry_levels(digits: int) -> Sequence[Level]:
    """From whether digits carry one (as many rows), and whether all but the lowest pass one on, to the last carry.

    Segments of neighbouring digits are joined in pairs, as in `carry`.
    """
    levels = []
    carried, passed = list(range(digits)), [-1, *range(digits, 2 * digits - 1)]
    while len(carried) > 1:
        pairs = len(carried) // 2
        gates = [(passed[2 * j + 1], carried[2 * j], carried[2 * j + 1]) for j in range(pairs)]
        gates += [(passed[2 * j + 1], passed[2 * j], -1) for j in range(1, pairs)]
        kept = [carried[-1], passed[-1]] if len(carried) % 2 else []
        levels.append(Level(np.array(gates), kept))
        after = range(len(gates), len(gates) + len(kept))
        carried, passed = [*range(pairs), *after[:1]], [-1, *range(pairs, 2 * pairs - 1), *after[1:]]
    return levels


@cache
def conjunction_levels(rows: int) -> Sequence[Level]:
    """The conjunction of all rows."""
    levels = []
    while rows > 1:
        gates = np.array([(2 * j + 1, 2 * j, -1) for j in range(rows // 2)])
        levels.append(Level(gates, [rows - 1] if rows % 2 else []))
        rows = -(-rows // 2)
    return levels


def tree_sizes(bits: int, *, carries: bool) -> Sequence[tuple[int, int]]:
    """For each level the numbers of pairs, and of planes that each upper half is conjoined with."""
    sizes = []
    while bits > 1:
        sizes.append((bits // 2, 2 if carries and bits > 2 else 1))
        bits = -(-bits // 2)
    return sizes
