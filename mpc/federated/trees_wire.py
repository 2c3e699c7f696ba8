"""What both sides of the messages of boosted trees share: bitmaps, ciphertexts in pieces, packing, links by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc.errors import ProtocolError
from mpc.federated.trees_grow import GRADIENT_BITS
from mpc.primitives.paillier import Ciphertexts, Packing, PublicKey
from mpc.psi.multi_steps import NamedChannel, naming
from mpc.spec import Party
from protos import federated_trees_pb2 as wire

I64 = npt.NDArray[np.int64]
BOOL = npt.NDArray[np.bool_]

PIECE_BYTES = 2**20


@dataclass(frozen=True)
class Coding:
    """How derivatives become plaintexts: two slots each, with room for sums over `rows` rows."""

    public: PublicKey
    rows: int

    @property
    def packing(self) -> Packing:
        """First and second derivative."""
        return Packing(slots=2, max_abs=1 << GRADIENT_BITS, additions=max(self.rows, 1))

    @property
    def per_ciphertext(self) -> int:
        """How many pairs of sums are sent in one ciphertext."""
        return self.packing.per_plaintext(self.public)

    @property
    def piece(self) -> int:
        """How many ciphertexts are sent at once."""
        return max(1, PIECE_BYTES // self.public.ciphertext_bytes)


def link_to(party: Party[Any], peer: str) -> NamedChannel:
    """The channel, its errors naming the peer."""
    return NamedChannel(peer, party.peers[peer])


def pack_bits(mask: BOOL) -> bytes:
    """A bitmap."""
    return np.packbits(mask, bitorder="little").tobytes()


def unpack_bits(peer: str, data: bytes, count: int, what: str) -> BOOL:
    """`count` bits of a peer's bitmap; raises `ProtocolError` unless it has exactly these."""
    if len(data) != -(-count // 8):
        raise ProtocolError(f"{peer}: sent {len(data)} bytes of {what} where {-(-count // 8)} were due")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little").astype(np.bool_)
    if bits[count:].any():
        raise ProtocolError(f"{peer}: sent {what} with bits for more than {count} rows")
    return bits[:count]


def send_ciphertexts(channel: NamedChannel, coding: Coding, ciphertexts: Ciphertexts) -> None:
    """All of them, in pieces."""
    for at in range(0, len(ciphertexts), coding.piece):
        channel.send(wire.Piece(data=ciphertexts[at : at + coding.piece].to_bytes()))


def receive_ciphertexts(channel: NamedChannel, coding: Coding, count: int) -> Ciphertexts:
    """`count` ciphertexts of a peer, each validated; raises `ProtocolError`."""
    return Ciphertexts.concatenate([*_receive_pieces(channel, coding, count)])


def _receive_pieces(channel: NamedChannel, coding: Coding, count: int) -> Iterator[Ciphertexts]:
    for at in range(0, count, coding.piece):
        due = min(coding.piece, count - at)
        data = channel.recv(wire.Piece).data
        with naming(channel.peer):
            yield Ciphertexts.from_bytes(coding.public, data, due)
