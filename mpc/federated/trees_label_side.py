"""The label holder's end of the links to feature holders while trees grow. Contract: `mpc.federated.trees_train`."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mpc.errors import InputError, ProtocolError
from mpc.federated import trees_wire as steps
from mpc.federated.ciphertexts import piece_size, receive_ciphertexts, send_ciphertexts, send_key
from mpc.federated.trees_grow import Family, Gradients, Node
from mpc.federated.trees_params import MAX_BINS, MAX_COLUMNS, TreesParams
from mpc.primitives.paillier import Ciphertexts, Encryptor, PrivateKey, decrypt
from mpc.psi.multi_steps import NamedChannel
from mpc.spec import Party
from protos import federated_trees_pb2 as wire

I64 = npt.NDArray[np.int64]
BOOL = npt.NDArray[np.bool_]

_MAX_CANDIDATES = MAX_COLUMNS * (2 * MAX_BINS + 1)


class Group:
    """The key and the links: each tree's derivatives are encrypted once and sent to all."""

    def __init__(self, party: Party[TreesParams], rows: int) -> None:
        self._params = party.params
        self._private = PrivateKey.generate(party.rng, party.params.key_bits)
        self._encryptor = Encryptor(self._private, party.rng, party.params.encryption)
        self.coding = steps.Coding(self._private.public, rows)
        self.links = {peer: steps.link_to(party, peer) for peer in sorted(party.peers)}
        self._begun = -1
        for link in self.links.values():
            send_key(link, self._private.public)

    def begin(self, gradients: Gradients) -> None:
        """Send all feature holders a tree's derivatives, once, whoever asks for it first."""
        if self._begun == gradients.tree:
            return
        self._begun = gradients.tree
        drawn = self._params.goss or self._params.row_sample < 1
        counted = steps.pack_bits(gradients.counted) if drawn else b""
        for link in self.links.values():
            link.send(wire.Tree(number=gradients.tree, counted=counted))
        rows = np.flatnonzero(gradients.counted)
        size = piece_size(self.coding.public)
        for at in range(0, len(rows), size):
            words = self.coding.packing.pack(gradients.values[rows[at : at + size]], self.coding.public)
            ciphertexts = self._encryptor.encrypt(words)
            for link in self.links.values():
                send_ciphertexts(link, ciphertexts)

    def finish(self, kept: int, gains: Mapping[str, Sequence[float]]) -> None:
        """Tell all that training has ended, how many trees are kept, and the gains of each one's own splits."""
        for peer, link in self.links.items():
            link.send(wire.Tree(finished=True, kept=kept, gains=gains.get(peer, ())))

    def open(self, peer: str, ciphertexts: Ciphertexts, count: int) -> I64:
        """`count` pairs of sums from packed ciphertexts."""
        words = decrypt(self._private, ciphertexts)
        try:
            pairs = self.coding.packing.unpack(words, self.coding.public, self.coding.per_ciphertext)
        except InputError:
            raise ProtocolError(f"{peer}: sent a ciphertext of more than packed sums") from None
        return pairs.reshape(-1, 2)[:count]


class RemoteSide:
    """A `Side` behind a link; `index` is its place among all sides."""

    def __init__(self, group: Group, peer: str, index: int) -> None:
        self._group = group
        self._link: NamedChannel = group.links[peer]
        self._index = index
        self._candidates = 0
        self._gradients: Gradients

    def start(self, gradients: Gradients) -> None:
        self._group.begin(gradients)
        self._gradients = gradients
        self._candidates = self._link.recv(wire.Layout).candidates
        if not 1 <= self._candidates <= _MAX_CANDIDATES:
            raise ProtocolError(f"{self._link.peer}: claims {self._candidates} ways to split")

    def announce(self, level: Sequence[Family]) -> None:
        if any(family.parent < 0 for family in level):
            self._link.send(wire.Level(root=True))
            return
        self._link.send(wire.Level(families=[self._family(family) for family in level]))

    def _family(self, family: Family) -> wire.Family:
        left, right = (child is not None for child in family.children)
        bits = b"" if family.side == self._index else steps.pack_bits(family.left)
        return wire.Family(parent=family.parent, left=bits, left_judged=left, right_judged=right)

    def measure(self, level: Sequence[Family]) -> list[I64]:
        total = len(level) * self._candidates
        due = -(-total // self._group.coding.per_ciphertext)
        ciphertexts = receive_ciphertexts(self._link, self._group.coding.public, due)
        sums = self._group.open(self._link.peer, ciphertexts, total)
        by_family = [sums[at : at + self._candidates] for at in range(0, total, self._candidates)]
        for family, own in zip(level, by_family, strict=True):
            self._check(family, own)
        return by_family

    def _check(self, family: Family, sums: I64) -> None:
        """That some of the measured rows may have these sums, as far as bounds tell."""
        values = self._gradients.values[family.measured]
        least, most = np.minimum(values, 0).sum(axis=0), np.maximum(values, 0).sum(axis=0)
        if (sums < least).any() or (sums > most).any():
            raise ProtocolError(f"{self._link.peer}: sent sums that no choice of the rows has")

    def split(self, nodes: Sequence[tuple[int, Node, I64]], sums: Sequence[I64]) -> list[BOOL]:
        choices = [wire.Choice(node=place, candidates=candidates.tolist()) for place, _, candidates in nodes]
        self._link.send(wire.Choices(choices=choices))
        if not nodes:
            return []
        peer, bitmaps = self._link.peer, self._link.recv(wire.Lefts).bitmaps
        if len(bitmaps) != len(nodes):
            raise ProtocolError(f"{peer}: sent {len(bitmaps)} bitmaps for {len(nodes)} nodes")
        lefts = []
        for (_, node, candidates), own, data in zip(nodes, sums, bitmaps, strict=True):
            left = steps.unpack_bits(peer, data, len(node.rows), "rows that go left")
            if not (self._gradients.values[node.rows[left]].sum(axis=0) == own[candidates]).all(axis=1).any():
                raise ProtocolError(f"{peer}: splits a node into other rows than its sums were of")
            lefts.append(left)
        return lefts
