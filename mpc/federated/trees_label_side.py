"""The label holder's end of the links to feature holders while trees grow. Contract: `mpc.federated.trees_train`."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mpc.channel import NamedChannel
from mpc.errors import InputError, ProtocolError
from mpc.federated import trees_wire as steps
from mpc.federated.ciphertexts import piece_size, receive_ciphertexts, send_ciphertexts, send_key
from mpc.federated.trees_grow import Family, Gradients, Node
from mpc.federated.trees_params import MAX_BINS, MAX_COLUMNS, TreesParams
from mpc.primitives.paillier import Ciphertexts, Encryptor, PrivateKey, decrypt
from mpc.spec import Party
from protos import federated_trees_pb2 as wire

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
BOOL = npt.NDArray[np.bool_]

_PIECES_AT_ONCE = 4  # encrypted together: long enough for all cores, and sent while the next are encrypted
_MAX_CANDIDATES = MAX_COLUMNS * (2 * MAX_BINS + 1)


class Group:
    """The key and the links: each tree's derivatives are encrypted once and sent to all."""

    def __init__(self, party: Party[TreesParams], rows: int) -> None:
        self._params = party.params
        self._private = PrivateKey.generate(party.rng, party.params.key_bits)
        self._encryptor = Encryptor(self._private, party.rng, party.params.encryption)
        self.public = self._private.public
        self._encode = steps.coding(party.params, self.public, rows).encode
        self.links = {peer: steps.link_to(party, peer) for peer in sorted(party.peers)}
        self._begun = -1
        for link in self.links.values():
            send_key(link, self.public)

    def begin(self, gradients: Gradients) -> None:
        """Send all feature holders a tree's derivatives, once, whoever asks for it first."""
        if self._begun == gradients.tree:
            return
        self._begun = gradients.tree
        drawn = self._params.goss or self._params.row_sample < 1
        counted = steps.pack_bits(gradients.counted) if drawn else b""
        for link in self.links.values():
            link.send(wire.Tree(number=gradients.tree, counted=counted))
        rows, size = np.flatnonzero(gradients.counted), _PIECES_AT_ONCE * piece_size(self.public)
        for at in range(0, len(rows), size):
            ciphertexts = self._encryptor.encrypt(self._encode(gradients.values[rows[at : at + size]]))
            for link in self.links.values():
                send_ciphertexts(link, ciphertexts)

    def finish(self, kept: int, gains: Mapping[str, Sequence[float]]) -> None:
        """Tell all that training has ended, how many trees are kept, and the gains of each one's own splits."""
        for peer, link in self.links.items():
            link.send(wire.Tree(finished=True, kept=kept, gains=gains.get(peer, ())))

    def decrypt(self, ciphertexts: Ciphertexts) -> U64:
        """Plaintexts under the group's key."""
        return decrypt(self._private, ciphertexts)


class FeatureLink:
    """The link to one feature holder, whose index among all sides is `index`."""

    def __init__(self, group: Group, peer: str, index: int) -> None:
        self._group = group
        self._index = index
        self.channel: NamedChannel = group.links[peer]
        self.candidates = 0
        self.gradients: Gradients

    def start(self, gradients: Gradients) -> None:
        """A tree begins; learn how many candidates the feature holder has."""
        self._group.begin(gradients)
        self.gradients = gradients
        self.candidates = self.channel.recv(wire.Layout).candidates
        if not 1 <= self.candidates <= _MAX_CANDIDATES:
            raise ProtocolError(f"{self.channel.peer}: claims {self.candidates} ways to split")

    def announce(self, level: Sequence[Family]) -> None:
        """Tell which nodes are to be judged; none: the tree has ended."""
        if any(family.parent < 0 for family in level):
            self.channel.send(wire.Level(root=True))
            return
        self.channel.send(wire.Level(families=[self._family(family) for family in level]))

    def _family(self, family: Family) -> wire.Family:
        left, right = (child is not None for child in family.children)
        bits = b"" if family.side == self._index else steps.pack_bits(family.left)
        return wire.Family(parent=family.parent, left=bits, left_judged=left, right_judged=right)

    def receive(self, count: int) -> U64:
        """So many plaintexts from the feature holder."""
        return self._group.decrypt(receive_ciphertexts(self.channel, self._group.public, count))

    def receive_lefts(self, nodes: Sequence[Node]) -> list[tuple[BOOL, I64]]:
        """For each node the rows that go left, and the sums over them."""
        peer, bitmaps = self.channel.peer, self.channel.recv(wire.Lefts).bitmaps
        if len(bitmaps) != len(nodes):
            raise ProtocolError(f"{peer}: sent {len(bitmaps)} bitmaps for {len(nodes)} nodes")
        found = []
        for node, data in zip(nodes, bitmaps, strict=True):
            left = steps.unpack_bits(peer, data, len(node.rows), "rows that go left")
            found.append((left, self.gradients.values[node.rows[left]].sum(axis=0)))
        return found


class RemoteSide:
    """A `Side` behind a link."""

    def __init__(self, group: Group, peer: str, index: int, rows: int) -> None:
        self._link = FeatureLink(group, peer, index)
        self._coding = steps.Coding(group.public, rows)

    def start(self, gradients: Gradients) -> None:
        self._link.start(gradients)

    def announce(self, level: Sequence[Family]) -> None:
        self._link.announce(level)

    def measure(self, level: Sequence[Family]) -> list[I64]:
        each = self._link.candidates
        sums = self._receive_sums(len(level) * each)
        by_family = [sums[at : at + each] for at in range(0, len(sums), each)]
        for family, own in zip(level, by_family, strict=True):
            self._check(family, own)
        return by_family

    def _receive_sums(self, total: int) -> I64:
        """Pairs of sums, packed."""
        words = self._link.receive(-(-total // self._coding.per_ciphertext))
        try:
            found = self._coding.packing.unpack(words, self._coding.public, self._coding.per_ciphertext)
        except InputError:
            raise ProtocolError(f"{self._link.channel.peer}: sent a ciphertext of more than packed sums") from None
        return found.reshape(-1, 2)[:total]

    def _check(self, family: Family, sums: I64) -> None:
        """That some of the measured rows may have these sums, as far as bounds tell."""
        values = self._link.gradients.values[family.measured]
        least, most = np.minimum(values, 0).sum(axis=0), np.maximum(values, 0).sum(axis=0)
        if (sums < least).any() or (sums > most).any():
            raise ProtocolError(f"{self._link.channel.peer}: sent sums that no choice of the rows has")

    def split(self, nodes: Sequence[tuple[int, Node, I64]], sums: Sequence[I64]) -> list[BOOL]:
        choices = [wire.Choice(node=place, candidates=candidates.tolist()) for place, _, candidates in nodes]
        self._link.channel.send(wire.Choices(choices=choices))
        if not nodes:
            return []
        lefts = []
        answers = self._link.receive_lefts([node for _, node, _ in nodes])
        for (_, _, candidates), own, (left, found) in zip(nodes, sums, answers, strict=True):
            if not (found == own[candidates]).all(axis=1).any():
                raise ProtocolError(f"{self._link.channel.peer}: splits a node into other rows than its sums were of")
            lefts.append(left)
        return lefts
