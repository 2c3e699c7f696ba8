"""The parties that this one has pinned, and the question who is calling.

Functions take a connection of `parties.store`; those that write need one inside `Store.transaction`, so that a
change and the evidence of it commit together. A removed peer is kept, as removed: its name stays taken, its old
signatures stay verifiable, and it may still finish a handshake, so that it is told that it is refused.
"""

import re
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from mpc.errors import InputError, PolicyDenied
from parties.addresses import check_address
from parties.identity.certificates import (
    CLOCK_TOLERANCE,
    IdentityCertificate,
    is_issued_by,
    read_tls,
)

MAX_PEERS = 1000
_FINGERPRINT_PREFIX = re.compile(r"[0-9a-f]{16,64}")


@dataclass(frozen=True)
class Peer:
    """A pinned party. `address` is the host:port to dial; empty: the peer dials us."""

    name: str
    fingerprint: str
    certificate_pem: bytes = field(repr=False)
    address: str
    state: Literal["active", "removed"]
    added_at: float


class CallerRefused(PolicyDenied):
    """A caller is no active peer. `rule` is a label for the evidence; `peer` the fingerprint behind it, or empty.

    The message is for this node's own log: the caller must learn only that it is refused.
    """

    def __init__(self, message: str, *, rule: str, peer: str = "") -> None:
        super().__init__(message)
        self.rule = rule
        self.peer = peer


def add(db: sqlite3.Connection, certificate: IdentityCertificate, address: str, now: datetime) -> Peer:
    """Pins a party, or pins it again: a removed one becomes active, an active one gets the new address.

    Raises `InputError` when the certificate has expired, the address is no host:port, or another party has the name.
    """
    assert db.in_transaction
    certificate.check_validity(now)
    check_address(address)
    holder = db.execute("SELECT fingerprint FROM peers WHERE name = ?", (certificate.name,)).fetchone()
    if holder is not None and holder["fingerprint"] != certificate.fingerprint:
        raise InputError(
            f"the name {certificate.name} belongs to another peer, with fingerprint {holder['fingerprint'][:16]}",
            hint="names are never reused, not even of removed peers: this party makes an identity with another name",
        )
    if holder is None and db.execute("SELECT count(*) FROM peers").fetchone()[0] >= MAX_PEERS:
        raise InputError(
            f"there are {MAX_PEERS} peers already, removed ones among them",
            hint="names of peers are never forgotten: make another node for more",
        )
    db.execute(
        "INSERT INTO peers (fingerprint, name, certificate, address, state, added_at) VALUES (?, ?, ?, ?, 'active', ?) "
        "ON CONFLICT (fingerprint) DO UPDATE SET "
        "address = excluded.address, state = excluded.state, added_at = excluded.added_at",
        (certificate.fingerprint, certificate.name, certificate.pem, address, now.timestamp()),
    )
    return find(db, certificate.fingerprint)


def remove(db: sqlite3.Connection, who: str) -> Peer:
    """Marks the peer as removed: from the next look at the registry it is refused. `who` is as in `find`.

    Raises `InputError` when there is no such peer or it was removed before.
    """
    assert db.in_transaction
    peer = find(db, who)
    if peer.state == "removed":
        raise InputError(f"{peer.name} was removed before")
    db.execute("UPDATE peers SET state = 'removed' WHERE fingerprint = ?", (peer.fingerprint,))
    return find(db, peer.fingerprint)


def set_address(db: sqlite3.Connection, who: str, address: str) -> Peer:
    """Changes where the peer is dialled; raises `InputError` when `address` is neither empty nor host:port."""
    assert db.in_transaction
    check_address(address)
    peer = find(db, who)
    db.execute("UPDATE peers SET address = ? WHERE fingerprint = ?", (address, peer.fingerprint))
    return find(db, peer.fingerprint)


def find(db: sqlite3.Connection, who: str) -> Peer:
    """The peer, active or removed, with this name or fingerprint (16 or more of its digits).

    Raises `InputError` when there is none, or more than one.
    """
    rows = db.execute("SELECT * FROM peers WHERE name = ?", (who,)).fetchall()
    if not rows and _FINGERPRINT_PREFIX.fullmatch(who):
        rows = db.execute("SELECT * FROM peers WHERE substr(fingerprint, 1, ?) = ? LIMIT 2", (len(who), who)).fetchall()
    if len(rows) > 1:
        raise InputError(f"more than one peer has a fingerprint that begins with {who}", hint="give more digits of it")
    if not rows:
        raise InputError(
            f"no peer {who[:80]!r}",
            hint="name it as in the list of peers, or give 16 digits or more of its fingerprint",
        )
    return _peer(rows[0])


def read_all(db: sqlite3.Connection) -> tuple[Peer, ...]:
    """Every peer, active and removed, by name."""
    return tuple(_peer(row) for row in db.execute("SELECT * FROM peers ORDER BY name"))


def trusted_roots(peers: Iterable[Peer]) -> bytes:
    """PEM of the certificates of `peers`, for the server's handshakes; `authenticate` then decides about each call.

    Removed ones are among them, so that they are refused with a status that says so. Empty without peers.
    """
    return b"".join(peer.certificate_pem for peer in peers)


def authenticate(auth_context: Mapping[str, Sequence[bytes]], peers: Collection[Peer], now: datetime) -> str:
    """The fingerprint of the active peer that is calling.

    `auth_context` is gRPC's, after a handshake that verified a chain to one of `trusted_roots`. Raises
    `CallerRefused`.
    """
    if list(auth_context.get("ssl_tls_version", ())) != [b"TLSv1.3"]:
        raise CallerRefused("the connection does not use TLS 1.3", rule="tls-version")
    certificates = auth_context.get("x509_pem_cert", ())
    if len(certificates) != 1:
        raise CallerRefused("the caller showed no certificate", rule="no-certificate")
    pem = certificates[0]
    try:
        shown = read_tls(pem)
    except InputError as error:
        raise CallerRefused(f"the caller's certificate was refused: {error}", rule="malformed-certificate") from None
    peer = next((peer for peer in peers if peer.name == shown.issuer), None)
    if peer is None or not is_issued_by(pem, peer.certificate_pem):
        raise CallerRefused("the caller's certificate was issued by nobody who is pinned here", rule="unknown-issuer")
    known_as = f"{peer.name} (fingerprint {peer.fingerprint[:16]})"
    if shown.name != peer.name:
        raise CallerRefused(f"{known_as} claims to be {shown.name}", rule="claims-another-name", peer=peer.fingerprint)
    if peer.state != "active":
        raise CallerRefused(f"{known_as} was removed from the peers", rule="removed-peer", peer=peer.fingerprint)
    if not shown.not_before - CLOCK_TOLERANCE <= now <= shown.not_after + CLOCK_TOLERANCE:
        raise CallerRefused(
            f"the TLS certificate of {known_as} is valid from {shown.not_before:%Y-%m-%d %H:%M} "
            f"to {shown.not_after:%Y-%m-%d %H:%M} UTC, and it is {now:%Y-%m-%d %H:%M}",
            rule="certificate-lifetime",
            peer=peer.fingerprint,
        )
    return peer.fingerprint


def _peer(row: sqlite3.Row) -> Peer:
    return Peer(
        name=row["name"],
        fingerprint=row["fingerprint"],
        certificate_pem=row["certificate"],
        address=row["address"],
        state=row["state"],
        added_at=row["added_at"],
    )
