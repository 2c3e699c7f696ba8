"""Channels to several peers, some of which may end while the others go on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from google.protobuf.message import Message

from mpc.channel import Channel
from mpc.errors import ChannelError, ProtocolError

M = TypeVar("M", bound=Message)


class Links:
    """One channel a peer. A peer whose channel failed once has dropped out: its channel is not used again.

    Every error names the peer.
    """

    def __init__(self, peers: Mapping[str, Channel]) -> None:
        self._peers = dict(peers)
        self._lost: dict[str, str] = {}

    def send(self, peer: str, message: Message) -> None:
        """Send, or raise `ChannelError` when the peer has dropped out."""
        with self._link(peer) as channel:
            channel.send(message)

    def recv(self, peer: str, expected: type[M]) -> M:
        """The peer's next message, or `ChannelError` when it has dropped out."""
        with self._link(peer) as channel:
            return channel.recv(expected)

    def send_bulk(self, peer: str, message: Message, data: memoryview) -> None:
        """`send` with data in the last field, as `Channel.send_bulk`."""
        with self._link(peer) as channel:
            channel.send_bulk(message, data)

    def recv_bulk(self, peer: str, expected: M, into: memoryview) -> M | None:
        """`recv` into memory, as `Channel.recv_bulk`."""
        with self._link(peer) as channel:
            return channel.recv_bulk(expected, into)

    def try_send(self, peer: str, message: Message) -> None:
        """Send, unless the peer has dropped out."""
        try:
            self.send(peer, message)
        except ChannelError:
            return

    def try_recv(self, peer: str, expected: type[M]) -> M | None:
        """The peer's next message, None when it has dropped out."""
        try:
            return self.recv(peer, expected)
        except ChannelError:
            return None

    @contextmanager
    def _link(self, peer: str) -> Iterator[Channel]:
        """The peer's channel, if that never failed; notes when it does."""
        if peer in self._lost:
            raise ChannelError(f"{peer}: {self._lost[peer]}")
        try:
            yield self._peers[peer]
        except ChannelError as error:
            self._lost[peer] = str(error)
            raise ChannelError(f"{peer}: {error}", hint=error.hint) from error
        except ProtocolError as error:
            raise ProtocolError(f"{peer}: {error}") from error
