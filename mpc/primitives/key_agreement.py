"""Pairwise keys from X25519 and HKDF-SHA256, bound to a purpose, a session and both parties.

Security: computational Diffie-Hellman in Curve25519, HKDF as random oracle; the public keys must come over
authenticated channels. Source: RFC 7748 section 6.1 (with its check for an all-zero secret), RFC 5869.
"""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mpc.errors import ProtocolError

KEY_BYTES = 32  # of a private and of a public key


def public_key(private_key: bytes) -> bytes:
    """The public key of 32 uniform random bytes."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def agree(
    private_key: bytes, peer_key: bytes, *, domain: bytes, session: bytes, name: str, peer: str, size: int
) -> bytes:
    """`size` bytes that `name`, who owns `private_key`, and `peer`, who owns `peer_key`, can both derive.

    Other bytes for each `domain` (purpose and version), `session` and pair. Raises `ProtocolError` when `peer_key`
    has not 32 bytes or is of low order, which would make the secret independent of `private_key`.
    """
    if len(peer_key) != KEY_BYTES:
        raise ProtocolError(f"{peer}: sent a public key of {len(peer_key)} bytes, not {KEY_BYTES}")
    own = X25519PrivateKey.from_private_bytes(private_key)
    try:
        secret = own.exchange(X25519PublicKey.from_public_bytes(peer_key))
    except ValueError:
        raise ProtocolError(f"{peer}: sent a public key of low order") from None
    ends = sorted([(name.encode(), own.public_key().public_bytes_raw()), (peer.encode(), peer_key)])
    info = _packed(domain, session, *(part for end in ends for part in end))
    return HKDF(SHA256(), size, salt=None, info=info).derive(secret)


def _packed(*parts: bytes) -> bytes:
    """Each part behind its length, so that no two lists give the same bytes."""
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)
