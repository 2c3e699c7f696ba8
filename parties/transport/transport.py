"""The transport of a node: accepts and dials peers, carries control messages, relays workers."""

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
import structlog

from mpc.errors import ChannelError, InputError, PolicyDenied, ProtocolError, SealaneError
from mpc.rng import Rng, system_rng
from parties.addresses import split
from parties.transport import tls
from parties.transport.frames import SESSION_BYTES
from parties.transport.peer import PeerLink, Stream, SupersededError
from parties.transport.relay import relay
from parties.transport.status import Credentials, Handler, Limits, LinkStatus, WorkerTraffic

_log = structlog.get_logger("sealane.transport")
_FIRST_REDIAL_S = 0.05
_NOT_ACCEPTED = "this connection is not accepted"


class Transport:
    """All links of one node. Use it from one event loop.

    `me` is this party's fingerprint; a peer is its fingerprint everywhere. `credentials` and `trusted` (PEM roots
    accepted at the handshake) are read for every new handshake, from another thread. `peer_root` gives the one pinned
    root of a peer that is dialed. `authenticate` gets gRPC's authentication context of every call and gives the
    peer's fingerprint or raises `PolicyDenied`.
    """

    def __init__(
        self,
        me: str,
        credentials: Callable[[], Credentials],
        trusted: Callable[[], bytes],
        peer_root: Callable[[str], bytes],
        authenticate: Callable[[Mapping[str, Sequence[bytes]]], str],
        handler: Handler,
        limits: Limits,
        rng: Rng = system_rng,
    ) -> None:
        self._me = me
        self._credentials = credentials
        self._trusted = trusted
        self._peer_root = peer_root
        self._authenticate = authenticate
        self._handler = handler
        self._limits = limits
        self._rng = rng
        self._server: Any = None
        self._links: dict[str, PeerLink] = {}
        self._addresses: dict[str, str] = {}
        self._dialers: dict[str, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._streams: Counter[str] = Counter()
        self._workers: set[asyncio.Task[Any]] = set()
        self._stopping = False

    async def start(self, listen: str) -> int:
        """Accept peers on `listen` (host:port); gives the port. Empty: dial only, gives 0."""
        if not listen:
            return 0
        server = grpc.aio.server(options=tls.server_options(self._limits))
        handler = grpc.stream_stream_rpc_method_handler(self._accept)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(tls.SERVICE, {tls.METHOD: handler}),))
        try:
            port = server.add_secure_port(listen, tls.server_credentials(self._credentials, self._trusted))
        except RuntimeError:
            raise _cannot_listen(listen) from None
        await server.start()
        self._server = server
        return int(port)

    async def stop(self, drain_s: float) -> None:
        """Take no new work, let workers finish for `drain_s`, then cut every stream and end what is left as failed."""
        self._stopping = True
        if self._workers:
            await asyncio.wait(self._workers, timeout=drain_s)
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self.set_peers({})
        await asyncio.gather(*self._closing, return_exceptions=True)
        if self._server is not None:
            await self._server.stop(0.5)

    def set_peers(self, peers: Mapping[str, str]) -> None:
        """Register exactly `peers`: fingerprint to address, or "" to wait for its call. Others are cut off at once."""
        for peer in set(self._links) - set(peers):
            self._stop_dialing(peer)
            self._close_later(self._links.pop(peer).close("is no longer registered here"))
        for peer in set(peers) - set(self._links):
            self._links[peer] = PeerLink(self._me, peer, self._handler, self._limits, self._rng)
        for peer, address in peers.items():
            if address == self._addresses.get(peer, ""):
                continue
            self._stop_dialing(peer)
            if address:
                self._dialers[peer] = asyncio.create_task(self._dial(self._links[peer], address))
        self._addresses = dict(peers)

    def has_room(self, peer: str, size: int) -> bool:
        """Whether `send` of so many bytes need not wait until the peer has read what was sent before."""
        link = self._links.get(peer)
        return link is None or link.has_room(size)

    async def send(self, peer: str, message: bytes) -> None:
        """Hand over one control message; returns when it is queued. `ChannelError` when the peer is not connected.

        It arrives once and in order while the link lives; when either node restarts or stays away for long it is
        lost, so keep it until the peer's server confirms it, and send it again after `on_link`.
        """
        await self._link(peer).send(message)

    def status(self, peer: str) -> LinkStatus:
        """The state of the link to a registered peer."""
        return self._link(peer).status

    async def run_worker(
        self,
        sock: socket.socket,
        session: bytes,
        peers: Mapping[str, str],
        on_event: Callable[[bytes], Awaitable[None]],
        on_failed: Callable[[Mapping[str, SealaneError]], Awaitable[None]],
    ) -> WorkerTraffic:
        """Relay the worker at the other end of `sock` until it closes it, and close this end.

        `session` (16 bytes) names the attempt, the same at every party and never used before; `peers` maps each other
        party's name in the job to its fingerprint. A peer that fails is reported to the worker, whose protocol then
        raises; what happened to each is in the result. `on_failed` is given it, and awaited, before peers are told that
        the worker ended without having finished. Cancelling ends the sessions as failed.
        """
        if len(session) != SESSION_BYTES:
            raise InputError(f"a session id has {SESSION_BYTES} bytes")
        task = asyncio.current_task()
        assert task is not None
        self._workers.add(task)
        try:
            if self._stopping:
                raise ChannelError("this node is stopping")
            links = {name: self._link(peer) for name, peer in peers.items()}
            return await relay(sock, session, links, on_event, on_failed)
        finally:
            self._workers.discard(task)
            sock.close()

    def _link(self, peer: str) -> PeerLink:
        link = self._links.get(peer)
        if link is None:
            raise ChannelError(f"peer {peer[:16]}: is not registered here")
        return link

    def _close_later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # -- accepting -------------------------------------------------------------------------------------------------

    async def _accept(self, _requests: Any, context: Any) -> None:
        try:
            auth: Mapping[str, Sequence[bytes]] = context.auth_context()
            tls.check_tls_version(auth)
            peer = self._authenticate(auth)
            if peer not in self._links:
                raise PolicyDenied("its identity is not registered")
        except PolicyDenied as refusal:
            _log.warning("connection refused", address=context.peer(), reason=str(refusal))
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, _NOT_ACCEPTED)
        if (
            self._streams[peer] >= self._limits.connections_per_peer
            or self._streams.total() >= self._limits.connections
        ):
            _log.warning("too many connections", peer=peer, address=context.peer())
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many connections")
        self._streams[peer] += 1
        try:
            code, details = await self._serve_accepted(self._links[peer], context)
        finally:
            self._streams[peer] -= 1
        await context.abort(code, details)

    async def _serve_accepted(self, link: PeerLink, context: Any) -> tuple[grpc.StatusCode, str]:
        async def read() -> bytes | None:
            frame = await _or_broken(context.read())
            return None if frame is grpc.aio.EOF else frame

        async def write(frame: bytes) -> None:
            await _or_broken(context.write(frame))

        try:
            await link.serve(Stream(read, write, dialed_by=link.peer))
        except SupersededError:
            return grpc.StatusCode.ALREADY_EXISTS, "another stream serves this link"
        except ProtocolError as error:
            _log.warning("stream ended", peer=link.peer, address=context.peer(), reason=str(error))
            return grpc.StatusCode.INVALID_ARGUMENT, str(error)
        except (ChannelError, TimeoutError) as error:
            _log.info("stream ended", peer=link.peer, address=context.peer(), reason=str(error))
        return grpc.StatusCode.UNAVAILABLE, "the stream has ended"

    # -- dialing ---------------------------------------------------------------------------------------------------

    def _stop_dialing(self, peer: str) -> None:
        dialer = self._dialers.pop(peer, None)
        if dialer is not None:
            dialer.cancel()
            self._close_later(dialer)

    async def _dial(self, link: PeerLink, address: str) -> None:
        pause_s = _FIRST_REDIAL_S
        while True:
            await link.wait_down()
            received_bytes = link.status.received_bytes
            refusal = await self._dial_once(link, address)
            if link.status.received_bytes > received_bytes:
                pause_s = _FIRST_REDIAL_S
            if refusal and not link.status.connected:
                link.refused(refusal)
            jitter = int.from_bytes(self._rng(2), "little") / 2**16
            await asyncio.sleep(pause_s * (0.5 + jitter / 2))
            pause_s = min(2 * pause_s, self._limits.redial_s)

    async def _dial_once(self, link: PeerLink, address: str) -> str:
        """One connection from start to end; gives why it was refused, or "" if it served."""
        credentials = tls.channel_credentials(self._credentials(), self._peer_root(link.peer))
        async with grpc.aio.secure_channel(address, credentials, options=tls.channel_options(self._limits)) as channel:
            call = channel.stream_stream(f"/{tls.SERVICE}/{tls.METHOD}")()

            async def read() -> bytes | None:
                frame = await _or_broken(call.read())
                return None if frame is grpc.aio.EOF else frame

            async def write(frame: bytes) -> None:
                await _or_broken(call.write(frame))

            try:
                await link.serve(Stream(read, write, dialed_by=self._me))
            except SupersededError:
                return ""
            except ProtocolError as error:
                _log.warning("stream ended", peer=link.peer, address=address, reason=str(error))
                return str(error)
            except (ChannelError, TimeoutError) as error:
                return await _refusal(call, error)
            finally:
                call.cancel()
        return ""


async def _or_broken(operation: Awaitable[Any]) -> Any:
    try:
        return await operation
    except Exception as error:  # gRPC's errors have no common base
        raise ChannelError("the stream broke") from error


async def _refusal(call: Any, error: Exception) -> str:
    if not call.done():
        return str(error) or "the peer did not greet in time"
    code = await call.code()
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return "the peer does not accept this party"
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return "the peer has too many connections"
    if code is grpc.StatusCode.ALREADY_EXISTS:
        return ""
    details = "".join(c if c.isprintable() else " " for c in (await call.details() or ""))
    return f"{code.name}: {details[:300]}"


def _cannot_listen(listen: str) -> InputError:
    """Why nobody can listen there, which gRPC tells its log only."""
    hint = "listen in settings.toml is an address of this machine, or 0.0.0.0:port for all of them"
    try:
        family, kind, _, _, address = socket.getaddrinfo(*split(listen), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as sock:
            sock.bind(address)
        why = "gRPC refused it"
    except OSError as error:
        why = error.strerror or "unknown"
        if error.errno == errno.EADDRINUSE:
            hint = "another process listens there: stop it, or set another port in settings.toml"
    return InputError(f"cannot listen on {listen}: {why}", hint=hint)
