"""The memory between a worker and its node."""

import contextlib
import os
import socket
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import ProtocolError
from parties.worker.records import MAX_RECORD_BYTES
from parties.worker.slots import SLOTS, TELL_EVERY, Emptier, Filler, receive_memory, send_memory
from tests.parties.transport.nodes import mapped, worker_links
from tests.parties.transport.pki import make_identity

Rings = list[memoryview]


def shared(peers: int) -> tuple[tuple[Rings, Rings], tuple[Rings, Rings]]:
    """What the node has of its memory, and what the worker has."""
    near, far = socket.socketpair()
    with near, far:
        return send_memory(near, peers), receive_memory(far, peers)


def link_descriptors() -> set[tuple[str, str]]:
    """What this process has open that a link could have left: memory for slots, and sockets within this machine."""
    ours = {f"socket:[{line.split()[6]}]" for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of this very listing
            found.add((descriptor.name, str(descriptor.readlink())))
    return {(number, target) for number, target in found if "sealane-worker" in target or target in ours}


def use_links() -> None:
    mappings = mapped()
    with worker_links(make_identity("a"), make_identity("b")) as (near, far):
        near.pipes["b"].send_bytes(bytes(3 * 2**20))
        assert len(far.pipes["a"].recv_bytes()) == 3 * 2**20
        assert mapped() == mappings + 4  # on either side of either worker


@given(st.lists(st.tuples(st.booleans(), st.integers(1, MAX_RECORD_BYTES)), max_size=40))
def test_fragments_arrive_whole_and_in_order_however_the_slots_are_reused(steps: list[tuple[bool, int]]) -> None:
    ring = memoryview(bytearray(SLOTS * MAX_RECORD_BYTES))
    filler, emptier = Filler(ring), Emptier(ring)
    sent: deque[bytes] = deque()
    held: deque[tuple[memoryview, bytes]] = deque()
    for number, (fill, size) in enumerate(steps):
        if fill and not filler.full:
            fragment = number.to_bytes(1, "little") * size
            filler.fill(fragment)
            sent.append(fragment)
            held.append((emptier.take(size), sent.popleft()))
        elif not fill and held:
            view, fragment = held.popleft()
            assert view == fragment
            if (total := emptier.empty()) is not None:
                filler.on_emptied(total)


def test_a_ring_is_full_until_the_other_side_tells_that_slots_are_empty() -> None:
    ring = memoryview(bytearray(SLOTS * MAX_RECORD_BYTES))
    filler, emptier = Filler(ring), Emptier(ring)
    for _ in range(SLOTS):
        assert not filler.full
        filler.fill(b"x")
        emptier.take(1)
    assert filler.full
    told = [emptier.empty() for _ in range(TELL_EVERY)]
    assert told == [None] * (TELL_EVERY - 1) + [TELL_EVERY]
    filler.on_emptied(TELL_EVERY)
    assert not filler.full


def test_more_slots_than_there_are_cannot_be_taken() -> None:
    emptier = Emptier(memoryview(bytearray(SLOTS * MAX_RECORD_BYTES)))
    for _ in range(SLOTS):
        emptier.take(1)
    with pytest.raises(ProtocolError, match="more slots than there are"):
        emptier.take(1)


@pytest.mark.parametrize("total", [0, 1, 3])
def test_only_slots_that_were_filled_and_not_yet_emptied_can_be_emptied(total: int) -> None:
    filler = Filler(memoryview(bytearray(SLOTS * MAX_RECORD_BYTES)))
    filler.fill(b"x")
    filler.fill(b"y")
    filler.on_emptied(1)
    with pytest.raises(ProtocolError, match="not filled"):
        filler.on_emptied(total)


def test_each_peer_has_a_ring_for_either_direction_that_both_sides_see() -> None:
    (node_fills, node_empties), (worker_fills, worker_empties) = shared(3)
    for number, ring in enumerate([*node_fills, *worker_fills]):
        ring[:] = bytes([number]) * len(ring)
    assert [ring[0] for ring in worker_empties] == [0, 1, 2]
    assert [ring[0] for ring in node_empties] == [3, 4, 5]
    assert all(len(set(ring)) == 1 for ring in (*worker_empties, *node_empties))


def test_a_worker_cannot_cut_the_memory_off() -> None:
    near, far = socket.socketpair()
    with near, far:
        rings = send_memory(near, 1)
        _, (descriptor,), _, _ = socket.recv_fds(far, 1, 1)
    try:
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
    assert rings[0][0][0] == 0


def test_no_memory_and_no_descriptor_is_left_when_the_workers_have_gone() -> None:
    use_links()  # gRPC opens sockets of its own when it is first used, and keeps them
    descriptors, mappings = link_descriptors(), mapped()
    use_links()
    assert mapped() == mappings
    assert link_descriptors() <= descriptors
