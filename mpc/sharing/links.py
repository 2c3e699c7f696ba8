"""Channels to several peers, some of which may end while the others go on."""

from collections.abc import Mapping
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
        self._require(peer)
        try:
            self._peers[peer].send(message)
        except ChannelError as error:
            raise self._lose(peer, error) from error

    def recv(self, peer: str, expected: type[M]) -> M:
        """The peer's next message, or `ChannelError` when it has dropped out."""
        self._require(peer)
        try:
            return self._peers[peer].recv(expected)
        except ChannelError as error:
            raise self._lose(peer, error) from error
        except ProtocolError as error:
            raise ProtocolError(f"{peer}: {error}") from error

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

    def _require(self, peer: str) -> None:
        if peer in self._lost:
            raise ChannelError(f"{peer}: {self._lost[peer]}")

    def _lose(self, peer: str, error: ChannelError) -> ChannelError:
        self._lost[peer] = str(error)
        return ChannelError(f"{peer}: {error}", hint=error.hint)
