from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from regression_parties import encoded, insecure_params, train_together
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import mean_poisson_deviance

from mpc.errors import InputError
from mpc.federated.encoding import ONE
from mpc.federated.regression_plain import fit_plain, predictions
from mpc.federated.regression_training import row_order

ROWS = 96


def data(parties=2, outputs=1, seed=0, widths=(2, 3, 1)):
    """Encoded columns by party, and targets that depend on them."""
    rng = np.random.default_rng(seed)
    names = ["m", "a", "z"][:parties]  # the label holder's name sorts between the feature holders'
    columns = {name: encoded(rng.standard_normal((ROWS, width))) for name, width in zip(names, widths, strict=False)}
    z = sum(x[:, :1] / ONE for x in columns.values()) * 1.5 + 0.3
    if outputs > 1:
        chosen = np.digitize(z[:, 0], [-1, 1])
        return columns, np.eye(3)[chosen]
    return columns, (z + rng.logistic(size=(ROWS, 1)) > 0).astype(float)


def check(columns, targets, params, tolerance=1e-4):
    found = train_together(columns, targets, params)
    expected = fit_plain(columns, targets, params)
    for name, weights in expected.weights.items():
        assert np.abs(found[name].weights - weights).max() <= tolerance
    assert max(np.abs(weights).max() for weights in expected.weights.values()) > 0.02
    return found, expected


@pytest.mark.parametrize(
    "fields",
    [
        {"sigmoid": "linear"},
        {"sigmoid": "linear", "l2": 0.1, "momentum": 0.0, "intercept": False},
        {"family": "linear", "learning_rate": 0.1},
        {},
        {"l1": 0.05, "l2": 0.01, "seed": 7},
        {"class_weight": "balanced"},
        {"class_weight": (1.0, 3.5), "sigmoid": "linear"},
    ],
)
def test_the_weights_are_those_of_the_same_training_in_plain(fields):
    columns, targets = data()
    check(columns, targets, insecure_params(epochs=2, batch_rows=40, **fields))


def test_poisson_regression_matches_plain_training():
    columns, targets = data()
    counts = np.rint(np.exp(targets * 1.5))
    check(columns, counts, insecure_params(family="poisson", epochs=2, batch_rows=48, learning_rate=0.1))


def test_more_feature_holders_bring_products_only():
    columns, targets = data(parties=3)
    check(columns, targets, insecure_params(epochs=2, batch_rows=48))


def test_each_class_is_trained_against_the_rest():
    columns, targets = data(outputs=3)
    found, _ = check(columns, targets, insecure_params(classes=3, epochs=2, batch_rows=48, sigmoid="linear"))
    assert found["m"].weights.shape == (3, 3)


@pytest.mark.parametrize("fields", [{}, {"family": "linear"}])
def test_early_stopping_keeps_the_best_epoch_and_tells_the_label_holder_the_errors(fields):
    columns, targets = data(seed=5)  # no two epochs' errors are within 0.003 of each other where it matters
    params = insecure_params(epochs=12, patience=2, validation=0.25, batch_rows=24, learning_rate=0.7, **fields)
    found, expected = check(columns, targets, params)
    assert found["m"].validation == pytest.approx(expected.validation, abs=2e-3)
    assert found["a"].validation == ()
    assert found["m"].epochs == found["a"].epochs == len(expected.validation) < 12


def test_large_scores_are_clipped_exactly():
    columns, _ = data()
    targets = (columns["a"][:, :1] > 0).astype(float)
    params = insecure_params(epochs=6, batch_rows=96, learning_rate=1.0, momentum=0.9)
    found, _ = check(columns, targets, params, tolerance=5e-4)
    z = columns["m"] @ found["m"].weights[:-1] + columns["a"] @ found["a"].weights
    assert (np.abs(z / ONE) > 3).any()


def test_weights_that_diverge_are_an_error_and_no_model():
    rng = np.random.default_rng(5)
    columns = {name: rng.choice([-32767, 32767], (ROWS, 2)) for name in ("m", "a")}
    params = insecure_params(family="linear", epochs=5, batch_rows=ROWS, learning_rate=1.0)
    with pytest.raises(InputError, match="diverged"):
        train_together(columns, rng.standard_normal((ROWS, 1)), params)


def test_poisson_training_comes_within_one_percent_of_the_best_deviance():
    """In plain, for all of dvisits: that the shares lead to the same weights is tested above."""
    data = Path(__file__).parents[2] / "data"
    bank, telecom = (pd.read_csv(data / f"dvisits_hetero_{side}.csv") for side in ("guest", "host"))
    joined = bank.merge(telecom, on="id")
    counts = joined.pop("doctorco").to_numpy(float)
    x = joined.drop(columns="id").to_numpy(float)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    params = insecure_params(family="poisson", epochs=10, batch_rows=519, learning_rate=0.2)
    weights = fit_plain({"m": encoded(x[:, :3]), "a": encoded(x[:, 3:])}, counts[:, None], params).weights
    z = x[:, :3] @ weights["m"][:-1] + weights["m"][-1] + x[:, 3:] @ weights["a"]
    best = PoissonRegressor(alpha=0, max_iter=1000).fit(x, counts).predict(x)
    deviance = mean_poisson_deviance(counts, predictions(params, z)[:, 0])
    assert deviance == pytest.approx(mean_poisson_deviance(counts, best), rel=0.01)


@pytest.mark.parametrize(("batch_rows", "epochs", "kept"), [(40, 3, 5), (ROWS, 4, 1), (ROWS // 2, 1, 1)])
def test_the_model_is_the_mean_of_the_weights_after_the_second_half_of_the_steps(batch_rows, epochs, kept):
    """Written out for one party's columns, without momentum or intercept; of steps over all rows it is the last."""
    columns, targets = data(widths=(3, 2))
    x = np.concatenate(list(columns.values()), axis=1) / ONE
    w, after = np.zeros((5, 1)), []
    for epoch in range(epochs):
        order = row_order(0, epoch, ROWS)
        for start in range(0, ROWS, batch_rows):
            rows = order[start : start + batch_rows]
            w = w - 0.3 * x[rows].T @ (0.5 + x[rows] @ w / 4 - targets[rows]) / len(rows)
            after.append(w)
    params = insecure_params(
        sigmoid="linear", epochs=epochs, batch_rows=batch_rows, momentum=0.0, intercept=False, learning_rate=0.3
    )
    expected = np.mean(after[-kept:], axis=0)
    assert np.abs(np.concatenate(list(fit_plain(columns, targets, params).weights.values())) - expected).max() < 1e-12
    found = train_together(columns, targets, params)
    assert np.abs(np.concatenate([found[name].weights for name in columns]) - expected).max() < 1e-4
