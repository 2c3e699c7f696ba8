"""xgboost in an environment of its own: reads a task as JSON from its input, prints how well it fits and its time."""

import json
import sys
import time

import numpy as np
import xgboost as xgb
from sklearn.metrics import r2_score, roc_auc_score


def main() -> None:
    task = json.load(sys.stdin)
    x, y = np.load(task["x"]), np.load(task["y"])
    settings = {
        "n_estimators": task["trees"],
        "max_depth": task["depth"],
        "learning_rate": task["learning_rate"],
        "reg_lambda": task["reg_lambda"],
        "min_child_weight": task["min_child_weight"],
        "max_bin": task["bins"],
        "tree_method": "hist",
        "n_jobs": 1,
    }
    start = time.process_time()
    if task["objective"] == "regression":
        found = xgb.XGBRegressor(base_score=float(y.mean()), **settings).fit(x, y).predict(x)
        score = r2_score(y, found)
    elif task["objective"] == "binary":
        model = xgb.XGBClassifier(base_score=float(y.mean()), **settings).fit(x, y)
        score = roc_auc_score(y, model.predict_proba(x)[:, 1])
    else:
        model = xgb.XGBClassifier(base_score=0.5, **settings).fit(x, y)
        score = roc_auc_score(y, model.predict_proba(x), multi_class="ovr")
    print(json.dumps({"score": float(score), "cpu_seconds": time.process_time() - start}))


if __name__ == "__main__":
    main()
