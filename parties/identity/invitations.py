"""How two parties meet: an invitation and a reply, signed files that their operators exchange out of band.

The inviter writes an invitation; whoever accepts it pins the inviter and writes a reply; the inviter accepts the reply
and pins whoever wrote it. Each file works once and expires. Its signature proves only that it is whole: that the right
party made it is known when both operators have compared the two fingerprints aloud (`keys.format_fingerprint`).
"""

import sqlite3
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from mpc.errors import InputError, ProtocolError
from mpc.job import canonical_json, explain
from mpc.rng import Rng
from parties.addresses import check_address
from parties.identity import peers
from parties.identity.certificates import CLOCK_TOLERANCE, IdentityCertificate, read_identity
from parties.identity.keys import Identity, verify
from parties.identity.peers import Peer

LIFETIME = timedelta(days=7)
MAX_LIFETIME = timedelta(days=31)
MAX_INVITATION_BYTES = 8192
_ANOTHER_FILE = "ask its operator to send the file that `sealane peer invite` or `accept` wrote, as an attachment"
_DOMAIN = b"sealane/invitation/1"
_ASK_AGAIN = "ask for a new invitation"

Kind = Literal["sealane invitation", "sealane reply"]


@with_config(ConfigDict(extra="forbid", strict=True))
@dataclass(frozen=True)
class _File:
    """The JSON of an invitation or a reply. The signature covers the canonical form of everything else."""

    kind: Kind
    version: Literal[1]
    certificate: str
    address: str
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    expires: Annotated[int, Field(ge=0, lt=253402300800)]  # seconds since 1970, before the year 10000
    to: Annotated[str, Field(pattern=r"^(?:[0-9a-f]{64})?$")]  # of a reply: the inviter's fingerprint
    signature: Annotated[str, Field(pattern=r"^(?:[0-9a-f]{2})*$")] = ""

    def signed_part(self) -> bytes:
        values = asdict(self)
        del values["signature"]
        return canonical_json(values)


_ADAPTER = TypeAdapter(_File)


@dataclass(frozen=True)
class Invitation:
    """A whole and current invitation or reply, and the party that accepting it would pin."""

    kind: Kind
    certificate: IdentityCertificate
    address: str
    nonce: str = field(repr=False)
    expires: datetime
    to: str


def invite(
    identity: Identity,
    db: sqlite3.Connection,
    address: str,
    now: datetime,
    rng: Rng,
    *,
    lifetime: timedelta = LIFETIME,
) -> bytes:
    """The bytes of an invitation file; `db` is in a transaction.

    `address` is the host:port where this party can be dialled, or empty. Raises `InputError` for any other address and
    for a lifetime of more than `MAX_LIFETIME`.
    """
    assert db.in_transaction
    if not timedelta() < lifetime <= MAX_LIFETIME:
        raise InputError(f"an invitation is valid for at most {MAX_LIFETIME.days} days")
    expires = int((now + lifetime).timestamp())
    nonce = rng(16).hex()
    data = _write(identity, kind="sealane invitation", address=address, nonce=nonce, expires=expires, to="")
    db.execute("INSERT INTO invitations (nonce, expires_at) VALUES (?, ?)", (nonce, expires))
    return data


def read(data: bytes, now: datetime) -> Invitation:
    """What the file says, without accepting it: for its operator to look at.

    Raises `InputError` when it is malformed, changed, or not valid at the time `now`.
    """
    file = _parse(data)
    try:
        certificate = read_identity(file.certificate.encode())
        verify(certificate.pem, _DOMAIN, file.signed_part(), bytes.fromhex(file.signature))
    except ProtocolError:
        raise InputError("the file was changed after it was signed", hint="ask for the file again") from None
    certificate.check_validity(now)
    check_address(file.address)
    expires = datetime.fromtimestamp(file.expires, UTC)
    if now > expires + CLOCK_TOLERANCE:
        raise InputError(f"the {file.kind} expired on {expires:%Y-%m-%d %H:%M} UTC", hint=_ASK_AGAIN)
    if expires > now + MAX_LIFETIME + CLOCK_TOLERANCE:
        raise InputError(f"the {file.kind} is valid for longer than {MAX_LIFETIME.days} days", hint=_ASK_AGAIN)
    return Invitation(file.kind, certificate, file.address, file.nonce, expires, file.to)


