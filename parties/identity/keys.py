"""A party's own keys: made once, kept in its folder, used to sign and to issue its TLS certificates.

identity.key   private key of the identity, PKCS #8 PEM, readable by its owner only
identity.crt   its self-signed certificate, PEM: this is what peers pin

The key of the TLS certificate is never written anywhere: each process makes its own and replaces it in time.
"""

import os
import re
import tempfile
import threading
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from mpc.errors import InputError, ProtocolError
from mpc.job import check_name
from parties.identity.certificates import IdentityCertificate, issue_identity, issue_tls, read_identity

MAX_SIGNATURE_BYTES = 72  # DER of two 256-bit integers
_KEY_FILE = "identity.key"
_CERTIFICATE_FILE = "identity.crt"
_DOMAIN = re.compile(rb"sealane/[a-z.-]+/[0-9]+")


@dataclass(frozen=True)
class TlsCredentials:
    """What a TLS end point shows and proves: PEM of the TLS certificate and its issuer, PEM of its private key."""

    certificate_chain: bytes = field(repr=False)
    private_key: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime
    renew_at: datetime  # from then on `Identity.tls` gives new ones


class Identity:
    """This party: its name, its certificate, and the use of its private key. Safe to share between threads."""

    def __init__(self, certificate: IdentityCertificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key
        self._tls: TlsCredentials | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Identity(name={self.name!r}, fingerprint={self.fingerprint!r})"

    @property
    def name(self) -> str:
        return self._certificate.name

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate's DER form, 64 hexadecimal digits: what peers pin."""
        return self._certificate.fingerprint

    @property
    def certificate_pem(self) -> bytes:
        return self._certificate.pem

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """ECDSA with SHA-256 (FIPS 186-5), DER, over the domain, a zero byte and the message.

        `domain` says what is signed and in which version, e.g. `b"sealane/receipt/1"`. It also keeps these
        signatures apart from those on certificates, which begin with another byte.
        """
        return self._key.sign(_in_domain(domain, message), ec.ECDSA(SHA256()))

    def tls(self, now: datetime) -> TlsCredentials:
        """Credentials for TLS at the time `now`: the same until a third of their life is left, then new ones.

        New ones also when the clock was turned back to before the old ones, which nobody would accept yet.
        Raises `InputError` when the identity itself has expired.
        """
        with self._lock:
            if self._tls is None or not self._tls.not_before <= now < self._tls.renew_at:
                self._tls = self._issue_tls(now)
            return self._tls

    def _issue_tls(self, now: datetime) -> TlsCredentials:
        if now >= self._certificate.not_after:
            raise InputError(
                f"the identity of {self.name} expired on {self._certificate.not_after:%Y-%m-%d}",
                hint="make a new identity and exchange invitations with every peer again",
            )
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = issue_tls(self._key, self._certificate, key.public_key(), now)
        not_after = certificate.not_valid_after_utc
        return TlsCredentials(
            certificate_chain=certificate.public_bytes(Encoding.PEM) + self.certificate_pem,
            private_key=_private_pem(key),
            not_before=certificate.not_valid_before_utc,
            not_after=not_after,
            renew_at=not_after - (not_after - now) / 3,
        )


def create(folder: Path, name: str, now: datetime) -> Identity:
    """A new identity in `folder`, which appears complete or not at all; raises `InputError` when one is there."""
    check_name(name, "party name")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = issue_identity(key, name, now).public_bytes(Encoding.PEM)
    try:
        with tempfile.TemporaryDirectory(prefix=".identity-", dir=folder.parent, ignore_cleanup_errors=True) as made:
            unfinished = Path(made)  # mode 0700
            _write_private(unfinished / _KEY_FILE, _private_pem(key))
            _write_private(unfinished / _CERTIFICATE_FILE, pem)
            _flush_folder(unfinished)
            unfinished.rename(folder)
        _flush_folder(folder.parent)
    except OSError as error:
        if folder.exists():
            raise InputError(
                f"{folder} exists already", hint="an identity is never overwritten: choose another folder"
            ) from None
        raise InputError(f"no identity could be written to {folder}: {error.strerror}") from None
    return Identity(read_identity(pem), key)


def load(folder: Path, name: str = "") -> Identity:
    """The identity in `folder`; raises `InputError` when it is missing, damaged or readable by other users.

    And when it is of a party that has not the `name`, if one is given.
    """
    key_file, certificate_file = folder / _KEY_FILE, folder / _CERTIFICATE_FILE
    try:
        if key_file.stat().st_mode & 0o077:
            raise InputError(f"{key_file} can be read by other users", hint=f"chmod 600 {key_file}")
        certificate = read_identity(certificate_file.read_bytes())
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except OSError as error:
        raise InputError(
            f"no identity in {folder}: {error.strerror}", hint="make one with `sealane init`, or restore it"
        ) from None
    except (ValueError, TypeError):
        raise InputError(f"{key_file} is not a private key", hint="restore it from a backup") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key:
        raise InputError(f"{key_file} and {certificate_file.name} do not belong together", hint="restore both")
    if name and name != certificate.name:
        raise InputError(
            f"settings.toml calls this party {name}, its certificate {certificate.name}",
            hint=f'set name = "{certificate.name}"; another name takes a new node',
        )
    return Identity(certificate, key)


def verify(certificate_pem: bytes, domain: bytes, message: bytes, signature: bytes) -> None:
    """Raises `ProtocolError` unless `signature` is the certificate's over `message` in `domain`.

    Raises `InputError` when the certificate is no identity certificate. Its validity in time is not checked.
    """
    certificate = read_identity(certificate_pem)
    try:
        if len(signature) > MAX_SIGNATURE_BYTES:
            raise InvalidSignature
        certificate.public_key.verify(signature, _in_domain(domain, message), ec.ECDSA(SHA256()))
    except InvalidSignature:
        raise ProtocolError(f"a signature of {certificate.name} does not match what it should cover") from None


def fingerprint(certificate_pem: bytes) -> str:
    """The identity certificate's fingerprint, 64 hexadecimal digits; raises `InputError` if it is not one."""
    return read_identity(certificate_pem).fingerprint


def format_fingerprint(fingerprint: str) -> str:
    """A fingerprint in sixteen groups of four, to be compared aloud."""
    return " ".join(fingerprint[start : start + 4] for start in range(0, len(fingerprint), 4))


def _in_domain(domain: bytes, message: bytes) -> bytes:
    assert _DOMAIN.fullmatch(domain), "a domain is sealane/what/version"
    return domain + b"\0" + message


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write_private(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Makes the names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
