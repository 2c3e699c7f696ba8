import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from mpc.errors import InputError
from mpc.federated.evaluation import MAX_POINTS, Evaluation, auc, average_precision, evaluate, ks

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=2, max_size=40).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


def sample(rows=3000, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 3, rows)
    return (rng.random(rows) < p).astype(float), p


@settings(deadline=None)
@given(ROWS)
def test_ranking_measures_are_those_of_scikit_learn_also_with_ties(rows):
    labels, scores = np.array([r[0] for r in rows], float), np.array([r[1] / 8 for r in rows])
    assert auc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores))
    assert average_precision(labels, scores) == pytest.approx(metrics.average_precision_score(labels, scores))
    fall_out, recall, _ = metrics.roc_curve(labels, scores)
    assert ks(labels, scores)[0] == pytest.approx((recall - fall_out).max(), abs=1e-12)


def test_binary_measures_are_those_of_scikit_learn():
    labels, p = sample()
    found = evaluate(labels, p, "binary", threshold=0.3)
    called = p >= 0.3
    expected = {
        "auc": metrics.roc_auc_score(labels, p),
        "log_loss": metrics.log_loss(labels, p),
        "brier": metrics.brier_score_loss(labels, p),
        "accuracy": metrics.accuracy_score(labels, called),
        "precision": metrics.precision_score(labels, called),
        "recall": metrics.recall_score(labels, called),
        "f1": metrics.f1_score(labels, called),
        "positives": labels.sum(),
    }
    assert {name: found.measures[name] for name in expected} == pytest.approx(expected)
    confusion = found.tables["confusion"]
    assert [confusion["called_0"], confusion["called_1"]] == metrics.confusion_matrix(labels, called).T.tolist()
    assert (
        np.abs(np.subtract(found.tables["calibration"]["predicted"], found.tables["calibration"]["observed"])).max()
        < 0.1
    )
    assert found.tables["gain"]["gain"][-1] == 1
    assert found.tables["gain"]["share"] == pytest.approx(np.arange(1, 11) / 10)
    assert np.mean(found.tables["gain"]["lift"]) == pytest.approx(1)


def test_curves_are_thinned_and_keep_their_ends():
    labels, p = sample()
    roc = evaluate(labels, p, "binary").tables["roc"]
    assert len(roc["recall"]) == MAX_POINTS + 1
    assert (roc["recall"][0], roc["fall_out"][0], roc["recall"][-1], roc["fall_out"][-1]) == (0, 0, 1, 1)


def test_measures_of_numbers_counts_and_classes_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    means = rng.gamma(2, 1, 500)
    counts = rng.poisson(means).astype(float)
    found = evaluate(counts, means, "count").measures
    assert found["deviance"] == pytest.approx(metrics.mean_poisson_deviance(counts, means))
    assert found["rmse"] ** 2 == pytest.approx(metrics.mean_squared_error(counts, means))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(counts, means))
    assert found["r2"] == pytest.approx(metrics.r2_score(counts, means))
    p = rng.dirichlet([1, 1, 1], 300)
    labels = np.array([rng.choice(3, p=row) for row in p], float)
    several = evaluate(labels, p, "multiclass")
    assert several.measures["auc"] == pytest.approx(metrics.roc_auc_score(labels, p, multi_class="ovr"))
    assert several.measures["log_loss"] == pytest.approx(metrics.log_loss(labels, p))
    confusion = [several.tables["confusion"][f"called_{k}"] for k in range(3)]
    assert confusion == metrics.confusion_matrix(labels, p.argmax(axis=1)).T.tolist()


def test_it_survives_arrow():
    labels, p = sample(50)
    found = evaluate(labels, p, "binary")
    assert Evaluation.from_arrow(found.to_arrow()) == found


@pytest.mark.parametrize(
    ("labels", "predictions", "task", "words"),
    [
        ([1, 1], [0.5, 0.2], "binary", "single class"),
        ([1, 2], [0.5, 0.2], "binary", "neither 0 nor 1"),
        ([1, 0], [0.5], "binary", "1 predictions for 2 labels"),
        ([1, 0], [0.5, np.nan], "binary", "not finite"),
        ([1, 0], [0.0, 1.0], "count", "not above 0"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "multiclass", "index of a class"),
        ([], [], "number", "0 predictions"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(labels, predictions, task, words):
    with pytest.raises(InputError, match=words):
        evaluate(np.array(labels, float), np.array(predictions, float), task)
