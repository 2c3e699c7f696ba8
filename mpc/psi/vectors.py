"""Long vectors whose length the peer knows, in pieces."""

import numpy as np
import numpy.typing as npt

from mpc.channel import Channel
from mpc.errors import ProtocolError
from mpc.psi import steps
from protos import psi_vole_pb2

PIECE_BYTES = 2**20

U8 = npt.NDArray[np.uint8]


def send_bytes(channel: Channel, data: U8) -> None:
    """A vector, whole or in parts of whole pieces."""
    for start in range(0, len(data), PIECE_BYTES):
        channel.send_bulk(psi_vole_pb2.Piece(), data[start : start + PIECE_BYTES].data)


def receive_bytes(link: steps.Link, what: str, size: int, room: U8 | None = None) -> U8:
    """The peer's vector of `size` bytes, writable, in `room` if given; raises for a piece of another size."""
    data = np.empty(size, np.uint8) if room is None else room[:size]
    for start in range(0, size, PIECE_BYTES):
        due = min(PIECE_BYTES, size - start)
        other = link.channel.recv_bulk(psi_vole_pb2.Piece(), data[start : start + due].data)
        if other is not None:
            raise ProtocolError(f"{link.peer}: sent {len(other.data)} bytes of {what} where {due} were due")
    return data
