"""What a party brings to a vertical regression: its common rows as integers, its label as targets."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mpc.errors import InputError
from mpc.federated.encoding import (
    F64,
    I64,
    ONE,
    Label,
    Scaling,
    encode,
    encode_label,
    fit_scaling,
    read_features,
    read_label,
)
from mpc.federated.regression_params import MAX_CLASS_WEIGHT, Params
from mpc.federated.regression_residuals import MAX_SQUARES
from mpc.federated.regression_training import Data
from mpc.spec import Party


@dataclass(frozen=True)
class Loaded:
    """The party's data; how its columns were scaled and how many numbers were clipped; the label at its holder."""

    data: Data
    scaling: Scaling
    clipped: int
    label: Label | None


def load(party: Party[Params], tables: Mapping[str, pa.Table], rows: I64) -> Loaded:
    """The common rows; raises `InputError`, naming the column, for what cannot be trained on."""
    params, label = party.params, None
    features = tables.get("feature")
    numbers = read_features(features, rows)
    scaling = fit_scaling(numbers, () if features is None else tuple(features.column_names))
    encoded = encode(numbers, scaling)
    x, weights = encoded.numbers, None
    if "label" in tables:
        values = read_label(tables["label"], rows, params.family, params.classes)
        label = encode_label(values, tables["label"].column_names[0], params.family, params.classes)
        weights = row_weights(params, label.targets)
        if weights is not None and weights.max() > MAX_CLASS_WEIGHT:
            raise InputError(
                f"the label {tables['label'].column_names[0]!r} has a class of so few rows that its balanced weight is "
                f"above {MAX_CLASS_WEIGHT}",
                hint="give class_weight as numbers",
            )
        if params.intercept:
            x = np.concatenate([x, np.full((len(x), 1), ONE, np.int64)], axis=1)
    held_out = int(params.validation * len(x)) if params.patience else 0
    if params.patience and not held_out:
        raise InputError("the share of validation rows leaves none", hint="give a larger share")
    if held_out * params.outputs > MAX_SQUARES:
        raise InputError(f"more than {MAX_SQUARES} validation errors to sum up", hint="give a smaller share")
    targets = None if label is None else label.targets
    return Loaded(Data(x, targets, weights, held_out), scaling, encoded.clipped, label)


def row_weights(params: Params, targets: F64) -> F64 | None:
    """The weight of each row for each output, by the class of its label."""
    if not params.class_weight:
        return None
    members = np.concatenate([1 - targets, targets], axis=1) if params.outputs == 1 else targets
    if params.class_weight == "balanced":
        by_class = len(members) / (members.shape[1] * members.sum(axis=0))
    else:
        by_class = np.array(params.class_weight)
    return np.repeat((members @ by_class)[:, None], params.outputs, axis=1)
