"""The best split of each node found on shares, between the label holder and the feature holders.

Each feature holder masks the encrypted sums of its candidates before the label holder decrypts them, so that both are
left with additive shares of each sum modulo 2^64. On these the two compute, in integers, what the two children of each
candidate are worth (`mpc.federated.trees_grow.Judging`): a long division gives each child's weight, a product its
worth; the largest is found in a tournament. It is compared with the best so far, which is at first the label holder's
own. The better of the two stays shared: the feature holder hands its share, masked anew, to the next one, so that the
label holder and that one compare further. The label holder is at last told whose the best split is.

Output:   the label holder learns, for each judged node, whose the best split is; each feature holder whether its own
          is, and then which one.
Leaks:    to the label holder, beyond that, how many candidates there are. It then learns which rows go left by the
          splits that are made, and so the sums of those, not of any others. To a feature holder nothing of sums, nor
          who else has a good split.
Security: semi-honest; that of `mpc.sharing.engine` between two parties, for the label holder with each other. The
          masks hide sums but for a probability of 2^-40 for each sum. The label holder together with a feature holder
          could open what the best split of the ones before is worth, and whose it is; feature holders together nothing.
Checks:   a split must be worth more than the label holder's own best, which it computes from the rows that go left.
Cost:     a level takes about 30 comparisons of 40 to 50 bits for each candidate and node, one after the other: some
          hundred messages in turn with each feature holder, whatever the number of candidates.
Source:   the idea: Wu et al., Pivot, VLDB 2020, arxiv.org/abs/2008.06534.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mpc.channel import NamedChannel
from mpc.errors import ProtocolError
from mpc.federated import trees_wire as steps
from mpc.federated.alignment import MOST_PARTIES
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
    Node,
    best_by_integers,
    by_node,
    fraction_bits,
    gain_of,
    judging,
)
from mpc.federated.trees_label_side import FeatureLink, Group
from mpc.federated.trees_params import TreesParams
from mpc.primitives.paillier import Ciphertexts, Encryptor, PublicKey, add_plain, shift_and_pack
from mpc.sharing.engine import start
from mpc.sharing.values import Bits, Secret
from mpc.spec import Party
from protos import federated_trees_pb2 as wire

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
BOOL = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Standing:
    """A party's shares, by judged node, of what the best split so far is worth, and of whose it is.

    That is 0 for the label holder's own or none, otherwise the feature holder's number, counted from 1.
    """

    worth: U64 = field(repr=False)
    owner: U64 = field(repr=False)

    @classmethod
    def first(cls, bars: Sequence[int]) -> "Standing":
        """Before any feature holder has been compared: `bars` at the label holder, zeros at the first other party."""
        return cls(np.array(bars, np.uint64), np.zeros(len(bars), np.uint64))

    @classmethod
    def from_bytes(cls, peer: str, data: bytes, nodes: int) -> "Standing":
        """What `to_bytes` wrote; raises `ProtocolError` naming the peer unless it is for so many nodes."""
        if len(data) != 16 * nodes:
            raise ProtocolError(f"{peer}: hands over {len(data)} bytes of shares where {16 * nodes} were due")
        return cls(*np.frombuffer(data, "<u8").reshape(2, nodes).astype(np.uint64))

    def to_bytes(self) -> bytes:
        return np.stack([self.worth, self.owner]).astype("<u8").tobytes()

    def __add__(self, other: "Standing") -> "Standing":
        return Standing(self.worth + other.worth, self.owner + other.owner)

    def __sub__(self, other: "Standing") -> "Standing":
        return Standing(self.worth - other.worth, self.owner - other.owner)


class Search:
    """The computation that the label holder, who is `leader`, and the feature holder of that number run for a level."""

    def __init__(self, party: Party[TreesParams], leader: str, holder: str, number: int, rows: int) -> None:
        self._leader, self._holder, self._number, self._rows = leader, holder, number, rows
        peer = holder if party.name == leader else leader
        self._engine = start(
            party.name,
            {peer: party.peers[peer]},
            session=party.session,
            label=f"train.boosted_trees/{holder}".encode(),
            rng=party.rng,
        )

    def compare(
        self, shares: Sequence[U64], by: Sequence[Judging] | None, standing: Standing
    ) -> tuple[Standing, Secret]:
        """The better, by node, of the best so far and the feature holder's best; and which of its candidates that is.

        `shares` are the party's own of the candidates' sums, an array (candidates, 2) a node; `by` what they are
        judged by, which the label holder alone knows.
        """
        engine = self._engine
        largest, place = self._largest(self._totals(shares, by))
        worth = engine.adopt(standing.worth, low=0, high=LARGEST_WORTH)
        owner = engine.adopt(standing.owner, low=0, high=MOST_PARTIES)
        better = largest > worth
        number = engine.constant(np.full(owner.shape, self._number))
        found = engine.where(better, largest, worth), engine.where(better, number, owner)
        return Standing(*map(engine.words, found)), place

    def open_owners(self, standing: Standing) -> I64 | None:
        """By node whose the best split is, at the label holder."""
        owner = self._engine.adopt(standing.owner, low=0, high=MOST_PARTIES)
        return self._engine.open_to(self._leader, owner)  # type: ignore[return-value]

    def open_places(self, places: Secret, nodes: Sequence[int]) -> I64 | None:
        """Which candidates are best in these nodes, at the feature holder."""
        return self._engine.open_to(self._holder, places[np.array(nodes)])  # type: ignore[return-value]

    def _totals(self, shares: Sequence[U64], by: Sequence[Judging] | None) -> Secret:
        """What each candidate's children are worth together, -1 where it is not allowed: (nodes, candidates)."""
        engine, most = self._engine, self._rows << PRIVATE_GRADIENT_BITS
        words = np.stack(shares)
        left = (
            engine.adopt(np.ascontiguousarray(words[:, :, 0]), low=-most, high=most),
            engine.adopt(np.ascontiguousarray(words[:, :, 1]), low=0, high=most),
        )
        bounds = ((-most, most), (0, most), (0, LARGEST_LAMBDA), (0, LARGEST_LAMBDA))
        brought = [None] * len(bounds) if by is None else _columns(by)
        g, h, least, reg_lambda = (
            self._bring(values, len(shares), low, high) for values, (low, high) in zip(brought, bounds, strict=True)
        )
        right = ((g - left[0]).within(-most, most), (h - left[1]).within(0, most))
        first, second = engine.concatenate([left[0], right[0]]), engine.concatenate([left[1], right[1]])
        worth = self._worth(first, second + engine.concatenate([reg_lambda, reg_lambda]))
        enough = second >= engine.concatenate([least, least])
        count = len(shares)
        total = worth[:count] + worth[count:]
        return engine.where(enough[:count] & enough[count:], total, engine.constant(np.full(total.shape, -1)))

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


