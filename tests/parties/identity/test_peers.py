"""The registry of peers, and who a caller is."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from mpc.errors import InputError
from parties.evidence.kinds import check_fields
from parties.identity import peers
from parties.identity.certificates import issue_tls, read_identity
from parties.identity.keys import Identity, TlsCredentials
from parties.identity.peers import CallerRefused, Peer, authenticate
from parties.store import Store


def _add(store: Store, identity: Identity, now: datetime, address: str = "") -> Peer:
    with store.transaction() as db:
        return peers.add(db, read_identity(identity.certificate_pem), address, now)


def _remove(store: Store, who: str) -> Peer:
    with store.transaction() as db:
        return peers.remove(db, who)


def test_a_peer_is_found_by_name_fingerprint_and_long_prefix(
    alice: Identity, bob: Identity, alice_store: Store, now: datetime
) -> None:
    added = _add(alice_store, bob, now, "bob.example:7443")
    _add(alice_store, alice, now)
    db = alice_store.connection()
    for who in ("bob", bob.fingerprint, bob.fingerprint[:16]):
        assert peers.find(db, who) == added
    for who in ("carol", bob.fingerprint[:15], "", "%", bob.fingerprint[:15] + "_", bob.fingerprint.upper()):
        with pytest.raises(InputError, match="no peer"):
            peers.find(db, who)
    assert [peer.name for peer in peers.read_all(db)] == ["alice", "bob"]


def test_a_prefix_of_two_fingerprints_is_refused(bob: Identity, alice_store: Store, now: datetime) -> None:
    _add(alice_store, bob, now)
    with alice_store.transaction() as db:
        db.execute(
            "INSERT INTO peers (fingerprint, name, certificate, state, added_at) VALUES (?, 'other', x'', 'active', 0)",
            (bob.fingerprint[:20] + "0" * 44,),
        )
    with pytest.raises(InputError, match="more than one peer"):
        peers.find(alice_store.connection(), bob.fingerprint[:16])


def test_a_removed_peer_stays_known_and_its_name_stays_taken(
    bob: Identity, identity_of: Callable[..., Identity], alice_store: Store, now: datetime
) -> None:
    _add(alice_store, bob, now)
    assert _remove(alice_store, "bob").state == "removed"
    with pytest.raises(InputError, match="removed before"):
        _remove(alice_store, "bob")
    assert bob.certificate_pem in peers.trusted_roots(peers.read_all(alice_store.connection()))
    with pytest.raises(InputError, match="belongs to another peer"):
        _add(alice_store, identity_of("bob", now + timedelta(minutes=1)), now)
    assert _add(alice_store, bob, now).state == "active"


def test_the_number_of_peers_is_bounded(alice: Identity, bob: Identity, alice_store: Store, now: datetime) -> None:
    _add(alice_store, bob, now)
    with alice_store.transaction() as db:
        db.execute(
            "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO peers (fingerprint, name, certificate, state, added_at) SELECT i, i, x'', 'active', 0 FROM n",
            (peers.MAX_PEERS,),
        )
    with pytest.raises(InputError, match="1000 peers already"):
        _add(alice_store, alice, now)
    assert _add(alice_store, bob, now, "bob.example:1").address == "bob.example:1"


def test_the_address_can_be_changed(bob: Identity, alice_store: Store, now: datetime) -> None:
    _add(alice_store, bob, now, "bob.example:1")
    with alice_store.transaction() as db:
        assert peers.set_address(db, "bob", "[2001:db8::1]:7443").address == "[2001:db8::1]:7443"
        with pytest.raises(InputError, match="host:port"):
            peers.set_address(db, "bob", "bob")


def test_an_expired_identity_is_not_pinned(bob: Identity, alice_store: Store, now: datetime) -> None:
    with pytest.raises(InputError, match="expired"):
        _add(alice_store, bob, now + timedelta(days=3651))


def _context(pem: bytes, version: bytes = b"TLSv1.3") -> dict[str, list[bytes]]:
    return {"x509_pem_cert": [pem], "ssl_tls_version": [version]}


def _shown(identity: Identity, now: datetime) -> bytes:
    """What gRPC gives as the certificate of a caller with these credentials."""
    return identity.tls(now).certificate_chain.removesuffix(identity.certificate_pem)


@pytest.fixture
def registry(alice: Identity, bob: Identity, alice_store: Store, now: datetime) -> tuple[Peer, ...]:
    _add(alice_store, bob, now)
    _add(alice_store, alice, now)
    return peers.read_all(alice_store.connection())


def test_an_active_peer_is_recognised_before_and_after_rotation(
    bob: Identity, registry: tuple[Peer, ...], now: datetime
) -> None:
    first, second = _shown(bob, now), _shown(bob, now + timedelta(days=25))
    assert first != second
    assert authenticate(_context(first), registry, now) == bob.fingerprint
    assert authenticate(_context(second), registry, now + timedelta(days=26)) == bob.fingerprint


def test_a_removed_peer_is_refused_at_once(
    bob: Identity, registry: tuple[Peer, ...], alice_store: Store, now: datetime
) -> None:
    assert authenticate(_context(_shown(bob, now)), registry, now) == bob.fingerprint
    _remove(alice_store, "bob")
    with pytest.raises(CallerRefused, match=f"bob .fingerprint {bob.fingerprint[:16]}. was removed"):
        authenticate(_context(_shown(bob, now)), peers.read_all(alice_store.connection()), now)


def test_an_unknown_party_is_refused(
    identity_of: Callable[..., Identity], registry: tuple[Peer, ...], now: datetime
) -> None:
    for stranger in (identity_of("carol"), identity_of("bob", now + timedelta(minutes=1))):
        with pytest.raises(CallerRefused, match="nobody who is pinned here"):
            authenticate(_context(_shown(stranger, now)), registry, now)


def test_a_certificate_is_refused_outside_its_lifetime(
    bob: Identity, registry: tuple[Peer, ...], now: datetime
) -> None:
    pem = x509.load_pem_x509_certificate(_shown(bob, now))
    first, last = pem.not_valid_before_utc, pem.not_valid_after_utc
    context = _context(pem.public_bytes(Encoding.PEM))
    for inside in (first - timedelta(minutes=9), last + timedelta(minutes=9)):
        assert authenticate(context, registry, inside) == bob.fingerprint
    for outside in (first - timedelta(minutes=11), last + timedelta(minutes=11)):
        with pytest.raises(CallerRefused, match="is valid from"):
            authenticate(context, registry, outside)


def test_older_tls_and_missing_facts_are_refused(bob: Identity, registry: tuple[Peer, ...], now: datetime) -> None:
    pem = _shown(bob, now)
    for context in ({}, {"x509_pem_cert": [pem]}, _context(pem, b"TLSv1.2")):
        with pytest.raises(CallerRefused, match=r"TLS 1\.3"):
            authenticate(context, registry, now)
    for certificates in ([], [pem, pem]):
        with pytest.raises(CallerRefused, match="no certificate"):
            authenticate(_context(pem) | {"x509_pem_cert": certificates}, registry, now)
    for nonsense in (b"", b"\xff", pem[:-60], bytes(9999)):
        with pytest.raises(CallerRefused, match="was refused"):
            authenticate(_context(nonsense), registry, now)


def test_the_identity_itself_is_no_tls_certificate(bob: Identity, registry: tuple[Peer, ...], now: datetime) -> None:
    with pytest.raises(CallerRefused, match="may issue certificates"):
        authenticate(_context(bob.certificate_pem), registry, now)


def test_a_peer_that_claims_another_name_is_refused_with_its_own(
    bob: Identity, registry: tuple[Peer, ...], misissue: Callable[..., TlsCredentials], now: datetime
) -> None:
    def showing(**claims: str) -> dict[str, list[bytes]]:
        return _context(misissue(bob, now, **claims).certificate_chain.removesuffix(bob.certificate_pem))

    assert authenticate(showing(subject="bob", issuer="bob"), registry, now) == bob.fingerprint
    with pytest.raises(CallerRefused, match=f"bob .fingerprint {bob.fingerprint[:16]}. claims to be alice") as raised:
        authenticate(showing(subject="alice", issuer="bob"), registry, now)
    assert (raised.value.rule, raised.value.peer) == ("claims-another-name", bob.fingerprint)
    check_fields("peer_refused", {"rule": raised.value.rule, "peer": raised.value.peer})
    with pytest.raises(CallerRefused, match="nobody who is pinned here"):
        authenticate(showing(subject="alice", issuer="alice"), registry, now)
    with pytest.raises(CallerRefused, match="just a party's name"):
        authenticate(showing(subject="Bob <x>", issuer="bob"), registry, now)
    with pytest.raises(CallerRefused, match="host name"):
        authenticate(showing(subject="bob", issuer="bob", host="bank.example"), registry, now)


def test_the_tls_key_cannot_issue_for_its_party(bob: Identity, registry: tuple[Peer, ...], now: datetime) -> None:
    thief = ec.generate_private_key(ec.SECP256R1())
    forged = issue_tls(thief, read_identity(bob.certificate_pem), thief.public_key(), now)
    with pytest.raises(CallerRefused, match="nobody who is pinned here"):
        authenticate(_context(forged.public_bytes(Encoding.PEM)), registry, now)
