"""What a party's own operator asks while a job runs, and is told before the job has ended."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mpc.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Question:
    """Keys to be told about, in columns as those of the own key; `answer` or `refuse` is called once for each."""

    keys: "pa.Table" = field(repr=False)
    answer: "Callable[[pa.Table], None]" = field(repr=False)
    refuse: Callable[[InputError], None] = field(repr=False)
