"""Growth of boosted trees over the columns of several parties: one algorithm, in the clear and under encryption.

Gradients and second derivatives of each tree are integers: the real numbers times a power of two by which the largest
is at most 2^GRADIENT_BITS, rounded to the nearest, ties to even. So the sums that splits are judged by are exact, in
whatever order and by whomever they are formed, and every party's arithmetic gives the same trees.

A tree grows level by level. In each node, with G and H the sums over its rows that are counted, every candidate split
with sums G_L and H_L on its left is worth

    G_L²/(H_L + λ) + G_R²/(H_R + λ) - G²/(H + λ)

if H_L and H_R are positive and at least `min_child_weight`. The best is made if it gains more than `gamma` and 1e-6;
among equals the first party's, and of one party the first (`mpc.federated.binning.splits_of`). A node becomes a leaf,
of weight -η·G/(H + λ), also at the agreed depth, with fewer than `min_node_rows` counted rows, or with H less than
twice `min_child_weight`. Sums are formed for the child with fewer counted rows (of equals the left one); those of its
sibling are the parent's less these.

With `private_split` the integers have PRIVATE_GRADIENT_BITS bits, and candidates are compared in integers, as
`Judging` says, so that computation on shares and in the clear choose the same.

Source: Chen, Guestrin, KDD 2016, doi.org/10.1145/2939672.2939785; between parties: Cheng et al., SecureBoost, IEEE
Intelligent Systems 2021, doi.org/10.1109/MIS.2021.3082561.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from mpc.federated.trees_forest import LEAF, Tree
from mpc.federated.trees_params import TreesParams

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]
BOOL = npt.NDArray[np.bool_]
N = TypeVar("N", I64, U64)

GRADIENT_BITS = 20
PRIVATE_GRADIENT_BITS = 12  # where splits are found on shares, whose products must fit 64 bits
LEAST_GAIN = 1e-6


@dataclass(frozen=True)
class Gradients:
    """What a tree is grown on: integers by row, 0 where a row is not counted, and what to divide them by."""

    tree: int  # its number
    values: I64 = field(repr=False)  # (rows, 2): first and second derivatives
    counted: BOOL = field(repr=False)
    scales: F64  # of first and second derivatives


@dataclass(frozen=True)
class Node:
    """A node: its rows, ascending, counted or not, and the sums over those counted."""

    rows: I64 = field(repr=False)
    sums: I64
    counted: int


@dataclass(frozen=True)
class Family:
    """A node that was split and the children that are to be judged, or the root, which has no parent.

    `parent` is the node's place among the judged nodes of the level above, `left` says which of its rows go left.
    `measured` are the counted rows that sums are formed over.
    """

    children: tuple[Node | None, Node | None]
    measured: I64 = field(repr=False)
    smaller: int = 0  # which child is measured
    parent: int = -1
    left: BOOL = field(default_factory=lambda: np.zeros(0, np.bool_), repr=False)
    side: int = -1  # whose split it was

    @property
    def judged(self) -> list[Node]:
        """The children that are to be judged, left before right."""
        return [child for child in self.children if child is not None]


class Side(Protocol):
    """One party's columns: at home, or behind a link."""

    def start(self, gradients: Gradients) -> None:
        """A tree begins."""
        ...

    def announce(self, level: Sequence[Family]) -> None:
        """What is to be measured next; all sides are told before any is asked."""
        ...

    def measure(self, level: Sequence[Family]) -> list[I64]:
        """By family, for each candidate split the sums over measured rows that go left: (candidates, 2)."""
        ...

    def split(self, nodes: Sequence[tuple[int, Node, I64]], sums: Sequence[I64]) -> list[BOOL]:
        """Which rows of some nodes go left by one of the candidates that are best there.

        A node comes with its place among the judged nodes of the level and the candidates, equally good; `sums` are
        the sums of all candidates in it.
        """
        ...


