"""Fixed-point numbers in shares of two parties modulo 2^128: truncation and multiplication by public real numbers.

A number v is shared as v·2^fraction, rounded. Truncation is each party's own (SecureML's): it is off by one unit in the
last place at most, but for a probability of 2^(b - 127) that numbers of b bits wrap around. Numbers of up to
`SAFE_BITS` bits wrap with less than 2^-55 each.
Source: Mohassel, Zhang, IEEE S&P 2017, eprint.iacr.org/2017/396, theorem 1.
"""

import math

import numpy as np

from mpc.primitives import ring128
from mpc.primitives.ring128 import Ring

SAFE_BITS = 72
_FACTOR_BITS = 27


def truncate(share: Ring, bits: int, *, first: bool) -> Ring:
    """A share of floor(v / 2^bits), give or take one; `first` for one of the two parties, not for the other."""
    if first:
        return ring128.shift_right(share, bits)
    return ring128.negate(ring128.shift_right(ring128.negate(share), bits))


def scaled(share: Ring, factor: float, *, first: bool) -> Ring:
    """A share of v·factor, for 0 <= factor < 2^20, with 26 bits of the factor or 2^-64 of it exact."""
    if factor == 0:
        return np.zeros_like(share)
    shift = min(_FACTOR_BITS - math.frexp(factor)[1], 64 + _FACTOR_BITS)
    return truncate(ring128.times(share, round(math.ldexp(factor, shift))), shift, first=first)


def to_float(values: Ring, fraction: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Opened numbers, of at most 53 bits to be exact."""
    flat = ring128.to_ints(values.reshape(-1, 2))
    return np.array([math.ldexp(value, -fraction) for value in flat], np.float64).reshape(values.shape[:-1])
