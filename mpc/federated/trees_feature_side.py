"""A feature holder's part while trees grow: sums on ciphertexts, splits of its own. Contract: `trees_train`."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mpc.channel import NamedChannel
from mpc.errors import ProtocolError
from mpc.federated import trees_wire as steps
from mpc.federated.ciphertexts import receive_ciphertexts, receive_key, send_ciphertexts
from mpc.federated.trees_boost import training_rows
from mpc.federated.trees_columns import OwnColumns
from mpc.federated.trees_grow import Family, Node, smaller_child
from mpc.federated.trees_params import TreesParams
from mpc.primitives.paillier import Ciphertexts, Encryptor, PublicKey, add, shift_and_pack, sum_by_index
from mpc.psi.steps import permutation
from mpc.spec import Party
from protos import federated_trees_pb2 as wire

I64 = npt.NDArray[np.int64]
BOOL = npt.NDArray[np.bool_]
RowBins = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Ended:
    """How many trees the model keeps, and the gains of the party's own splits in them, None if they are not shared."""

    kept: int
    gains: tuple[float, ...] | None


@dataclass
class Grown:
    """A tree under way."""

    counted: BOOL
    ciphertexts: Ciphertexts  # of the counted rows
    own: OwnColumns
    place: I64 = field(init=False)  # of a counted row among the ciphertexts
    bins: RowBins = field(init=False)  # of each row, by chosen column
    nodes: list[Node] = field(default_factory=list)  # judged
    lefts: dict[int, BOOL] = field(default_factory=dict)  # by judged node that this party split

    def __post_init__(self) -> None:
        self.place = np.cumsum(self.counted) - 1
        kind = np.uint8 if self.own.layout.width <= 2**8 else np.uint16
        self.bins = np.ascontiguousarray(self.own.binned[self.own.chosen].astype(kind).T)

    def sums(self, rows: I64) -> Ciphertexts:
        """What counted rows that go left add up to, by candidate of the layout."""
        layout = self.own.layout
        cells = sum_by_index(self.ciphertexts, self.bins.take(rows, axis=0), layout.width, self.place[rows])
        return layout.left_sums(cells, add, Ciphertexts.__getitem__, Ciphertexts.concatenate)


class Chooser(Protocol):
    """How the label holder and this party find the best splits of a level."""

    def start(self, candidates: int) -> None:
        """A tree begins."""
        ...

    def choose(self, level: Sequence[Family], grown: Grown) -> Mapping[int, int]:
        """By judged node that this party is to split, the candidate of its layout."""
        ...


MakeChooser = Callable[[Party[TreesParams], NamedChannel, PublicKey, int], Chooser]


class OpenChooser:
    """Sends the sums of all candidates, and is told which are best."""

    def __init__(self, party: Party[TreesParams], link: NamedChannel, public: PublicKey, rows: int) -> None:
        self._party, self._link = party, link
        self._coding = steps.Coding(public, rows)
        self._encryptor = Encryptor(public, party.rng, party.params.encryption)
        self._order = np.zeros(0, np.int64)  # candidate i, as sent, is _order[i] of the layout

    def start(self, candidates: int) -> None:
        shuffle = self._party.params.shuffle
        self._order = permutation(candidates, self._party.rng) if shuffle else np.arange(candidates)

    def choose(self, level: Sequence[Family], grown: Grown) -> Mapping[int, int]:
        sums = Ciphertexts.concatenate([grown.sums(family.measured)[self._order] for family in level])
        packed = shift_and_pack(sums, self._coding.packing.bits, self._coding.per_ciphertext)
        send_ciphertexts(self._link, self._encryptor.rerandomise(packed))
        peer, count, chosen = self._link.peer, len(self._order), dict[int, int]()
        for choice in self._link.recv(wire.Choices).choices:
            if choice.node >= len(grown.nodes) or choice.node in chosen:
                raise ProtocolError(f"{peer}: splits a node that was not judged, or twice")
            if not choice.candidates or len(choice.candidates) > count or max(choice.candidates) >= count:
                raise ProtocolError(f"{peer}: chooses a way to split that was not offered")
            chosen[choice.node] = int(self._order[np.array(choice.candidates)].min())
        return chosen


