"""What the parties of train.boosted_trees and predict.boosted_trees agree on beside the job itself."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StrictInt, StringConstraints, with_config

from mpc.errors import InputError

MODEL_KIND = "boosted_trees"
MODEL_VERSION = 1

MAX_TREES = 2000
MAX_DEPTH = 10
MAX_BINS = 256
MAX_CLASSES = 50
MAX_COLUMNS = 500

_STRICT = ConfigDict(extra="forbid", strict=False, allow_inf_nan=False)

Rows = Annotated[StrictInt, Field(ge=1, le=2**31)]
Share = Annotated[float, Field(gt=0, le=1)]
Objective = Literal["binary", "regression", "multiclass"]


@with_config(_STRICT)
@dataclass(frozen=True)
class TreesParams:
    """Parameters of train.boosted_trees.

    Rows: `normalisation` names one profile a key column (none: exact/1); with fewer than `min_rows` common rows nothing
    is trained. `seed` decides, for all to see, which rows and columns are drawn.

    Model: `objective` binary (labels 0 and 1, logistic loss), regression (squared error) or multiclass (softmax of
    `classes` different numbers, one tree a class and round); `trees` rounds of trees of at most `depth` splits on a
    path; `bins` a column, each of at least `min_bin_rows` rows; `learning_rate`, `reg_lambda`, `gamma` and
    `min_child_weight` as in XGBoost, except that a split must gain more than `gamma` when it is made; a node of fewer
    than `min_node_rows` rows is not split.

    Sampling: each tree is grown from a share `row_sample` of the rows and of each party's columns `column_sample`; or,
    with `goss_top` and `goss_rest`, from the share of rows with the largest gradients and a random share of all, taken
    of the others and weighted (GOSS, Ke et al., NeurIPS 2017).

    Stopping: a share `validation` of the rows is kept out of training; training ends when the loss on it has not
    improved for `patience` rounds (0: never), and the best round's model is kept.

    Privacy: the first `local_trees` rounds use the label holder's columns only; `shuffle` sends the feature holders'
    candidate splits in a random order, new for each tree; `share_gains` tells each feature holder the gain of its own
    splits. With `private_split` the label holder sees no sums: the best split is found on shares, see
    `mpc.federated.trees_private`. `key_bits` is the length of the Paillier modulus; `encryption` fast rests on one more
    assumption, see `mpc.primitives.paillier`.
    """

    normalisation: tuple[str, ...] = ()
    min_rows: Rows = 50
    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] = 0
    objective: Objective = "binary"
    classes: Annotated[StrictInt, Field(ge=2, le=MAX_CLASSES)] = 2
    trees: Annotated[StrictInt, Field(ge=1, le=MAX_TREES)] = 30
    depth: Annotated[StrictInt, Field(ge=1, le=MAX_DEPTH)] = 3
    bins: Annotated[StrictInt, Field(ge=2, le=MAX_BINS)] = 32
    min_bin_rows: Rows = 5
    learning_rate: Share = 0.3
    reg_lambda: Annotated[float, Field(ge=0, le=1e9)] = 1.0
    gamma: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    min_child_weight: Annotated[float, Field(ge=0, le=1e9)] = 1.0
    min_node_rows: Rows = 10
    row_sample: Share = 1.0
    column_sample: Share = 1.0
    goss_top: Annotated[float, Field(ge=0, lt=1)] = 0.0
    goss_rest: Annotated[float, Field(ge=0, lt=1)] = 0.0
    validation: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    patience: Annotated[StrictInt, Field(ge=0, le=MAX_TREES)] = 0
    local_trees: Annotated[StrictInt, Field(ge=0, le=MAX_TREES)] = 0
    shuffle: bool = True
    share_gains: bool = False
    private_split: bool = False
    key_bits: StrictInt = 3072
    encryption: Literal["strict", "fast"] = "strict"

    def __post_init__(self) -> None:
        if bool(self.goss_top) != bool(self.goss_rest) or self.goss_top + self.goss_rest > 1:
            raise InputError("goss_top and goss_rest are both 0, or shares that together are at most 1")
        if self.goss_top and self.row_sample < 1:
            raise InputError("rows are drawn by GOSS or by row_sample, not by both")
        if self.patience and not self.validation:
            raise InputError("patience counts rounds without improvement on validation rows: give validation a share")
        if self.local_trees >= self.trees:
            raise InputError("with local_trees as many as trees, no feature holder would take part")
        if self.classes != 2 and self.objective != "multiclass":
            raise InputError(f"classes are of objective multiclass, not of {self.objective}")

    @property
    def outputs(self) -> int:
        """How many trees a round has."""
        return self.classes if self.objective == "multiclass" else 1

    @property
    def goss(self) -> bool:
        """Whether rows are drawn by their gradients."""
        return self.goss_top > 0


@with_config(_STRICT)
@dataclass(frozen=True)
class PredictParams:
    """Parameters of predict.boosted_trees.

    `model` is the id of the job that trained the model; `normalisation` as in training; with fewer than `min_rows`
    common rows nothing is predicted.
    """

    model: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    normalisation: tuple[str, ...] = ()
    min_rows: Rows = 1


@with_config(_STRICT)
@dataclass(frozen=True)
class EvaluateParams:
    """Parameters of evaluate.boosted_trees: those of predict.boosted_trees, and `threshold`, which tells two classes
    apart.
    """

    model: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    normalisation: tuple[str, ...] = ()
    min_rows: Rows = 1
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
