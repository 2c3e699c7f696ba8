"""Real gRPC handshakes: who gets through, who is refused after one, and what each side is told."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from parties.identity import peers
from parties.identity.certificates import SERVER_NAME, read_identity
from parties.identity.keys import Identity, TlsCredentials
from parties.store import Store

NOW = datetime.now(UTC)
METHOD = "/sealane.test/Who"


class Node:
    """A server that answers a registered peer with its fingerprint and writes down why it refuses others."""

    def __init__(self, identity: Identity, database: Path) -> None:
        self.identity = identity
        self.refusals: list[str] = []
        self._database = database
        self._server = grpc.server(ThreadPoolExecutor(2))
        handler = grpc.unary_unary_rpc_method_handler(self._who)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("sealane.test", {"Who": handler}),))
        credentials = grpc.dynamic_ssl_server_credentials(
            self._configuration(), self._configuration, require_client_authentication=True
        )
        self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self._server.start()

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        tls = self.identity.tls(NOW)
        store = Store(self._database)
        roots = peers.trusted_roots(peers.read_all(store.connection()))
        store.close()
        return grpc.ssl_server_certificate_configuration([(tls.private_key, tls.certificate_chain)], roots)

    def _who(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        store = Store(self._database)
        registered = peers.read_all(store.connection())
        store.close()
        try:
            return peers.authenticate(context.auth_context(), registered, NOW).encode()
        except peers.CallerRefused as error:
            self.refusals.append(str(error))
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "not a registered peer of this node")

    def stop(self) -> None:
        self._server.stop(None).wait()


def _call(node: Node, tls: TlsCredentials | None, server: Identity | None = None) -> str:
    """The server's answer to a caller with these credentials that expects to reach `server`."""
    credentials = grpc.ssl_channel_credentials(
        (server or node.identity).certificate_pem,
        tls and tls.private_key,
        tls and tls.certificate_chain,
    )
    options = [("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(f"127.0.0.1:{node.port}", credentials, options) as channel:
        return str(channel.unary_unary(METHOD)(b"", timeout=60), "ascii")


@pytest.fixture(scope="session")
def live(identity_of: Callable[..., Identity]) -> Callable[[str], Identity]:
    """Identities made now, because a handshake looks at the real clock."""
    return lambda name: identity_of(name, NOW)


@pytest.fixture
def node(live: Callable[[str], Identity], alice_store: Store, tmp_path: Path) -> Iterator[Node]:
    with alice_store.transaction() as db:
        peers.add(db, read_identity(live("bob").certificate_pem), "", NOW)
    node = Node(live("alice"), tmp_path / "alice.db")
    yield node
    node.stop()


def _wait_for(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Until gRPC has written `text` to the process's standard error."""
    seen, deadline = "", time.monotonic() + 60
    while text not in seen:
        assert time.monotonic() < deadline, f"{text!r} is not in {seen!r}"
        seen += capfd.readouterr().err
        time.sleep(0.01)


def test_a_registered_peer_is_recognised_and_a_new_one_without_a_restart(
    node: Node, live: Callable[[str], Identity], alice_store: Store
) -> None:
    assert _call(node, live("bob").tls(NOW)) == live("bob").fingerprint
    with alice_store.transaction() as db:
        peers.add(db, read_identity(live("carol").certificate_pem), "", NOW)
    assert _call(node, live("carol").tls(NOW)) == live("carol").fingerprint
    assert node.refusals == []


def _at(identity: Identity, now: datetime) -> TlsCredentials:
    """Credentials as the party had, or will have, at another time."""
    return Identity(read_identity(identity.certificate_pem), identity._key).tls(now)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("none", "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        ("stranger", "self signed certificate in certificate chain"),
        ("expired", "certificate has expired"),
        ("future", "certificate is not yet valid"),
    ],
)
def test_a_bad_certificate_ends_the_handshake_and_the_servers_log_says_why(
    node: Node, live: Callable[[str], Identity], capfd: pytest.CaptureFixture[str], case: str, reason: str
) -> None:
    registered = live("bob")
    credentials = {
        "none": None,
        "stranger": live("stranger").tls(NOW),
        "expired": _at(registered, NOW - timedelta(days=31)),
        "future": _at(registered, NOW + timedelta(days=1)),
    }[case]
    with pytest.raises(grpc.RpcError) as raised:
        _call(node, credentials)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    _wait_for(reason, capfd)
    assert node.refusals == []
    assert _call(node, registered.tls(NOW)) == registered.fingerprint


def test_a_removed_peer_is_told_that_it_is_unauthenticated(
    node: Node, live: Callable[[str], Identity], alice_store: Store
) -> None:
    with alice_store.transaction() as db:
        peers.remove(db, "bob")
    with pytest.raises(grpc.RpcError) as raised:
        _call(node, live("bob").tls(NOW))
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert raised.value.details() == "not a registered peer of this node"
    assert len(node.refusals) == 1
    assert "was removed from the peers" in node.refusals[0]


def test_a_peer_that_claims_anothers_name_is_refused_and_the_reason_names_it(
    node: Node, live: Callable[[str], Identity], misissue: Callable[..., TlsCredentials]
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        _call(node, misissue(live("bob"), NOW, subject="carol", issuer="bob"))
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert node.refusals == [f"bob (fingerprint {live('bob').fingerprint[:16]}) claims to be carol"]


def test_a_dialler_that_reaches_another_party_than_it_meant_learns_so(
    node: Node, live: Callable[[str], Identity]
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        _call(node, live("bob").tls(NOW), server=live("carol"))
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "CERTIFICATE_VERIFY_FAILED" in raised.value.details()
    assert node.refusals == []


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def test_a_call_over_tls_1_2_is_refused(node: Node, live: Callable[[str], Identity], tmp_path: Path) -> None:
    tls = live("bob").tls(NOW)
    (tmp_path / "key").write_bytes(tls.private_key)
    (tmp_path / "chain").write_bytes(tls.certificate_chain)
    context = ssl.create_default_context(cadata=node.identity.certificate_pem.decode())
    context.load_cert_chain(tmp_path / "chain", tmp_path / "key")
    context.set_alpn_protocols(["h2"])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    headers = [(b":method", b"POST"), (b":scheme", b"https"), (b":path", METHOD.encode()), (b":authority", b"node")]
    headers += [(b"content-type", b"application/grpc"), (b"te", b"trailers")]
    request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"")
    request += _frame(1, 4, 1, b"".join(_literal(*header) for header in headers))  # END_HEADERS
    request += _frame(0, 1, 1, bytes(5))  # an empty gRPC message, END_STREAM
    with (
        socket.create_connection(("127.0.0.1", node.port), timeout=60) as raw,
        context.wrap_socket(raw, server_hostname=SERVER_NAME) as connection,
    ):
        assert connection.version() == "TLSv1.2"
        connection.sendall(request)
        deadline = time.monotonic() + 60
        while not node.refusals:
            assert time.monotonic() < deadline
            connection.recv(4096)
    assert node.refusals == ["the connection does not use TLS 1.3"]
