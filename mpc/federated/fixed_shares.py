"""Fixed-point numbers in shares of two parties: modulo 2^128, where products do not overflow, and modulo 2^64, where
the engine of `mpc.sharing` compares and multiplies.

A number v is shared as v·2^fraction, rounded. Truncation is each party's own (SecureML's): it is off by one unit in the
last place at most, but for a probability of 2^(b - 127) that a number of b bits wraps around. Numbers of up to 72 bits
wrap with less than 2^-54 each. Widening is exact.
Source: Mohassel, Zhang, IEEE S&P 2017, eprint.iacr.org/2017/396, theorem 1.
"""

import math

import numpy as np
from numpy.typing import NDArray

from mpc.primitives import ring128
from mpc.primitives.ring128 import Ring
from mpc.sharing.engine import Engine
from mpc.sharing.values import Secret

_FACTOR_BITS = 27
_WIDEN_BITS = 62  # magnitude of what can be widened


def truncate(share: Ring, bits: int, *, first: bool) -> Ring:
    """A share of floor(v / 2^bits), give or take one; `first` for one of the two parties, not for the other."""
    if not bits:
        return share
    if first:
        return ring128.shift_right(share, bits)
    return ring128.negate(ring128.shift_right(ring128.negate(share), bits))


def scaled(share: Ring, factor: float, *, first: bool) -> Ring:
    """A share of v·factor, for 0 <= factor < 2^20, with 26 bits of the factor or 2^-64 of it exact."""
    if factor == 0:
        return np.zeros_like(share)
    shift = min(_FACTOR_BITS - math.frexp(factor)[1], 64 + _FACTOR_BITS)
    return truncate(ring128.times(share, round(math.ldexp(factor, shift))), shift, first=first)


def narrow(engine: Engine, share: Ring, limit: int) -> Secret:
    """The same integers, of magnitude up to `limit`, modulo 2^64."""
    return engine.adopt(np.ascontiguousarray(share[..., 0]), low=-limit, high=limit)


def widen(engine: Engine, secret: Secret) -> Ring:
    """The same integers, of magnitude below 2^62, modulo 2^128.

    With 2^62 added, v is in [0, 2^63): its parts add up to 2^64 or more just if the highest bit of either is set.
    """
    if max(-secret.low, secret.high) >= 1 << _WIDEN_BITS:
        raise ValueError("too large to be widened")
    first = engine.name == engine.computing[0]
    words = engine.words(secret)
    words = words + np.uint64(1 << _WIDEN_BITS) if first else words
    top = (words >> np.uint64(63)).astype(np.bool_)
    bits = [engine.share_bits(name, top if name == engine.name else None, shape=top.shape) for name in engine.computing]
    wraps = engine.words((bits[0] | bits[1]).integers())
    share = np.stack([words, np.zeros_like(words) - wraps], axis=-1)
    return ring128.subtract(share, ring128.from_int64(np.array(1 << _WIDEN_BITS))) if first else share


def clip(engine: Engine, secret: Secret, low: int, high: int) -> Secret:
    """min(max(v, low), high), for public bounds, both comparisons at once."""
    below, above = secret - low, high - secret
    stacked = engine.concatenate([below, above])
    excess = engine.where(stacked < 0, stacked, engine.constant(np.zeros(stacked.shape, np.int64)))
    count = len(secret)
    return (secret - excess[:count] + excess[count:]).within(low, high)


def soft_threshold(engine: Engine, secret: Secret, threshold: int) -> Secret:
    """v moved towards 0 by a public threshold, or to 0."""
    kept = clip(engine, secret, -threshold, threshold)
    return (secret - kept).within(secret.low, secret.high)


def to_float(values: Ring, fraction: int) -> NDArray[np.float64]:
    """The numbers that opened integers stand for; exact up to 53 bits."""
    flat = ring128.to_ints(values.reshape(-1, 2))
    return np.array([math.ldexp(value, -fraction) for value in flat], np.float64).reshape(values.shape[:-1])
