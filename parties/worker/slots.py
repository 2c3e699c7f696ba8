"""Memory that a worker shares with its node: the fragments under way between them, in slots of 1 MiB.

Each peer of the worker has a ring of slots for either direction, used in turn: a record says that the next one is
filled, another how many were emptied since the start. The node makes the memory and seals its size, for a worker that
could cut it off would crash the node. It has no name, and is gone when both have let go of it.
"""

import contextlib
import fcntl
import mmap
import os
import socket
from dataclasses import dataclass

from mpc.errors import ProtocolError
from parties.worker.records import MAX_RECORD_BYTES

SLOTS = 4
TELL_EVERY = 2  # slots emptied; less than all of them, or the filler would wait for ever

_RING_BYTES = SLOTS * MAX_RECORD_BYTES


@dataclass
class Filler:
    """The writing side of a ring."""

    _ring: memoryview
    _filled: int = 0
    _emptied: int = 0

    @property
    def full(self) -> bool:
        """Whether `fill` must wait for `on_emptied`."""
        return self._filled - self._emptied >= SLOTS

    def fill(self, payload: bytes | memoryview) -> None:
        """Copy a fragment into the next slot, which must be free."""
        start = self._filled % SLOTS * MAX_RECORD_BYTES
        self._ring[start : start + len(payload)] = payload
        self._filled += 1

    def on_emptied(self, total: int) -> None:
        """The other side has emptied so many since the start; `ProtocolError` unless that can be."""
        if not self._emptied < total <= self._filled:
            raise ProtocolError("a worker's socket tells of slots that were not filled")
        self._emptied = total


@dataclass
class Emptier:
    """The reading side of a ring."""

    _ring: memoryview
    _taken: int = 0
    _emptied: int = 0
    _told: int = 0

    def take(self, size: int) -> memoryview:
        """The fragment of `size` bytes in the next slot, in place; `ProtocolError` when every slot is taken."""
        if self._taken - self._told >= SLOTS:
            raise ProtocolError("a worker's socket tells of more slots than there are")
        start = self._taken % SLOTS * MAX_RECORD_BYTES
        self._taken += 1
        return self._ring[start : start + size]

    def empty(self) -> int | None:
        """The oldest fragment taken is not needed any more; gives the total to tell the other side, if it is time."""
        self._emptied += 1
        if self._emptied - self._told < TELL_EVERY:
            return None
        self._told = self._emptied
        return self._told


def send_memory(sock: socket.socket, peers: int) -> tuple[list[memoryview], list[memoryview]]:
    """For a node: make the memory for a worker with so many peers, and give it the descriptor. Gives the rings, one a
    peer: those that the node fills, then those that the worker fills.
    """
    descriptor = os.memfd_create("sealane-worker", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, _size(peers))
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        with contextlib.suppress(ConnectionError):  # the worker has gone already: who reads its records sees it
            socket.send_fds(sock, [b"\0"], [descriptor])
        return _rings(descriptor, peers)
    finally:
        os.close(descriptor)


def receive_memory(sock: socket.socket, peers: int) -> tuple[list[memoryview], list[memoryview]]:
    """For a worker: the rings that it fills, then those that the node fills; `EOFError` if the node sends none."""
    _, descriptors, _, _ = socket.recv_fds(sock, 1, 1)
    if not descriptors:
        raise EOFError
    try:
        filled, emptied = _rings(descriptors[0], peers)
    finally:
        os.close(descriptors[0])
    return emptied, filled


def _rings(descriptor: int, peers: int) -> tuple[list[memoryview], list[memoryview]]:
    memory = memoryview(mmap.mmap(descriptor, _size(peers)))
    rings = [memory[start : start + _RING_BYTES] for start in range(0, 2 * peers * _RING_BYTES, _RING_BYTES)]
    return rings[:peers], rings[peers:]


def _size(peers: int) -> int:
    return max(2 * peers * _RING_BYTES, mmap.PAGESIZE)  # memory of no bytes cannot be mapped
