"""Base oblivious transfers on ristretto255: the chooser gets one of two random keys, the sender both.

Three messages' worth of steps: `offer` (sender), `choose` (chooser), `keys` (sender).

Security: semi-honest; computational Diffie-Hellman, hash as random oracle; 128 bits. C = hash of a constant, so that
          nobody knows its discrete logarithm.
Source:   Naor, Pinkas, Efficient oblivious transfer protocols, SODA 2001, section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from mpc.errors import ProtocolError
from mpc.primitives.ristretto import POINT_BYTES, hash_to_group, multiply, multiply_base, random_scalar, subtract
from mpc.primitives.threads import spread
from mpc.rng import Rng

KEY_BYTES = 16
_PIECE = 16  # transfers a task: a millisecond
_DOMAIN = b"sealane/base_ot/1/ristretto255_XMD:SHA-512_R255MAP_RO_/"
_DOMAIN_KEY = b"sealane/base_ot.key/1\0"


@dataclass(frozen=True)
class Offer:
    """What the sender keeps between its two steps."""

    scalar: bytes = field(repr=False)
    point: bytes


def offer(rng: Rng) -> Offer:
    """The sender's first step; `point` (32 bytes) is its message."""
    scalar = random_scalar(rng)
    return Offer(scalar, multiply_base(scalar))


def choose(offered: bytes, choices: Sequence[bool], session: bytes, rng: Rng) -> tuple[list[bytes], bytes]:
    """The chooser's step: the key of each choice, and its message, packed points.

    Raises `ProtocolError` unless `offered` is an element other than the identity.
    """
    common = hash_to_group(b"C", _DOMAIN)
    scalars = [random_scalar(rng) for _ in choices]
    chosen, message = [b""] * len(choices), [b""] * len(choices)

    def work(piece: slice) -> None:
        for index in range(piece.start, piece.stop):
            point = multiply_base(scalars[index])
            first = subtract(common, point) if choices[index] else point
            chosen[index] = _key(session, index, first, multiply(scalars[index], offered))
            message[index] = first

    spread(work, len(choices), _PIECE)
    return chosen, b"".join(message)


def keys(offered: Offer, message: bytes, count: int, session: bytes) -> list[tuple[bytes, bytes]]:
    """The sender's second step: both keys of each transfer; raises `ProtocolError` for anything but `count` points."""
    if len(message) != count * POINT_BYTES:
        raise ProtocolError(f"expected {count} points for base oblivious transfers, got {len(message)} bytes")
    second = multiply(offered.scalar, hash_to_group(b"C", _DOMAIN))
    pairs = [(b"", b"")] * count

    def work(piece: slice) -> None:
        for index in range(piece.start, piece.stop):
            point = message[index * POINT_BYTES : (index + 1) * POINT_BYTES]
            shared = multiply(offered.scalar, point)
            pairs[index] = _key(session, index, point, shared), _key(session, index, point, subtract(second, shared))

    spread(work, count, _PIECE)
    return pairs


def _key(session: bytes, index: int, point: bytes, shared: bytes) -> bytes:
    return blake2b(
        _DOMAIN_KEY + index.to_bytes(4, "little") + point + shared, digest_size=KEY_BYTES, salt=session
    ).digest()
