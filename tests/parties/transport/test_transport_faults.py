"""Two nodes over mutual TLS on loopback, and what is done to them."""

import asyncio
import contextlib
import hashlib
import os
import pickle
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from mpc.errors import ChannelError, InputError, ProtocolError
from parties.transport import frames, tls
from parties.transport.frames import EndCode, Hello, Kind
from parties.transport.status import Limits
from parties.worker.records import HEADER, SLOT, TOTAL, RecordKind, charge
from tests.faultproxy import FaultProxy, duplicate, flip_bit, truncate
from tests.parties.transport.nodes import (
    PATIENT,
    SOON_S,
    Node,
    connected,
    ignore,
    mapped,
    run,
    start_node,
    start_worker,
    two_nodes,
    until,
)
from tests.parties.transport.pki import Identity, make_identity, session

A, B, C = make_identity("a"), make_identity("b"), make_identity("c")
METHOD = f"/{tls.SERVICE}/{tls.METHOD}"


@contextlib.asynccontextmanager
async def client(node: Node, me: Identity) -> AsyncIterator[Any]:
    """A raw call to a node, with the credentials of `me`."""
    credentials = tls.channel_credentials(me.credentials, node.identity.root)
    options = tls.channel_options(PATIENT)
    async with grpc.aio.secure_channel(f"127.0.0.1:{node.port}", credentials, options=options) as channel:
        yield channel.stream_stream(METHOD)()


@contextlib.asynccontextmanager
async def hostile(node: Node, me: Identity) -> AsyncIterator[Any]:
    """A registered peer's own stream, greeted, for sending any frames."""
    async with client(node, me) as call:
        await call.read()
        await call.write(frames.encode_hello(Hello(os.urandom(16), frames.NO_BOOT, 0, b"")))
        await until(lambda: node.transport.status(me.fingerprint).connected)
        yield call