def _columns(by: Sequence[Judging]) -> list[list[int]]:
    """The nodes' G, H, `least` and λ."""
    rows = [(int(each.sums[0]), int(each.sums[1]), each.least, each.reg_lambda) for each in by]
    return [list(column) for column in zip(*rows, strict=True)]


@dataclass
class _Holder:
    """A feature holder as the label holder sees it."""

    link: FeatureLink
    search: Search
    shares: list[U64] = field(default_factory=list, repr=False)


class PrivateJudge:
    """The label holder's `Judge`: the feature holders' candidates on shares, its own in the clear."""

    def __init__(self, party: Party[TreesParams], group: Group, local: LocalSide | None, rows: int) -> None:
        self._params, self._local = party.params, local
        self._locals = 0 if local is None else 1
        self._masking = steps.Masking(group.public, rows)
        self._holders = [
            _Holder(FeatureLink(group, peer, self._locals + i), Search(party, party.name, peer, i + 1, rows))
            for i, peer in enumerate(group.links)
        ]
        self._gradients: Gradients
        self._own: list[I64] = []

    def start(self, gradients: Gradients) -> None:
        self._gradients, self._own = gradients, []
        for holder in self._holders:
            holder.shares = []
            holder.link.start(gradients)
        if self._local is not None:
            self._local.start(gradients)

    def judge(self, level: Sequence[Family]) -> tuple[list[Best | None], list[BOOL]]:
        for holder in self._holders:
            holder.link.announce(level)
        nodes = [node for family in level for node in family.judged]
        by = [judging(node, self._gradients, self._params) for node in nodes]
        bests = self._own_bests(level, nodes)
        bars = [each.floor for each in by]
        for i, best in enumerate(bests):
            if best is not None:
                bars[i] = int(by[i].scores(self._own[i][best.candidates[:1]])[0])
        owners = self._compare(level, by, bars)
        lefts = self._split_others(nodes, owners, bests, by, bars)
        for i, best in enumerate(bests):
            if self._local is not None and best is not None and not owners[i]:
                (lefts[i],) = self._local.split([(i, nodes[i], best.candidates)], [self._own[i]])
        return bests, lefts

    def _own_bests(self, level: Sequence[Family], nodes: Sequence[Node]) -> list[Best | None]:
        """By node the best split of own columns, None if none is good enough."""
        if self._local is None:
            return [None] * len(nodes)
        self._own = by_node(level, self._local.measure(level), self._own)
        pairs = zip(self._own, nodes, strict=True)
        return [best_by_integers([sums], node, self._gradients, self._params) for sums, node in pairs]

    def _compare(self, level: Sequence[Family], by: Sequence[Judging], bars: Sequence[int]) -> list[int]:
        """By node whose the best split is; tells each feature holder the nodes that it is to split."""
        standing, places = Standing.first(bars), []
        for holder in self._holders:
            holder.shares = by_node(level, self._receive_shares(holder, len(level)), holder.shares)
        for holder in self._holders:
            standing, place = holder.search.compare(holder.shares, by, standing)
            places.append(place)
            if holder is not self._holders[-1]:
                channel = holder.link.channel
                masks = Standing.from_bytes(channel.peer, channel.recv(wire.Standing).shares, len(bars))
                standing -= masks
        found = self._holders[-1].search.open_owners(standing)
        assert found is not None
        owners: list[int] = found.tolist()
        if not all(0 <= owner <= len(self._holders) for owner in owners):
            raise ProtocolError(f"{self._holders[-1].link.channel.peer}: opens a party that does not take part")
        for number, (holder, place) in enumerate(zip(self._holders, places, strict=True), 1):
            won = _places_of(owners, number)
            holder.link.channel.send(wire.Choices(choices=[wire.Choice(node=node) for node in won]))
            if won:
                holder.search.open_places(place, won)
        return owners

    def _split_others(
        self,
        nodes: Sequence[Node],
        owners: Sequence[int],
        bests: list[Best | None],
        by: Sequence[Judging],
        bars: Sequence[int],
    ) -> list[BOOL]:
        """By node which rows go left by a feature holder's split, which becomes the node's best; empty elsewhere."""
        lefts = [np.zeros(0, np.bool_)] * len(nodes)
        for number, holder in enumerate(self._holders, 1):
            won = _places_of(owners, number)
            answers = holder.link.receive_lefts([nodes[i] for i in won]) if won else []
            for i, (left, sums) in zip(won, answers, strict=True):
                worth = int(by[i].scores(sums[None])[0])
                if worth <= bars[i]:
                    peer = holder.link.channel.peer
                    raise ProtocolError(f"{peer}: splits a node into other rows than were found best")
                gain = gain_of(worth, nodes[i], self._gradients, self._params)
                bests[i] = Best(self._locals + number - 1, np.zeros(0, np.int64), gain)
                lefts[i] = left
        return lefts

    def _receive_shares(self, holder: _Holder, families: int) -> list[U64]:
        """The label holder's shares of the sums in each measured child."""
        each = holder.link.candidates
        words = holder.link.receive(-(-families * each // self._masking.per_ciphertext))
        fields = self._masking.fields(words, families * each)
        return [fields[at : at + each] for at in range(0, families * each, each)]

    def end(self) -> None:
        for holder in self._holders:
            holder.link.announce([])


def _places_of(owners: Sequence[int], number: int) -> list[int]:
    return [place for place, owner in enumerate(owners) if owner == number]


class PrivateChooser:
    """A feature holder's part."""

    def __init__(self, party: Party[TreesParams], link: NamedChannel, public: PublicKey, rows: int) -> None:
        self._party, self._link = party, link
        self._masking = steps.Masking(public, rows)
        self._encryptor = Encryptor(public, party.rng, party.params.encryption)
        holders = sorted(set(party.job.members) - {link.peer})
        place = holders.index(party.name)
        self._before = steps.link_to(party, holders[place - 1]) if place else None
        self._after = steps.link_to(party, holders[place + 1]) if place + 1 < len(holders) else None
        self._search = Search(party, link.peer, party.name, place + 1, rows)
        self._shares: list[U64] = []

    def start(self, _candidates: int) -> None:
        self._shares = []

    def choose(self, level: Sequence[Family], grown: Grown) -> Mapping[int, int]:
        count = len(grown.own.layout.splits)
        own = self._send_masked(level, grown).reshape(len(level), count, 2)
        rows = np.stack([_rows_left(grown, family.measured) for family in level]).astype(np.uint64)
        own[:, :, 0] -= rows << np.uint64(PRIVATE_GRADIENT_BITS)  # what was added to every first derivative
        self._shares = by_node(level, list(own), self._shares)
        standing, places = self._search.compare(self._shares, None, self._standing(len(self._shares)))
        if self._after is None:
            self._search.open_owners(standing)
        else:
            self._hand_over(self._after, standing)
        nodes = [choice.node for choice in self._link.recv(wire.Choices).choices]
        if len(set(nodes)) != len(nodes) or not all(node < len(grown.nodes) for node in nodes):
            raise ProtocolError(f"{self._link.peer}: splits a node that was not judged, or twice")
        found = self._search.open_places(places, nodes) if nodes else None
        return {} if found is None else dict(zip(nodes, found.tolist(), strict=True))

    def _send_masked(self, level: Sequence[Family], grown: Grown) -> U64:
        """Send the masked sums of all candidates; gives what takes the masks off, one after the other."""
        sums = Ciphertexts.concatenate([grown.sums(family.measured) for family in level])
        masks = self._masking.mask(len(sums), self._party.rng)
        packed = shift_and_pack(sums, 2 * steps.FIELD_BITS, self._masking.per_ciphertext)
        masked = add_plain(packed, self._masking.whole(masks))
        send_ciphertexts(self._link, self._encryptor.rerandomise(masked))
        return np.array([-mask % 2**64 for mask in masks], np.uint64)

    def _standing(self, nodes: int) -> Standing:
        """This party's shares of the best so far."""
        if self._before is None:
            return Standing.first([0] * nodes)
        return Standing.from_bytes(self._before.peer, self._before.recv(wire.Standing).shares, nodes)

    def _hand_over(self, after: NamedChannel, standing: Standing) -> None:
        """The share to the next feature holder under masks that the label holder takes off its own."""
        nodes = len(standing.worth)
        masks = Standing.from_bytes(self._party.name, self._party.rng(16 * nodes), nodes)
        after.send(wire.Standing(shares=(standing + masks).to_bytes()))
        self._link.send(wire.Standing(shares=masks.to_bytes()))


def _rows_left(grown: Grown, rows: I64) -> I64:
    """How many of the rows each candidate sends left."""
    own = grown.own
    width = own.layout.width
    cells = np.concatenate([np.bincount(own.binned[column, rows], minlength=width) for column in own.chosen])
    return own.layout.left_sums(cells, np.add, lambda a, index: a[index], np.concatenate)