@dataclass(frozen=True)
class Best:
    """The best split of a node: whose it is, which of that side's candidates are equally good, and what it gains."""

    side: int
    candidates: I64 = field(repr=False)
    gain: float


class Judge(Protocol):
    """Finds the best split of each node of a level, and who goes left by it."""

    def start(self, gradients: Gradients) -> None:
        """A tree begins."""
        ...

    def judge(self, level: Sequence[Family]) -> tuple[list[Best | None], list[BOOL]]:
        """By judged node, the best split, None if none is good enough, and which of the node's rows go left by it."""
        ...

    def end(self) -> None:
        """The tree is grown."""
        ...


def grow(gradients: Gradients, judge: Judge, params: TreesParams, used: list[int]) -> tuple[Tree, F64]:
    """One tree, and the weight of the leaf that each row ends in.

    `used[side]` counts the rules of that side in the trees before, and is brought up to date.
    """
    rows = np.arange(len(gradients.counted))
    judge.start(gradients)
    draft = _Draft(gradients, params, np.zeros(len(rows)))
    root = draft.node(rows)
    level = [Family((root, None), np.flatnonzero(gradients.counted))]
    places = [draft.add(root)]
    if not _may_split(root, gradients, params):
        level = []
    for depth in range(params.depth):
        if not level:
            break
        nodes = [node for family in level for node in family.judged]
        bests, lefts = judge.judge(level)
        level, places = draft.extend(nodes, places, bests, lefts, used, depth + 1 < params.depth)
    judge.end()
    return draft.tree(), draft.weights


class OpenJudge:
    """Judges by the sums of all sides' candidates in the clear."""

    def __init__(self, sides: Sequence[Side], params: TreesParams) -> None:
        self._sides = sides
        self._params = params
        self._gradients: Gradients
        self._above: list[list[I64]] = []

    def start(self, gradients: Gradients) -> None:
        self._gradients = gradients
        self._above = []
        for side in self._sides:
            side.start(gradients)

    def judge(self, level: Sequence[Family]) -> tuple[list[Best | None], list[BOOL]]:
        for side in self._sides:
            side.announce(level)
        by_side = [side.measure(level) for side in self._sides]
        above = [[sums[side] for sums in self._above] for side in range(len(self._sides))]
        by_side = [by_node(level, own, before) for own, before in zip(by_side, above, strict=True)]
        judged = [list(sums) for sums in zip(*by_side, strict=True)]
        nodes = [node for family in level for node in family.judged]
        bests = [
            best_split(sums, node, self._gradients, self._params) for sums, node in zip(judged, nodes, strict=True)
        ]
        self._above = judged
        return bests, self._split(bests, nodes)

    def end(self) -> None:
        for side in self._sides:
            side.announce([])

    def _split(self, bests: Sequence[Best | None], nodes: Sequence[Node]) -> list[BOOL]:
        """By node, which rows go left; empty where it is not split."""
        lefts = [np.zeros(0, np.bool_)] * len(nodes)
        for index, side in enumerate(self._sides):
            asked = [(i, nodes[i], best.candidates) for i, best in enumerate(bests) if best and best.side == index]
            answers = side.split(asked, [self._above[place][index] for place, _, _ in asked])
            for (place, _, _), left in zip(asked, answers, strict=True):
                lefts[place] = left
        return lefts


def by_node(level: Sequence[Family], measured: Sequence[N], above: Sequence[N]) -> list[N]:
    """By judged node, what was measured in it, or the parent's (`above`) less its sibling's."""
    found: list[N] = []
    for family, own in zip(level, measured, strict=True):
        for which, child in enumerate(family.children):
            if child is not None:
                found.append(own if which == family.smaller else above[family.parent] - own)
    return found


