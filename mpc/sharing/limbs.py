"""Non-negative integers beyond 64 bits as vectors of 64-bit limbs that can be summed, and hide how the sum came about.

A number is a sum of limbs l_j·2^(11 j). Adding up plain limbs would show, beside the total, how often they carried.
So each party moves a random multiple of 2^11 from every limb to the next: l_j + 2^11·r_j - r_(j-1) with r_j uniform
below 2^46. A sum of such vectors depends on the carries only through carry + Σ r_j, and is within parties·2^-46 of
one that depends on the total alone, for each limb.
"""

from collections.abc import Sequence

from mpc.rng import Rng

LIMBS = 6
MAX_BITS = 112  # of a number: the last limb holds 57 bits, so that fifty of them add up below 2^63
_SHIFT = 11
_BLIND_BYTES = 6
_BLIND_BITS = 46


def split(number: int, rng: Rng) -> list[int]:
    """`LIMBS` limbs of a number below 2^`MAX_BITS`, each of magnitude below 2^57 + 2^46; raises `OverflowError`."""
    if not 0 <= number < 2**MAX_BITS:
        raise OverflowError(f"a number must be below 2^{MAX_BITS}")
    random = rng(_BLIND_BYTES * (LIMBS - 1))
    limbs = []
    blind = 0
    for j in range(LIMBS - 1):
        previous = blind
        blind = int.from_bytes(random[j * _BLIND_BYTES : (j + 1) * _BLIND_BYTES], "little") % 2**_BLIND_BITS
        limbs.append(number % 2**_SHIFT + (blind << _SHIFT) - previous)
        number >>= _SHIFT
    limbs.append(number - blind)
    return limbs


def join(limbs: Sequence[int]) -> int:
    """The number, or the sum of numbers, whose limbs, or sums of limbs, are given."""
    return sum(limb << (_SHIFT * j) for j, limb in enumerate(limbs))
