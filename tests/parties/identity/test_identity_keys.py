"""A party's own keys: files, signatures, TLS certificates, and what is refused of other parties' certificates."""

import base64
import stat
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import InputError, ProtocolError
from parties.identity.certificates import IDENTITY_LIFETIME, issue_identity, read_identity, read_tls
from parties.identity.keys import Identity, create, fingerprint, format_fingerprint, load, verify

DOMAIN = b"sealane/test/1"


def test_an_identity_is_the_same_after_loading(tmp_path: Path, now: datetime) -> None:
    made = create(tmp_path / "identity", "alice", now)
    loaded = load(tmp_path / "identity")
    assert (loaded.name, loaded.fingerprint, loaded.certificate_pem) == (
        "alice",
        made.fingerprint,
        made.certificate_pem,
    )
    verify(made.certificate_pem, DOMAIN, b"message", loaded.sign(DOMAIN, b"message"))


def test_only_the_owner_can_read_the_key_and_nothing_else_is_left(tmp_path: Path, now: datetime) -> None:
    create(tmp_path / "identity", "alice", now)
    assert [path.name for path in tmp_path.iterdir()] == ["identity"]
    assert stat.S_IMODE((tmp_path / "identity").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "identity" / "identity.key").stat().st_mode) == 0o600


def test_a_key_that_others_can_read_is_refused(tmp_path: Path, now: datetime) -> None:
    create(tmp_path / "identity", "alice", now)
    (tmp_path / "identity" / "identity.key").chmod(0o640)
    with pytest.raises(InputError, match="can be read by other users"):
        load(tmp_path / "identity")


def test_an_identity_of_another_party_than_the_settings_name_is_refused(tmp_path: Path, now: datetime) -> None:
    create(tmp_path / "identity", "alice", now)
    assert load(tmp_path / "identity", "alice").name == "alice"
    with pytest.raises(InputError, match="calls this party bob, its certificate alice"):
        load(tmp_path / "identity", "bob")


def test_an_identity_is_never_overwritten(tmp_path: Path, now: datetime) -> None:
    first = create(tmp_path / "identity", "alice", now)
    with pytest.raises(InputError, match="exists already"):
        create(tmp_path / "identity", "alice", now)
    assert load(tmp_path / "identity").fingerprint == first.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["identity"]


def test_a_folder_that_cannot_be_written_is_an_input_error(tmp_path: Path, now: datetime) -> None:
    with pytest.raises(InputError, match="no identity could be written"):
        create(tmp_path / "missing" / "identity", "alice", now)


@pytest.mark.parametrize("name", ["", "Alice", "a b", "-a", "a" * 64, "a\n", "é"])
def test_names_outside_the_pattern_are_refused(tmp_path: Path, now: datetime, name: str) -> None:
    with pytest.raises(InputError, match="party name"):
        create(tmp_path / "identity", name, now)
    assert list(tmp_path.iterdir()) == []


def test_damaged_missing_and_mixed_up_files_are_refused(tmp_path: Path, now: datetime) -> None:
    with pytest.raises(InputError, match="no identity in"):
        load(tmp_path / "identity")
    create(tmp_path / "identity", "alice", now)
    create(tmp_path / "other", "alice", now)
    certificate = tmp_path / "identity" / "identity.crt"
    whole = certificate.read_bytes()
    certificate.write_bytes((tmp_path / "other" / "identity.crt").read_bytes())
    with pytest.raises(InputError, match="do not belong together"):
        load(tmp_path / "identity")
    certificate.write_bytes(whole[:-40])
    with pytest.raises(InputError, match="malformed"):
        load(tmp_path / "identity")
    certificate.write_bytes(whole)
    (tmp_path / "identity" / "identity.key").write_bytes(b"no key")
    with pytest.raises(InputError, match="not a private key"):
        load(tmp_path / "identity")


