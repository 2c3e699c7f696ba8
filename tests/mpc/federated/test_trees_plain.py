"""The algorithm of boosted trees in the clear, against one written from its definition and against scikit-learn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import roc_auc_score
from tree_parties import Case, case, mixed, plain, real, with_params

from mpc.federated.binning import goes_left, make_bins, splits_of
from mpc.federated.columns import Column, read_columns
from mpc.federated.trees_columns import PlainModel
from mpc.federated.trees_objective import area_under_curve
from mpc.federated.trees_params import TreesParams


def columns_of(subject: Case) -> list[Column]:
    names = ["bank", *sorted(set(subject.tables) - {"bank"})]
    return [column for name in names for column in read_columns(subject.slots(name))]


def labels_of(subject: Case) -> Any:
    (name,) = subject.job.members["bank"].columns["label"]
    return subject.tables["bank"][name].to_numpy().astype(np.float64)


def textbook_tree(
    columns: Sequence[Column], g: Sequence[int], h: Sequence[int], scale: tuple[float, float], params: TreesParams
) -> Any:
    """Recursion over candidates with sums of Python integers: nested (column, candidate, left, right) or a weight."""
    every = np.ones(len(columns[0]), np.bool_)
    bins = [make_bins(column, every, params.bins, params.min_bin_rows) for column in columns]
    codes = [each.encode(column) for each, column in zip(bins, columns, strict=True)]

    def totals(rows: list[int]) -> tuple[int, int]:
        return sum(g[i] for i in rows), sum(h[i] for i in rows)

    def score(sums: tuple[int, int]) -> float:
        return (sums[0] / scale[0]) ** 2 / (sums[1] / scale[1] + params.reg_lambda)

    def grow(rows: list[int], depth: int) -> Any:
        whole = totals(rows)
        leaf = -params.learning_rate * (whole[0] / scale[0]) / (whole[1] / scale[1] + params.reg_lambda)
        light = whole[1] / scale[1] < 2 * params.min_child_weight
        if depth == params.depth or len(rows) < max(params.min_node_rows, 2) or light:
            return leaf
        best: Any = None
        for feature, each in enumerate(bins):
            for place, split in enumerate(splits_of(each)):
                sent = goes_left(split, each, codes[feature])
                left = [i for i in rows if sent[i]]
                sides = totals(left), tuple(a - b for a, b in zip(whole, totals(left), strict=True))
                if any(s[1] <= 0 or s[1] / scale[1] < params.min_child_weight for s in sides):
                    continue
                gain = score(sides[0]) + score(sides[1]) - score(whole)
                if gain > max(params.gamma, 1e-6) and (best is None or gain > best[0]):
                    best = gain, feature, place, left
        if best is None:
            return leaf
        _, feature, place, left = best
        inside = set(left)
        right = [i for i in rows if i not in inside]
        return feature, place, grow(left, depth + 1), grow(right, depth + 1)

    return grow(list(range(len(g))), 0)


def nested(model: PlainModel, subject: Case) -> Any:
    """The first tree of a model in the same form; candidates are found again by what they send left."""
    params, columns = plain_params(subject), columns_of(subject)
    tree = model.fitted.forest.trees[0]
    every = np.ones(len(columns[0]), np.bool_)
    own = {name: read_columns(subject.slots(name)) for name in model.rules}
    names = list(model.rules)

    def describe(node: int) -> Any:
        owner = int(tree.owner[node])
        if owner < 0:
            return float(tree.weight[node])
        rules = model.rules[names[owner]]
        rule = int(tree.rule[node])
        local = int(rules.feature[rule])
        feature = sum(len(own[name]) for name in names[:owner]) + local
        bins = make_bins(columns[feature], every, params.bins, params.min_bin_rows)
        codes = bins.encode(columns[feature])
        sent = rules.decide(own[names[owner]], slice(rule, rule + 1))[0].tolist()
        place = [goes_left(split, bins, codes).tolist() for split in splits_of(bins)].index(sent)
        return feature, place, describe(int(tree.left[node])), describe(int(tree.right[node]))

    return describe(0)


def plain_params(subject: Case) -> TreesParams:
    return TreesParams(**{name: value for name, value in subject.job.params.items() if name != "normalisation"})


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"bins": 4, "min_bin_rows": 20, "min_node_rows": 30, "reg_lambda": 0.0},
        {"gamma": 2.0, "min_child_weight": 6.0, "depth": 4},
    ],
)
def test_a_tree_is_that_of_the_definition(seed: int, params: dict[str, Any]) -> None:
    subject = with_params(mixed(120, seed), trees=1, **params)
    labels, found = labels_of(subject), plain(subject)
    p = 1 / (1 + np.exp(-found.fitted.forest.start[0]))
    g, h = p - labels, np.full(len(labels), p * (1 - p))
    scales = [2.0 ** (20 - np.frexp(np.abs(each).max())[1]) for each in (g, h)]
    whole = [np.rint(each * scale).astype(int).tolist() for each, scale in zip((g, h), scales, strict=True)]
    expected = textbook_tree(columns_of(subject), *whole, (scales[0], scales[1]), plain_params(subject))
    assert nested(found, subject) == expected


@pytest.mark.parametrize(("name", "key"), [("breast_hetero", "id"), ("default_credit_3000", "id")])
def test_the_area_under_the_curve_is_near_that_of_scikit_learn(name: str, key: str) -> None:
    subject = case(real(name, key), trees=10, min_bin_rows=1, min_node_rows=2)
    labels, x = labels_of(subject), np.stack([column.numbers for column in columns_of(subject)], axis=1)
    peer = HistGradientBoostingClassifier(
        max_iter=10,
        max_depth=3,
        max_leaf_nodes=None,
        learning_rate=0.3,
        l2_regularization=1.0,
        max_bins=32,
        min_samples_leaf=1,
        early_stopping=False,
    ).fit(x, labels)
    theirs = roc_auc_score(labels, peer.predict_proba(x)[:, 1])
    ours = roc_auc_score(labels, plain(subject).fitted.scores[:, 0])
    assert abs(ours - theirs) < 0.004  # scikit-learn demands a sum of second derivatives of 1e-3 where we demand 1


def test_the_squared_error_is_near_that_of_scikit_learn() -> None:
    subject = case(real("motor_hetero", "idx"), "motor_speed", objective="regression", trees=20, min_node_rows=2)
    labels, x = labels_of(subject), np.stack([column.numbers for column in columns_of(subject)], axis=1)
    peer = HistGradientBoostingRegressor(
        max_iter=20,
        max_depth=3,
        max_leaf_nodes=None,
        learning_rate=0.3,
        l2_regularization=1.0,
        max_bins=32,
        min_samples_leaf=1,
        early_stopping=False,
    ).fit(x, labels)
    theirs = np.sqrt(np.mean((peer.predict(x) - labels) ** 2))
    assert plain(subject).fitted.rounds[-1].training_loss < 1.05 * theirs


def test_classes_are_told_apart_as_by_scikit_learn() -> None:
    """scikit-learn's second derivatives are half of ours, so its steps are twice as long."""
    subject = case(
        real("vehicle_scale_hetero"),
        objective="multiclass",
        classes=4,
        trees=8,
        learning_rate=0.6,
        reg_lambda=0.0,
        min_child_weight=0.002,
        min_node_rows=40,
        min_bin_rows=1,
    )
    found, labels = plain(subject).fitted, labels_of(subject)
    x = np.stack([column.numbers for column in columns_of(subject)], axis=1)
    peer = HistGradientBoostingClassifier(
        max_iter=8, max_depth=3, max_leaf_nodes=None, learning_rate=0.3, max_bins=32, early_stopping=False
    ).fit(x, labels)
    classes = np.unique(labels)
    ours = roc_auc_score(labels, softmax(found.scores), multi_class="ovr", labels=classes)
    theirs = roc_auc_score(labels, peer.predict_proba(x), multi_class="ovr", labels=classes)
    assert len(found.forest.trees) == 32
    assert abs(ours - theirs) < 0.01


