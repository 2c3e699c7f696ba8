"""Boosted trees as data: the label holder's trees, each party's own rules, and prediction from both.

The label holder knows for each node who decides there and by which of that party's rules, not how; each party knows
its own rules, not where in the trees they stand beyond the tree's number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mpc.errors import InputError
from mpc.federated.binning import EVERY_NUMBER, Bins, Split
from mpc.federated.columns import MISSING, Column
from mpc.federated.model import Model

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
BOOL = npt.NDArray[np.bool_]

LEAF = -1  # in `Forest.owner`


@dataclass(frozen=True)
class Tree:
    """Nodes, the root first and parents before children.

    `owner` is the index of the party that decides, or LEAF; `rule` counts that party's rules over all trees; `left` and
    `right` are nodes, `weight` is added to the score of rows that end there; `gain` of the split; `rows` in the node.
    """

    owner: I64 = field(repr=False)
    rule: I64 = field(repr=False)
    left: I64 = field(repr=False)
    right: I64 = field(repr=False)
    weight: F64 = field(repr=False)
    gain: F64 = field(repr=False)
    rows: I64 = field(repr=False)

    def leaves(self, decisions: Mapping[int, BOOL], rows: int) -> F64:
        """The weight for each of `rows` rows; `decisions[owner][rule]` says which rows that rule sends left."""
        result = np.empty(rows)
        reached: list[I64] = [np.arange(rows)] + [np.zeros(0, np.int64)] * (len(self.owner) - 1)
        for node, here in enumerate(reached):
            if self.owner[node] == LEAF:
                result[here] = self.weight[node]
                continue
            left = decisions[int(self.owner[node])][self.rule[node], here]
            reached[self.left[node]], reached[self.right[node]] = here[left], here[~left]
        return result


_NODE_ARRAYS = {"owner": "int64", "rule": "int64", "left": "int64", "right": "int64", "rows": "int64"}
_NODE_FLOATS = {"weight": "float64", "gain": "float64"}


@dataclass(frozen=True)
class Forest:
    """Trees in the order they were grown, output after output within a round; `start` is the first score by output."""

    start: F64 = field(repr=False)
    trees: tuple[Tree, ...] = field(repr=False)

    def scores(self, decisions: Mapping[int, BOOL], rows: int) -> F64:
        """The scores of `rows` rows, of shape (rows, outputs)."""
        scores = np.tile(self.start, (rows, 1))
        for index, tree in enumerate(self.trees):
            scores[:, index % len(self.start)] += tree.leaves(decisions, rows)
        return scores

    def rules(self, owner: int) -> int:
        """How many rules of that party the trees use."""
        return sum(int(np.count_nonzero(tree.owner == owner)) for tree in self.trees)

    def arrays(self) -> dict[str, npt.NDArray[np.int64] | F64]:
        """The forest as arrays of a `Model`."""
        joined = {
            name: np.concatenate([getattr(tree, name) for tree in self.trees])
            for name in (*_NODE_ARRAYS, *_NODE_FLOATS)
        }
        return {**joined, "nodes": np.array([len(tree.owner) for tree in self.trees], np.int64), "start": self.start}


def forest_of(model: Model, owners: int) -> Forest:
    """The forest in a model's arrays; raises `InputError` unless they are one of trees between `owners` parties."""
    nodes = model.array("nodes", "int64", (-1,))
    total = int(nodes.sum())
    names = {**_NODE_ARRAYS, **_NODE_FLOATS}
    arrays = {name: model.array(name, dtype, (total,)) for name, dtype in names.items()}
    ends = np.cumsum(nodes)
    trees = tuple(
        Tree(**{name: array[end - size : end] for name, array in arrays.items()})
        for end, size in zip(ends.tolist(), nodes.tolist(), strict=True)
    )
    seen = [0] * owners
    for tree in trees:
        _check_tree(tree, seen)
    start = model.array("start", "float64", (-1,))
    if not len(start) or len(trees) % len(start):
        raise InputError("not a model of boosted trees: a round lacks a tree")
    return Forest(start, trees)


