"""Bounds of integers among parameters, declared without loading pydantic: a job that has none needs no checking."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic_core import CoreSchema


@dataclass(frozen=True)
class Between:
    """Annotates an integer: pydantic takes one from `least` to `most` for it, no text, fraction or boolean."""

    least: int
    most: int

    def __get_pydantic_core_schema__(self, _source: object, _handler: object) -> "CoreSchema":
        from pydantic_core import core_schema

        return core_schema.int_schema(strict=True, ge=self.least, le=self.most)
