"""A worker's pipes, over two real transports, and against a node that breaks the rules."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mpc.errors import ChannelError, ProtocolError
from mpc.testing import PipePair, check_pipe_contract
from parties.worker import records
from parties.worker.pipe import WorkerLink, connect
from parties.worker.records import HEADER, SLOT, TOTAL, EndKind, RecordKind, charge
from parties.worker.slots import SLOTS, send_memory
from tests.parties.transport.nodes import worker_links
from tests.parties.transport.pki import make_identity

WINDOW = 4 * 2**20
HANGS_S = 60.0  # nothing waits so long unless it waits for ever


@contextmanager
def lone_worker(*peers: str) -> Iterator[tuple[WorkerLink, socket.socket]]:
    """A worker whose node is the test."""
    node, sock = socket.socketpair()
    node.settimeout(HANGS_S)
    send_memory(node, len(peers))
    link = connect(sock, peers, window_bytes=WINDOW)
    try:
        yield link, node
    finally:
        node.close()
        link.close(finished=False)


def put(node: socket.socket, kind: RecordKind, payload: bytes = b"", peer: int = 0, flags: int = 0) -> None:
    node.sendall(HEADER.pack(len(payload), kind, flags, peer) + payload)


def recv_exactly(node: socket.socket, size: int) -> bytes:
    data = node.recv(size, socket.MSG_WAITALL) if size else b""
    assert len(data) == size
    return data


def take(node: socket.socket) -> tuple[RecordKind, int, bytes]:
    length, kind, _, peer = records.parse_header(recv_exactly(node, HEADER.size), 9)
    return kind, peer, recv_exactly(node, length)


def header(node: socket.socket) -> tuple[int, RecordKind, int, int]:
    """The header of the next record; what follows it is dropped."""
    length, kind, flags, peer = records.parse_header(recv_exactly(node, HEADER.size), 9)
    recv_exactly(node, 0 if flags & SLOT else length)
    return length, kind, flags, peer


def test_a_pipe_between_two_nodes_keeps_the_contract() -> None:
    a, b = make_identity("a"), make_identity("b")

    @contextmanager
    def pair() -> Iterator[PipePair]:
        with worker_links(a, b) as (near, far):
            yield PipePair(near.pipes["b"], far.pipes["a"], lambda: near.close(finished=True))

    check_pipe_contract(pair)


def test_a_worker_grants_a_window_and_more_as_it_consumes() -> None:
    with lone_worker("b") as (link, node):
        assert take(node) == (RecordKind.GRANT, 0, TOTAL.pack(WINDOW))
        for _ in range(2):
            put(node, RecordKind.DATA, bytes(2**20))
        for _ in range(2):
            assert len(link.pipes["b"].recv_bytes()) == 2**20
        kind, _, payload = take(node)
        assert kind is RecordKind.GRANT
        assert WINDOW + 2**20 <= TOTAL.unpack(payload)[0] <= WINDOW + 2 * charge(2**20)


def test_a_worker_that_waits_to_send_grants_for_what_it_has_not_read() -> None:
    with lone_worker("b", "c") as (link, node):
        assert {take(node)[1], take(node)[1]} == {0, 1}
        sender = threading.Thread(target=link.pipes["c"].send_bytes, args=(b"x",), daemon=True)
        sender.start()
        for _ in range(8):  # nobody reads them, yet each window's quarter is granted anew
            put(node, RecordKind.DATA, bytes(2**20), peer=0)
        granted = 0
        while granted < WINDOW + 8 * charge(2**20) - WINDOW // 4:
            kind, peer, payload = take(node)
            assert (kind, peer) == (RecordKind.GRANT, 0)
            granted = TOTAL.unpack(payload)[0]
        put(node, RecordKind.GRANT, TOTAL.pack(WINDOW), peer=1)
        sender.join(HANGS_S)
        assert not sender.is_alive()


def test_a_peer_whose_slots_are_all_filled_waits_alone() -> None:
    with lone_worker("b", "c") as (link, node):
        for peer in range(2):
            put(node, RecordKind.GRANT, TOTAL.pack(2**30), peer=peer)
        for _ in range(SLOTS):
            link.pipes["b"].send_bytes(bytes(2**20))
        waiting = threading.Thread(target=link.pipes["b"].send_bytes, args=(b"b" * 2**20,), daemon=True)
        waiting.start()
        link.pipes["c"].send_bytes(bytes(2**20))
        taken = [header(node) for _ in range(2 + SLOTS + 1)]  # the waiting one grants nothing: nothing came in
        assert [peer for _, kind, _, peer in taken if kind is RecordKind.DATA] == [0] * SLOTS + [1]
        assert waiting.is_alive()
        put(node, RecordKind.EMPTIED, TOTAL.pack(1), peer=0)
        waiting.join(HANGS_S)
        assert header(node) == (2**20, RecordKind.DATA, SLOT, 0)


def test_without_its_memory_a_worker_has_no_pipes() -> None:
    node, sock = socket.socketpair()
    with node:
        link = connect(sock, ["b"])
        node.sendall(b"\0" + HEADER.pack(8, RecordKind.GRANT, 0, 0) + TOTAL.pack(2**20))
        with pytest.raises(ChannelError, match="b: this party's node ended"):
            link.pipes["b"].send_bytes(b"x")
        link.close(finished=False)


@pytest.mark.parametrize(
    ("kind", "error"),
    [(EndKind.CHANNEL, ChannelError), (EndKind.PROTOCOL, ProtocolError), (EndKind.DONE, ChannelError)],
)
def test_the_end_of_a_peer_is_raised_after_its_data_and_names_it(kind: EndKind, error: type[Exception]) -> None:
    with lone_worker("bank") as (link, node):
        put(node, RecordKind.DATA, b"before")
        put(node, RecordKind.END, bytes([kind]) + b"why")
        assert link.pipes["bank"].recv_bytes() == b"before"
        with pytest.raises(error, match="bank"):
            link.pipes["bank"].recv_bytes()
        with pytest.raises(error, match="bank"):
            link.pipes["bank"].send_bytes(b"x")


def test_the_end_of_a_peer_wakes_a_worker_that_waits_for_it() -> None:
    with lone_worker("bank") as (link, node):
        caught: list[BaseException] = []

        def wait() -> None:
            try:
                link.pipes["bank"].send_bytes(b"x")
            except ChannelError as error:
                caught.append(error)

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        put(node, RecordKind.END, bytes([EndKind.CHANNEL]) + b"gone")
        waiting.join(HANGS_S)
        assert [str(error) for error in caught] == ["bank: gone"]


def test_the_death_of_the_node_ends_every_pipe() -> None:
    with lone_worker("b", "c") as (link, node):
        node.close()
        for peer in ("b", "c"):
            with pytest.raises(ChannelError, match=f"{peer}: this party's node ended"):
                link.pipes[peer].recv_bytes()


@pytest.mark.parametrize(
    "record",
    [
        HEADER.pack(2**20 + 1, RecordKind.DATA, 0, 0),
        HEADER.pack(0, 77, 0, 0),
        HEADER.pack(0, RecordKind.DATA, 4, 0),
        HEADER.pack(0, RecordKind.DATA, 0, 1),
        HEADER.pack(0, RecordKind.BYE, 0, 0),
        HEADER.pack(3, RecordKind.GRANT, 0, 0) + b"abc",
        HEADER.pack(0, RecordKind.END, 0, 0),
        HEADER.pack(2**20 + 1, RecordKind.DATA, SLOT, 0),
        HEADER.pack(1, RecordKind.END, SLOT, 0),
        HEADER.pack(8, RecordKind.EMPTIED, 0, 0) + TOTAL.pack(1),  # nothing was filled
    ],
)
def test_a_record_that_is_none_ends_every_pipe(record: bytes) -> None:
    with lone_worker("b") as (link, node):
        node.sendall(record)
        with pytest.raises(ChannelError, match="b: this party's node ended"):
            link.pipes["b"].recv_bytes()


def test_a_message_of_odd_or_endless_fragments_is_refused() -> None:
    with lone_worker("b") as (link, node):
        put(node, RecordKind.DATA, b"odd", flags=records.MORE)
        with pytest.raises(ProtocolError, match="odd fragments"):
            link.pipes["b"].recv_bytes()
    with lone_worker("b") as (link, node):

        def flood() -> None:
            for _ in range(65):
                put(node, RecordKind.DATA, bytes(2**20), flags=records.MORE)

        flooding = threading.Thread(target=flood, daemon=True)
        flooding.start()
        with pytest.raises(ProtocolError, match="over 67108864 bytes"):
            link.pipes["b"].recv_bytes()
        flooding.join(HANGS_S)


def test_a_message_or_event_that_is_too_long_is_the_caller_s_error() -> None:
    with lone_worker("b") as (link, _):
        with pytest.raises(ValueError, match="at most"):
            link.pipes["b"].send_bytes(bytes(64 * 2**20 + 1))
        with pytest.raises(ValueError, match="at most"):
            link.event(bytes(2**20 + 1))


def test_a_worker_that_finishes_says_goodbye_and_one_that_fails_does_not() -> None:
    with lone_worker("b") as (link, node):
        take(node)
        link.event(b"progress")
        link.close(finished=True)
        assert take(node) == (RecordKind.EVENT, 0, b"progress")
        assert take(node) == (RecordKind.BYE, 0, b"")
    with lone_worker("b") as (link, node):
        take(node)
        link.close(finished=False)
        assert node.recv(1) == b""