def best_split(sums: Sequence[I64], node: Node, gradients: Gradients, params: TreesParams) -> Best | None:
    """The best of all sides' candidates in a node, None if none is good enough."""
    if params.private_split:
        return best_by_integers(sums, node, gradients, params)
    best: Best | None = None
    for side, own in enumerate(sums):
        gains = gains_of(own, node, gradients, params)
        if len(gains) == 0:
            continue
        gain = float(gains.max())
        if gain > max(params.gamma, LEAST_GAIN) and (best is None or gain > best.gain):
            best = Best(side, np.flatnonzero(gains == gain), gain)
    return best


def gains_of(left: I64, node: Node, gradients: Gradients, params: TreesParams) -> F64:
    """What each candidate gains, -inf where it is not allowed."""
    right = node.sums - left
    least = params.min_child_weight * gradients.scales[1]
    allowed = (left[:, 1] > 0) & (right[:, 1] > 0) & (left[:, 1] >= least) & (right[:, 1] >= least)
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = _score(left, gradients, params) + _score(right, gradients, params)
        gains -= _score(node.sums[None], gradients, params)
    return np.where(allowed, gains, -np.inf)


def _score(sums: I64, gradients: Gradients, params: TreesParams) -> F64:
    real = sums / gradients.scales
    return np.asarray(real[:, 0] ** 2 / (real[:, 1] + params.reg_lambda))


