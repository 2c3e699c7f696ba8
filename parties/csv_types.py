"""How a CSV column gets its type: from how each of its values is written, none left out.

One SQL expression gives the class of a value as a bit; the bits of a column, or-ed, decide its type.
"""

from enum import IntFlag

MAX_DECIMAL_DIGITS = 38  # of Arrow's decimal128
EXACT_FLOAT_DIGITS = 15  # a decimal number of so many digits survives a float64, IEEE 754


class Written(IntFlag):
    """How a value is written."""

    INTEGER = 1  # at most 18 digits: fits 64 bits
    DECIMAL = 2  # more digits, or digits around a point
    POINT_ZERO = 4  # an integer with ".0" behind it
    EXPONENT = 8
    NOT_FINITE = 16  # NaN or an infinity
    DATE = 32
    TEXT = 64


NUMBER = Written.INTEGER | Written.DECIMAL | Written.POINT_ZERO | Written.EXPONENT
#: How identifiers look after a program took them for floating-point numbers.
FLOATED = Written.POINT_ZERO | Written.EXPONENT

_WHOLE = "-?(0|[1-9][0-9]*)"


def written_sql(value: str) -> str:
    """SQL for the class of a text `value`, itself SQL; 0 for NULL."""
    return f"""CASE
        WHEN {value} IS NULL THEN 0
        WHEN regexp_full_match({value}, '-?(0|[1-9][0-9]{{0,17}})') THEN {Written.INTEGER.value}
        WHEN regexp_full_match({value}, '{_WHOLE}\\.0') THEN {Written.POINT_ZERO.value}
        WHEN regexp_full_match({value}, '{_WHOLE}|{_WHOLE}\\.[0-9]+|-?\\.[0-9]+') THEN {Written.DECIMAL.value}
        WHEN regexp_full_match({value}, '{_WHOLE}(\\.[0-9]+)?[eE][-+]?[0-9]+')
            AND isfinite(TRY_CAST({value} AS DOUBLE)) THEN {Written.EXPONENT.value}
        WHEN lower(ltrim({value}, '+-')) IN ('nan', 'inf', 'infinity') THEN {Written.NOT_FINITE.value}
        WHEN regexp_full_match({value}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}')
            AND TRY_CAST({value} AS DATE) IS NOT NULL THEN {Written.DATE.value}
        ELSE {Written.TEXT.value} END"""


def digits_sql(value: str) -> str:
    """SQL for the most digits before and the most behind the point in a column of `NUMBER`s; two terms."""
    parts = [f"regexp_extract({value}, '^-?([0-9]*)(?:\\.([0-9]+))?', {group})" for group in (1, 2)]
    return ", ".join(f"coalesce(max(length({part})), 0)" for part in parts)


def column_type(written: Written, whole_digits: int, fraction_digits: int) -> str:
    """The type of a column with values `written` so; NOT_FINITE beside numbers is the caller's to refuse."""
    if not written or written & ~NUMBER:
        return "date" if written == Written.DATE else "text"
    if written == Written.INTEGER:
        return "integer"
    digits = max(whole_digits, 1) + fraction_digits
    if not written & Written.EXPONENT and digits <= MAX_DECIMAL_DIGITS:
        return f"decimal({digits},{fraction_digits})"
    return "float" if whole_digits <= EXACT_FLOAT_DIGITS else "text"
