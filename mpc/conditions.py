"""Conditions on the columns of one party, as SQL has them: what is unknown because of a NULL does not hold.

A literal is compared in its column's own type: numbers exactly with integers and decimals and in float64 with floats,
text by code points, dates as dates.
"""

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal

from mpc.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

Operator = Literal["=", "<>", "<", "<=", ">", ">="]
_KERNELS: Mapping[str, str] = {
    "=": "equal", "<>": "not_equal", "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal",
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A literal; never shown in errors."""

    kind: Literal["number", "text", "date", "boolean"]
    text: str


@dataclass(frozen=True)
class Compare:
    column: str
    operator: Operator
    value: Value


@dataclass(frozen=True)
class IsNull:
    column: str


@dataclass(frozen=True)
class Not:
    part: "Condition"


@dataclass(frozen=True)
class And:
    parts: "tuple[Condition, ...]"


@dataclass(frozen=True)
class Or:
    parts: "tuple[Condition, ...]"


Condition = Compare | IsNull | Not | And | Or


def columns_of(condition: Condition) -> Iterator[str]:
    """The names of the columns in a condition."""
    match condition:
        case Compare(column=name) | IsNull(column=name):
            yield name
        case Not(part=part):
            yield from columns_of(part)
        case And(parts=parts) | Or(parts=parts):
            for part in parts:
                yield from columns_of(part)


def describe(condition: Condition) -> Any:
    """The condition as JSON, the same however it was written in SQL."""
    match condition:
        case Compare(column=name, operator=operator, value=value):
            return [operator, name, value.kind, value.text]
        case IsNull(column=name):
            return ["null", name]
        case Not(part=part):
            return ["not", describe(part)]
        case And(parts=parts):
            return ["and", *map(describe, parts)]
        case Or(parts=parts):
            return ["or", *map(describe, parts)]


def rows_where(condition: Condition, table: "pa.Table") -> "pa.ChunkedArray":
    """For each row of `table`, whether the condition holds; raises `InputError` naming a column of the wrong type."""
    import pyarrow.compute as pc

    return pc.fill_null(_evaluate(condition, table), False)


def _evaluate(condition: Condition, table: "pa.Table") -> Any:
    import pyarrow.compute as pc

    match condition:
        case Compare(column=name, operator=operator, value=value):
            column, literal = _alike(name, table.column(name), value)
            return pc.call_function(_KERNELS[operator], [column, literal])
        case IsNull(column=name):
            return table.column(name).is_null()
        case Not(part=part):
            return pc.invert(_evaluate(part, table))
        case And(parts=parts) | Or(parts=parts):
            join = pc.and_kleene if isinstance(condition, And) else pc.or_kleene
            first, *rest = (_evaluate(part, table) for part in parts)
            for other in rest:
                first = join(first, other)
            return first


def _alike(name: str, column: "pa.ChunkedArray", value: Value) -> "tuple[pa.ChunkedArray, pa.Scalar]":
    """The column and the literal in one type."""
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    column = column.cast(kind)
    if value.kind == "number" and pa.types.is_floating(kind):
        return column.cast(pa.float64()), pa.scalar(float(value.text), pa.float64())
    if value.kind == "number" and (pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        number = Decimal(value.text)
        scale = max(-int(number.as_tuple().exponent), kind.scale if pa.types.is_decimal(kind) else 0, 0)
        wide = pa.decimal256(76, scale)
        return column.cast(wide), pa.scalar(number, wide)
    if value.kind == "text" and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return column, pa.scalar(value.text, kind)
    if value.kind == "boolean" and pa.types.is_boolean(kind):
        return column, pa.scalar(value.text == "true")
    if value.kind in ("date", "text") and pa.types.is_date(kind):
        return column.cast(pa.date32()), pa.scalar(date_of(value.text), pa.date32())
    raise InputError(
        f"column {name!r} holds {kind}, which a condition compares with a {value.kind}",
        hint="cast times to dates: in pandas .dt.date" if pa.types.is_timestamp(kind) else "compare it with its kind",
    )


def date_of(text: str) -> datetime.date:
    """The date written YYYY-MM-DD; raises `InputError` if it is none."""
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=datetime.UTC).date()
    except ValueError:
        raise InputError("a date in a condition is written YYYY-MM-DD", hint="e.g. DATE '2026-01-31'") from None


def number_of(text: str) -> Decimal:
    """The number that a literal stands for; raises `InputError` for one that is too long or none."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise InputError("a number in the SQL cannot be read", hint="write it as 12.50") from None
    if not number.is_finite() or len(number.as_tuple().digits) > 18 or abs(number.adjusted()) > 18:
        raise InputError("a number in the SQL has more than 18 digits", hint="round it")
    return number