@dataclass(frozen=True)
class Judging:
    """What a node's candidates are judged by in integers, where splits are found on shares.

    A child with sums G and H is worth |G|·w, w = min(floor(2^fraction·|G| / (H + λ)), 2^(11 + fraction) - 1). A split
    is made if its children, each with H of at least `least`, are together worth more than `floor`. `sums` are the
    node's.
    """

    sums: I64
    least: int
    reg_lambda: int
    floor: int
    fraction: int
    unit: float  # what a gain of 1 in these integers is in the loss

    def scores(self, left: I64) -> I64:
        """What each candidate's children are worth together, -1 where it is not allowed."""
        worth = np.zeros(len(left), np.int64)
        allowed = np.ones(len(left), np.bool_)
        for child in (left, self.sums - left):
            size = np.abs(child[:, 0])
            below = np.maximum(child[:, 1] + self.reg_lambda, 1)
            weight = np.minimum((size << self.fraction) // below, (1 << (WEIGHT_BITS + self.fraction)) - 1)
            worth += size * weight
            allowed &= child[:, 1] >= self.least
        return np.where(allowed, worth, -1)


WEIGHT_BITS = 11  # of a child's weight before the point
LARGEST_LAMBDA = 2**40  # beyond any sum of second derivatives
LARGEST_WORTH = 2**62 - 1


def fraction_bits(rows: int) -> int:
    """Bits behind the point of a weight, such that what children of so many rows are worth fits 62 bits."""
    return min(20, 61 - WEIGHT_BITS - (rows << PRIVATE_GRADIENT_BITS).bit_length())


def judging(node: Node, gradients: Gradients, params: TreesParams) -> Judging:
    """By what a node's candidates are judged on shares; what the label holder alone knows."""
    fraction = fraction_bits(len(gradients.counted))
    scale_g, scale_h = gradients.scales.tolist()
    reg_lambda = min(round(params.reg_lambda * scale_h), LARGEST_LAMBDA)
    least = min(max(1, math.ceil(params.min_child_weight * scale_h)), LARGEST_LAMBDA)
    unit = scale_h / (scale_g**2 * 2.0**fraction)
    g, h = (int(each) for each in node.sums)
    whole = (g * g << fraction) // max(h + reg_lambda, 1)
    wanted = min(max(params.gamma, LEAST_GAIN) / unit, float(LARGEST_WORTH))
    return Judging(node.sums, least, reg_lambda, min(whole + int(wanted), LARGEST_WORTH), fraction, unit)


def best_by_integers(sums: Sequence[I64], node: Node, gradients: Gradients, params: TreesParams) -> Best | None:
    """As `best_split`, by the integers that splits are judged by on shares."""
    by = judging(node, gradients, params)
    best, most = None, by.floor
    for side, own in enumerate(sums):
        scores = by.scores(own)
        if len(scores) and scores.max() > most:
            most = int(scores.max())
            best = Best(side, np.flatnonzero(scores == most), gain_of(most, node, gradients, params))
    return best


def gain_of(worth: int, node: Node, gradients: Gradients, params: TreesParams) -> float:
    """The gain of a split whose children are together worth so much."""
    by = judging(node, gradients, params)
    return max(0.0, worth * by.unit - float(_score(node.sums[None], gradients, params)[0]))


def _may_split(node: Node, gradients: Gradients, params: TreesParams) -> bool:
    heavy = node.sums[1] >= 2 * params.min_child_weight * gradients.scales[1]
    return bool(node.counted >= max(params.min_node_rows, 2) and heavy)


def smaller_child(left: int, right: int) -> int:
    """Which of two children with so many counted rows is measured: 0 left, 1 right."""
    return int(right < left)


class _Draft:
    """A tree under construction."""

    def __init__(self, gradients: Gradients, params: TreesParams, weights: F64) -> None:
        self._gradients = gradients
        self._params = params
        self.weights = weights  # by row
        self._owner: list[int] = []
        self._rule: list[int] = []
        self._children: list[tuple[int, int]] = []
        self._weight: list[float] = []
        self._gain: list[float] = []
        self._rows: list[int] = []

    def node(self, rows: I64) -> Node:
        counted = self._gradients.counted[rows]
        return Node(rows, self._gradients.values.take(rows, axis=0).sum(axis=0), int(np.count_nonzero(counted)))

    def add(self, node: Node) -> int:
        """Put the node into the tree, as a leaf for now; gives its number."""
        g, h = (node.sums / self._gradients.scales).tolist()
        weight = -self._params.learning_rate * g / (h + self._params.reg_lambda) if h + self._params.reg_lambda else 0.0
        self.weights[node.rows] = weight
        self._owner.append(LEAF)
        self._rule.append(0)
        self._children.append((0, 0))
        self._weight.append(weight)
        self._gain.append(0.0)
        self._rows.append(node.counted)
        return len(self._owner) - 1

    def extend(
        self,
        nodes: Sequence[Node],
        places: Sequence[int],
        bests: Sequence[Best | None],
        lefts: Sequence[BOOL],
        used: list[int],
        deeper: bool,
    ) -> tuple[list[Family], list[int]]:
        """Split the nodes of a level that have a best split; gives the next level and its nodes' numbers."""
        level: list[Family] = []
        numbers: list[int] = []
        for index, (node, place, best, left) in enumerate(zip(nodes, places, bests, lefts, strict=True)):
            if best is None:
                continue
            first = self.node(node.rows[left])
            children = (first, Node(node.rows[~left], node.sums - first.sums, node.counted - first.counted))
            added = [self.add(child) for child in children]
            self._owner[place], self._rule[place] = best.side, used[best.side]
            self._children[place], self._gain[place] = (added[0], added[1]), best.gain
            used[best.side] += 1
            kept = [deeper and _may_split(child, self._gradients, self._params) for child in children]
            if any(kept):
                smaller = smaller_child(children[0].counted, children[1].counted)
                rows = children[smaller].rows
                judged = (children[0] if kept[0] else None, children[1] if kept[1] else None)
                measured = rows[self._gradients.counted[rows]]
                level.append(Family(judged, measured, smaller, index, left, best.side))
                numbers += [number for number, keep in zip(added, kept, strict=True) if keep]
        return level, numbers

    def tree(self) -> Tree:
        left, right = np.array(self._children, np.int64).reshape(-1, 2).T
        inner = np.array(self._owner) != LEAF
        return Tree(
            np.array(self._owner, np.int64),
            np.array(self._rule, np.int64),
            left,
            right,
            np.where(inner, 0.0, np.array(self._weight)),
            np.array(self._gain),
            np.array(self._rows, np.int64),
        )
