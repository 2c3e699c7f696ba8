"""Decimal numbers as scaled integers: x is held as x·10^decimals in 64 signed bits.

Sums of such numbers are exact. Numbers with more than `decimals` decimals are refused, not rounded. A float is
multiplied by 10^decimals in float64 and rounded to the nearest integer; below 2^51 that is exact for every float that
stands for a number of `decimals` decimals, and larger ones are refused because it is not.
"""

from collections.abc import Callable
from decimal import Context, Decimal, Inexact
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError

if TYPE_CHECKING:  # Arrow is loaded by the process that has a table to convert, not by every importer
    import pyarrow as pa

MAX_DECIMALS = 18  # 10^18 < 2^63
INT64_MAX = 2**63 - 1
_MAX_FLOAT = float(2**51)
_ROUNDINGS = 64  # a float that stands for a number may have been computed: off by that many of its last digits
_Refuse = Callable[..., None]
_EXACT = Context(prec=76, traps=[Inexact])


def to_scaled(
    column: "pa.ChunkedArray",
    decimals: int,
    name: str,
    rows: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The scaled integers of an Arrow column, and which rows have one: NULL gives 0 and False.

    `name` is the column's, for messages, and `rows` numbers its rows from 0 where they are not 0, 1, 2, ... Raises
    `InputError` for a column that holds no numbers, and, naming the first such row (counted from 1), for NaN, infinity,
    numbers too large to hold, and numbers of more decimals.
    """
    import pyarrow as pa

    _check_decimals(decimals)
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    valid = np.asarray(array.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    kind = array.type

    def refuse(
        bad: NDArray[np.bool_], why: str = "is too large for 64 bits", hint: str = "declare fewer decimals"
    ) -> None:
        found = np.flatnonzero(bad & valid)
        if len(found):
            row = found[0] if rows is None else rows[found[0]]
            raise InputError(f"row {row + 1} of column {name!r} {why}", hint=hint)

    if pa.types.is_integer(kind):
        return _from_integers(array, decimals, refuse), valid
    if pa.types.is_floating(kind):
        return _from_floats(array, valid, decimals, refuse), valid
    if pa.types.is_decimal(kind) and kind.bit_width <= 128:
        return _from_decimals(array, valid, decimals, refuse), valid
    raise InputError(
        f"column {name!r} holds {kind}, not numbers", hint="give integers, floats or DECIMAL of at most 38 digits"
    )


def scaled(value: Decimal, decimals: int) -> int:
    """`value`·10^decimals, exactly; raises `InputError` when that is no integer of 64 bits."""
    _check_decimals(decimals)
    if not value.is_finite():
        raise InputError("a number must be finite")
    if abs(value.adjusted()) > 100:  # before an integer of that many digits is made
        raise InputError("a number is too large or too small for 64 bits")
    numerator, denominator = value.as_integer_ratio()
    result, rest = divmod(numerator * int(10**decimals), denominator)
    if rest:
        raise InputError(f"a number has more than the declared {decimals} decimals")
    if abs(result) > INT64_MAX:
        raise InputError("a number is too large for 64 bits")
    return result


def unscaled(value: int, decimals: int) -> Decimal:
    """The number that `value` stands for, exactly."""
    return Decimal(value).scaleb(-decimals, _EXACT)


def _check_decimals(decimals: int) -> None:
    if not 0 <= decimals <= MAX_DECIMALS:
        raise InputError(f"{decimals} decimals: give 0 to {MAX_DECIMALS}")


def _from_integers(array: "pa.Array", decimals: int, refuse: _Refuse) -> NDArray[np.int64]:
    numbers = array.fill_null(0).to_numpy(zero_copy_only=False)
    limit = INT64_MAX // 10**decimals
    refuse((numbers > limit) | (numbers < -limit) if numbers.dtype.kind == "i" else numbers > limit)
    return np.asarray(numbers, np.int64) * np.int64(10**decimals)


def _from_floats(array: "pa.Array", valid: NDArray[np.bool_], decimals: int, refuse: _Refuse) -> NDArray[np.int64]:
    precision = np.finfo(array.type.to_pandas_dtype()).eps
    numbers = np.where(valid, array.fill_null(0.0).to_numpy(zero_copy_only=False), 0.0).astype(np.float64)
    refuse(~np.isfinite(numbers), "is not a finite number")
    with np.errstate(over="ignore"):  # infinity is refused below
        product = numbers * float(10**decimals)
    refuse(np.abs(product) > _MAX_FLOAT, "is too large for an exact conversion from float", "use DECIMAL")
    nearest = np.rint(product)
    refuse(np.abs(product - nearest) > _ROUNDINGS * precision * np.abs(product), *_more_than(decimals))
    return nearest.astype(np.int64)


def _from_decimals(array: "pa.Array", valid: NDArray[np.bool_], decimals: int, refuse: _Refuse) -> NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    wide = array.cast(pa.decimal256(76 - MAX_DECIMALS, array.type.scale))
    if array.type.scale > decimals:
        rounded = pc.round(wide, ndigits=decimals)
        changed = pc.not_equal(rounded, wide).fill_null(False)
        refuse(changed.to_numpy(zero_copy_only=False), *_more_than(decimals))
        wide = rounded
    scaled_up = wide.cast(pa.decimal256(76, decimals))
    words = np.frombuffer(scaled_up.buffers()[1] or b"", "<i8")
    words = words.reshape(-1, 4)[scaled_up.offset : scaled_up.offset + len(scaled_up)]
    low = np.where(valid, words[:, 0], 0)
    fits = (words[:, 1:] == (words[:, :1] >> 63)).all(axis=1) & (low != np.iinfo(np.int64).min)
    refuse(~fits)
    return low


def _more_than(decimals: int) -> tuple[str, str]:
    """What is wrong, and what to do."""
    return f"has more than {decimals} decimals", "declare as many decimals as the column has, or round it first"
