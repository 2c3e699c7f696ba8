"""What the parties of feature.woe and feature.correlation agree on beside the job itself."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StrictInt, with_config

from mpc.federated.trees_params import MAX_BINS, Rows

_STRICT = ConfigDict(extra="forbid", strict=False, allow_inf_nan=False)


@with_config(_STRICT)
@dataclass(frozen=True)
class WoeParams:
    """Parameters of feature.woe.

    `normalisation` names one profile a key column (none: exact/1); with fewer than `min_rows` common rows nothing is
    computed. Columns have at most `bins` bins, of at least `min_bin_rows` rows each. `key_bits` is the length of the
    Paillier modulus; `encryption` fast rests on one more assumption, see `mpc.primitives.paillier`.
    """

    normalisation: tuple[str, ...] = ()
    min_rows: Rows = 50
    bins: Annotated[StrictInt, Field(ge=2, le=MAX_BINS)] = 10
    min_bin_rows: Rows = 20
    key_bits: StrictInt = 3072
    encryption: Literal["strict", "fast"] = "strict"


@with_config(_STRICT)
@dataclass(frozen=True)
class CorrelationParams:
    """Parameters of feature.correlation: as in `WoeParams`."""

    normalisation: tuple[str, ...] = ()
    min_rows: Rows = 50
    key_bits: StrictInt = 3072
    encryption: Literal["strict", "fast"] = "strict"
