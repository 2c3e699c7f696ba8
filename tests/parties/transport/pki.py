"""Certificates for tests: a party is a self-signed identity that issues a short-lived TLS leaf."""

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mpc.errors import PolicyDenied
from parties.transport.status import Credentials

PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Identity:
    name: str
    root: bytes
    fingerprint: str
    credentials: Credentials


def make_identity(name: str) -> Identity:
    now = datetime.datetime.now(datetime.UTC)
    key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    def build(subject_name: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject_name)
            .issuer_name(subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )

    root = build(subject, key.public_key()).add_extension(x509.BasicConstraints(True, 0), True)
    leaf = build(x509.Name([]), leaf_key.public_key()).add_extension(
        x509.SubjectAlternativeName([x509.DNSName("sealane.node")]), True
    )
    root_certificate = root.sign(key, hashes.SHA256())
    chain = leaf.sign(key, hashes.SHA256()).public_bytes(PEM) + root_certificate.public_bytes(PEM)
    private_key = leaf_key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Identity(
        name,
        root_certificate.public_bytes(PEM),
        root_certificate.fingerprint(hashes.SHA256()).hex(),
        Credentials(chain, private_key),
    )


def authenticate(registered: Sequence[Identity], context: Mapping[str, Sequence[bytes]]) -> str:
    """The fingerprint of the registered identity that issued the leaf."""
    leaf = x509.load_pem_x509_certificate(next(iter(context["x509_pem_cert"])))
    for identity in registered:
        try:
            leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(identity.root))
        except Exception:
            continue
        return identity.fingerprint
    raise PolicyDenied("no registered identity issued this certificate")


def session(label: str) -> bytes:
    return hashlib.sha256(label.encode()).digest()[:16]
