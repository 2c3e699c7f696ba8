"""Products of one party's matrix and shares that other parties hold, under Paillier with statistical masks.

The label holder and its partner (the pair) hold shares modulo 2^128 of every number that depends on several parties'
rows; of scores, where only comparisons follow, modulo 2^64: then the high words of their elements mean nothing. For a
matrix X of party p and shares s of q in the pair: q encrypts its shares under its own key; p multiplies by X and adds,
to each element, a mask that is at least 2^40 times as large as the product can be; q decrypts. Modulo 2^128 what q
finds, less the mask, is X·s: q keeps what it finds and p the negative mask. A party outside the pair hands its share to
the partner, to whom it says as little as the label holder's own shares.

Security: semi-honest. The encrypted shares are hidden by the scheme (see `mpc.primitives.paillier`); what q decrypts is
          within 2^-40 of a distribution that does not depend on X, for each element; ciphertexts that go back carry
          fresh randomness. A party and q together know no more than X and s tell.
Source:   Chen et al., KDD 2021, arxiv.org/abs/2008.08753, section 4 and algorithm 1.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from mpc.errors import ProtocolError
from mpc.federated.encoding import FEATURE_BITS
from mpc.federated.regression_params import Parties
from mpc.primitives import ring128
from mpc.primitives.paillier import (
    Ciphertexts,
    Encryptor,
    PrivateKey,
    PublicKey,
    add,
    decrypt,
    matrix_product,
    shift_and_pack,
)
from mpc.primitives.paillier.row_products import packed_row_products
from mpc.primitives.ring128 import Ring
from mpc.rng import Rng
from mpc.sharing.links import Links
from protos import federated_regression_pb2 as wire

STATISTICAL_BITS = 40
_PIECE_BYTES = 2**20

I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Products:
    """What a party needs for products: its name and links; its key and that key's encryptor if it is of the pair; an
    encryptor for the key of each of the pair but itself; and modulo what power of two scores are shared, 64 or 128."""

    name: str
    parties: Parties
    links: Links = field(repr=False)
    rng: Rng = field(repr=False)
    key: PrivateKey | None = field(repr=False)
    own: Encryptor | None = field(repr=False)
    theirs: Mapping[str, Encryptor] = field(repr=False)
    score_bits: int

    @property
    def paired(self) -> bool:
        """Whether this party holds shares."""
        return self.name in self.parties.pair

    @property
    def bits(self) -> int:
        """Length of every key's modulus."""
        return next(iter(self.theirs.values())).public.bits

    @property
    def others(self) -> list[str]:
        """The other parties."""
        return [name for name in self.parties.all if name != self.name]

    def scores(self, x: I64, weights: Mapping[str, Ring], outputs: int) -> Ring | None:
        """A share of Σ X_p·w_p over all parties p, shape (rows, outputs), to the pair; None to others.

        `x` is this party's rows, `weights` the shares of every party's weights (columns, outputs), at the pair.
        """
        for peer in self.others if self.paired else []:
            self._send_encrypted([peer], weights[peer], self.score_bits)
        share = ring128.product(x, weights[self.name]) if self.paired else ring128.zeros(len(x), outputs)
        for owner in self.theirs:
            share = ring128.add(share, self._tall_product(owner, x, outputs))
        if not self.paired:
            self._send_share(share)
            return None
        for peer in self.others:
            slots = self._score_slots(len(weights[peer]), len(x))
            share = ring128.add(share, self._decrypt(peer, slots, len(x), outputs))
        for peer in self._outsiders():
            share = ring128.add(share, self._recv_share(peer, len(x), outputs))
        return share

    def gradients(self, x: I64, residuals: Ring | None, columns: Mapping[str, int], outputs: int) -> dict[str, Ring]:
        """Shares of X_p^T·e for every party p, shape (columns, outputs) each, to the pair; nothing to others.

        `residuals` is the share of e, shape (rows, outputs), at the pair; `columns` how many each party has.
        """
        if residuals is not None:
            self._send_encrypted(self.others, residuals, ring128.BITS)
            share = ring128.product(np.ascontiguousarray(x.T), residuals)
        else:
            share = ring128.zeros(x.shape[1], outputs)
        for owner in self.theirs:
            share = ring128.add(share, self._wide_product(owner, x, outputs))
        if residuals is None:
            self._send_share(share)
            return {}
        shares = {self.name: share}
        for peer in self.others:
            slots = self._gradient_slots(len(x), columns[peer])
            shares[peer] = self._decrypt(peer, slots, columns[peer], outputs)
        for peer in self._outsiders():
            shares[peer] = ring128.add(shares[peer], self._recv_share(peer, columns[peer], outputs))
        return shares

    def open_to_owners(self, shares: Mapping[str, Ring], columns: int, outputs: int) -> Ring:
        """Every party's own values, shape (columns, outputs), from the shares that the pair holds of all parties'."""
        for peer in self.others if self.paired else []:
            self._send_pieces([peer], wire.Shares, "elements", ring128.to_bytes(shares[peer]))
        own = [shares[self.name]] if self.paired else []
        return ring128.total([*own, *(self._recv_share(owner, columns, outputs) for owner in self.theirs)])

    def _outsiders(self) -> tuple[str, ...]:
        return self.parties.others if self.name == self.parties.partner else ()

    def _score_slots(self, columns: int, rows: int) -> "_Slots":
        return _Slots.of(columns, rows, self.bits, self.score_bits)

    def _gradient_slots(self, rows: int, columns: int) -> "_Slots":
        return _Slots.of(rows, columns, self.bits, ring128.BITS)

    def _send_encrypted(self, peers: list[str], share: Ring, ring_bits: int) -> None:
        """Ciphertexts of the shares modulo 2^ring_bits, output by output."""
        assert self.own is not None
        values = share.swapaxes(0, 1).reshape(-1, 2)
        words = np.zeros((len(values), self.own.public.words), np.uint64)
        words[:, : ring_bits // 64] = values[:, : ring_bits // 64]
        self._send_pieces(peers, wire.Ciphertexts, "ciphertexts", self.own.encrypt(words).to_bytes())

    def _tall_product(self, owner: str, x: I64, outputs: int) -> Ring:
        """This party's share of X·s, shape (rows, outputs), for the owner's shares s of the weights of X's columns."""
        rows, columns = x.shape
        encryptor = self.theirs[owner]
        weights = self._recv_ciphertexts(owner, encryptor.public, columns * outputs)
        slots = self._score_slots(columns, rows)
        parts = [
            packed_row_products(x, weights[start : start + columns], slots.bits, slots.per)
            for start in range(0, len(weights), columns)
        ]
        return self._mask_and_send(owner, slots, parts, rows)

    def _wide_product(self, owner: str, x: I64, outputs: int) -> Ring:
        """This party's share of X^T·s, shape (columns, outputs), for the owner's shares s of the residuals."""
        rows, columns = x.shape
        residuals = self._recv_ciphertexts(owner, self.theirs[owner].public, rows * outputs)
        slots = self._gradient_slots(rows, columns)
        parts = [
            shift_and_pack(matrix_product(x, residuals[start : start + rows]), slots.bits, slots.per)
            for start in range(0, len(residuals), rows)
        ]
        return self._mask_and_send(owner, slots, parts, columns)

    def _mask_and_send(self, owner: str, slots: "_Slots", parts: Sequence[Ciphertexts], count: int) -> Ring:
        """Add a mask to every slot, send the ciphertexts, and keep the negative masks: shape (count, outputs), from the
        first `count` slots of each output's part."""
        products = Ciphertexts.concatenate(parts)
        masks = np.frombuffer(self.rng(len(products) * slots.per * slots.bytes), np.uint8)
        masks = masks.reshape(len(products), slots.per, slots.bytes).copy()
        # The highest bit but one is set and the next higher clear: the sum is positive and stays within its slot.
        masks[:, :, -1] = masks[:, :, -1] & 0x3F | 0x40
        encryptor = self.theirs[owner]
        words = np.zeros((len(products), encryptor.public.words), np.uint64)
        words.view(np.uint8)[:, : slots.per * slots.bytes] = masks.reshape(len(products), -1)
        masked = add(products, encryptor.encrypt(words))
        self._send_pieces([owner], wire.Ciphertexts, "ciphertexts", masked.to_bytes())
        by_output = masks.reshape(len(parts), -1, slots.per, slots.bytes)
        return ring128.negate(np.stack([slots.elements(part, count) for part in by_output], axis=1))

    def _decrypt(self, peer: str, slots: "_Slots", count: int, outputs: int) -> Ring:
        """The masked products that a peer sends, shape (count, outputs)."""
        assert self.key is not None
        groups = -(-count // slots.per)
        words = decrypt(self.key, self._recv_ciphertexts(peer, self.key.public, groups * outputs))
        data = words.view(np.uint8)[:, : slots.per * slots.bytes].reshape(outputs, groups, slots.per, slots.bytes)
        return np.stack([slots.elements(part, count) for part in data], axis=1)

    def _send_share(self, share: Ring) -> None:
        self._send_pieces([self.parties.partner], wire.Shares, "elements", ring128.to_bytes(share))

    def _recv_share(self, peer: str, *shape: int) -> Ring:
        data = self._recv_pieces(peer, wire.Shares, "elements", ring128.BYTES * math.prod(shape))
        return ring128.from_bytes(data, *shape)

    def _recv_ciphertexts(self, peer: str, public: PublicKey, count: int) -> Ciphertexts:
        data = self._recv_pieces(peer, wire.Ciphertexts, "ciphertexts", count * public.ciphertext_bytes)
        try:
            return Ciphertexts.from_bytes(public, data, count)
        except ProtocolError as error:
            raise ProtocolError(f"{peer}: {error}") from error

    def _send_pieces(self, peers: Sequence[str], kind: type[Message], name: str, data: bytes) -> None:
        for start in range(0, len(data), _PIECE_BYTES):
            message = kind(**{name: data[start : start + _PIECE_BYTES]})
            for peer in peers:
                self.links.send(peer, message)

    def _recv_pieces(self, peer: str, kind: type[Message], name: str, size: int) -> bytes:
        pieces = []
        for start in range(0, size, _PIECE_BYTES):
            wanted = min(_PIECE_BYTES, size - start)
            piece: bytes = getattr(self.links.recv(peer, kind), name)
            if len(piece) != wanted:
                raise ProtocolError(f"{peer}: sent {len(piece)} bytes of {name}, not {wanted}")
            pieces.append(piece)
        return b"".join(pieces)


@dataclass(frozen=True)
class _Slots:
    """How masked products stand in a plaintext: `per` slots of `bytes` bytes each, of which the lowest `ring_bytes` are
    the share."""

    bytes: int
    per: int
    ring_bytes: int

    @property
    def bits(self) -> int:
        return 8 * self.bytes

    @classmethod
    def of(cls, terms: int, count: int, key_bits: int, ring_bits: int) -> "_Slots":
        """For `count` sums of `terms` products of an entry and a share modulo 2^ring_bits."""
        product_bits = ring_bits + FEATURE_BITS - 1 + terms.bit_length()  # and a sign
        size = -(-(product_bits + STATISTICAL_BITS + 2) // 8)
        return cls(size, min(count, (key_bits - 1) // (8 * size)), ring_bits // 8)

    def elements(self, slots: NDArray[np.uint8], count: int) -> Ring:
        """The first `count` slots of shape (groups, per, bytes) modulo 2^(8·ring_bytes)."""
        found = np.zeros((slots.shape[0] * slots.shape[1], ring128.BYTES), np.uint8)
        found[:, : self.ring_bytes] = slots[:, :, : self.ring_bytes].reshape(len(found), self.ring_bytes)
        return found[:count].view(np.uint64)
