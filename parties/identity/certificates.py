"""The two kinds of certificate: a party's identity, and the short-lived one that it shows in a TLS handshake.

An identity is self-signed, lives for years and is pinned by its fingerprint. It signs whatever must last and issues
the TLS certificate, whose replacement therefore needs no new pinning. Source for the fields: RFC 5280, section 4.2.1.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from mpc.errors import InputError
from mpc.job import NAME

CLOCK_TOLERANCE = timedelta(minutes=10)  # how far apart the clocks of two parties may be
IDENTITY_LIFETIME = timedelta(days=3650)
TLS_LIFETIME = timedelta(days=30)
SERVER_NAME = "sealane.node"  # the one host name in every TLS certificate: peers are told apart by their issuer
MAX_CERTIFICATE_BYTES = 4096  # PEM; an identity of ours takes about 700

# Nothing else is pinned: a certificate that one TLS library reads and another does not would keep every peer out.
_IDENTITY_EXTENSIONS = frozenset(
    {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.SUBJECT_KEY_IDENTIFIER}
)
_MALFORMED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True)
class IdentityCertificate:
    """A checked identity certificate: P-256, self-signed, and of a party with a proper name."""

    name: str
    fingerprint: str  # SHA-256 of the DER form, hexadecimal
    pem: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime
    public_key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    def check_validity(self, now: datetime) -> None:
        """Raises `InputError` unless `now`, give or take the clock tolerance, is in the certificate's lifetime."""
        if now > self.not_after + CLOCK_TOLERANCE:
            raise InputError(
                f"the identity certificate of {self.name} expired on {self.not_after:%Y-%m-%d}",
                hint=f"{self.name} makes a new identity, and every peer pins it anew",
            )
        if now < self.not_before - CLOCK_TOLERANCE:
            raise InputError(
                f"the identity certificate of {self.name} is not valid before {self.not_before:%Y-%m-%d %H:%M} UTC",
                hint="check this machine's clock",
            )


@dataclass(frozen=True)
class TlsCertificate:
    """What a TLS certificate claims; `is_issued_by` tells whether an identity stands behind it."""

    name: str
    issuer: str
    not_before: datetime
    not_after: datetime
    certificate: x509.Certificate = field(repr=False)


def issue_identity(key: ec.EllipticCurvePrivateKey, name: str, now: datetime) -> x509.Certificate:
    """A self-signed identity certificate for `name`, valid from a little before `now` for ten years."""
    builder = _builder(key.public_key(), subject=name, issuer=name, since=now, until=now + IDENTITY_LIFETIME)
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True), critical=True)
        .sign(key, SHA256())
    )


def issue_tls(
    issuer_key: ec.EllipticCurvePrivateKey,
    issuer: IdentityCertificate,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
) -> x509.Certificate:
    """A certificate for TLS handshakes of the party `issuer`, in both directions, valid for thirty days."""
    until = min(now + TLS_LIFETIME, issuer.not_after)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        _builder(public_key, subject=issuer.name, issuer=issuer.name, since=now, until=until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(key_cert_sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key), critical=False)
        .sign(issuer_key, SHA256())
    )


def read_identity(pem: bytes) -> IdentityCertificate:
    """The identity certificate in `pem`, whoever sent it; raises `InputError` saying what is wrong with it.

    Its validity in time is not checked, because old evidence must stay verifiable: see `check_validity`.
    """
    try:
        return _read_identity(pem)
    except InvalidSignature:
        raise InputError("not an identity certificate: its own signature does not match") from None
    except _MALFORMED:
        raise InputError("not an identity certificate: malformed") from None


@lru_cache(maxsize=1024)
def _read_identity(pem: bytes) -> IdentityCertificate:
    certificate = _load(pem)
    public_key = certificate.public_key()
    extensions = certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    requirements = {
        "its key is not on P-256": isinstance(public_key, ec.EllipticCurvePublicKey)
        and isinstance(public_key.curve, ec.SECP256R1),
        "it is not signed with ECDSA and SHA-256": certificate.signature_algorithm_oid
        == x509.SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        "it is not self-signed": certificate.issuer == certificate.subject,
        "it may not issue certificates, or may issue issuers": constraints.ca and constraints.path_length == 0,
        "its key usage is not signing and certifying": usage.digital_signature and usage.key_cert_sign,
        "it has an extension that identities do not have": all(
            extension.oid in _IDENTITY_EXTENSIONS for extension in extensions
        ),
        "its serial number is not positive": certificate.serial_number > 0,
        "it is not in its one canonical form": certificate.public_bytes(Encoding.PEM) == pem,
    }
    for complaint, fulfilled in requirements.items():
        if not fulfilled:
            raise InputError(f"not an identity certificate: {complaint}")
    certificate.verify_directly_issued_by(certificate)
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    return IdentityCertificate(
        name=_common_name(certificate.subject),
        fingerprint=certificate.fingerprint(SHA256()).hex(),
        pem=pem,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        public_key=public_key,
    )


def read_tls(pem: bytes) -> TlsCertificate:
    """What the TLS certificate in `pem` claims; raises `InputError` when it is not one of Sealane's kind."""
    try:
        return _read_tls(pem)
    except _MALFORMED:
        raise InputError("not a TLS certificate of a party: malformed") from None


@lru_cache(maxsize=1024)
def _read_tls(pem: bytes) -> TlsCertificate:
    certificate = _load(pem)
    extensions = certificate.extensions
    if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
        raise InputError("not a TLS certificate of a party: it may issue certificates")
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if names.get_values_for_type(x509.DNSName) != [SERVER_NAME]:
        raise InputError(f"not a TLS certificate of a party: its host name is not {SERVER_NAME}")
    return TlsCertificate(
        name=_common_name(certificate.subject),
        issuer=_common_name(certificate.issuer),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        certificate=certificate,
    )


@lru_cache(maxsize=1024)
def is_issued_by(tls_pem: bytes, identity_pem: bytes) -> bool:
    """Whether the identity signed the TLS certificate; both must have been read without error."""
    issuer = _load(identity_pem)
    try:
        read_tls(tls_pem).certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _load(pem: bytes) -> x509.Certificate:
    if len(pem) > MAX_CERTIFICATE_BYTES:
        raise InputError(f"a certificate of {len(pem)} bytes is too long (at most {MAX_CERTIFICATE_BYTES})")
    return x509.load_pem_x509_certificate(pem)


def _common_name(name: x509.Name) -> str:
    """The party's name in a subject or an issuer that consists of nothing else."""
    attributes = list(name)
    value = attributes[0].value if len(attributes) == 1 and attributes[0].oid == NameOID.COMMON_NAME else None
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise InputError("not a certificate of a party: its subject and issuer are not just a party's name")
    return value


def _builder(
    public_key: ec.EllipticCurvePublicKey, *, subject: str, issuer: str, since: datetime, until: datetime
) -> x509.CertificateBuilder:
    def common_name(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    return (
        x509.CertificateBuilder()
        .subject_name(common_name(subject))
        .issuer_name(common_name(issuer))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since - CLOCK_TOLERANCE)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, key_cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
