from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mpc.errors import ProtocolError
from mpc.primitives.key_agreement import agree, public_key

# RFC 7748 section 6.1
ALICE = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
ALICE_PUBLIC = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
BOB = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
BOB_PUBLIC = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
SHARED = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")

# Every point whose order divides 8, and one that is not in canonical form: cr.yp.to/ecdh.html#validate
LOW_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def alice(**changes: Any) -> bytes:
    arguments = {"domain": b"d", "session": b"s", "name": "alice", "peer": "bob", "size": 32}
    return agree(ALICE, changes.pop("peer_key", BOB_PUBLIC), **(arguments | changes))


def test_public_keys_and_shared_secret_are_those_of_rfc_7748():
    assert public_key(ALICE) == ALICE_PUBLIC
    assert public_key(BOB) == BOB_PUBLIC
    secret = X25519PrivateKey.from_private_bytes(ALICE).exchange(X25519PublicKey.from_public_bytes(BOB_PUBLIC))
    assert secret == SHARED


@pytest.mark.parametrize(
    "salt, info, okm",
    [
        (
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        ("", "", "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
    ],
)
def test_the_key_derivation_is_that_of_rfc_5869_appendix_a_cases_1_and_3(salt, info, okm):
    hkdf = HKDF(SHA256(), 42, salt=bytes.fromhex(salt), info=bytes.fromhex(info))
    assert hkdf.derive(b"\x0b" * 22).hex() == okm


def test_the_derived_key_is_hkdf_over_the_secret_and_everything_it_is_bound_to():
    parts = [b"d", b"s", b"alice", ALICE_PUBLIC, b"bob", BOB_PUBLIC]
    info = b"".join(len(part).to_bytes(4, "little") + part for part in parts)
    assert alice() == HKDF(SHA256(), 32, salt=None, info=info).derive(SHARED)


def test_both_ends_derive_the_same_key():
    assert alice() == agree(BOB, ALICE_PUBLIC, domain=b"d", session=b"s", name="bob", peer="alice", size=32)


@pytest.mark.parametrize(
    "change",
    [{"domain": b"e"}, {"session": b"t"}, {"name": "carol"}, {"peer": "carol"}, {"domain": b"ds", "session": b""}],
)
def test_another_purpose_session_or_party_gives_another_key(change):
    assert alice(**change) != alice()


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_public_key_of_low_order_is_refused_by_name(point):
    with pytest.raises(ProtocolError, match="bob: sent a public key of low order"):
        alice(peer_key=bytes.fromhex(point))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_public_key_of_another_size_is_refused(size):
    with pytest.raises(ProtocolError, match=f"bob: sent a public key of {size} bytes"):
        alice(peer_key=bytes(size))
