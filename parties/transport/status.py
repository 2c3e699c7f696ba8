"""What the transport is given and what it tells: credentials, limits, the state of a link, a worker's traffic."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mpc.errors import SealaneError


@dataclass(frozen=True)
class Credentials:
    """This party's TLS leaf and its issuer, in PEM, and the leaf's private key, in PEM."""

    certificate_chain: bytes
    private_key: bytes = field(repr=False)


@dataclass(frozen=True)
class Limits:
    """What one node allows. Times in seconds, sizes in bytes."""

    connections: int = 100  # streams that peers hold open here, in all
    connections_per_peer: int = 4  # one that lives, and those about to replace it
    sessions_per_peer: int = 64  # workers here, and as many that the peer announced before ours
    message_bytes: int = 8 * 2**20  # a control message
    queued_message_bytes: int = 32 * 2**20  # control messages that wait for the wire, a peer
    keepalive_s: float = 10.0  # between pings; an answer must come within half of it
    handshake_s: float = 10.0  # from the connection to the peer's greeting
    resume_s: float = 60.0  # a link that is down for longer takes its sessions with it
    redial_s: float = 5.0  # the longest pause between attempts to connect


@dataclass(frozen=True)
class LinkStatus:
    """The link to one peer: `refused` says why the last attempt failed; bytes are those of frames since the start."""

    connected: bool = False
    refused: str = ""
    hello: bytes = field(default=b"", repr=False)
    round_trip_s: float | None = None
    sent_bytes: int = 0
    received_bytes: int = 0
    reconnects: int = 0


@dataclass(frozen=True)
class WorkerTraffic:
    """What passed between one worker and its peers, by their names in the job.

    `finished` is False when the worker went without saying goodbye. `errors` holds, for each peer that ended badly,
    a `ChannelError` or, to be recorded, a `ProtocolError`.
    """

    finished: bool
    sent_bytes: Mapping[str, int]
    received_bytes: Mapping[str, int]
    errors: Mapping[str, SealaneError]


class Handler(Protocol):
    """What the node server does with a peer's messages. Calls for one peer come one after the other, in order."""

    async def on_message(self, peer: str, message: bytes, /) -> None:
        """A control message. It was acknowledged to the peer's transport, not yet to the peer's server."""
        ...

    async def on_link(self, peer: str, status: LinkStatus, /) -> None:
        """The link came up, went down, or could not be made. After it came up, send again what is not confirmed."""
        ...

    def hello(self) -> bytes:
        """The server's own greeting, at most 64 KiB."""
        ...