async def outcome(call: Any) -> grpc.StatusCode:
    """Read to the end; gives the status."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        while await asyncio.wait_for(call.read(), 60) is not grpc.aio.EOF:
            pass
    code: grpc.StatusCode = await call.code()
    return code


async def still_served(one: Node, two: Node) -> None:
    """The first can send to the second."""
    before = len(two.handler.messages)
    await connected(one, two)
    await one.transport.send(two.fingerprint, b"are you there")
    await until(lambda: len(two.handler.messages) > before)


# -- an ordinary day ---------------------------------------------------------------------------------------------------


def test_messages_pass_both_ways_in_order_and_greetings_are_known() -> None:
    async def work() -> None:
        async with two_nodes(A, B) as (one, two):
            assert one.transport.status(B.fingerprint).hello == b"hello from b"
            long = bytes(range(256)) * 10_000
            for body in (b"1", long, b"3"):
                await one.transport.send(B.fingerprint, body)
                await two.transport.send(A.fingerprint, body)
            await until(lambda: len(one.handler.messages) == len(two.handler.messages) == 3)
            assert two.handler.messages == [(A.fingerprint, b"1"), (A.fingerprint, long), (A.fingerprint, b"3")]
            assert one.handler.links[0][1].connected
            await until(lambda: one.transport.status(B.fingerprint).round_trip_s is not None)
            with pytest.raises(InputError, match="at most"):
                await one.transport.send(B.fingerprint, bytes(PATIENT.message_bytes + 1))

    run(work)


def test_nothing_is_sent_to_a_peer_that_is_not_connected_or_not_known() -> None:
    async def work() -> None:
        one = await start_node(A)
        one.know({B: ""})
        for peer in (B, C):
            with pytest.raises(ChannelError):
                await one.transport.send(peer.fingerprint, b"x")

    run(work)


def test_when_both_dial_one_stream_stays() -> None:
    async def work() -> None:
        one, two = await start_node(A), await start_node(B)
        one.know({B: f"127.0.0.1:{two.port}"})
        two.know({A: f"127.0.0.1:{one.port}"})
        await connected(one, two)
        await until(lambda: sum(one.transport._streams.values()) + sum(two.transport._streams.values()) == 1)
        await still_served(one, two)
        await still_served(two, one)
        # Which of the two it is depends on whether they met: a side that is connected already does not dial.
        assert sum(one.transport._streams.values()) + sum(two.transport._streams.values()) == 1

    run(work)


def test_a_worker_s_traffic_and_events_are_reported() -> None:
    async def work() -> None:
        events: list[bytes] = []

        async def on_event(body: bytes) -> None:
            events.append(body)

        async with two_nodes(A, B) as (one, two):
            near, near_task = start_worker(one, session("1"), {"b": B.fingerprint}, on_event)
            far, far_task = start_worker(two, session("1"), {"a": A.fingerprint})
            near.event(b"half way")
            await asyncio.to_thread(near.pipes["b"].send_bytes, b"12345")
            assert await asyncio.to_thread(far.pipes["a"].recv_bytes) == b"12345"
            await asyncio.to_thread(near.close, finished=True)
            with pytest.raises(ChannelError, match="a: ended before"):
                await asyncio.to_thread(far.pipes["a"].recv_bytes)
            await asyncio.to_thread(far.close, finished=True)
            sent, received = await near_task, await far_task
            assert events == [b"half way"]
            assert sent.finished and sent.sent_bytes == {"b": 5} and not sent.errors
            assert received.finished and received.received_bytes == {"a": 5} and not received.errors

    run(work)


def test_stopping_lets_workers_finish_and_takes_no_new_ones() -> None:
    async def work() -> None:
        async with two_nodes(A, B) as (one, two):
            near, near_task = start_worker(one, session("1"), {"b": B.fingerprint})
            far, far_task = start_worker(two, session("1"), {"a": A.fingerprint})
            stopping = asyncio.create_task(one.transport.stop(10))
            await asyncio.sleep(0)
            mine, theirs = socket.socketpair()
            with theirs, pytest.raises(ChannelError, match="stopping"):
                await one.transport.run_worker(mine, session("2"), {"b": B.fingerprint}, ignore, ignore)
            await asyncio.to_thread(near.pipes["b"].send_bytes, b"in time")
            assert await asyncio.to_thread(far.pipes["a"].recv_bytes) == b"in time"
            await asyncio.to_thread(near.close, finished=True)
            await asyncio.to_thread(far.close, finished=True)
            await stopping
            assert (await near_task).finished and (await far_task).finished

    run(work)


def test_a_session_id_serves_one_attempt_and_a_second_does_not_disturb_it() -> None:
    async def work() -> None:
        async with two_nodes(A, B) as (one, two):
            near, near_task = start_worker(one, session("1"), {"b": B.fingerprint})
            far, far_task = start_worker(two, session("1"), {"a": A.fingerprint})
            await asyncio.to_thread(near.pipes["b"].send_bytes, b"before")
            mine, theirs = socket.socketpair()
            with theirs, pytest.raises(ChannelError, match="used before"):
                await one.transport.run_worker(mine, session("1"), {"b": B.fingerprint}, ignore, ignore)
            await asyncio.to_thread(near.pipes["b"].send_bytes, b"after")
            assert await asyncio.to_thread(far.pipes["a"].recv_bytes) == b"before"
            assert await asyncio.to_thread(far.pipes["a"].recv_bytes) == b"after"
            near.close(finished=True)
            far.close(finished=True)
            assert not (await near_task).errors and not (await far_task).errors

    run(work)


@pytest.mark.parametrize(
    "record",
    [
        HEADER.pack(1, RecordKind.DATA, 0, 0) + b"x",  # nothing was granted
        HEADER.pack(1, RecordKind.END, 0, 0) + b"\0",
        HEADER.pack(0, 99, 0, 0),
        HEADER.pack(2**20, RecordKind.DATA, SLOT, 0),  # nor in a slot
        HEADER.pack(2**20 + 1, RecordKind.DATA, SLOT, 0),
        HEADER.pack(8, RecordKind.GRANT, SLOT, 0),
        HEADER.pack(8, RecordKind.EMPTIED, 0, 0) + TOTAL.pack(1),  # nothing was filled
        HEADER.pack(1, RecordKind.EVENT, 0, 0) + b"x",  # which the node fails to take
    ],
)
def test_a_worker_that_breaks_the_rules_or_a_failing_server_fails_the_attempt_only(record: bytes) -> None:
    async def fail(_event: bytes) -> None:
        raise RuntimeError("disk full")

    async def work() -> None:
        async with two_nodes(A, B) as (one, two):
            mine, theirs = socket.socketpair()
            with theirs:
                theirs.sendall(record)
                traffic = await one.transport.run_worker(mine, session("1"), {"b": B.fingerprint}, fail, ignore)
            assert not traffic.finished
            await still_served(one, two)

    run(work)


def test_peers_hear_that_a_worker_failed_only_after_its_node_has_noted_why() -> None:
    async def work() -> None:
        async with two_nodes(A, B) as (one, two):
            noted = asyncio.Event()
            began = asyncio.Event()

            async def note(errors: object) -> None:
                assert errors == {}
                began.set()
                await noted.wait()

            near, near_task = start_worker(one, session("1"), {"b": B.fingerprint}, on_failed=note)
            far, far_task = start_worker(two, session("1"), {"a": A.fingerprint})
            heard = asyncio.create_task(asyncio.to_thread(far.pipes["a"].recv_bytes))
            await asyncio.to_thread(near.close, finished=False)
            await began.wait()
            assert not (await asyncio.wait([heard], timeout=0.2))[0]
            noted.set()
            with pytest.raises(ChannelError, match="its worker ended before it finished"):
                await heard
            await asyncio.to_thread(far.close, finished=False)
            assert not (await near_task).finished
            await far_task

    run(work)


@pytest.mark.parametrize("said", [b"", HEADER.pack(0, RecordKind.BYE, 0, 0)])
def test_what_a_worker_said_before_it_left_is_heard_though_nothing_can_be_written_to_it(said: bytes) -> None:
    async def work() -> None:
        async with two_nodes(A, B) as (one, two):
            mine, theirs = socket.socketpair()
            theirs.sendall(HEADER.pack(8, RecordKind.GRANT, 0, 0) + TOTAL.pack(2**20) + said)
            theirs.close()
            traffic = await one.transport.run_worker(mine, session("1"), {"b": B.fingerprint}, ignore, ignore)
            assert traffic.finished == bool(said)
            await still_served(one, two)

    run(work)


# -- 2, 4, 6: who is let in --------------------------------------------------------------------------------------------


def test_a_trusted_certificate_of_an_unregistered_party_is_not_let_in() -> None:
    async def work() -> None:
        node = await start_node(B, trusted=A.root + C.root)
        node.know({A: ""})
        async with client(node, C) as call:
            assert await outcome(call) is grpc.StatusCode.UNAUTHENTICATED
            assert await call.details() == "this connection is not accepted"
        one = await start_node(C)
        one.know({B: f"127.0.0.1:{node.port}"})
        await until(lambda: "does not accept" in one.transport.status(B.fingerprint).refused)

    run(work)


def test_an_untrusted_certificate_fails_the_handshake_and_so_does_another_server() -> None:
    async def work() -> None:
        node, impostor = await start_node(B), await start_node(C, trusted=A.root)
        node.know({A: ""})
        async with client(node, C) as call:
            assert await outcome(call) is grpc.StatusCode.UNAVAILABLE
        one = await start_node(A)
        one.know({B: f"127.0.0.1:{impostor.port}"})
        await until(lambda: "UNAVAILABLE" in one.transport.status(B.fingerprint).refused)
        assert not one.transport.status(B.fingerprint).connected

    run(work)


def test_a_removed_peer_is_cut_off_at_once_and_its_sessions_fail() -> None:
    async def work() -> None:
        # Without keepalive the cut alone can be what is noticed.
        async with two_nodes(A, B, limits=replace(PATIENT, resume_s=SOON_S)) as (one, two):
            near, near_task = start_worker(one, session("1"), {"b": B.fingerprint})
            far, far_task = start_worker(two, session("1"), {"a": A.fingerprint})
            await asyncio.to_thread(near.pipes["b"].send_bytes, b"before")
            assert await asyncio.to_thread(far.pipes["a"].recv_bytes) == b"before"
            two.know({})
            with pytest.raises(ChannelError, match="no longer registered"):
                await asyncio.to_thread(far.pipes["a"].recv_bytes)
            await until(lambda: not one.transport.status(B.fingerprint).connected)
            with pytest.raises(ChannelError, match="b: "):  # after resume_s: it cannot know that it is for good
                await asyncio.to_thread(near.pipes["b"].recv_bytes)
            near.close(finished=False)
            far.close(finished=False)
            assert isinstance((await near_task).errors["b"], ChannelError)
            assert isinstance((await far_task).errors["a"], ChannelError)

    run(work)


@contextlib.contextmanager
def tls_tunnel(port: int, version: ssl.TLSVersion) -> Iterator[int]:
    """A port that forwards one plaintext connection over TLS of exactly this version, with the certificate of A."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    context.load_verify_locations(cadata=B.root.decode())
    context.set_alpn_protocols(["h2"])
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder, "a.pem")
        pem.write_bytes(A.credentials.certificate_chain + A.credentials.private_key)
        context.load_cert_chain(pem)

    def forward() -> None:
        near, _ = listener.accept()
        far = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname=tls.SERVER_NAME)
        with near, far, contextlib.suppress(OSError):
            assert far.version() == version.name.replace("_", ".")
            far.settimeout(0.02)
            near.settimeout(0.02)
            while not over.is_set():
                for source, sink in ((near, far), (far, near)):
                    with contextlib.suppress(TimeoutError):
                        if not (chunk := source.recv(65536)):
                            return
                        sink.sendall(chunk)

    over = threading.Event()
    thread = threading.Thread(target=forward, daemon=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize(
    ("version", "expected"),
    [(ssl.TLSVersion.TLSv1_2, grpc.StatusCode.UNAUTHENTICATED), (ssl.TLSVersion.TLSv1_3, None)],
)
def test_tls_1_2_is_refused_and_1_3_is_not(version: ssl.TLSVersion, expected: grpc.StatusCode | None) -> None:
    async def work() -> None:
        node = await start_node(B)
        node.know({A: ""})
        with tls_tunnel(node.port, version) as port:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                call = channel.stream_stream(METHOD)()
                if expected is not None:
                    assert await outcome(call) is expected
                else:
                    assert frames.decode_hello(await call.read()).body == b"hello from b"
                    call.cancel()

    run(work)


# -- 9: a registered peer that speaks frames, badly --------------------------------------------------------------------


def grant_of(value: int, sequence: int, of: bytes) -> bytes:
    return frames.encode(Kind.GRANT, frames.encode_u64(value), session=of, sequence=sequence)


@pytest.mark.parametrize(
    "frame",
    [
        b"not a frame",
        frames.encode(Kind.MESSAGE, b"gap", sequence=2),
        frames.encode(Kind.ACK, ack=999),
        frames.encode_hello(Hello(b"x" * 16, frames.NO_BOOT, 0, b"")),
    ],
)
def test_a_wrong_frame_ends_the_stream_and_the_next_one_is_served(frame: bytes) -> None:
    async def work() -> None:
        async with two_nodes(C, B) as (honest, node):
            node.know({C: "", A: ""})
            async with hostile(node, A) as call:
                await call.write(frame)
                assert await outcome(call) is grpc.StatusCode.INVALID_ARGUMENT
            assert not node.handler.messages
            async with hostile(node, A) as call:
                await call.write(frames.encode(Kind.MESSAGE, b"good", sequence=1))
                await until(lambda: (A.fingerprint, b"good") in node.handler.messages)
            await still_served(honest, node)

    run(work)


def test_a_replayed_message_is_heard_once() -> None:
    async def work() -> None:
        node = await start_node(B)
        node.know({A: ""})
        async with hostile(node, A) as call:
            for sequence, body in ((1, b"one"), (1, b"one"), (2, b"two"), (1, b"one")):
                await call.write(frames.encode(Kind.MESSAGE, body, sequence=sequence))
            await until(lambda: len(node.handler.messages) >= 2)
            await call.write(frames.encode(Kind.MESSAGE, b"three", sequence=3))
            await until(lambda: len(node.handler.messages) >= 3)
            assert [body for _, body in node.handler.messages] == [b"one", b"two", b"three"]

    run(work)


def test_overrunning_a_grant_ends_that_session_with_a_protocol_error_and_the_link_lives() -> None:
    async def work() -> None:
        node = await start_node(B)
        node.know({A: ""})
        worker, task = start_worker(node, session("1"), {"a": A.fingerprint}, window_bytes=4 * 2**20)
        async with hostile(node, A) as call:
            for i in range(5):
                data = frames.encode(Kind.DATA, bytes(2**20), session=session("1"), sequence=i + 1)
                await call.write(data)
            await call.write(frames.encode(Kind.MESSAGE, b"still here", sequence=6))
            await until(lambda: bool(node.handler.messages))

            def receive() -> None:
                for _ in range(5):
                    worker.pipes["a"].recv_bytes()

            with pytest.raises(ProtocolError, match=r"a: .*more than it was granted"):
                await asyncio.to_thread(receive)
            ends = []
            while not ends:
                frame = frames.decode(await asyncio.wait_for(call.read(), 60))
                ends += [frame.payload[0]] if frame.kind is Kind.END else []
            assert ends == [EndCode.VIOLATION]
        worker.close(finished=False)
        assert isinstance((await task).errors["a"], ProtocolError)

    run(work)


def test_a_peer_cannot_touch_the_sessions_of_others() -> None:
    async def work() -> None:
        async with two_nodes(C, B) as (honest, node):
            node.know({C: "", A: ""})
            near, near_task = start_worker(honest, session("1"), {"b": B.fingerprint})
            far, far_task = start_worker(node, session("1"), {"c": C.fingerprint})
            async with hostile(node, A) as call:
                await call.write(grant_of(10**9, 1, session("1")))
                await call.write(frames.encode(Kind.DATA, b"planted", session=session("1"), sequence=2))
                await call.write(frames.encode(Kind.END, b"\1", session=session("1"), sequence=3))
                await call.write(frames.encode(Kind.MESSAGE, b"done", sequence=4))
                await until(lambda: bool(node.handler.messages))
            await asyncio.to_thread(near.pipes["b"].send_bytes, b"genuine")
            assert await asyncio.to_thread(far.pipes["c"].recv_bytes) == b"genuine"
            near.close(finished=True)
            far.close(finished=True)
            assert not (await near_task).errors and not (await far_task).errors

    run(work)


# -- 13: kill -9 of a worker -------------------------------------------------------------------------------------------

WORKER = """
import socket, sys
from parties.worker.pipe import connect
assert "grpc" not in sys.modules
link = connect(socket.socket(fileno=int(sys.argv[1])), ["b"])
link.pipes["b"].send_bytes(b"started")
link.pipes["b"].recv_bytes()
"""


def test_a_killed_worker_is_reported_on_both_sides_and_leaves_nothing_in_nodes_that_live() -> None:
    mappings = mapped()

    async def work() -> None:
        async with two_nodes(A, B) as (one, two):
            mine, theirs = socket.socketpair()
            near_task = asyncio.create_task(
                one.transport.run_worker(mine, session("1"), {"b": B.fingerprint}, ignore, ignore)
            )
            command = [sys.executable, "-c", WORKER, str(theirs.fileno())]
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
            theirs.close()
            far, far_task = start_worker(two, session("1"), {"a": A.fingerprint})
            assert await asyncio.to_thread(far.pipes["a"].recv_bytes) == b"started"
            process.send_signal(signal.SIGKILL)
            process.wait()
            with pytest.raises(ChannelError, match=r"a: .*worker ended before it finished"):
                await asyncio.to_thread(far.pipes["a"].recv_bytes)
            assert not (await near_task).finished
            far.close(finished=False)
            assert isinstance((await far_task).errors["a"], ChannelError)
            await still_served(one, two)

    run(work)
    assert mapped() == mappings


# -- 14, 15: connections that stall and break --------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def through(
    proxy_options: dict[str, Any], *, limits: Limits = PATIENT
) -> AsyncIterator[tuple[Node, Node, FaultProxy]]:
    """Two nodes, the first dialing the second through a proxy."""
    one, two = await start_node(A, limits=limits), await start_node(B, limits=limits)
    with FaultProxy(two.port, **proxy_options) as proxy:
        two.know({A: ""})
        one.know({B: f"127.0.0.1:{proxy.port}"})
        await connected(one, two)
        yield one, two, proxy


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_one_way_partition_is_noticed_by_both_and_sessions_name_the_peer(direction: Any) -> None:
    async def work() -> None:
        limits = replace(PATIENT, keepalive_s=SOON_S, resume_s=SOON_S)
        async with through({}, limits=limits) as (one, two, proxy):
            near, near_task = start_worker(one, session("1"), {"b": B.fingerprint})
            far, far_task = start_worker(two, session("1"), {"a": A.fingerprint})
            await asyncio.to_thread(near.pipes["b"].send_bytes, b"before")
            assert await asyncio.to_thread(far.pipes["a"].recv_bytes) == b"before"
            proxy.drop = frozenset([direction])
            await until(lambda: not one.transport.status(B.fingerprint).connected)
            await until(lambda: not two.transport.status(A.fingerprint).connected)  # TCP alone would take minutes
            for link, peer in ((near, "b"), (far, "a")):
                with pytest.raises(ChannelError, match=f"{peer}: .*no connection for 3 s"):
                    await asyncio.to_thread(link.pipes[peer].recv_bytes)
                link.close(finished=False)
            await near_task
            await far_task
            proxy.drop = frozenset()
            await still_served(one, two)

    run(work)


