"""A party's own conditions as DuckDB's expressions, so that only rows that count are read.

What a condition means is said by `mpc.conditions`, which looks at the rows again; this must keep every row that it
would keep. Nothing here is text: columns are named by number, and literals are values of their column's type.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import duckdb
from duckdb import ColumnExpression, ConstantExpression, FunctionExpression

from mpc.conditions import And, Compare, Condition, IsNull, Not, Operator, Or, Value, date_of
from mpc.errors import InputError
from mpc.primitives.fixed_point import unscaled

Expr = Any  # duckdb.Expression, whose operators are not typed

_INCLUSIVE: Mapping[Operator, Operator] = {"<": "<=", "<=": "<=", ">": ">=", ">=": ">="}


def expression(condition: Condition, names: Mapping[str, str], types: Mapping[str, str]) -> Expr | None:
    """The condition; None where it compares what `mpc.conditions` refuses to compare, or what DuckDB cannot hold.

    `names` gives what each column is called in DuckDB, `types` its type in the dataset.
    """
    match condition:
        case Compare(column=column):
            return _comparison(condition, ColumnExpression(names[column]), types[column])
        case IsNull(column=column):
            return ColumnExpression(names[column]).isnull()
        case Not(part=part):
            inner = expression(part, names, types)
            return None if inner is None else ~inner
        case And(parts=parts) | Or(parts=parts):
            found = [expression(part, names, types) for part in parts]
            whole = found[0]
            for each in found[1:]:
                if whole is None or each is None:
                    return None
                whole = whole & each if isinstance(condition, And) else whole | each
            return whole


def _comparison(condition: Compare, column: Expr, kind: str) -> Expr | None:
    operator, value = condition.operator, condition.value
    if value.kind == "number" and kind == "float":
        return _with_floats(operator, column, float(value.text))
    if value.kind == "number" and (kind == "integer" or kind.startswith("decimal")):
        return _with_exact(operator, column, kind, Decimal(value.text))
    if value.kind == "boolean" and kind == "boolean":
        return _compared(operator, column, ConstantExpression(value.text == "true"))
    if value.kind == "text" and kind == "text":
        return None if "\0" in value.text else _compared(operator, column, ConstantExpression(value.text))
    if value.kind in ("date", "text") and kind == "date":
        return _with_dates(operator, column, value)
    return None


def _with_dates(operator: Operator, column: Expr, value: Value) -> Expr | None:
    try:
        return _compared(operator, column, ConstantExpression(date_of(value.text)))
    except InputError:  # which the rows' own reader raises
        return None


def _with_floats(operator: Operator, column: Expr, value: float) -> Expr:
    """For DuckDB, NaN is greater than every number; here it is unequal to all and nothing else."""
    compared = _compared(operator, column, ConstantExpression(value).cast(duckdb.sqltype("DOUBLE")))
    return compared & ~FunctionExpression("isnan", column) if operator in (">", ">=") else compared


def _with_exact(operator: Operator, column: Expr, kind: str, value: Decimal) -> Expr:
    """A number with the column's own decimals, so that nothing is rounded on either side."""
    decimals = 0 if kind == "integer" else int(kind.removesuffix(")").rpartition(",")[2])
    numerator, denominator = value.as_integer_ratio()
    units, rest = divmod(numerator * 10**decimals, denominator)
    if rest:  # between two numbers of that many decimals
        if operator in ("=", "<>"):
            return _always(column, operator == "<>")
        units += operator in (">", ">=")
        operator = _INCLUSIVE[operator]
    least, most = _limits(kind)
    if not least <= units <= most:
        return _always(column, operator in (("<", "<=", "<>") if units > most else (">", ">=", "<>")))
    number = unscaled(units, decimals) if decimals else units
    sql_type = "BIGINT" if kind == "integer" else kind.upper()
    return _compared(operator, column, ConstantExpression(number).cast(duckdb.sqltype(sql_type)))


def _limits(kind: str) -> tuple[int, int]:
    """The least and the greatest number of an exact type, in units of its last decimal."""
    if kind == "integer":
        return -(2**63), 2**63 - 1
    most = int(10 ** int(kind.removeprefix("decimal(").partition(",")[0])) - 1
    return -most, most


def _always(column: Expr, holds: bool) -> Expr:
    """A comparison that holds, or does not, for whatever is not NULL."""
    return column == column if holds else column != column


def _compared(operator: Operator, column: Expr, value: Expr) -> Expr:
    match operator:
        case "=":
            return column == value
        case "<>":
            return column != value
        case "<":
            return column < value
        case "<=":
            return column <= value
        case ">":
            return column > value
        case ">=":
            return column >= value