def test_private_keys_are_in_no_repr_and_no_error(tmp_path: Path, now: datetime) -> None:
    identity = create(tmp_path / "identity", "alice", now)
    key_file = tmp_path / "identity" / "identity.key"
    pem = key_file.read_text()
    secret = load_pem_private_key(pem.encode(), password=None)
    assert isinstance(secret, ec.EllipticCurvePrivateKey)
    number = secret.private_numbers().private_value
    key_file.write_text(pem.replace("-----END", "=-----END"))
    with pytest.raises(InputError) as raised:
        load(tmp_path / "identity")
    shown = repr(identity) + repr(identity.tls(now)) + str(raised.value) + raised.value.hint + str(identity)
    for planted in (pem.splitlines()[1], f"{number:x}", str(number), "PRIVATE"):
        assert planted not in shown
    assert raised.value.__cause__ is None


def test_a_signature_holds_for_its_message_its_domain_and_its_signer_only(alice: Identity, bob: Identity) -> None:
    signature = alice.sign(DOMAIN, b"message")
    verify(alice.certificate_pem, DOMAIN, b"message", signature)
    for certificate, domain, message, forged in [
        (bob.certificate_pem, DOMAIN, b"message", signature),
        (alice.certificate_pem, b"sealane/test/2", b"message", signature),
        (alice.certificate_pem, DOMAIN, b"massage", signature),
        (alice.certificate_pem, DOMAIN, b"message", signature[:-1]),
        (alice.certificate_pem, DOMAIN, b"message", b""),
        (alice.certificate_pem, DOMAIN, b"message", signature + bytes(1000)),
    ]:
        with pytest.raises(ProtocolError, match="does not match"):
            verify(certificate, domain, message, forged)


def test_a_domain_cannot_run_into_the_message(alice: Identity) -> None:
    with pytest.raises(AssertionError):
        alice.sign(b"sealane/test/1\0x", b"message")


def test_the_fingerprint_is_the_sha256_of_the_der_form(alice: Identity) -> None:
    certificate = x509.load_pem_x509_certificate(alice.certificate_pem)
    assert alice.fingerprint == fingerprint(alice.certificate_pem) == certificate.fingerprint(SHA256()).hex()


def test_a_fingerprint_is_read_aloud_in_groups_of_four(alice: Identity) -> None:
    groups = format_fingerprint(alice.fingerprint).split(" ")
    assert [len(group) for group in groups] == [4] * 16
    assert "".join(groups) == alice.fingerprint


def test_tls_credentials_stay_until_a_third_of_their_life_is_left(
    identity_of: Callable[..., Identity], now: datetime
) -> None:
    identity = identity_of("rotating")
    first = identity.tls(now)
    assert identity.tls(now + timedelta(days=19)) is first
    second = identity.tls(now + timedelta(days=21))
    assert second.private_key != first.private_key
    assert second.not_after == now + timedelta(days=51)
    assert second.certificate_chain.endswith(identity.certificate_pem)
    shown = read_tls(second.certificate_chain.removesuffix(identity.certificate_pem))
    assert (shown.name, shown.issuer) == ("rotating", "rotating")


def test_tls_credentials_are_made_anew_when_the_clock_is_turned_back(
    identity_of: Callable[..., Identity], now: datetime
) -> None:
    identity = identity_of("turning")
    ahead = identity.tls(now + timedelta(days=2))
    assert identity.tls(now + timedelta(days=2, minutes=-9)) is ahead
    assert identity.tls(now).not_before <= now


def test_a_tls_certificate_does_not_outlive_the_identity(identity_of: Callable[..., Identity], now: datetime) -> None:
    end = now + IDENTITY_LIFETIME
    identity = identity_of("ending")
    assert identity.tls(end - timedelta(days=1)).not_after == end
    with pytest.raises(InputError, match="expired"):
        identity.tls(end)