class FeatureSide:
    """The feature holder's end of the link to the label holder, for `rows` aligned rows."""

    def __init__(
        self, party: Party[TreesParams], leader: str, own: OwnColumns, rows: int, chooser: MakeChooser
    ) -> None:
        self._party, self._params, self._own, self._rows = party, party.params, own, rows
        self._link: NamedChannel = steps.link_to(party, leader)
        self._public = receive_key(self._link, self._params.key_bits)
        self._chooser = chooser(party, self._link, self._public, rows)
        self._fitted = training_rows(self._params, rows)
        self._received: Ciphertexts | None = None  # for a tree; the next one's take their place

    def serve(self) -> Ended:
        """Take part in every tree until the label holder says that training has ended."""
        last, most = -1, self._params.trees * self._params.outputs
        while True:
            message = self._link.recv(wire.Tree)
            if message.finished:
                return self._ended(message, last)
            if not last < message.number < most:
                raise ProtocolError(f"{self._link.peer}: begins tree {message.number} after tree {last} of {most}")
            last = message.number
            self._serve_tree(last, self._counted(message.counted))
            self._party.progress("tree", last + 1, most)

    def _ended(self, message: wire.Tree, last: int) -> Ended:
        if message.kept > max(last + 1, self._params.local_trees * self._params.outputs):
            raise ProtocolError(f"{self._link.peer}: keeps {message.kept} trees, and the last grown was {last}")
        if not self._params.share_gains:
            return Ended(message.kept, None)
        gains, rules = tuple(message.gains), len(self._own.rules().first_of_trees(message.kept))
        if len(gains) != rules or not all(math.isfinite(gain) and gain >= 0 for gain in gains):
            raise ProtocolError(f"{self._link.peer}: sent {len(gains)} gains of {rules} splits, or one that is none")
        return Ended(message.kept, gains)

    def _counted(self, data: bytes) -> BOOL:
        """The rows that a tree is grown on."""
        drawn = self._params.goss or self._params.row_sample < 1
        if not drawn and not data:
            return self._fitted
        counted = steps.unpack_bits(self._link.peer, data, self._rows, "rows to count")
        if not drawn or (counted & ~self._fitted).any() or not counted.any():
            raise ProtocolError(f"{self._link.peer}: counts other rows than were agreed")
        return counted

    def _serve_tree(self, tree: int, counted: BOOL) -> None:
        count = int(np.count_nonzero(counted))
        self._received = ciphertexts = receive_ciphertexts(self._link, self._public, count, self._received)
        self._own.start(tree)
        self._chooser.start(len(self._own.layout.splits))
        self._link.send(wire.Layout(candidates=len(self._own.layout.splits)))
        grown = Grown(counted, ciphertexts, self._own)
        for depth in range(self._params.depth + 1):
            message = self._link.recv(wire.Level)
            if not message.root and not message.families:
                return
            if message.root != (depth == 0) or (message.root and message.families) or depth == self._params.depth:
                raise ProtocolError(f"{self._link.peer}: asks for a node out of its turn, or deeper than agreed")
            level = self._families(message, grown)
            grown.nodes = [node for family in level for node in family.judged]
            self._check_judged(grown.nodes)
            chosen = self._chooser.choose(level, grown)
            grown.lefts = {node: self._own.decide(grown.nodes[node].rows, split) for node, split in chosen.items()}
            if chosen:
                self._link.send(wire.Lefts(bitmaps=[steps.pack_bits(left) for left in grown.lefts.values()]))

    def _families(self, message: wire.Level, grown: Grown) -> list[Family]:
        if message.root:
            rows = np.arange(self._rows)
            return [Family((_node(rows, grown), None), rows[grown.counted])]
        parents = [family.parent for family in message.families]
        if max(parents) >= len(grown.nodes) or len(set(parents)) < len(parents):
            raise ProtocolError(f"{self._link.peer}: asks for children of a node that was not judged, or twice")
        return [self._family(family, grown) for family in message.families]

    def _family(self, family: wire.Family, grown: Grown) -> Family:
        peer, rows = self._link.peer, grown.nodes[family.parent].rows
        left = grown.lefts.get(family.parent)
        if left is None:
            left = steps.unpack_bits(peer, family.left, len(rows), "rows that go left")
        elif family.left:
            raise ProtocolError(f"{peer}: sends rows that go left by a split that this party made")
        if not family.left_judged and not family.right_judged:
            raise ProtocolError(f"{peer}: asks for children of a node and for neither of them")
        children = (_node(rows[left], grown), _node(rows[~left], grown))
        smaller = smaller_child(children[0].counted, children[1].counted)
        judged = (children[0] if family.left_judged else None, children[1] if family.right_judged else None)
        measured = children[smaller].rows
        return Family(judged, measured[grown.counted[measured]], smaller, family.parent)

    def _check_judged(self, nodes: Sequence[Node]) -> None:
        least = max(self._params.min_node_rows, 2)
        if any(node.counted < least for node in nodes):
            raise ProtocolError(f"{self._link.peer}: asks about a node of fewer than the agreed {least} rows")


def _node(rows: I64, grown: Grown) -> Node:
    """A node as this party knows it, without sums."""
    return Node(rows, np.zeros(2, np.int64), int(np.count_nonzero(grown.counted[rows])))
