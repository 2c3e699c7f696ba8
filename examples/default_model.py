"""The demonstration's joint model: which borrowers default, by what a bank and a payment institution know.

The bank knows who defaulted, and limit, age and education; the payment institution knows how people pay their bills.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pc
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from examples.customers import DATA
from mpc.job import Job, Member

BANK, PAYMENTS = "hk-bank", "payments"
LABEL = "default.payment.next.month"
BANK_FEATURES = ("LIMIT_BAL", "AGE", "EDUCATION")
PAYMENTS_FEATURES = ("PAY_0", "BILL_AMT1", "PAY_AMT1")
DATASETS = {BANK: ("borrowers", "applicants"), PAYMENTS: ("payers", "payers_now")}  # to learn from, to judge by
TREES, DEPTH, BINS, LEARNING_RATE = 8, 3, 32, 0.3
PURPOSE = "joint default model"


@dataclass(frozen=True)
class People:
    """The people of one period: all of them, and which of them each institution knows."""

    everybody: pa.Table
    bank: pa.Table
    payments: pa.Table

    @property
    def common(self) -> pa.Table:
        """Those whom both know."""
        known = set(self.bank["ID"].to_pylist()) & set(self.payments["ID"].to_pylist())
        return self.everybody.filter(pa.array([number in known for number in self.everybody["ID"].to_pylist()]))


def periods() -> tuple[People, People]:
    """Last year's borrowers, to learn from, and this year's, to judge the model by: no one is in both."""
    source = pc.read_csv(DATA)
    numbers = {name: source[name].cast(pa.float64()) for name in (*BANK_FEATURES, *PAYMENTS_FEATURES)}
    whole = pa.table({"ID": source["ID"], LABEL: source[LABEL], **numbers})
    chosen = np.random.default_rng(2005).permutation(whole.num_rows)
    return _people(whole.take(chosen[:4000])), _people(whole.take(chosen[4000:9000]))


def training() -> Job:
    """The job that trains the model; each institution ends with its own part."""
    members = {
        BANK: Member("label_holder", DATASETS[BANK][0], {"key": ("ID",), "label": (LABEL,), "feature": BANK_FEATURES}),
        PAYMENTS: Member("feature_holder", DATASETS[PAYMENTS][0], {"key": ("ID",), "feature": PAYMENTS_FEATURES}),
    }
    params = {
        "trees": TREES,
        "depth": DEPTH,
        "bins": BINS,
        "learning_rate": LEARNING_RATE,
        "key_bits": 2048,
        "encryption": "fast",
        "min_rows": 1000,
    }
    return Job("train.boosted_trees", members, (BANK, PAYMENTS), params, PURPOSE)


def plain_auc(train: pa.Table, test: pa.Table, features: Sequence[str]) -> float:
    """Area under the ROC curve of scikit-learn's boosted trees on pooled `features` of `train`, judged on `test`."""
    model = HistGradientBoostingClassifier(
        max_iter=TREES, max_depth=DEPTH, max_bins=BINS, learning_rate=LEARNING_RATE, early_stopping=False
    )
    model.fit(_matrix(train, features), train[LABEL].to_numpy())
    return auc(test[LABEL].to_numpy(), model.predict_proba(_matrix(test, features))[:, 1])


def auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Area under the ROC curve."""
    return float(roc_auc_score(labels, scores))


def _people(everybody: pa.Table) -> People:
    """Nine in ten of the people are known to each institution."""
    tenth = everybody.num_rows // 10
    return People(
        everybody,
        everybody.slice(tenth).select(["ID", LABEL, *BANK_FEATURES]),
        everybody.slice(0, everybody.num_rows - tenth).select(["ID", *PAYMENTS_FEATURES]),
    )


def _matrix(table: pa.Table, features: Sequence[str]) -> npt.NDArray[np.float64]:
    return np.column_stack([table[name].to_numpy() for name in features])
