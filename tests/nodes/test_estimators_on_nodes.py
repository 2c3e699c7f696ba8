import numpy as np
import pandas as pd
import pytest

from mpc.estimators import VerticalLogisticRegression
from parties.sandbox import sandbox
from parties.sandbox_runner import on_nodes

pytestmark = pytest.mark.nodes


def test_an_estimator_trains_and_predicts_between_nodes():
    rng = np.random.default_rng(0)
    n = 80
    a, b = rng.standard_normal((2, n))
    y = (a + b + rng.logistic(size=n) > 0).astype(int)
    tables = {"bank": pd.DataFrame({"id": range(n), "a": a, "y": y}), "shop": pd.DataFrame({"id": range(n), "b": b})}
    params = {"key_bits": 2048, "encryption": "fast", "sigmoid": "linear", "epochs": 2, "batch_rows": n}
    with sandbox("bank", "shop") as parties:
        model = VerticalLogisticRegression(runner=on_nodes(parties), **params)
        found = model.fit(tables, label="y", holder="bank").predict_proba(tables)
        assert {party.node.name: len(party.node.datasets()) for party in parties.values()} == {"bank": 0, "shop": 0}
    here = VerticalLogisticRegression(**params).fit(tables, label="y", holder="bank").predict_proba(tables)
    assert np.abs(found - here).max() < 1e-3
