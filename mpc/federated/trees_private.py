"""The best split of each node found on shares, between the label holder and one feature holder.

The feature holder masks the encrypted sums of its candidates before the label holder decrypts them, so that both are
left with additive shares of each sum modulo 2^64. On these they compute, in integers, what the two children of each
candidate are worth (`mpc.federated.trees_grow.Judging`): a long division gives each child's weight, a product its
worth; the largest is found in a tournament and compared with the best that the label holder has itself.

Output:   both learn, for each judged node, whether the feature holder has the best split; the feature holder which one.
Leaks:    to the label holder, beyond that, how many candidates there are. It then learns which rows go left by the
          splits that are made, and so the sums of those, not of any others. To the feature holder nothing of sums.
Security: semi-honest; that of `mpc.sharing.engine` between two parties. The masks hide sums but for a probability of
          2^-40 for each sum.
Checks:   a split must be worth more than the label holder's own best, which it computes from the rows that go left.
Cost:     a level takes about 30 comparisons of 40 to 50 bits for each candidate and node, one after the other: some
          hundred messages in turn, whatever the number of candidates.
Source:   the idea: Wu et al., Pivot, VLDB 2020, arxiv.org/abs/2008.06534.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mpc.errors import ProtocolError
from mpc.federated import trees_wire as steps
from mpc.federated.ciphertexts import send_ciphertexts
from mpc.federated.trees_columns import LocalSide
from mpc.federated.trees_feature_side import Grown
from mpc.federated.trees_grow import (
    LARGEST_LAMBDA,
    LARGEST_WORTH,
    PRIVATE_GRADIENT_BITS,
    WEIGHT_BITS,
    Best,
    Family,
    Gradients,
    Judging,
    best_by_integers,
    by_node,
    fraction_bits,
    gain_of,
    judging,
)
from mpc.federated.trees_label_side import FeatureLink, Group
from mpc.federated.trees_params import TreesParams
from mpc.primitives.paillier import Ciphertexts, Encryptor, PublicKey, add_plain, shift_and_pack
from mpc.psi.multi_steps import NamedChannel
from mpc.sharing.engine import start
from mpc.sharing.values import Bits, Secret
from mpc.spec import Party

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
BOOL = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Known:
    """What the label holder brings for each judged node: by what candidates are judged, and the worth to exceed."""

    by: Sequence[Judging] = field(repr=False)
    bars: Sequence[int] = field(repr=False)

    def columns(self) -> list[list[int]]:
        """The nodes' G, H, `least`, λ and bars."""
        rows = [
            (int(each.sums[0]), int(each.sums[1]), each.least, each.reg_lambda, bar)
            for each, bar in zip(self.by, self.bars, strict=True)
        ]
        return [list(column) for column in zip(*rows, strict=True)]