def _check_tree(tree: Tree, seen: list[int]) -> None:
    """That every node but the root has one parent before it, and rules come in their order."""
    inner = np.flatnonzero(tree.owner != LEAF)
    children = np.concatenate([tree.left[inner], tree.right[inner]])
    parents = np.concatenate([inner, inner])
    whole = np.array_equal(np.sort(children), np.arange(1, len(tree.owner))) and bool((children > parents).all())
    if not whole or not ((tree.owner >= LEAF) & (tree.owner < len(seen))).all():
        raise InputError("not a model of boosted trees: its nodes make no tree")
    for owner in range(len(seen)):
        rules = tree.rule[tree.owner == owner]
        if not np.array_equal(np.sort(rules), seen[owner] + np.arange(len(rules))):
            raise InputError("not a model of boosted trees: its rules are not numbered one after the other")
        seen[owner] += len(rules)


@dataclass(frozen=True)
class Rules:
    """A party's own decisions, in the order they were made.

    Rule i sends a row left if its number in column feature[i] is at most edge[i], or if its category there is
    category[i]; where the value is missing, if missing_left[i]. `tree` is the number of the tree.
    """

    feature: I64 = field(repr=False)
    edge: F64 = field(repr=False)
    category: tuple[str | None, ...] = field(repr=False)  # None: numbers, or just missing values go left
    missing_left: npt.NDArray[np.uint8] = field(repr=False)
    tree: I64 = field(repr=False)

    def __len__(self) -> int:
        return len(self.feature)

    def decide(self, columns: Sequence[Column], chosen: slice) -> BOOL:
        """Which rows each of the chosen rules sends left, of shape (rules, rows)."""
        picked = range(len(self))[chosen]
        return np.array([self._decide(columns, i) for i in picked], np.bool_).reshape(len(picked), len(columns[0]))

    def _decide(self, columns: Sequence[Column], i: int) -> BOOL:
        column = columns[int(self.feature[i])]
        if column.kind == "number":
            missing, left = np.isnan(column.numbers), column.numbers <= self.edge[i]
        else:
            wanted, missing = self.category[i], column.codes == MISSING
            code = column.texts.index(wanted) if wanted in column.texts else MISSING - 1
            left = column.codes == code
        return np.asarray(np.where(missing, bool(self.missing_left[i]), left))

    def first_of_trees(self, trees: int) -> "Rules":
        """Those of the first `trees` trees."""
        kept = int(np.count_nonzero(self.tree < trees))
        return Rules(
            self.feature[:kept], self.edge[:kept], self.category[:kept], self.missing_left[:kept], self.tree[:kept]
        )


def rules_of(splits: Sequence[tuple[int, Split]], bins: Sequence[Bins]) -> Rules:
    """The rules that splits of binned columns, each with its tree's number, stand for."""
    edges: list[float] = []
    categories: list[str | None] = []
    for _tree, split in splits:
        each = bins[split.feature]
        if each.kind == "number":
            edges.append(float(each.edges[split.bin]) if split.bin < len(each.edges) else EVERY_NUMBER)
            categories.append(None)
        else:
            edges.append(0.0)
            categories.append(None if split.missing_left else each.categories[split.bin])
    return Rules(
        np.array([split.feature for _, split in splits], np.int64),
        np.array(edges, np.float64),
        tuple(categories),
        np.array([split.missing_left for _, split in splits], np.uint8),
        np.array([tree for tree, _ in splits], np.int64),
    )


def rules_from(model: Model) -> Rules:
    """The rules in a model; raises `InputError` unless they are some."""
    categories = model.content.get("categories")
    feature = model.array("feature", "int64", (-1,))
    count = len(feature)
    if not isinstance(categories, list) or len(categories) != count:
        raise InputError("not a model of boosted trees: it has no category a rule")
    if any(not (each is None or isinstance(each, str)) for each in categories):
        raise InputError("not a model of boosted trees: a category is no text")
    if count and not 0 <= feature.min() <= feature.max() < len(model.features):
        raise InputError("not a model of boosted trees: a rule is about a column that the model has not")
    edge, tree = model.array("edge", "float64", (count,)), model.array("rule_tree", "int64", (count,))
    missing_left = model.array("missing_left", "uint8", (count,))
    return Rules(feature, edge, tuple(categories), missing_left, tree)


def rules_as_model(rules: Rules) -> tuple[dict[str, list[str | None]], dict[str, npt.NDArray[np.generic]]]:
    """Rules as content and arrays of a `Model`."""
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "feature": rules.feature,
        "edge": rules.edge,
        "missing_left": rules.missing_left,
        "rule_tree": rules.tree,
    }
    return {"categories": list(rules.category)}, arrays
