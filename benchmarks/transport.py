"""The transport: a worker sends to another through two nodes over mutual TLS, against a plain TLS socket.

Every party is a process: two workers, two nodes, and for the plain socket and for gRPC alone, with the options that the
nodes use, a client and a server. All move the same messages in the same direction, in turn in the same run. CPU time is
that of all processes while the data moves, without their start: where others use the machine, it says more than the
seconds. Targets: at least half of the plain socket's throughput, at least 100 MB/s with 80 ms added to the round trip,
and memory of nodes and workers that does not grow with the transfer.
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
from typing import Any

import grpc
import structlog

from benchmarks.harness import Row, main
from parties.transport import tls
from parties.transport.allocator import keep_freed_buffers
from parties.transport.status import Limits, LinkStatus
from parties.transport.transport import Transport
from parties.worker.pipe import connect
from tests.faultproxy import FaultProxy
from tests.parties.transport.pki import Identity, authenticate, make_identity

CHUNK = 2**20
SPAWN = multiprocessing.get_context("spawn")
LEAST_SHARE = 0.5
LEAST_DELAYED_BYTES_PER_S = 100e6
MOST_MB = 300.0
MOST_GROWTH_MB = 48.0  # from transfers of the usual size to a long one


@dataclass(frozen=True)
class Usage:
    seconds: float
    cpu_seconds: float
    peak_mb: float


def usage(began: float, seconds: float = 0.0) -> Usage:
    """Of this process, with its CPU time since `began`."""
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Usage(seconds, time.process_time() - began, peak_kib / 1024)


class Quiet:
    """A handler for links that carry workers only."""

    async def on_message(self, peer: str, message: bytes, /) -> None: ...

    async def on_link(self, peer: str, status: LinkStatus, /) -> None: ...

    def hello(self) -> bytes:
        return b""


def run_node(me: Identity, peer: Identity, sock: socket.socket, report: Connection) -> None:
    keep_freed_buffers()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))  # standard output is ours

    began = 0.0

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
        await transport.run_worker(sock, bytes(15) + b"\1", {peer.name: peer.fingerprint}, on_event, on_failed)
        report.send(usage(began))
        await asyncio.to_thread(report.recv)
        await transport.stop(0)

    async def on_failed(_errors: object) -> None:
        raise RuntimeError("the worker did not finish")

    async def on_event(_event: bytes) -> None:
        nonlocal began
        began = time.process_time()  # the worker is about to send or receive

    asyncio.run(serve())


def run_worker(peer: str, sock: socket.socket, send_bytes: int, report: Connection) -> None:
    with connect(sock, [peer]) as link:
        pipe = link.pipes[peer]
        if send_bytes:
            payload = os.urandom(CHUNK)
            pipe.send_bytes(b"go")
            pipe.recv_bytes()
            link.event(b"start")
            began, started = time.process_time(), time.perf_counter()
            for _ in range(send_bytes // CHUNK):
                pipe.send_bytes(payload)
            pipe.send_bytes(b"")
            total = int(pipe.recv_bytes())
            seconds = time.perf_counter() - started
            if total != send_bytes:
                raise AssertionError("bytes were lost")
        else:
            link.event(b"start")
            began = time.process_time()
            pipe.send_bytes(pipe.recv_bytes())
            total, seconds = 0, 0.0
            while chunk := pipe.recv_bytes():
                total += len(chunk)
            pipe.send_bytes(str(total).encode())
    report.send(usage(began, seconds))


def run_proxy(port: int, delay_s: float, report: Connection) -> None:
    with FaultProxy(port, delay_s=delay_s) as proxy:
        report.send(proxy.port)
        report.recv()


def through_nodes(a: Identity, b: Identity, size: int, delay_s: float = 0.0) -> Usage:
    """Usage of all (seconds, CPU), with the largest process's memory."""
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
    return total(worked + nodes)


def total(parts: Sequence[Usage]) -> Usage:
    """Of all processes; the first is the one that took the time."""
    return Usage(parts[0].seconds, sum(part.cpu_seconds for part in parts), max(part.peak_mb for part in parts))


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
        began = time.process_time()
        buffer, total = memoryview(bytearray(CHUNK)), 0
        size = int.from_bytes(sock.recv(8), "little")
        while total < size:
            total += sock.recv_into(buffer)
        sock.sendall(b"k")
    report.send(usage(began))