class Search:
    """The computation that both parties run for each level; `leader` holds the labels."""

    def __init__(self, party: Party[TreesParams], leader: str, holder: str, rows: int) -> None:
        self._leader, self._holder, self._rows = leader, holder, rows
        self._engine = start(
            party.name, party.peers, session=party.session, label=b"train.boosted_trees", rng=party.rng
        )

    def best(self, shares: Sequence[U64], known: Known | None) -> tuple[BOOL, I64 | None]:
        """By node, whether the feature holder's best candidate is worth more than the bar; and, at the feature holder
        alone, the candidates of the nodes where it is.

        `shares` are the party's own of the candidates' sums, an array (candidates, 2) a node.
        """
        engine, most = self._engine, self._rows << PRIVATE_GRADIENT_BITS
        words = np.stack(shares)
        left = (
            engine.adopt(np.ascontiguousarray(words[:, :, 0]), low=-most, high=most),
            engine.adopt(np.ascontiguousarray(words[:, :, 1]), low=0, high=most),
        )
        bounds = ((-most, most), (0, most), (0, LARGEST_LAMBDA), (0, LARGEST_LAMBDA), (0, LARGEST_WORTH))
        brought = [None] * len(bounds) if known is None else known.columns()
        g, h, least, reg_lambda, bar = (
            self._bring(values, len(shares), low, high) for values, (low, high) in zip(brought, bounds, strict=True)
        )
        right = ((g - left[0]).within(-most, most), (h - left[1]).within(0, most))
        first, second = engine.concatenate([left[0], right[0]]), engine.concatenate([left[1], right[1]])
        twice = engine.concatenate([reg_lambda, reg_lambda])
        worth = self._worth(first, second + twice)
        enough = second >= engine.concatenate([least, least])
        count = len(shares)
        allowed = enough[:count] & enough[count:]
        total = worth[:count] + worth[count:]
        largest, place = self._largest(engine.where(allowed, total, engine.constant(np.full(total.shape, -1))))
        wins = engine.open(largest > bar[:, 0])
        if not wins.any():
            return wins, None
        return wins, engine.open_to(self._holder, place[np.flatnonzero(wins)])  # type: ignore[return-value]

    def _bring(self, values: Sequence[int] | None, count: int, low: int, high: int) -> Secret:
        """A number a node, of shape (nodes, 1), that the label holder alone knows."""
        own = None if values is None else np.array(values, np.int64)[:, None]
        return self._engine.share(self._leader, own, shape=(count, 1), low=low, high=high)

    def _worth(self, g: Secret, below: Secret) -> Secret:
        """|g|·w with w = min(floor(2^fraction·|g| / below), all ones)."""
        engine, fraction = self._engine, fraction_bits(self._rows)
        size = engine.where(g < 0, -g, g).within(0, max(-g.low, g.high))
        below = below.broadcast_to(size.shape)
        rest, digits = size, list[Bits]()
        for power in range(WEIGHT_BITS - 1, -1, -1):
            rest, digit = self._subtract(rest, below * (1 << power))
            digits.append(digit)
        for _ in range(fraction):
            rest, digit = self._subtract(rest * 2, below)
            digits.append(digit)
        weights = engine.concatenate([digit.reshape(1, *size.shape) for digit in digits]).integers()
        values = 1 << np.arange(len(digits) - 1, -1, -1, dtype=np.int64)
        weight = (weights * values.reshape(-1, *[1] * len(size.shape))).sum(axis=0)
        return (weight.within(0, (1 << len(digits)) - 1) * size).within(0, LARGEST_WORTH // 2)

    def _subtract(self, rest: Secret, step: Secret) -> tuple[Secret, Bits]:
        """One step of a long division: what is left, and the digit."""
        fits = rest >= step
        return self._engine.where(fits, rest - step, rest).within(0, rest.high), fits

    def _largest(self, worth: Secret) -> tuple[Secret, Secret]:
        """By row the largest number, and the first place where it stands."""
        engine = self._engine
        nodes, count = worth.shape
        places = engine.constant(np.tile(np.arange(count), (nodes, 1)))
        while worth.shape[1] > 1:
            pairs = worth.shape[1] // 2
            odd = worth[:, 2 * pairs :], places[:, 2 * pairs :]
            a, b = worth[:, 0 : 2 * pairs : 2], worth[:, 1 : 2 * pairs : 2]
            better = b > a
            worth = engine.where(better, b, a)
            places = engine.where(better, places[:, 1 : 2 * pairs : 2], places[:, 0 : 2 * pairs : 2])
            worth = engine.concatenate([worth, odd[0]], axis=1)
            places = engine.concatenate([places, odd[1]], axis=1)
        return worth[:, 0], places[:, 0]


class PrivateJudge:
    """The label holder's `Judge`: the feature holder's candidates on shares, its own in the clear."""

    def __init__(self, party: Party[TreesParams], group: Group, peer: str, local: LocalSide | None, rows: int) -> None:
        self._params, self._local = party.params, local
        self._index = 0 if local is None else 1
        self._link = FeatureLink(group, peer, self._index)
        self._masking = steps.Masking(group.public, rows)
        self._search = Search(party, party.name, peer, rows)
        self._gradients: Gradients
        self._own: list[I64] = []
        self._shares: list[U64] = []

    def start(self, gradients: Gradients) -> None:
        self._gradients, self._own, self._shares = gradients, [], []
        self._link.start(gradients)
        if self._local is not None:
            self._local.start(gradients)

    def judge(self, level: Sequence[Family]) -> tuple[list[Best | None], list[BOOL]]:
        self._link.announce(level)
        nodes = [node for family in level for node in family.judged]
        bests: list[Best | None] = [None] * len(nodes)
        if self._local is not None:
            self._own = by_node(level, self._local.measure(level), self._own)
            pairs = zip(self._own, nodes, strict=True)
            bests = [best_by_integers([sums], node, self._gradients, self._params) for sums, node in pairs]
        self._shares = by_node(level, self._receive_shares(len(level)), self._shares)
        by = [judging(node, self._gradients, self._params) for node in nodes]
        bars = [each.floor for each in by]
        for i, best in enumerate(bests):
            if best is not None:
                bars[i] = int(by[i].scores(self._own[i][best.candidates[:1]])[0])
        wins, _ = self._search.best(self._shares, Known(by, bars))
        lefts = [np.zeros(0, np.bool_)] * len(nodes)
        won = np.flatnonzero(wins).tolist()
        answers = self._link.receive_lefts([nodes[i] for i in won]) if won else []
        for i, (left, sums) in zip(won, answers, strict=True):
            worth = int(by[i].scores(sums[None])[0])
            if worth <= bars[i]:
                raise ProtocolError(f"{self._link.channel.peer}: splits a node into other rows than were found best")
            bests[i] = Best(self._index, np.zeros(0, np.int64), gain_of(worth, nodes[i], self._gradients, self._params))
            lefts[i] = left
        self._split_own(level, bests, lefts)
        return bests, lefts

    def _split_own(self, level: Sequence[Family], bests: Sequence[Best | None], lefts: list[BOOL]) -> None:
        nodes = [node for family in level for node in family.judged]
        for i, best in enumerate(bests):
            if self._local is not None and best is not None and best.side != self._index:
                (lefts[i],) = self._local.split([(i, nodes[i], best.candidates)], [self._own[i]])

    def _receive_shares(self, families: int) -> list[U64]:
        """The label holder's shares of the sums in each measured child."""
        each = self._link.candidates
        words = self._link.receive(-(-families * each // self._masking.per_ciphertext))
        fields = self._masking.fields(words, families * each)
        return [fields[at : at + each] for at in range(0, families * each, each)]

    def end(self) -> None:
        self._link.announce([])


class PrivateChooser:
    """The feature holder's part."""

    def __init__(self, party: Party[TreesParams], link: NamedChannel, public: PublicKey, rows: int) -> None:
        self._party, self._link = party, link
        self._masking = steps.Masking(public, rows)
        self._encryptor = Encryptor(public, party.rng, party.params.encryption)
        self._search = Search(party, link.peer, party.name, rows)
        self._shares: list[U64] = []

    def start(self, _candidates: int) -> None:
        self._shares = []

    def choose(self, level: Sequence[Family], grown: Grown) -> Mapping[int, int]:
        count = len(grown.own.layout.splits)
        sums = Ciphertexts.concatenate([grown.sums(family.measured) for family in level])
        masks = self._masking.mask(len(sums), self._party.rng)
        packed = shift_and_pack(sums, 2 * steps.FIELD_BITS, self._masking.per_ciphertext)
        masked = add_plain(packed, self._masking.whole(masks))
        send_ciphertexts(self._link, self._encryptor.rerandomise(masked))
        own = np.array([-mask % 2**64 for mask in masks], np.uint64).reshape(len(level), count, 2)
        rows = np.stack([_rows_left(grown, family.measured) for family in level]).astype(np.uint64)
        own[:, :, 0] -= rows << np.uint64(PRIVATE_GRADIENT_BITS)  # what was added to every first derivative
        self._shares = by_node(level, list(own), self._shares)
        wins, places = self._search.best(self._shares, None)
        chosen = [] if places is None else places.tolist()
        return dict(zip(np.flatnonzero(wins).tolist(), chosen, strict=True))


def _rows_left(grown: Grown, rows: I64) -> I64:
    """How many of the rows each candidate sends left."""
    own = grown.own
    width = own.layout.width
    cells = np.concatenate([np.bincount(own.binned[column, rows], minlength=width) for column in own.chosen])
    return own.layout.left_sums(cells, np.add, lambda a, index: a[index], np.concatenate)
