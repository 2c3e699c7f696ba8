"""What both sides of the messages of boosted trees share: bitmaps, packing, links by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc.channel import NamedChannel
from mpc.errors import InputError, ProtocolError
from mpc.federated.trees_grow import GRADIENT_BITS, PRIVATE_GRADIENT_BITS
from mpc.federated.trees_params import TreesParams
from mpc.primitives.paillier import Packing, PublicKey, ints_from_words, words_from_ints
from mpc.rng import Rng
from mpc.spec import Party

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
BOOL = npt.NDArray[np.bool_]

MASK_BITS = 40  # statistical security
FIELD_BITS = 80
_LOW_64 = 2**64 - 1


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

    def encode(self, values: I64) -> U64:
        """Plaintexts of rows of first and second derivatives."""
        return self.packing.pack(values, self.public)


@dataclass(frozen=True)
class Masking:
    """How derivatives become plaintexts when sums are to become shares: two fields, each with room for a mask.

    A first derivative stands with 2^PRIVATE_GRADIENT_BITS added, so that no sum is negative. A mask of MASK_BITS more
    bits than a sum hides it but for a probability of 2^-MASK_BITS.
    """

    public: PublicKey
    rows: int

    def __post_init__(self) -> None:
        if self.mask_bits >= FIELD_BITS:
            raise InputError(
                f"{self.rows} rows are too many for private_split", hint="leave it out, or take fewer rows"
            )

    @property
    def per_ciphertext(self) -> int:
        """How many pairs of sums are sent in one ciphertext."""
        return (self.public.bits - 2) // (2 * FIELD_BITS)

    @property
    def mask_bits(self) -> int:
        """Length of a mask: with a sum added it stays within a field."""
        return (self.rows << PRIVATE_GRADIENT_BITS + 1).bit_length() + MASK_BITS

    def encode(self, values: I64) -> U64:
        """Plaintexts of rows of first and second derivatives."""
        words = np.zeros((len(values), self.public.words), np.uint64)
        words[:, 0] = (values[:, 0] + (1 << PRIVATE_GRADIENT_BITS)).view(np.uint64)
        words[:, FIELD_BITS // 64] = values[:, 1].view(np.uint64) << np.uint64(FIELD_BITS % 64)
        return words

    def mask(self, pairs: int, rng: Rng) -> list[int]:
        """Masks for so many pairs, one a field."""
        size = -(-self.mask_bits // 8)
        data = rng(2 * pairs * size)
        return [
            int.from_bytes(data[at : at + size], "little") >> 8 * size - self.mask_bits
            for at in range(0, len(data), size)
        ]

    def fields(self, words: U64, pairs: int) -> U64:
        """What stands in the fields of packed plaintexts, modulo 2^64, of shape (pairs, 2)."""
        each = 2 * self.per_ciphertext
        found = [whole >> FIELD_BITS * field & _LOW_64 for whole in ints_from_words(words) for field in range(each)]
        return np.array(found[: 2 * pairs], np.uint64).reshape(pairs, 2)

    def whole(self, fields: Sequence[int]) -> U64:
        """Packed plaintexts with these numbers in their fields."""
        each = 2 * self.per_ciphertext
        packed = [
            sum(number << FIELD_BITS * place for place, number in enumerate(fields[at : at + each]))
            for at in range(0, len(fields), each)
        ]
        return words_from_ints(packed, self.public)


def coding(params: TreesParams, public: PublicKey, rows: int) -> Coding | Masking:
    """How derivatives become plaintexts in a training with these parameters."""
    return Masking(public, rows) if params.private_split else Coding(public, rows)


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
