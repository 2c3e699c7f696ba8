"""Limbs of the factors of a sum: as many bits each as keep every sum of products within 63 bits.

What the parties multiply and add up over all common keys must not overflow. A factor is therefore cut into limbs of as
many bits as that leaves, and sums are put together again in Python's integers, so that every total is exact.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_SUM_BITS = 62
_FEW_KEYS = 512


@dataclass(frozen=True)
class Extent:
    """What the parties know of each other's sides: groups, different keys, and rows of one key in one group at most
    (a power of two)."""

    groups: int
    keys: int
    rows_of_key: int


def limb_bits(extents: Sequence[Extent], factors: int) -> int:
    """The bits of a limb when that many factors of a product have limbs."""
    slots = 2 * max(*(extent.keys for extent in extents), _FEW_KEYS)  # bins of a hidden join are fewer than that
    repeats = math.prod(extent.rows_of_key for extent in extents)
    room = _SUM_BITS - (slots - 1).bit_length() - (repeats - 1).bit_length()
    return max(room // max(factors, 1), 1)


def limb_count(side_largest: int, bits: int) -> int:
    """How many limbs of `bits` hold a value of that absolute size."""
    return max(-(-side_largest.bit_length() // bits), 1)


def limb_most(side_largest: int, bits: int, index: int) -> int:
    """The largest absolute value that limb `index` of such a value has."""
    last = index == limb_count(side_largest, bits) - 1
    return (side_largest >> (bits * index)) + (index > 0) if last else (1 << bits) - 1
