"""From a party's Arrow columns to the arrays that training works on.

Errors name the column and, counted from 1, the row of the party's own table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mpc.errors import InputError

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

MISSING = -1  # in `Column.codes`


@dataclass(frozen=True)
class Column:
    """A feature: numbers with NaN where a value is missing, or categories.

    For categories `codes` are indices into `texts`, which are different, MISSING where there is no value.
    """

    name: str
    kind: Literal["number", "category"]
    numbers: F64 = field(default_factory=lambda: np.zeros(0), repr=False)
    codes: I64 = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    texts: tuple[str, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.numbers) if self.kind == "number" else len(self.codes)

    def take(self, rows: I64) -> "Column":
        """The column at some rows, in their order."""
        if self.kind == "number":
            return replace(self, numbers=self.numbers[rows])
        return replace(self, codes=self.codes[rows])


def read_columns(tables: Mapping[str, pa.Table]) -> list[Column]:
    """The columns of slot "feature", which hold numbers, then those of slot "category"."""
    numbers, categories = tables.get("feature"), tables.get("category")
    found = []
    if numbers is not None:
        found = [Column(name, "number", read_numbers(numbers, name)) for name in numbers.column_names]
    if categories is not None:
        found += [_read_categories(categories, name) for name in categories.column_names]
    names = [column.name for column in found]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"column {repeated[0]!r} is given both as a number and as a category")
    return found


def slots_of(table: pa.Table, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The slots that these columns go to: numbers to "feature" and, where there are others, these to "category"."""
    numbers = tuple(name for name in names if _is_number(table.schema.field(name).type))
    others = tuple(name for name in names if name not in numbers)
    return {slot: columns for slot, columns in (("feature", numbers), ("category", others)) if columns}


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def counts_as_number(kind: pa.DataType) -> bool:
    """Whether `read_numbers` takes such a column."""
    return bool(_is_number(kind) or pa.types.is_boolean(kind))


def read_numbers(table: pa.Table, name: str) -> F64:
    """A column of numbers, or of booleans as 0 and 1; NaN where a value is null or NaN; `InputError` for infinity."""
    column = table[name]
    kind = column.type
    if not counts_as_number(kind):
        if not pa.types.is_null(kind):
            raise InputError(
                f"column {name!r} is of type {kind}, not a number",
                hint="convert it, or name it under category for trees",
            )
        column = pa.chunked_array([pa.nulls(len(column), pa.float64())])
    array = column.cast(pa.float64(), safe=False).combine_chunks()
    values = np.where(pc.is_valid(array), array.fill_null(0.0).to_numpy(zero_copy_only=False), np.nan)
    bad = np.flatnonzero(np.isinf(values))
    if len(bad):
        raise InputError(f"column {name!r}, row {bad[0] + 1}: infinity is not a number to compute with")
    return np.asarray(values, np.float64)


def complete(values: F64, name: str, rows: I64) -> F64:
    """`values` of a column at `rows`, none of which may be missing."""
    found = values[rows]
    missing = np.flatnonzero(np.isnan(found))
    if len(missing):
        raise InputError(
            f"column {name!r}, row {rows[missing[0]] + 1}: a value is missing", hint="fill in or remove such rows"
        )
    return found


def _read_categories(table: pa.Table, name: str) -> Column:
    column = table[name]
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    known = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean, pa.types.is_date)
    if not any(test(kind) for test in known):
        raise InputError(
            f"column {name!r} is of type {kind}: categories are text, integers, dates or booleans",
            hint="convert it, or name it under feature",
        )
    encoded = pc.dictionary_encode(column.cast(kind).cast(pa.large_string()).combine_chunks())
    codes = pc.fill_null(encoded.indices, MISSING).to_numpy(zero_copy_only=False).astype(np.int64)
    return Column(name, "category", codes=codes, texts=tuple(encoded.dictionary.to_pylist()))


def check_schema(columns: Sequence[Column], trained: Sequence[tuple[str, str]], party: str) -> list[Column]:
    """The columns in the order of `trained`, which are names and kinds; raises `InputError` when others are given."""
    given = {column.name: column for column in columns}
    for name, kind in trained:
        if name not in given:
            raise InputError(f"{party}: the model was trained with column {name!r}, which the job does not name")
        if given[name].kind != kind:
            raise InputError(f"{party}: column {name!r} is a {given[name].kind} here and was a {kind} in training")
    extra = sorted(set(given) - {name for name, _ in trained})
    if extra:
        raise InputError(f"{party}: the model was trained without column {extra[0]!r}", hint="leave it out")
    return [given[name] for name, _ in trained]
