"""The transport: a worker sends to another through two nodes over mutual TLS, against a plain TLS socket.

Every party is a process: two workers, two nodes, and for the plain socket a client and a server. They run in turn in
the same run. Targets: at least half of the plain socket's throughput, at least 100 MB/s with 80 ms added to the round
trip, and a node's memory that does not grow with the transfer.
"""

import asyncio
import itertools
import logging
import multiprocessing
import os
import resource
import socket
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import structlog

from benchmarks.harness import Row, main
from parties.transport.status import Limits, LinkStatus
from parties.transport.transport import Transport
from parties.worker.pipe import connect
from tests.faultproxy import FaultProxy
from tests.parties.transport.pki import Identity, authenticate, make_identity

CHUNK = 2**20
SPAWN = multiprocessing.get_context("spawn")
LEAST_SHARE = 0.5
LEAST_DELAYED_BYTES_PER_S = 100e6
MOST_NODE_MB = 300.0


@dataclass(frozen=True)
class Usage:
    seconds: float
    cpu_seconds: float
    peak_mb: float


def usage(seconds: float = 0.0) -> Usage:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(seconds, spent.ru_utime + spent.ru_stime, spent.ru_maxrss / 1024)


class Quiet:
    """A handler for links that carry workers only."""

    async def on_message(self, peer: str, message: bytes, /) -> None: ...

    async def on_link(self, peer: str, status: LinkStatus, /) -> None: ...

    def hello(self) -> bytes:
        return b""


def run_node(me: Identity, peer: Identity, sock: socket.socket, report: Connection) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))  # standard output is ours

    async def serve() -> None:
        transport = Transport(
            me.fingerprint,
            lambda: me.credentials,
            lambda: peer.root,
            lambda _peer: peer.root,
            lambda context: authenticate([peer], context),
            Quiet(),
            Limits(),
        )
        report.send(await transport.start("127.0.0.1:0"))
        port = await asyncio.to_thread(report.recv)
        transport.set_peers({peer.fingerprint: f"127.0.0.1:{port}" if port else ""})
        await transport.run_worker(sock, bytes(15) + b"\1", {peer.name: peer.fingerprint}, ignore)
        report.send(usage())
        await asyncio.to_thread(report.recv)
        await transport.stop(0)

    async def ignore(_event: bytes) -> None: ...

    asyncio.run(serve())


