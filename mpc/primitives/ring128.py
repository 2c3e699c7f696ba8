"""Integers modulo 2^128 in arrays: the ring of shares that products of fixed-point numbers do not overflow.

An array of shape S of ring elements is a uint64 array of shape (*S, 2): the low word, then the high word. An element
stands for the signed integer in [-2^127, 2^127) that it is congruent to.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mpc.rng import Rng

BITS = 128
BYTES = 16

Ring = NDArray[np.uint64]
I64 = NDArray[np.int64]

_LIMB_BITS = 32
_LIMB = np.uint64(2**_LIMB_BITS - 1)
# Sums of a factor times a limb must stay below 2^62.
_FACTOR_BITS = 29
_TERMS_BITS = 62 - _LIMB_BITS


def zeros(*shape: int) -> Ring:
    """Zero, of that shape."""
    return np.zeros((*shape, 2), np.uint64)


def from_int64(values: I64) -> Ring:
    """Signed integers as ring elements."""
    values = np.asarray(values, np.int64)
    return np.stack([values.view(np.uint64), (values >> 63).view(np.uint64)], axis=-1)


def from_ints(values: Iterable[int]) -> Ring:
    """Integers of any size modulo 2^128, in one dimension."""
    data = b"".join((value % 2**BITS).to_bytes(BYTES, "little") for value in values)
    return np.frombuffer(data, "<u8").astype(np.uint64).reshape(-1, 2)


def to_ints(a: Ring) -> list[int]:
    """The signed integers that a one-dimensional array stands for."""
    pairs = zip(a[:, 0].tolist(), a[:, 1].view(np.int64).tolist(), strict=True)
    return [low + (high << 64) for low, high in pairs]


def to_bytes(a: Ring) -> bytes:
    """16 bytes an element, little-endian."""
    return np.ascontiguousarray(a, "<u8").tobytes()


def from_bytes(data: bytes, *shape: int) -> Ring:
    """The elements in exactly as many bytes as `shape` takes."""
    return np.frombuffer(data, "<u8").astype(np.uint64).reshape(*shape, 2)


def random(rng: Rng, *shape: int) -> Ring:
    """Uniform elements."""
    return from_bytes(rng(math.prod(shape) * BYTES), *shape)


def add(a: Ring, b: Ring) -> Ring:
    """a + b, element by element."""
    low = a[..., 0] + b[..., 0]
    return np.stack([low, a[..., 1] + b[..., 1] + (low < b[..., 0])], axis=-1)


def negate(a: Ring) -> Ring:
    """-a."""
    low = ~a[..., 0] + np.uint64(1)
    return np.stack([low, ~a[..., 1] + (low == 0)], axis=-1)


def subtract(a: Ring, b: Ring) -> Ring:
    """a - b, element by element."""
    return add(a, negate(b))


def total(parts: Sequence[Ring]) -> Ring:
    """The sum of one or more arrays of the same shape."""
    result = parts[0]
    for part in parts[1:]:
        result = add(result, part)
    return result


def shift_right(a: Ring, bits: int) -> Ring:
    """floor(a / 2^bits) of the signed integers, for 0 < bits < 128."""
    high = a[..., 1].view(np.int64)
    if bits >= 64:
        return from_int64(high >> np.int64(bits - 64))
    low = (a[..., 0] >> np.uint64(bits)) | (a[..., 1] << np.uint64(64 - bits))
    return np.stack([low, (high >> np.int64(bits)).view(np.uint64)], axis=-1)


def times(a: Ring, factors: I64 | int) -> Ring:
    """a·factors, element by element, for factors of magnitude below 2^29."""
    factors = np.asarray(factors, np.int64)
    _check(factors, _FACTOR_BITS)
    return _carry([limb * factors for limb in _limbs(a)])


def product(x: I64, a: Ring) -> Ring:
    """x·a for a matrix of integers of magnitude below 2^29 and a matrix of ring elements: (n, d)·(d, k, 2)."""
    _check(x, _FACTOR_BITS)
    step = int(2**_TERMS_BITS // max(1, int(np.abs(x).max(initial=0))))
    result = zeros(x.shape[0], a.shape[1])
    for start in range(0, x.shape[1], step):
        columns, rows = x[:, start : start + step], a[start : start + step]
        result = add(result, _carry([columns @ limb for limb in _limbs(rows)]))
    return result


def _check(factors: I64, bits: int) -> None:
    if factors.size and int(np.abs(factors).max()) >= 2**bits:
        raise ValueError(f"a factor has {bits} bits or more")


def _limbs(a: Ring) -> list[I64]:
    """Four digits of 32 bits."""
    shift = np.uint64(_LIMB_BITS)
    pairs = [(a[..., word] & _LIMB, a[..., word] >> shift) for word in (0, 1)]
    return [limb.astype(np.int64) for pair in pairs for limb in pair]


def _carry(sums: Sequence[I64]) -> Ring:
    """The elements with these signed digits to the base 2^32, each of magnitude below 2^62."""
    digits, carry = [], np.zeros_like(sums[0])
    for digit in sums:
        value = digit + carry
        digits.append(value.view(np.uint64) & _LIMB)
        carry = value >> _LIMB_BITS
    shift = np.uint64(_LIMB_BITS)
    return np.stack([digits[0] | digits[1] << shift, digits[2] | digits[3] << shift], axis=-1)
