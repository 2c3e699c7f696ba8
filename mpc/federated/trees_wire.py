"""What both sides of the messages of boosted trees share: bitmaps, packing, links by name."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc.errors import ProtocolError
from mpc.federated.trees_grow import GRADIENT_BITS
from mpc.primitives.paillier import Packing, PublicKey
from mpc.psi.multi_steps import NamedChannel
from mpc.spec import Party

I64 = npt.NDArray[np.int64]
BOOL = npt.NDArray[np.bool_]


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