def run_tls_client(me: Identity, peer: Identity, port: int, size: int, report: Connection) -> None:
    plain = socket.create_connection(("127.0.0.1", port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with tls_context(me, peer, False).wrap_socket(plain) as sock:
        payload = os.urandom(CHUNK)
        began, started = time.process_time(), time.perf_counter()
        sock.sendall(size.to_bytes(8, "little"))
        for _ in range(size // CHUNK):
            sock.sendall(payload)
        if sock.recv(1) != b"k":
            raise AssertionError("the plain socket lost bytes")
        seconds = time.perf_counter() - started
    report.send(usage(began, seconds))


def through_tls_socket(a: Identity, b: Identity, size: int) -> Usage:
    server = start(run_tls_server, b, a)
    client = start(run_tls_client, a, b, server.report.recv(), size)
    parts = [client.report.recv(), server.report.recv()]
    for child in (client, server):
        child.process.join()
    return total(parts)


def run_grpc_server(me: Identity, peer: Identity, report: Connection) -> None:
    keep_freed_buffers()

    async def take(_requests: object, context: Any) -> None:
        await context.read()
        began, size = time.process_time(), 0
        while (message := await context.read()) is not grpc.aio.EOF:
            size += len(message)
        await context.write(str(size).encode())
        report.send(usage(began))

    async def serve() -> None:
        server = grpc.aio.server(options=tls.server_options(Limits()))
        handler = grpc.stream_stream_rpc_method_handler(take)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(tls.SERVICE, {tls.METHOD: handler}),))
        credentials = tls.server_credentials(lambda: me.credentials, lambda: peer.root)
        report.send(server.add_secure_port("127.0.0.1:0", credentials))
        await server.start()
        await asyncio.to_thread(report.recv)
        await server.stop(None)

    asyncio.run(serve())


def run_grpc_client(me: Identity, peer: Identity, port: int, size: int, report: Connection) -> None:
    keep_freed_buffers()
    payload = os.urandom(CHUNK)

    async def send() -> Usage:
        credentials = tls.channel_credentials(me.credentials, peer.root)
        options = tls.channel_options(Limits())
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options) as channel:
            call = channel.stream_stream(f"/{tls.SERVICE}/{tls.METHOD}")()
            await call.write(b"go")
            began, started = time.process_time(), time.perf_counter()
            for _ in range(size // CHUNK):
                await call.write(payload)
            await call.done_writing()
            if int(await call.read()) != size:
                raise AssertionError("gRPC lost bytes")
            return usage(began, time.perf_counter() - started)

    report.send(asyncio.run(send()))


def through_grpc(a: Identity, b: Identity, size: int) -> Usage:
    server = start(run_grpc_server, b, a)
    client = start(run_grpc_client, a, b, server.report.recv(), size)
    parts = [client.report.recv(), server.report.recv()]
    server.report.send(None)
    for child in (client, server):
        child.process.join()
    return total(parts)


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
    ways = {"TLS socket": through_tls_socket, "gRPC alone": through_grpc, "Sealane": through_nodes}
    runs: dict[str, list[Usage]] = {who: [] for who in ways}
    for _ in range(repeats):
        for who, way in ways.items():
            runs[who].append(way(a, b, size))
    medians = {who: median(used) for who, used in runs.items()}
    peer, sealane = medians["TLS socket"], medians["Sealane"]
    for who, used in medians.items():
        share = peer.seconds / used.seconds
        note = f"{share:.2f} of the TLS socket, {used.cpu_seconds / peer.cpu_seconds:.2f} times its CPU time"
        yield row(f"{size >> 20} MiB", who, used, size, who != "Sealane" or share >= LEAST_SHARE, note)
    long = 1024 * CHUNK if quick else 4096 * CHUNK
    used = through_nodes(a, b, long)
    flat = used.peak_mb <= min(MOST_MB, sealane.peak_mb + MOST_GROWTH_MB)
    yield row(
        f"{long >> 20} MiB, memory", "Sealane", used, long, flat, f"{sealane.peak_mb:.0f} MB for {size >> 20} MiB"
    )
    far = through_nodes(a, b, size, delay_s=0.08)
    fast = size / far.seconds >= LEAST_DELAYED_BYTES_PER_S
    yield row(f"{size >> 20} MiB, round trip + 80 ms", "Sealane", far, size, fast)


def row(work: str, who: str, used: Usage, size: int, ok: bool, note: str = "") -> Row:
    rate = f"{size / used.seconds / 1e6:.0f} MB/s"
    return Row(work, who, used.seconds, used.cpu_seconds, size, used.peak_mb, ok, f"{rate}, {note}" if note else rate)


if __name__ == "__main__":
    main(rows)
