"""The prime-order group ristretto255 (RFC 9496) on libsodium, and hashing to it (RFC 9380, appendix B).

A point is its canonical encoding of 32 bytes; a scalar is 32 bytes, little-endian, below the group's order. Every
operation here refuses the identity and every encoding that is not canonical, so a point received from a peer is
checked by using it.
"""

import ctypes
import hashlib

from mpc.errors import ProtocolError
from mpc.primitives import libsodium
from mpc.rng import Rng

POINT_BYTES = 32
SCALAR_BYTES = 32
UNIFORM_BYTES = 64

_SHA512_BLOCK_BYTES = 128
_SHA512_BYTES = 64
_ZERO_SCALAR = bytes(SCALAR_BYTES)
_AFTER_PADDING = hashlib.sha512(bytes(_SHA512_BLOCK_BYTES))  # Z_pad of RFC 9380, the same for every message
_NO_POINT = "32 bytes are not the canonical encoding of an element of ristretto255 other than the identity"

_LIBRARY = libsodium.load()
_from_hash = _LIBRARY["crypto_core_ristretto255_from_hash"]
_from_hash.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
_multiply = _LIBRARY["crypto_scalarmult_ristretto255"]
_multiply.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_multiply_base = _LIBRARY["crypto_scalarmult_ristretto255_base"]
_multiply_base.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
_subtract = _LIBRARY["crypto_core_ristretto255_sub"]
_subtract.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p)
_reduce = _LIBRARY["crypto_core_ristretto255_scalar_reduce"]
_reduce.argtypes = (ctypes.c_void_p, ctypes.c_char_p)


def expand_message_xmd(message: bytes, dst: bytes, length: int) -> bytes:
    """`length` uniform bytes from `message` under the domain `dst`, with SHA-512: RFC 9380, section 5.3.1.

    `dst` has 1 to 255 bytes and `length` is at most 255 * 64; otherwise raises `ValueError`.
    """
    blocks = -(-length // _SHA512_BYTES)
    if not 1 <= len(dst) <= 255 or not 1 <= blocks <= 255:
        raise ValueError("expand_message_xmd takes a domain of 1 to 255 bytes and gives 1 to 16320 bytes")
    suffix = dst + bytes([len(dst)])
    state = _AFTER_PADDING.copy()
    state.update(message + length.to_bytes(2, "big") + b"\0" + suffix)
    b_0 = state.digest()
    b_i = hashlib.sha512(b_0 + b"\1" + suffix).digest()
    out = b_i
    for i in range(2, blocks + 1):
        mixed = int.from_bytes(b_0, "big") ^ int.from_bytes(b_i, "big")
        b_i = hashlib.sha512(mixed.to_bytes(_SHA512_BYTES, "big") + bytes([i]) + suffix).digest()
        out += b_i
    return out[:length]


def point_from_uniform(uniform: bytes) -> bytes:
    """The element derived from 64 uniform bytes: RFC 9496, section 4.3.4."""
    point = ctypes.create_string_buffer(POINT_BYTES)
    _from_hash(ctypes.addressof(point), _sized(uniform, UNIFORM_BYTES))
    return point.raw


def hash_to_group(message: bytes, dst: bytes) -> bytes:
    """hash_to_ristretto255 with SHA-512: RFC 9380, appendix B; HashToGroup of RFC 9497, section 4.1."""
    return point_from_uniform(expand_message_xmd(message, dst, UNIFORM_BYTES))


def hash_each_to_group(messages: bytes, width: int, dst: bytes) -> bytes:
    """`hash_to_group` of each message of `width` bytes, of which `messages` holds whole ones."""
    count, rest = divmod(len(messages), width)
    if rest:
        raise ValueError(f"{len(messages)} bytes are not whole messages of {width}")
    points = ctypes.create_string_buffer(POINT_BYTES * count)
    at = ctypes.addressof(points)
    for start in range(0, len(messages), width):
        _from_hash(at, expand_message_xmd(messages[start : start + width], dst, UNIFORM_BYTES))
        at += POINT_BYTES
    return points.raw


def random_scalar(rng: Rng) -> bytes:
    """A uniform scalar other than zero."""
    scalar = ctypes.create_string_buffer(SCALAR_BYTES)
    _reduce(ctypes.addressof(scalar), _sized(rng(UNIFORM_BYTES), UNIFORM_BYTES))
    if scalar.raw == _ZERO_SCALAR:
        raise AssertionError("the source of randomness gave the zero scalar")
    return scalar.raw


def multiply(scalar: bytes, point: bytes) -> bytes:
    """`scalar` times `point`, for a scalar other than zero.

    Raises `ProtocolError` unless `point` is the canonical encoding of an element other than the identity.
    """
    if len(point) != POINT_BYTES:
        raise ProtocolError(f"a point of ristretto255 has {POINT_BYTES} bytes, not {len(point)}")
    if point[-1] & 0x80:  # libsodium ignores this bit, which would give each element a second encoding
        raise ProtocolError(_NO_POINT)
    product = ctypes.create_string_buffer(POINT_BYTES)
    # libsodium refuses other encodings that are not canonical, and a product that is the identity. The order of
    # the group is prime, so with a scalar other than zero that happens for no point but the identity.
    if _multiply(ctypes.addressof(product), _sized(scalar, SCALAR_BYTES), point):
        raise ProtocolError(_NO_POINT)
    return product.raw


def multiply_each(scalar: bytes, points: bytes) -> bytes:
    """`multiply` for each of the points in `points`, with its errors."""
    if len(scalar) != SCALAR_BYTES:
        raise ValueError(f"a scalar of ristretto255 has {SCALAR_BYTES} bytes, not {len(scalar)}")
    if len(points) % POINT_BYTES:
        raise ProtocolError(f"{len(points)} bytes are not whole points of ristretto255 ({POINT_BYTES} bytes each)")
    if max(points[POINT_BYTES - 1 :: POINT_BYTES], default=0) & 0x80:  # see `multiply`
        raise ProtocolError(_NO_POINT)
    given = ctypes.create_string_buffer(points, len(points))
    products = ctypes.create_string_buffer(len(points))
    source, sink = ctypes.addressof(given), ctypes.addressof(products)
    for at in range(0, len(points), POINT_BYTES):
        if _multiply(sink + at, scalar, source + at):
            raise ProtocolError(_NO_POINT)
    return products.raw


def multiply_base(scalar: bytes) -> bytes:
    """`scalar` times the group's generator, for a scalar other than zero."""
    product = ctypes.create_string_buffer(POINT_BYTES)
    if _multiply_base(ctypes.addressof(product), _sized(scalar, SCALAR_BYTES)):
        raise ValueError("the scalar is zero")
    return product.raw


def subtract(point: bytes, other: bytes) -> bytes:
    """`point` minus `other`, two encodings that were made or checked here."""
    difference = ctypes.create_string_buffer(POINT_BYTES)
    if _subtract(ctypes.addressof(difference), _sized(point, POINT_BYTES), _sized(other, POINT_BYTES)):
        raise ValueError(_NO_POINT)
    return difference.raw


def _sized(data: bytes, size: int) -> bytes:
    """`data`, of which libsodium reads `size` bytes."""
    if len(data) != size:
        raise ValueError(f"expected {size} bytes, not {len(data)}")
    return data
