"""Tables from whatever a researcher has."""

from typing import TYPE_CHECKING, Any

from mpc.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa


def as_arrow(table: Any) -> "pa.Table":
    """An Arrow table from an Arrow, pandas or polars one; raises `InputError` for anything else."""
    import pyarrow as pa

    if isinstance(table, pa.Table):
        return table
    if hasattr(table, "__arrow_c_stream__"):  # polars, pandas and others: the Arrow PyCapsule interface
        return pa.table(table)
    raise InputError(f"{type(table).__name__} is not a table: give an Arrow, pandas or polars one, or a file's path")