def accept(identity: Identity, db: sqlite3.Connection, data: bytes, address: str, now: datetime) -> tuple[Peer, bytes]:
    """Pins whoever wrote the file; `db` is in a transaction. Returns the peer and, for an invitation, the reply file.

    `address` is where this party can be dialled, for the reply; the bytes returned are empty when the file was a reply
    itself. Raises `InputError` when the file is malformed, changed, expired, used, meant for another party or this
    party's own, and when its name belongs to another peer.
    """
    assert db.in_transaction
    invitation = read(data, now)
    certificate = invitation.certificate
    if certificate.fingerprint == identity.fingerprint:
        raise InputError(f"this {invitation.kind} is your own", hint="send it to the other party")
    if certificate.name == identity.name:
        raise InputError(
            f"the other party calls itself {identity.name}, like this one",
            hint="one of the two makes an identity with another name",
        )
    if invitation.kind == "sealane reply":
        _consume(identity, db, invitation, now)
        return peers.add(db, certificate, invitation.address, now), b""
    expires = int(invitation.expires.timestamp())
    if db.execute("SELECT 1 FROM invitations WHERE nonce = ?", (invitation.nonce,)).fetchone():
        raise InputError("this sealane invitation was used before", hint=_ASK_AGAIN)
    db.execute(
        "INSERT INTO invitations (nonce, expires_at, used_by) VALUES (?, ?, ?)",
        (invitation.nonce, expires, certificate.fingerprint),
    )
    peer = peers.add(db, certificate, invitation.address, now)
    reply = _write(
        identity,
        kind="sealane reply",
        address=address,
        nonce=invitation.nonce,
        expires=expires,
        to=certificate.fingerprint,
    )
    return peer, reply


def _consume(identity: Identity, db: sqlite3.Connection, reply: Invitation, now: datetime) -> None:
    """Marks the invitation that `reply` answers as used."""
    if reply.to != identity.fingerprint:
        raise InputError(
            "this sealane reply answers another party's invitation", hint="ask its operator for the reply to yours"
        )
    row = db.execute("SELECT * FROM invitations WHERE nonce = ?", (reply.nonce,)).fetchone()
    if row is None:
        raise InputError(
            "this sealane reply answers no invitation of this node",
            hint="send a new invitation, from this node's folder, and accept the reply to that",
        )
    if row["used_by"] is not None:
        raise InputError("the invitation that this sealane reply answers was used before", hint="send a new invitation")
    if now.timestamp() > row["expires_at"]:
        raise InputError("the invitation that this sealane reply answers has expired", hint="send a new invitation")
    db.execute("UPDATE invitations SET used_by = ? WHERE nonce = ?", (reply.certificate.fingerprint, reply.nonce))


def _write(identity: Identity, *, kind: Kind, address: str, nonce: str, expires: int, to: str) -> bytes:
    check_address(address)
    unsigned = _File(
        kind=kind,
        version=1,
        certificate=identity.certificate_pem.decode(),
        address=address,
        nonce=nonce,
        expires=expires,
        to=to,
    )
    signature = identity.sign(_DOMAIN, unsigned.signed_part()).hex()
    return canonical_json(asdict(unsigned) | {"signature": signature}) + b"\n"


def _parse(data: bytes) -> _File:
    if len(data) > MAX_INVITATION_BYTES:
        raise InputError(f"not an invitation or a reply: {len(data)} bytes are too many", hint=_ANOTHER_FILE)
    data = data.strip()  # mail programs add line ends
    try:
        file = _ADAPTER.validate_json(data)
    except ValidationError as error:
        raise InputError(f"not an invitation or a reply: {explain(error)}", hint=_ANOTHER_FILE) from None
    if canonical_json(asdict(file)) != data:
        raise InputError("not an invitation or a reply: its JSON is not in canonical form", hint=_ANOTHER_FILE)
    return file
