"""How well boosted trees whose parts different parties keep predict: measures, for the label holder alone.

Predictions are made as in `mpc.federated.trees_predict`, and compared with the label holder's labels in its process.

Output:   the label holder learns measures and curves of how predictions and labels agree: see
          `mpc.federated.evaluation`. Nobody else learns anything of them.
Leaks:    as `mpc.federated.trees_predict`, except that no prediction leaves the label holder's process: its node keeps
          the measures alone.
Security: that of `mpc.federated.trees_predict`.
Cost:     that of `mpc.federated.trees_predict`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mpc.errors import InputError
from mpc.federated import alignment, trees_predict
from mpc.federated.alignment import FEATURE_HOLDER, LABEL_HOLDER
from mpc.federated.trees_params import EvaluateParams
from mpc.federated.trees_predict import SLOTS
from mpc.job import Job
from mpc.psi.params import by_role
from mpc.spec import Outcome, Party, Role, Slot, Spec

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.federated.evaluation import Task
    from mpc.federated.trees_objective import Target

_TASKS: "dict[str, Task]" = {"binary": "binary", "regression": "number", "multiclass": "multiclass"}


def lead(party: Party[EvaluateParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """The label holder's part."""
    from mpc.federated.columns import complete, read_numbers
    from mpc.federated.evaluation import evaluate

    (name,) = tables["label"].column_names
    labels = read_numbers(tables["label"], name)
    found = trees_predict.predict_common(party, tables)
    known = _as_trained(complete(labels, name, found.aligned.rows), name, found.target)
    values = found.values if found.target.objective == "multiclass" else found.values[:, 0]
    classes = found.target.classes if found.target.objective == "multiclass" else None
    measured = evaluate(known, values, _TASKS[found.target.objective], party.params.threshold, classes=classes)
    return Outcome(measured.to_arrow(), found.aligned.facts)


def _as_trained(labels: trees_predict.F64, name: str, target: "Target") -> trees_predict.F64:
    """The labels, for several classes as places in the list of those that the model tells apart."""
    if target.objective != "multiclass":
        return labels
    places = np.searchsorted(target.classes, labels).clip(max=len(target.classes) - 1)
    if (np.asarray(target.classes)[places] != labels).any():
        raise InputError(f"column {name!r} has a class that the model was not trained to tell")
    return np.asarray(places, np.float64)


def _check(job: Job, params: EvaluateParams) -> None:
    trees_predict.check(job, params)
    leader = by_role(job, LABEL_HOLDER)
    if job.receivers != (leader,):
        raise InputError(f"an evaluation has one receiver, the label holder {leader}")


def _reveals(job: Job, _params: EvaluateParams) -> dict[str, str]:
    leader = by_role(job, LABEL_HOLDER)
    said = alignment.reveals(job, leader)
    said[leader] += (
        "; how well the model predicts; while it runs, also the predictions for these rows, and on which side each is "
        "of each split that the others have in the model"
    )
    return said


SPEC = Spec(
    name="evaluate.boosted_trees",
    version=1,
    summary="Measure how well boosted trees that several parties trained predict, for their label holder.",
    params=EvaluateParams,
    roles={
        LABEL_HOLDER: Role(
            lead, SLOTS | {"label": Slot("number or boolean", least=1, most=1, doc="what was to be predicted")}
        ),
        FEATURE_HOLDER: Role(trees_predict.follow, SLOTS, most=alignment.MOST_PARTIES - 1),
    },
    reveals=_reveals,
    estimate=trees_predict.estimate,
    minimum_result=lambda params: params.min_rows,
    model=lambda params: params.model,
    check=_check,
)
