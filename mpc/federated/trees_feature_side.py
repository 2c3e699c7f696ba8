"""A feature holder's part while trees grow: sums on ciphertexts, splits of its own. Contract: `trees_train`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mpc.errors import ProtocolError
from mpc.federated import trees_wire as steps
from mpc.federated.ciphertexts import receive_ciphertexts, receive_key, send_ciphertexts
from mpc.federated.trees_boost import training_rows
from mpc.federated.trees_columns import OwnColumns
from mpc.federated.trees_grow import smaller_child
from mpc.federated.trees_params import TreesParams
from mpc.primitives.paillier import Ciphertexts, Encryptor, add, shift_and_pack, sum_by_index
from mpc.psi.multi_steps import NamedChannel
from mpc.psi.steps import permutation
from mpc.spec import Party
from protos import federated_trees_pb2 as wire

I64 = npt.NDArray[np.int64]
BOOL = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ended:
    """How many trees the model keeps, and the gains of the party's own splits in them, None if they are not shared."""

    kept: int
    gains: tuple[float, ...] | None


class FeatureSide:
    """The feature holder's end of the link to the label holder, for `rows` aligned rows."""

    def __init__(self, party: Party[TreesParams], leader: str, own: OwnColumns, rows: int) -> None:
        self._party, self._params, self._own, self._rows = party, party.params, own, rows
        self._link: NamedChannel = steps.link_to(party, leader)
        public = receive_key(self._link, self._params.key_bits)
        self._coding = steps.Coding(public, rows)
        self._encryptor = Encryptor(public, party.rng, self._params.encryption)
        self._fitted = training_rows(self._params, rows)

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
        ciphertexts = receive_ciphertexts(self._link, self._coding.public, int(np.count_nonzero(counted)))
        self._own.start(tree)
        candidates = len(self._own.layout.splits)
        order = permutation(candidates, self._party.rng) if self._params.shuffle else np.arange(candidates)
        self._link.send(wire.Layout(candidates=candidates))
        grown = _Grown(counted, ciphertexts, order)
        for depth in range(self._params.depth + 1):
            message = self._link.recv(wire.Level)
            if not message.root and not message.families:
                return
            if message.root != (depth == 0) or (message.root and message.families) or depth == self._params.depth:
                raise ProtocolError(f"{self._link.peer}: asks for a node out of its turn, or deeper than agreed")
            measured = [np.arange(self._rows)] if message.root else []
            judged = measured.copy()
            for family in message.families:
                smaller, children = self._family(family, grown)
                measured.append(smaller)
                judged += children
            self._check_judged(judged, grown)
            self._send_sums(measured, grown)
            grown.nodes = judged
            self._split(grown)

    def _family(self, family: wire.Family, grown: "_Grown") -> tuple[I64, list[I64]]:
        """The rows to measure, and those of each child that is judged."""
        peer = self._link.peer
        if family.parent >= len(grown.nodes) or family.parent in grown.asked:
            raise ProtocolError(f"{peer}: asks for children of a node that was not judged, or twice")
        grown.asked.add(family.parent)
        rows = grown.nodes[family.parent]
        left = grown.lefts.get(family.parent)
        if left is None:
            left = steps.unpack_bits(peer, family.left, len(rows), "rows that go left")
        elif family.left:
            raise ProtocolError(f"{peer}: sends rows that go left by a split that this party made")
        children = (rows[left], rows[~left])
        kept = (family.left_judged, family.right_judged)
        if not any(kept):
            raise ProtocolError(f"{peer}: asks for children of a node and for neither of them")
        counts = [int(np.count_nonzero(grown.counted[child])) for child in children]
        smaller = children[smaller_child(*counts)]
        return smaller, [child for child, keep in zip(children, kept, strict=True) if keep]

    def _check_judged(self, judged: Sequence[I64], grown: "_Grown") -> None:
        least = max(self._params.min_node_rows, 2)
        if any(np.count_nonzero(grown.counted[rows]) < least for rows in judged):
            raise ProtocolError(f"{self._link.peer}: asks about a node of fewer than the agreed {least} rows")

    def _send_sums(self, measured: Sequence[I64], grown: "_Grown") -> None:
        sums = Ciphertexts.concatenate([self._sums(rows[grown.counted[rows]], grown) for rows in measured])
        coding = self._coding
        packed = shift_and_pack(sums, coding.packing.bits, coding.per_ciphertext)
        send_ciphertexts(self._link, self._encryptor.rerandomise(packed))

    def _sums(self, rows: I64, grown: "_Grown") -> Ciphertexts:
        """What the counted `rows` that go left add up to, by candidate, in the secret order."""
        own = self._own
        binned = np.ascontiguousarray(own.binned[own.chosen][:, rows].T)
        cells = sum_by_index(grown.ciphertexts[grown.place[rows]], binned, own.layout.width)
        left = own.layout.left_sums(cells, add, Ciphertexts.__getitem__, Ciphertexts.concatenate)
        return left[grown.order]

    def _split(self, grown: "_Grown") -> None:
        peer, count = self._link.peer, len(grown.order)
        grown.lefts.clear()
        grown.asked.clear()
        choices = self._link.recv(wire.Choices).choices
        for choice in choices:
            if choice.node >= len(grown.nodes) or choice.node in grown.lefts:
                raise ProtocolError(f"{peer}: splits a node that was not judged, or twice")
            if not choice.candidates or len(choice.candidates) > count or max(choice.candidates) >= count:
                raise ProtocolError(f"{peer}: chooses a way to split that was not offered")
            first = int(grown.order[np.array(choice.candidates)].min())
            grown.lefts[choice.node] = self._own.decide(grown.nodes[choice.node], first)
        if choices:
            bitmaps = [steps.pack_bits(grown.lefts[choice.node]) for choice in choices]
            self._link.send(wire.Lefts(bitmaps=bitmaps))


@dataclass
class _Grown:
    """A tree under way: candidate i, as sent, is `order[i]` of the layout; `nodes` are the rows of judged nodes."""

    counted: BOOL
    ciphertexts: Ciphertexts  # of the counted rows
    order: I64
    place: I64 = field(init=False)  # of a counted row among the ciphertexts
    nodes: list[I64] = field(default_factory=list)
    lefts: dict[int, BOOL] = field(default_factory=dict)  # by judged node that this party split
    asked: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.place = np.cumsum(self.counted) - 1
