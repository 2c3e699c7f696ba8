"""A party's own columns while trees grow: bins, candidate splits, decisions made. Knows no labels and no peers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc.federated.binning import Bins, Layout, Split, goes_left, layout_of, make_bins
from mpc.federated.columns import Column
from mpc.federated.trees_boost import Fitted, boost, columns_of_tree, training_rows
from mpc.federated.trees_forest import Rules, rules_of
from mpc.federated.trees_grow import Family, Gradients, Node, OpenJudge
from mpc.federated.trees_objective import Target
from mpc.federated.trees_params import TreesParams

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
U16 = npt.NDArray[np.uint16]
BOOL = npt.NDArray[np.bool_]


@dataclass
class OwnColumns:
    """The binned columns of one party, the layout for the tree that grows, and the splits made so far."""

    party: str
    params: TreesParams
    bins: Sequence[Bins]
    binned: U16 = field(repr=False)  # (columns, rows)
    chosen: I64 = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    layout: Layout = field(init=False, repr=False)
    splits: list[tuple[int, Split]] = field(default_factory=list, repr=False)
    _tree: int = -1

    @classmethod
    def make(cls, party: str, columns: Sequence[Column], params: TreesParams) -> "OwnColumns":
        """From aligned columns; raises `InputError` for one that nothing can be split by."""
        fitted = training_rows(params, len(columns[0]))
        bins = [make_bins(column, fitted, params.bins, params.min_bin_rows) for column in columns]
        binned = np.stack([each.encode(column) for each, column in zip(bins, columns, strict=True)])
        return cls(party, params, bins, binned)

    def start(self, tree: int) -> None:
        """A tree begins: draw its columns."""
        self._tree = tree
        self.chosen = columns_of_tree(self.params, tree, self.party, len(self.bins))
        self.layout = layout_of([self.bins[column] for column in self.chosen])

    def decide(self, rows: I64, candidate: int) -> BOOL:
        """Make a split of the layout: which of `rows` go left."""
        inner = self.layout.splits[candidate]
        split = Split(int(self.chosen[inner.feature]), inner.bin, inner.missing_left)
        self.splits.append((self._tree, split))
        return goes_left(split, self.bins[split.feature], self.binned[split.feature, rows])

    def rules(self) -> Rules:
        """The decisions made, in their order."""
        return rules_of(self.splits, self.bins)


class LocalSide:
    """A `Side` at home: sums in the clear."""

    def __init__(self, columns: OwnColumns) -> None:
        self.columns = columns
        self._gradients: Gradients

    def start(self, gradients: Gradients) -> None:
        self._gradients = gradients
        self.columns.start(gradients.tree)

    def announce(self, level: Sequence[Family]) -> None:
        """Nobody need be told."""

    def measure(self, level: Sequence[Family]) -> list[I64]:
        return [self._sums(family.measured) for family in level]

    def split(self, nodes: Sequence[tuple[int, Node, I64]], _sums: Sequence[I64]) -> list[BOOL]:
        return [self.columns.decide(node.rows, int(candidates.min())) for _, node, candidates in nodes]

    def _sums(self, rows: I64) -> I64:
        own, values = self.columns, self._gradients.values.take(rows, axis=0).T.astype(np.float64)
        width = own.layout.width
        cells = np.empty((len(own.chosen) * width, 2), np.int64)
        for place, column in enumerate(own.chosen):
            binned = own.binned[column].take(rows)
            for index in (0, 1):  # float64 adds integers below 2^53 exactly
                found = np.bincount(binned, weights=values[index], minlength=width)
                cells[place * width : (place + 1) * width, index] = found
        return own.layout.left_sums(cells, np.add, lambda a, index: a[index], np.concatenate)


@dataclass(frozen=True)
class PlainModel:
    """A model trained in the clear: the trees, and each party's rules."""

    fitted: Fitted
    rules: Mapping[str, Rules]


def fit_plain(labels: F64, target: Target, parties: Mapping[str, Sequence[Column]], params: TreesParams) -> PlainModel:
    """What train.boosted_trees finds, in the clear: the same trees from all parties' aligned columns in one place.

    The label holder comes first in `parties`; it may have no columns.
    """
    own = {name: OwnColumns.make(name, columns, params) for name, columns in parties.items() if columns}
    sides = [LocalSide(columns) for columns in own.values()]
    judge, local = OpenJudge(sides, params), OpenJudge(sides[:1], params)
    fitted = boost(labels, target, params, judge, local, len(sides), lambda _done, _total: None)
    kept = len(fitted.forest.trees)
    return PlainModel(fitted, {name: columns.rules().first_of_trees(kept) for name, columns in own.items()})


def importance(rules: Rules, gains: Sequence[float] | None, names: Sequence[str]) -> list[dict[str, Any]]:
    """By own column: how many splits use it and, if known, what they gain together."""
    rows = []
    for index, name in enumerate(names):
        mine = np.flatnonzero(rules.feature == index)
        row: dict[str, Any] = {"feature": name, "splits": len(mine)}
        if gains is not None:
            row["gain"] = float(sum(gains[i] for i in mine.tolist()))
        rows.append(row)
    return rows
