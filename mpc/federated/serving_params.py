"""The parameters of prediction on call. Importing this module loads no numpy."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field, StrictInt, StringConstraints, with_config

MAX_CALL_ROWS = 10_000


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True)
class ServeParams:
    """The parameters of serve.boosted_trees and serve.regression.

    `model` is the id of the job that trained the model; `normalisation` as in training. With fewer than `min_rows`
    common rows nothing is served. The job ends when `calls` have been answered, or `rows` rows in all.
    """

    model: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    calls: Annotated[StrictInt, Field(ge=1, le=10**9)]
    rows: Annotated[StrictInt, Field(ge=1, le=10**9)]
    normalisation: tuple[str, ...] = ()
    min_rows: Annotated[StrictInt, Field(ge=1, le=2**31)] = 1