STOPPED_NODE = """
import asyncio, pickle, sys
from tests.parties.transport.nodes import start_node
me, peer = pickle.load(sys.stdin.buffer)
async def serve():
    node = await start_node(me)
    node.know({peer: ""})
    print(node.port, flush=True)
    await asyncio.sleep(60)
asyncio.run(serve())
"""


def test_a_stopped_peer_is_noticed_within_the_keepalive_time() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED_NODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin and process.stdout
    with process.stdin as stdin:
        stdin.write(pickle.dumps((B, A)))
    port = int(process.stdout.readline())

    async def work() -> None:
        one = await start_node(A, limits=replace(PATIENT, keepalive_s=SOON_S))
        one.know({B: f"127.0.0.1:{port}"})
        await until(lambda: one.transport.status(B.fingerprint).connected)
        process.send_signal(signal.SIGSTOP)
        await until(lambda: not one.transport.status(B.fingerprint).connected)  # TCP alone would never notice

    try:
        run(work)
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def test_a_connection_cut_every_20_mib_loses_and_repeats_nothing() -> None:
    async def work() -> None:
        async with through({"cut_every_bytes": 20 * 2**20}) as (one, two, proxy):
            near, near_task = start_worker(one, session("1"), {"b": B.fingerprint})
            far, far_task = start_worker(two, session("1"), {"a": A.fingerprint})
            sizes = [2**20 * 3 + 17, 5, 0, 2**20] * 24
            digests = [hashlib.sha256(), hashlib.sha256()]

            def send() -> None:
                for i, size in enumerate(sizes):
                    body = (i.to_bytes(4, "little") * (size // 4 + 1))[:size]
                    digests[0].update(body)
                    near.pipes["b"].send_bytes(body)
                near.close(finished=True)

            def receive() -> list[int]:
                lengths = []
                for _ in sizes:
                    body = far.pipes["a"].recv_bytes()
                    digests[1].update(body)
                    lengths.append(len(body))
                far.close(finished=True)
                return lengths

            _, lengths = await asyncio.gather(asyncio.to_thread(send), asyncio.to_thread(receive))
            assert lengths == sizes
            assert digests[0].digest() == digests[1].digest()
            assert proxy.connections >= 4
            assert one.transport.status(B.fingerprint).reconnects >= 3
            assert not (await near_task).errors and not (await far_task).errors

    run(work)


@pytest.mark.parametrize(
    "meddle", [flip_bit("up", 300_000), duplicate("up", 300_000, 1000), truncate("up", 300_000, 9)]
)
def test_meddling_with_the_bytes_breaks_the_connection_and_nothing_else(meddle: Any) -> None:
    async def work() -> None:
        # Pings show what no other byte may follow.
        async with through({}, limits=replace(PATIENT, keepalive_s=SOON_S)) as (one, two, proxy):
            proxy.meddle = meddle
            body = os.urandom(2 * 2**20)
            await one.transport.send(B.fingerprint, body)
            await until(lambda: not one.transport.status(B.fingerprint).connected)
            proxy.meddle = lambda _direction, _offset, chunk: chunk
            await until(lambda: bool(two.handler.messages))
            assert two.handler.messages == [(A.fingerprint, body)]

    run(work)


def test_a_restarted_peer_ends_the_sessions_at_once() -> None:
    async def work() -> None:
        one, two = await start_node(A), await start_node(B)
        two.know({A: ""})
        one.know({B: f"127.0.0.1:{two.port}"})
        await connected(one, two)
        near, near_task = start_worker(one, session("1"), {"b": B.fingerprint})
        await two.transport.stop(0)
        again = await start_node(B)
        again.know({A: ""})
        one.transport.set_peers({B.fingerprint: f"127.0.0.1:{again.port}"})
        await connected(one, again)
        with pytest.raises(ChannelError, match=r"b: .*restarted"):
            await asyncio.to_thread(near.pipes["b"].recv_bytes)
        near.close(finished=False)
        await near_task
        await still_served(one, again)

    run(work)


# -- 16: a slow reader -------------------------------------------------------------------------------------------------


def test_a_slow_reader_stops_the_far_sender_and_nobody_else() -> None:
    async def work() -> None:
        async with two_nodes(A, B) as (one, two):
            window = 8 * 2**20
            near, near_task = start_worker(one, session("1"), {"b": B.fingerprint})
            far, far_task = start_worker(two, session("1"), {"a": A.fingerprint}, window_bytes=window)
            sent = 0

            def send() -> None:
                nonlocal sent
                for _ in range(40):
                    near.pipes["b"].send_bytes(bytes(2**20))
                    sent += 1

            sending = asyncio.create_task(asyncio.to_thread(send))
            await until(lambda: (sent + 1) * charge(2**20) > window)
            quick, quick_task = start_worker(one, session("2"), {"b": B.fingerprint})
            other, other_task = start_worker(two, session("2"), {"a": A.fingerprint})
            await asyncio.to_thread(quick.pipes["b"].send_bytes, bytes(3 * 2**20))
            assert len(await asyncio.to_thread(other.pipes["a"].recv_bytes)) == 3 * 2**20
            await still_served(one, two)
            assert sent == window // charge(2**20)
            for _ in range(40):
                assert len(await asyncio.to_thread(far.pipes["a"].recv_bytes)) == 2**20
            await sending
            for link in (near, far, quick, other):
                link.close(finished=True)
            await asyncio.gather(near_task, far_task, quick_task, other_task)

    run(work)


# -- 17: what is not even gRPC -----------------------------------------------------------------------------------------


def test_garbage_on_the_port_does_not_stop_the_next_call() -> None:
    async def work() -> None:
        async with two_nodes(A, B) as (one, two):
            half_open = []
            for data in (os.urandom(500), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b""):
                for _ in range(5):
                    sock = socket.create_connection(("127.0.0.1", two.port))
                    sock.sendall(data)
                    half_open.append(sock)
            await still_served(one, two)
            one.transport.set_peers({})
            one.transport.set_peers({B.fingerprint: f"127.0.0.1:{two.port}"})
            await still_served(one, two)
            for sock in half_open:
                sock.close()

    run(work)


def test_an_oversize_frame_and_a_silent_client_are_refused_and_the_next_call_is_answered() -> None:
    async def work() -> None:
        async with two_nodes(C, B, limits=replace(PATIENT, handshake_s=SOON_S)) as (honest, node):
            node.know({C: "", A: ""})
            options = [("grpc.ssl_target_name_override", tls.SERVER_NAME), ("grpc.max_send_message_length", -1)]
            credentials = tls.channel_credentials(A.credentials, B.root)
            async with grpc.aio.secure_channel(f"127.0.0.1:{node.port}", credentials, options=options) as channel:
                call = channel.stream_stream(METHOD)()
                await call.read()
                await call.write(bytes(frames.MAX_FRAME_BYTES + 1))
                assert await outcome(call) in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
                silent = channel.stream_stream(METHOD)()
                assert await outcome(silent) is grpc.StatusCode.UNAVAILABLE
                unknown = channel.unary_unary("/other/Method")
                with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
                    await unknown(b"")
            await still_served(honest, node)

    run(work)


# -- 18: too many ------------------------------------------------------------------------------------------------------


def test_ten_times_the_connections_are_refused_and_an_honest_peer_is_served() -> None:
    async def work() -> None:
        async with two_nodes(C, B) as (honest, node), contextlib.AsyncExitStack() as stack:
            node.know({C: "", A: ""})
            most = PATIENT.connections_per_peer
            calls = [await stack.enter_async_context(client(node, A)) for _ in range(10 * most)]
            ends = [asyncio.create_task(outcome(call)) for call in calls]
            await until(lambda: sum(end.done() for end in ends) == 9 * most)
            assert {end.result() for end in ends if end.done()} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            await still_served(honest, node)
            for end in ends:
                end.cancel()

    run(work)


def test_too_many_sessions_are_refused_on_either_side_and_the_others_go_on() -> None:
    async def work() -> None:
        limits = replace(PATIENT, sessions_per_peer=3)
        one, two = await start_node(A), await start_node(B, limits=limits)
        two.know({A: ""})
        one.know({B: f"127.0.0.1:{two.port}"})
        await connected(one, two)
        started = [start_worker(one, session(str(i)), {"b": B.fingerprint}) for i in range(5)]
        with pytest.raises(ChannelError, match=r"b: .*too many sessions"):
            await asyncio.to_thread(started[3][0].pipes["b"].recv_bytes)
        far = [start_worker(two, session(str(i)), {"a": A.fingerprint}) for i in range(3)]
        await asyncio.to_thread(started[2][0].pipes["b"].send_bytes, b"served")
        assert await asyncio.to_thread(far[2][0].pipes["a"].recv_bytes) == b"served"
        mine, theirs = socket.socketpair()
        with theirs, pytest.raises(ChannelError, match="too many sessions"):
            await two.transport.run_worker(mine, session("new"), {"a": A.fingerprint}, ignore, ignore)
        for link, _ in started + far:
            link.close(finished=True)
        await asyncio.gather(*(task for _, task in started + far))

    run(work)
