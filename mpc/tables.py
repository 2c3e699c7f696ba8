"""Tables from whatever a researcher has."""

from typing import TYPE_CHECKING, Any

from mpc.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa


def as_arrow(table: Any) -> "pa.Table":
    """An Arrow table from an Arrow, pandas or polars one; raises `InputError` for anything else.

    A pandas index becomes a column if it has a name; without one it only numbers the rows, and is left out.
    """
    import pyarrow as pa

    if isinstance(table, pa.Table):
        return _without_views(table)
    if not hasattr(table, "__arrow_c_stream__"):  # polars, pandas and others: the Arrow PyCapsule interface
        raise InputError(
            f"{type(table).__name__} is not a table: give an Arrow, pandas or polars one, or a file's path"
        )
    if hasattr(table, "reset_index"):  # pandas
        table = table.reset_index(drop=all(name is None for name in table.index.names))
    try:
        converted = pa.table(table)
    except pa.ArrowException as error:  # its words may hold values
        raise InputError(
            f"a table of type {type(table).__name__} has a column that Arrow cannot hold ({type(error).__name__})",
            hint="give every column values of one type",
        ) from None
    return _without_views(converted.replace_schema_metadata(None))


def _without_views(table: "pa.Table") -> "pa.Table":
    """`table` with views of text and bytes, polars' own, as types that every function of Arrow takes."""
    import pyarrow as pa

    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    if not any(kind in plain for kind in table.schema.types):
        return table
    return table.cast(pa.schema([field.with_type(plain.get(field.type, field.type)) for field in table.schema]))