def run_worker(peer: str, sock: socket.socket, send_bytes: int, report: Connection) -> None:
    with connect(sock, [peer]) as link:
        pipe = link.pipes[peer]
        if send_bytes:
            payload = os.urandom(CHUNK)
            pipe.send_bytes(b"go")
            pipe.recv_bytes()
            started = time.perf_counter()
            for _ in range(send_bytes // CHUNK):
                pipe.send_bytes(payload)
            pipe.send_bytes(b"")
            total = int(pipe.recv_bytes())
            seconds = time.perf_counter() - started
            if total != send_bytes:
                raise AssertionError("bytes were lost")
        else:
            pipe.send_bytes(pipe.recv_bytes())
            total, seconds = 0, 0.0
            while chunk := pipe.recv_bytes():
                total += len(chunk)
            pipe.send_bytes(str(total).encode())
    report.send(usage(seconds))


def run_proxy(port: int, delay_s: float, report: Connection) -> None:
    with FaultProxy(port, delay_s=delay_s) as proxy:
        report.send(proxy.port)
        report.recv()


def through_nodes(a: Identity, b: Identity, size: int, delay_s: float = 0.0) -> tuple[Usage, Usage]:
    """Usage of all (seconds, CPU), with the largest node's memory; and of the workers."""
    pairs = [socket.socketpair() for _ in range(2)]
    node_a = start(run_node, a, b, pairs[0][0])
    node_b = start(run_node, b, a, pairs[1][0])
    ports = [node_a.report.recv(), node_b.report.recv()]
    others = []
    port = ports[1]
    if delay_s:
        others.append(start(run_proxy, port, delay_s / 2))
        port = others[0].report.recv()
    node_a.report.send(port)
    node_b.report.send(0)
    workers = [start(run_worker, b.name, pairs[0][1], size), start(run_worker, a.name, pairs[1][1], 0)]
    for sock in itertools.chain(*pairs):
        sock.close()
    worked = [worker.report.recv() for worker in workers]
    nodes = [node.report.recv() for node in (node_a, node_b)]
    for child in (node_a, node_b, *others):
        child.report.send(None)
    for child in (node_a, node_b, *workers, *others):
        child.process.join()
    cpu_seconds = sum(part.cpu_seconds for part in (*worked, *nodes))
    return Usage(worked[0].seconds, cpu_seconds, max(n.peak_mb for n in nodes)), worked[0]


@dataclass(frozen=True)
class Child:
    process: "multiprocessing.process.BaseProcess"
    report: Connection


def start(run: Callable[..., None], *arguments: object) -> Child:
    near, far = SPAWN.Pipe()
    process = SPAWN.Process(target=run, args=(*arguments, far), daemon=True)
    process.start()
    far.close()
    return Child(process, near)


def tls_context(me: Identity, peer: Identity, server: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with tempfile.TemporaryDirectory() as folder:
        chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
        chain.write_bytes(me.credentials.certificate_chain)
        key.write_bytes(me.credentials.private_key)
        context.load_cert_chain(chain, key)
    context.load_verify_locations(cadata=peer.root.decode())
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def run_tls_server(me: Identity, peer: Identity, report: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        report.send(listener.getsockname()[1])
        plain, _ = listener.accept()
    with tls_context(me, peer, True).wrap_socket(plain, server_side=True) as sock:
        buffer, total = memoryview(bytearray(CHUNK)), 0
        size = int.from_bytes(sock.recv(8), "little")
        while total < size:
            total += sock.recv_into(buffer)
        sock.sendall(b"k")
    report.send(usage())


def run_tls_client(me: Identity, peer: Identity, port: int, size: int, report: Connection) -> None:
    plain = socket.create_connection(("127.0.0.1", port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with tls_context(me, peer, False).wrap_socket(plain) as sock:
        payload = os.urandom(CHUNK)
        started = time.perf_counter()
        sock.sendall(size.to_bytes(8, "little"))
        for _ in range(size // CHUNK):
            sock.sendall(payload)
        if sock.recv(1) != b"k":
            raise AssertionError("the plain socket lost bytes")
        seconds = time.perf_counter() - started
    report.send(usage(seconds))


def through_tls_socket(a: Identity, b: Identity, size: int) -> Usage:
    server = start(run_tls_server, b, a)
    client = start(run_tls_client, a, b, server.report.recv(), size)
    parts = [client.report.recv(), server.report.recv()]
    for child in (client, server):
        child.process.join()
    return Usage(parts[0].seconds, sum(p.cpu_seconds for p in parts), max(p.peak_mb for p in parts))


def median(runs: Sequence[Usage]) -> Usage:
    return Usage(
        statistics.median(run.seconds for run in runs),
        statistics.median(run.cpu_seconds for run in runs),
        max(run.peak_mb for run in runs),
    )


def rows(quick: bool) -> Iterator[Row]:
    """Throughput, memory of a long transfer, and throughput over a long path."""
    a, b = make_identity("a"), make_identity("b")
    size, repeats = (512 * CHUNK, 3) if quick else (1024 * CHUNK, 5)
    ours, plain = [], []
    for _ in range(repeats):
        plain.append(through_tls_socket(a, b, size))
        ours.append(through_nodes(a, b, size)[0])
    sealane, peer = median(ours), median(plain)
    share = peer.seconds / sealane.seconds
    work = f"{size >> 20} MiB, worker to worker"
    yield row(work, "TLS socket", peer, size, True)
    yield row(work, "Sealane", sealane, size, share >= LEAST_SHARE, f"{share:.2f} of the TLS socket")
    long = 1024 * CHUNK if quick else 4096 * CHUNK
    node, _ = through_nodes(a, b, long)
    yield row(f"{long >> 20} MiB, memory of a node", "Sealane", node, long, node.peak_mb <= MOST_NODE_MB)
    far, _ = through_nodes(a, b, size, delay_s=0.08)
    fast = size / far.seconds >= LEAST_DELAYED_BYTES_PER_S
    yield row(f"{size >> 20} MiB, round trip + 80 ms", "Sealane", far, size, fast)


def row(work: str, who: str, used: Usage, size: int, ok: bool, note: str = "") -> Row:
    rate = f"{size / used.seconds / 1e6:.0f} MB/s"
    return Row(work, who, used.seconds, used.cpu_seconds, size, used.peak_mb, ok, f"{rate}, {note}" if note else rate)


if __name__ == "__main__":
    main(rows)
