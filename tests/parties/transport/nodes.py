"""Transports in one process for tests, and workers as threads on them."""

import asyncio
import contextlib
import gc
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from parties.transport.status import Limits, LinkStatus, WorkerTraffic
from parties.transport.transport import Transport
from parties.worker.pipe import WorkerLink, connect
from tests.parties.transport.pki import Identity, authenticate

T = TypeVar("T")

#: With these nothing ends because a busy machine is slow. Where something is to end for that, a test gives it `SOON_S`.
PATIENT = Limits(keepalive_s=600.0, handshake_s=60.0, resume_s=60.0, redial_s=0.2)
SOON_S = 3.0


@dataclass
class Recorder:
    """A handler that keeps what it hears."""

    greeting: bytes = b"hello"
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    links: list[tuple[str, LinkStatus]] = field(default_factory=list)

    async def on_message(self, peer: str, message: bytes, /) -> None:
        self.messages.append((peer, message))

    async def on_link(self, peer: str, status: LinkStatus, /) -> None:
        self.links.append((peer, status))

    def hello(self) -> bytes:
        return self.greeting


@dataclass
class Node:
    identity: Identity
    transport: Transport
    handler: Recorder
    port: int
    registered: list[Identity]

    @property
    def fingerprint(self) -> str:
        return self.identity.fingerprint

    def know(self, peers: Mapping[Identity, str]) -> None:
        self.registered[:] = list(peers)
        self.transport.set_peers({identity.fingerprint: address for identity, address in peers.items()})


_started: list[Node] = []
_workers: list[WorkerLink] = []


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test, then stop the workers and nodes that it left."""

    async def body() -> None:
        try:
            await work()
        finally:
            workers, _workers[:] = list(_workers), []
            for worker in workers:
                await asyncio.to_thread(worker.close, finished=False)
            nodes, _started[:] = list(_started), []
            await asyncio.gather(*(node.transport.stop(0) for node in nodes))

    asyncio.run(body())


async def start_node(identity: Identity, *, limits: Limits = PATIENT, trusted: bytes | None = None) -> Node:
    registered: list[Identity] = []
    handler = Recorder(greeting=b"hello from " + identity.name.encode())
    transport = Transport(
        identity.fingerprint,
        lambda: identity.credentials,
        lambda: b"".join(peer.root for peer in registered) if trusted is None else trusted,
        lambda peer: next(known.root for known in registered if known.fingerprint == peer),
        lambda context: authenticate(registered, context),
        handler,
        limits,
    )
    node = Node(identity, transport, handler, await transport.start("127.0.0.1:0"), registered)
    _started.append(node)
    return node


@contextlib.asynccontextmanager
async def two_nodes(a: Identity, b: Identity, *, limits: Limits = PATIENT) -> AsyncIterator[tuple[Node, Node]]:
    """Two nodes; the first dials the second."""
    one, two = await start_node(a, limits=limits), await start_node(b, limits=limits)
    try:
        two.know({a: ""})
        one.know({b: f"127.0.0.1:{two.port}"})
        await connected(one, two)
        yield one, two
    finally:
        await one.transport.stop(0)
        await two.transport.stop(0)


async def connected(one: Node, two: Node) -> None:
    await until(lambda: one.transport.status(two.fingerprint).connected)
    await until(lambda: two.transport.status(one.fingerprint).connected)


async def until(true: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.005)


async def ignore(_what: object) -> None:
    pass


def start_worker(
    node: Node,
    session: bytes,
    peers: Mapping[str, str],
    on_event: Callable[[bytes], Awaitable[None]] = ignore,
    on_failed: Callable[[object], Awaitable[None]] = ignore,
    **window: int,
) -> tuple[WorkerLink, "asyncio.Task[WorkerTraffic]"]:
    """A worker's link, for use in a thread, and the relay that serves it."""
    mine, theirs = socket.socketpair()
    task = asyncio.create_task(node.transport.run_worker(mine, session, peers, on_event, on_failed))
    link = connect(theirs, list(peers), **window)
    _workers.append(link)
    return link, task


def mapped() -> int:
    """How many mappings of memory between nodes and workers this process has."""
    gc.collect()
    return Path("/proc/self/maps").read_text().count("sealane-worker")


@contextlib.contextmanager
def background_loop() -> Iterator[Callable[[Coroutine[Any, Any, T]], T]]:
    """An event loop in a thread; gives what runs a coroutine on it and waits."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def worker_links(a: Identity, b: Identity, **window: int) -> Iterator[tuple[WorkerLink, WorkerLink]]:
    """Two workers on two nodes, for use from plain threads; the second is called "b" by the first, which is "a"."""
    with background_loop() as run:
        nodes = two_nodes(a, b)
        one, two = run(nodes.__aenter__())

        async def workers() -> list[tuple[WorkerLink, "asyncio.Task[WorkerTraffic]"]]:
            shared = os.urandom(16)
            return [
                start_worker(one, shared, {"b": two.fingerprint}, **window),
                start_worker(two, shared, {"a": one.fingerprint}, **window),
            ]

        (near, near_task), (far, far_task) = run(workers())
        try:
            yield near, far
        finally:
            near.close(finished=True)
            far.close(finished=True)
            _workers.clear()

            async def finish() -> None:
                await asyncio.gather(near_task, far_task)
                await nodes.__aexit__(None, None, None)

            run(finish())
