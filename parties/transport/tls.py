"""gRPC's side of the transport: mutual TLS with pinned identities, keepalive, sizes."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc

from mpc.errors import PolicyDenied
from parties.transport.frames import MAX_FRAME_BYTES
from parties.transport.status import Credentials, Limits

SERVER_NAME = "sealane.node"  # in every leaf certificate: parties are told apart by their pinned identity, not by name
SERVICE = "sealane.transport.v1.Transport"
METHOD = "Link"
_LOOKAHEAD_BYTES = 16 * 2**20

Options = list[tuple[str, int | str]]


def channel_options(limits: Limits) -> Options:
    """For a connection to a peer."""
    return [
        *_common_options(limits),
        ("grpc.ssl_target_name_override", SERVER_NAME),
        ("grpc.use_local_subchannel_pool", 1),  # each attempt has its own connection, with credentials read anew
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
    ]


def server_options(limits: Limits) -> Options:
    """For the port that peers connect to."""
    return [
        *_common_options(limits),
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", limits.connections_per_peer),
        ("grpc.server_handshake_timeout_ms", round(limits.handshake_s * 1000)),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 100),
    ]


def _common_options(limits: Limits) -> Options:
    return [
        ("grpc.max_receive_message_length", MAX_FRAME_BYTES),
        ("grpc.max_send_message_length", MAX_FRAME_BYTES),
        ("grpc.max_metadata_size", 8 * 2**10),
        ("grpc.keepalive_time_ms", round(limits.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(limits.keepalive_s * 500)),
        ("grpc.http2.ping_timeout_ms", round(limits.keepalive_s * 500)),  # else a minute, whatever the line above says
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.http2.lookahead_bytes", _LOOKAHEAD_BYTES),
        ("grpc.http2.bdp_probe", 1),
        ("grpc.http2.max_frame_size", 2**20),
        ("grpc.http2.write_buffer_size", 4 * 2**20),
    ]


def server_credentials(credentials: Callable[[], Credentials], trusted: Callable[[], bytes]) -> Any:
    """Credentials that are looked at for each handshake, so that rotated keys and new peers need no restart.

    gRPC frees what it had when it is given anew, even under a handshake that still uses it (grpc/grpc#36693), which
    ends the process. So it is given anew only what has changed: a peer was added, or the own key was rotated.
    """
    lock = threading.Lock()
    given: tuple[Credentials, bytes] | None = None

    def changed() -> Any:
        nonlocal given
        mine = credentials()
        # gRPC needs one root at least; with no peers, nobody but this party itself gets past the handshake.
        roots = trusted() or mine.certificate_chain
        with lock:
            if given == (mine, roots):
                return None
            given = mine, roots
        return grpc.ssl_server_certificate_configuration([(mine.private_key, mine.certificate_chain)], roots)

    return grpc.dynamic_ssl_server_credentials(changed(), changed, require_client_authentication=True)


def channel_credentials(mine: Credentials, peer_root: bytes) -> Any:
    """Credentials with which only the party that `peer_root` identifies is accepted."""
    return grpc.ssl_channel_credentials(peer_root, mine.private_key, mine.certificate_chain)


def check_tls_version(context: Mapping[str, Sequence[bytes]]) -> None:
    """Raise `PolicyDenied` below TLS 1.3; gRPC offers no way to refuse it in the handshake."""
    versions = list(context.get("ssl_tls_version", ()))
    if versions != [b"TLSv1.3"]:
        raise PolicyDenied("the connection is not TLS 1.3")
