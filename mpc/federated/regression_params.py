"""The parameters of a vertical regression, as all parties agree on them, and what follows from them."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StrictInt, with_config

from mpc.errors import InputError
from mpc.federated.alignment import FEATURE_HOLDER, LABEL_HOLDER
from mpc.job import Job
from mpc.primitives.paillier.keys import PAILLIER_BITS, check_bits
from mpc.psi.params import by_role

MAX_ROWS = 2**24
MAX_CLASSES = 100
MAX_CLASS_WEIGHT = 1000

POISSON_POWER = 6  # e^z is (1 + z/2^6)^(2^6)
POISSON_RANGE = (-12, 6)

Rate = Annotated[float, Field(gt=0, le=1)]


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True)
class Params:
    """The parameters of train.regression.

    `family` is logistic (labels 0 and 1, or `classes` of any numbers, one against the rest), linear, or poisson (counts
    up to 1,000). Weights start at 0 and follow mini-batches of `batch_rows` rows, in an order that `seed` gives, for
    `epochs` passes: v = momentum·v + learning_rate·gradient, w = w - v. The gradient is of the mean loss and
    l2·|w|²/2; `l1` shrinks each weight towards 0 by learning_rate·l1 a step. The intercept is not regularised. The
    model is the mean of the weights after each step of the second half of all; of batches of all rows, the last.

    `sigmoid` stands for 1 / (1 + e^-z) in training: piecewise is clip(1/2 + z/6, 0, 1), by secure comparison; linear is
    1/2 + z/4, far cheaper and less exact. Poisson takes (1 + z/64)^64 for e^z, with z clipped to [-12, 6].
    `class_weight` weighs rows by the class of their label: a weight a class, "balanced" for the inverse of how
    frequent each is, empty for equal weights. With `patience` > 0 a share of `validation` of the rows is set aside, and
    training stops once their mean squared error has not fallen for that many epochs. An epoch's weights are then the
    mean after each of its steps, and the model those of the best epoch.

    `normalisation` and `min_rows` are those of the alignment: fewer common rows end the job.
    """

    family: Literal["logistic", "linear", "poisson"] = "logistic"
    classes: Annotated[StrictInt, Field(ge=2, le=MAX_CLASSES)] = 2
    epochs: Annotated[StrictInt, Field(ge=1, le=10_000)] = 10
    batch_rows: Annotated[StrictInt, Field(ge=1, le=2**20)] = 4096
    learning_rate: Rate = 0.3
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5
    l1: Annotated[float, Field(ge=0, le=1)] = 0.0
    l2: Annotated[float, Field(ge=0, le=1)] = 0.0
    intercept: bool = True
    sigmoid: Literal["piecewise", "linear"] = "piecewise"
    class_weight: Literal["balanced"] | Annotated[tuple[float, ...], Field(max_length=MAX_CLASSES)] = ()
    patience: Annotated[StrictInt, Field(ge=0, le=1000)] = 0
    validation: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    seed: Annotated[StrictInt, Field(ge=0, lt=2**63)] = 0
    key_bits: StrictInt = PAILLIER_BITS
    encryption: Literal["strict", "fast"] = "strict"
    normalisation: tuple[str, ...] = ()
    min_rows: Annotated[StrictInt, Field(ge=1, le=MAX_ROWS)] = 50

    def __post_init__(self) -> None:
        check_bits(self.key_bits)
        if self.family != "logistic" and (self.classes != 2 or self.class_weight):
            raise InputError("classes and class_weight are for the logistic family")
        if isinstance(self.class_weight, tuple) and self.class_weight:
            if len(self.class_weight) != self.classes:
                raise InputError(f"class_weight gives {len(self.class_weight)} weights for {self.classes} classes")
            if not all(0 < weight <= MAX_CLASS_WEIGHT for weight in self.class_weight):
                raise InputError(f"a class's weight is above 0 and at most {MAX_CLASS_WEIGHT}")
        if self.patience and not self.validation:
            raise InputError("early stopping takes a share of validation rows above 0")

    @property
    def outputs(self) -> int:
        """How many weight vectors are trained: one, or one a class."""
        return self.classes if self.classes > 2 else 1

    @property
    def clips(self) -> bool:
        """Whether scores are compared as they are: then shares of them modulo 2^64 do."""
        return self.family == "logistic" and self.sigmoid == "piecewise"

    @property
    def compares(self) -> bool:
        """Whether the training uses secure comparisons and products beside Paillier's."""
        return self.family == "poisson" or self.clips or bool(self.class_weight or self.l1 or self.patience)


@dataclass(frozen=True)
class Parties:
    """Who is who: the label holder and its partner hold the shares; the others bring products with their columns."""

    label_holder: str
    partner: str
    others: tuple[str, ...]

    @classmethod
    def of(cls, job: Job) -> "Parties":
        holders = sorted(name for name, member in job.members.items() if member.role == FEATURE_HOLDER)
        return cls(by_role(job, LABEL_HOLDER), holders[0], tuple(holders[1:]))

    @property
    def pair(self) -> tuple[str, str]:
        """The two that hold the shares."""
        return self.label_holder, self.partner

    @property
    def all(self) -> tuple[str, ...]:
        """Every party, in the order that all use."""
        return (*self.pair, *self.others)
