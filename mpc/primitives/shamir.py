"""Shamir's secret sharing of byte strings, each byte by itself, over GF(2^8).

Any `threshold` shares give the secret; fewer are uniform and independent of it, whatever the adversary can compute.
GF(2^8) rather than a prime field: every byte string is a valid secret and a valid share of the same length, so that
nothing is padded, reduced or rejected, and 255 holders are more than a job has parties. Field: GF(2)[X] modulo
X^8 + X^4 + X^3 + X + 1 (FIPS 197, section 4). Source: Shamir, CACM 1979, doi.org/10.1145/359168.359176.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mpc.errors import ProtocolError
from mpc.rng import Rng

MAX_HOLDERS = 255  # the non-zero points of the field


@dataclass(frozen=True)
class Share:
    """The value at `x`, 1 to 255, of the polynomials whose values at 0 are the secret."""

    x: int
    data: bytes = field(repr=False)


def split(secret: bytes, threshold: int, holders: int, rng: Rng) -> list[Share]:
    """Shares at x = 1, 2, ..., `holders`, any `threshold` of which give `secret` back."""
    if not 1 <= threshold <= holders <= MAX_HOLDERS:
        raise ValueError(f"threshold {threshold} of {holders} holders: 1 <= threshold <= holders <= {MAX_HOLDERS}")
    size = len(secret)
    random = np.frombuffer(rng((threshold - 1) * size), np.uint8).reshape(threshold - 1, size)
    coefficients = [np.frombuffer(secret, np.uint8), *random]
    shares = []
    for x in range(1, holders + 1):
        value = np.zeros(size, np.uint8)
        for coefficient in reversed(coefficients):  # Horner
            value = _PRODUCT[x][value] ^ coefficient
        shares.append(Share(x, value.tobytes()))
    return shares


def combine(shares: Sequence[Share], threshold: int) -> bytes:
    """The secret of at least `threshold` shares.

    Raises `ProtocolError` for too few shares, a repeated point, a point outside 1 to 255, unequal lengths, and for
    shares beyond the threshold that do not lie on the polynomial of the others.
    """
    if threshold < 1 or len(shares) < threshold:
        raise ProtocolError(f"{len(shares)} shares cannot give a secret that takes {threshold}")
    points = [share.x for share in shares]
    if not all(1 <= x <= MAX_HOLDERS for x in points):
        raise ProtocolError(f"a share's point is not in 1 to {MAX_HOLDERS}")
    if len(set(points)) != len(points):
        raise ProtocolError("two shares have the same point")
    if len({len(share.data) for share in shares}) != 1:
        raise ProtocolError("shares of one secret have different lengths")
    basis = shares[:threshold]
    for share in shares[threshold:]:
        if _interpolate(basis, share.x) != share.data:
            raise ProtocolError("the shares do not belong to one secret")
    return _interpolate(basis, 0)


def _interpolate(shares: Sequence[Share], x: int) -> bytes:
    """The value at `x` of the polynomials of least degree through `shares` (Lagrange)."""
    value = np.zeros(len(shares[0].data), np.uint8)
    for share in shares:
        weight = 1
        for other in shares:
            if other.x != share.x:
                factor = _PRODUCT[x ^ other.x][_INVERSE[share.x ^ other.x]]
                weight = int(_PRODUCT[weight][factor])
        value ^= _PRODUCT[weight][np.frombuffer(share.data, np.uint8)]
    return value.tobytes()


def _tables() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """All products, and all inverses (of 0: 0), from powers of the generator X + 1."""
    powers = np.zeros(255, np.int64)
    power = 1
    for i in range(255):
        powers[i] = power
        power ^= power << 1
        if power & 0x100:
            power ^= 0x11B
    logarithm = np.zeros(256, np.int64)
    logarithm[powers] = np.arange(255)
    nonzero = np.arange(1, 256)
    product = np.zeros((256, 256), np.uint8)
    product[1:, 1:] = powers[(logarithm[nonzero][:, None] + logarithm[nonzero][None, :]) % 255]
    inverse = np.zeros(256, np.uint8)
    inverse[1:] = powers[-logarithm[nonzero] % 255]
    return product, inverse


_PRODUCT, _INVERSE = _tables()
