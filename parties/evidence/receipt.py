"""The receipt of a job: one statement of how it ended, signed by every party that took part.

Each party builds the statement from what it knows, and signs it only if that equals what it was sent, so that a
complete receipt proves to anybody that all agreed.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from mpc.errors import InputError, ProtocolError
from mpc.job import NAME, canonical_json, explain
from parties.evidence.kinds import MAX_COUNT
from parties.identity.certificates import read_identity
from parties.identity.keys import MAX_SIGNATURE_BYTES, Identity, verify

DOMAIN = b"sealane/receipt/1"
MAX_RECEIPT_BYTES = 64 * 2**10  # fifty parties fit

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Name = Annotated[str, Field(pattern=f"^(?:{NAME.pattern})$")]
_Label = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,62}$")]
_Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
_HEX = re.compile(rf"(?:[0-9a-f]{{2}}){{1,{MAX_SIGNATURE_BYTES}}}")
_Signature = Annotated[str, Field(pattern=f"^{_HEX.pattern}$")]
_STRICT = ConfigDict(extra="forbid", strict=True)


@with_config(_STRICT)
@dataclass(frozen=True)
class Statement:
    """How a job ended. What all parties know alike, and nothing that one of them has to keep.

    `outcome` is the job's last state; `parties` maps each name to its fingerprint; `receivers` are the names that
    learned the result, as in the job; `dropped` are the names of parties that were lost on the way and that the
    protocol could do without; `started_at` is when the last attempt started (0: none did), in seconds since 1970, by
    the clock of the party that coordinated; `counts` are, by name, what all parties counted alike (`Spec.agreed`).
    """

    job: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    digest: _Digest
    outcome: _Label
    attempt: _Count
    parties: Annotated[Mapping[_Name, _Digest], Field(min_length=2, max_length=50)]
    receivers: Annotated[tuple[_Name, ...], Field(max_length=50)]
    dropped: Annotated[tuple[_Name, ...], Field(max_length=50)]
    started_at: _Count
    counts: Annotated[Mapping[_Label, _Count], Field(max_length=20)] = field(default_factory=dict)
    kind: Literal["sealane receipt"] = "sealane receipt"
    version: Literal[1] = 1

    def __post_init__(self) -> None:
        if len(set(self.parties.values())) != len(self.parties):
            raise InputError("not a statement: two of its parties are the same")
        if not set(self.receivers) <= set(self.parties) or len(set(self.receivers)) != len(self.receivers):
            raise InputError("not a statement: its receivers are not among its parties, each once")
        lost = set(self.dropped)
        if list(self.dropped) != sorted(lost) or not lost <= set(self.parties) - set(self.receivers):
            raise InputError("not a statement: its dropped are not parties other than receivers, in order, each once")

    def to_bytes(self) -> bytes:
        """Canonical JSON: what every party signs."""
        return canonical_json(asdict(self))

    @property
    def hash(self) -> str:
        """Hexadecimal SHA-256 over the domain and the bytes: what the log keeps of it."""
        return hashlib.sha256(DOMAIN + b"\0" + self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Statement":
        """The statement in `data`; raises `InputError` when it is too long, malformed or not canonical."""
        statement = _parse(_STATEMENT, data)
        if statement.to_bytes() != data:
            raise InputError("not a statement: its JSON is not in canonical form")
        return statement


@with_config(_STRICT)
@dataclass(frozen=True)
class Receipt:
    """A statement and the signatures on it, in hexadecimal, by fingerprint. `check` tells whether all are there."""

    statement: Statement
    signatures: Annotated[Mapping[_Digest, _Signature], Field(max_length=50)]

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(asdict(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Receipt":
        """The receipt in `data`; raises `InputError` when it is too long, malformed or not canonical."""
        receipt = _parse(_RECEIPT, data)
        if receipt.to_bytes() != data:
            raise InputError("not a receipt: its JSON is not in canonical form")
        return receipt


_STATEMENT = TypeAdapter(Statement)
_RECEIPT = TypeAdapter(Receipt)


def sign(identity: Identity, statement: bytes) -> str:
    """This party's signature on a statement, in hexadecimal; raises `InputError` when it is not one of its parties."""
    parties = Statement.from_bytes(statement).parties
    if parties.get(identity.name) != identity.fingerprint:
        raise InputError(f"{identity.name} is not a party to this receipt")
    return identity.sign(DOMAIN, statement).hex()


def check_signature(statement: Statement, certificate_pem: bytes, signature: str) -> None:
    """Raises `ProtocolError` unless the certificate's owner is a party and `signature` is its own, in hexadecimal."""
    certificate = read_identity(certificate_pem)
    if statement.parties.get(certificate.name) != certificate.fingerprint:
        raise ProtocolError(f"{certificate.name} is not a party to the receipt of job {statement.job}")
    if not _HEX.fullmatch(signature):
        raise ProtocolError(f"a signature of {certificate.name} is not hexadecimal")
    verify(certificate_pem, DOMAIN, statement.to_bytes(), bytes.fromhex(signature))


def check(receipt: Receipt, certificates: Mapping[str, bytes]) -> None:
    """Raises `ProtocolError` unless every party has signed that did not drop out, and nobody who is not a party.

    `certificates` are PEM by fingerprint; those of other parties may be among them.
    """
    statement = receipt.statement
    signers = set(receipt.signatures)
    needed = {fingerprint for name, fingerprint in statement.parties.items() if name not in statement.dropped}
    if not needed <= signers <= set(statement.parties.values()):
        raise ProtocolError(f"the receipt of job {statement.job} is not signed by each of its parties")
    for name, fingerprint in statement.parties.items():
        if fingerprint not in signers:
            continue
        pem = certificates.get(fingerprint)
        if pem is None or read_identity(pem).fingerprint != fingerprint:
            raise ProtocolError(f"the certificate of {name}, a party to job {statement.job}, is missing")
        check_signature(statement, pem, receipt.signatures[fingerprint])


T = TypeVar("T")


def _parse(adapter: TypeAdapter[T], data: bytes) -> T:
    if len(data) > MAX_RECEIPT_BYTES:
        raise InputError(f"not a receipt: {len(data)} bytes are too many")
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        raise InputError(f"not a receipt: {explain(error)}") from None
