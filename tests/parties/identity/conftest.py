"""Two parties with a database each, at a fixed time."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from parties.identity.keys import Identity, TlsCredentials, create
from parties.store import Store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def identity_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Identity]:
    """Makes an identity; the same one when it is asked again for the same name and time."""
    made: dict[tuple[str, datetime], Identity] = {}

    def make(name: str, since: datetime = NOW) -> Identity:
        if (name, since) not in made:
            made[name, since] = create(tmp_path_factory.mktemp("node") / "identity", name, since)
        return made[name, since]

    return make


@pytest.fixture(scope="session")
def alice(identity_of: Callable[..., Identity]) -> Identity:
    return identity_of("alice")


@pytest.fixture(scope="session")
def bob(identity_of: Callable[..., Identity]) -> Identity:
    return identity_of("bob")


@pytest.fixture
def alice_store(tmp_path: Path) -> Iterator[Store]:
    store = Store.create(tmp_path / "alice.db")
    yield store
    store.close()


@pytest.fixture
def bob_store(tmp_path: Path) -> Iterator[Store]:
    store = Store.create(tmp_path / "bob.db")
    yield store
    store.close()


@pytest.fixture
def misissue() -> Callable[..., TlsCredentials]:
    """Makes TLS credentials signed by an identity that say what honest ones would not."""

    def make(
        identity: Identity, now: datetime, *, subject: str, issuer: str, host: str = "sealane.node"
    ) -> TlsCredentials:
        names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
        key = ec.generate_private_key(ec.SECP256R1())
        until = now + timedelta(days=30)
        certificate = (
            x509.CertificateBuilder(names[1], names[0], key.public_key(), 1, now - timedelta(minutes=1), until)
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(identity._key, SHA256())
        )
        private_key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        chain = certificate.public_bytes(Encoding.PEM) + identity.certificate_pem
        return TlsCredentials(chain, private_key, now, until, until)

    return make