def _certificate(now: datetime, **changes: object) -> bytes:
    """An identity certificate that is right except for `changes`."""
    key = changes.get("key") or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(changes.get("name", "mallory")))])
    if changes.get("organisation"):
        subject = x509.Name([*subject, x509.NameAttribute(NameOID.ORGANIZATION_NAME, "bank")])
    issuer = changes.get("issuer", subject)
    usage = {"digital_signature": True, "key_cert_sign": True} | dict(changes.get("usage", {}))
    others = "content_commitment key_encipherment data_encipherment key_agreement crl_sign encipher_only decipher_only"
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=9))
        .add_extension(changes.get("constraints", x509.BasicConstraints(True, 0)), critical=True)
        .add_extension(x509.KeyUsage(**usage, **dict.fromkeys(others.split(), False)), critical=True)
    )
    if "extension" in changes:
        builder = builder.add_extension(*changes["extension"])
    signer = changes.get("signer", key)
    return builder.sign(signer, changes.get("hash", SHA256())).public_bytes(Encoding.PEM)


def test_a_proper_certificate_is_read(now: datetime) -> None:
    assert read_identity(_certificate(now)).name == "mallory"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"name": "Mallory Ltd"}, "just a party's name"),
        ({"name": "m" * 64}, "just a party's name"),
        ({"organisation": True}, "just a party's name"),
        ({"key": ec.generate_private_key(ec.SECP384R1())}, "not on P-256"),
        ({"key": rsa.generate_private_key(65537, 2048)}, "not on P-256"),
        ({"hash": SHA384()}, "ECDSA and SHA-256"),
        ({"issuer": x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])}, "not self-signed"),
        ({"signer": ec.generate_private_key(ec.SECP256R1())}, "own signature does not match"),
        ({"constraints": x509.BasicConstraints(False, None)}, "issue certificates"),
        ({"constraints": x509.BasicConstraints(True, None)}, "issue issuers"),
        ({"constraints": x509.BasicConstraints(True, 1)}, "issue issuers"),
        ({"usage": {"digital_signature": False}}, "key usage"),
        ({"usage": {"key_cert_sign": False}}, "key usage"),
        ({"extension": (x509.InhibitAnyPolicy(0), True)}, "an extension that identities do not have"),
        ({"extension": (x509.SubjectAlternativeName([x509.DNSName("a")]), False)}, "an extension that"),
    ],
)
def test_certificates_that_are_no_identity_are_refused(
    now: datetime, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        read_identity(_certificate(now, **changes))


def test_a_certificate_has_one_form_only(alice: Identity, bob: Identity) -> None:
    for pem in (
        b"hello\n" + alice.certificate_pem,
        alice.certificate_pem + bob.certificate_pem,
        alice.certificate_pem.replace(b"\n", b"\r\n"),
        alice.certificate_pem.rstrip(),
    ):
        with pytest.raises(InputError, match="canonical"):
            read_identity(pem)


def test_a_long_certificate_is_refused_unread(now: datetime) -> None:
    with pytest.raises(InputError, match="too long"):
        read_identity(bytes(5000))


def test_validity_allows_for_ten_minutes_between_clocks(now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = read_identity(issue_identity(key, "carol", now).public_bytes(Encoding.PEM))
    certificate.check_validity(now - timedelta(minutes=19))
    certificate.check_validity(now + IDENTITY_LIFETIME + timedelta(minutes=9))
    with pytest.raises(InputError, match="not valid before"):
        certificate.check_validity(now - timedelta(minutes=21))
    with pytest.raises(InputError, match="expired"):
        certificate.check_validity(now + IDENTITY_LIFETIME + timedelta(minutes=11))


@pytest.mark.fuzz
@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # such certificates are refused all the same
@given(flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4))
def test_a_certificate_with_changed_bytes_is_refused(alice: Identity, flips: list[tuple[int, int]]) -> None:
    der = bytearray(x509.load_pem_x509_certificate(alice.certificate_pem).public_bytes(Encoding.DER))
    whole = bytes(der)
    for position, change in flips:
        der[position % len(der)] ^= change
    if der == whole:
        return
    body = base64.encodebytes(bytes(der)).decode().replace("\n", "")
    lines = "\n".join(body[start : start + 64] for start in range(0, len(body), 64))
    pem = f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n".encode()
    with pytest.raises(InputError):
        read_identity(pem)