def softmax(scores: Any) -> Any:
    raised = np.exp(scores)
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("labels", ["binary", "regression", "multiclass"])
def test_scores_while_training_are_those_of_the_finished_model(labels: str) -> None:
    subject = with_params(mixed(labels=labels), trees=4, validation=0.2)
    found = plain(subject)
    decided = {
        index: rules.decide(read_columns(subject.slots(name)), slice(None))
        for index, (name, rules) in enumerate(found.rules.items())
    }
    assert np.array_equal(found.fitted.forest.scores(decided, 240), found.fitted.scores)


def test_training_stops_when_validation_rows_gain_nothing_and_keeps_the_best_round() -> None:
    subject = with_params(mixed(200), trees=60, validation=0.3, patience=3, learning_rate=1.0, min_node_rows=2, depth=5)
    found = plain(subject).fitted
    losses = [after.validation_loss for after in found.rounds]
    best = int(np.argmin(losses)) + 1
    assert found.kept_rounds == best
    assert len(found.rounds) == best + 3
    assert len(found.forest.trees) == best


@pytest.mark.parametrize("params", [{"row_sample": 0.5}, {"goss_top": 0.2, "goss_rest": 0.2}, {"column_sample": 0.5}])
def test_drawn_rows_and_columns_follow_the_seed(params: dict[str, Any]) -> None:
    first, again, other = (
        plain(with_params(mixed(), trees=3, seed=seed, **params)).fitted.scores for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert roc_auc_score(labels_of(mixed()), first[:, 0]) > 0.8


def test_the_area_under_the_curve_counts_ties_half() -> None:
    rng = np.random.default_rng(1)
    labels, scores = rng.integers(0, 2, 200).astype(np.float64), rng.integers(0, 9, 200).astype(np.float64)
    assert area_under_curve(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
