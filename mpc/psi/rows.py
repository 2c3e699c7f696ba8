"""Chosen rows of an Arrow table, without Arrow's compute functions: to load those takes longer than a small job."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mpc.kernels.rows import gather

I64 = npt.NDArray[np.int64]


def take(table: pa.Table, rows: I64) -> pa.Table:
    """`table.take(rows)`, its metadata included."""
    ascending = bool((rows[1:] >= rows[:-1]).all())
    if not ascending and any(column.num_chunks > 1 for column in table.columns):
        # chosen first and put in order then, for memory follows from the result and not from the table
        order = np.argsort(rows, kind="stable")
        table = take(table, rows[order]).combine_chunks()
        rows = np.empty_like(order)
        rows[order] = np.arange(len(order))
    return pa.table([_take(column, rows, ascending) for column in table.columns], schema=table.schema)


def _take(column: pa.ChunkedArray, rows: I64, ascending: bool) -> pa.ChunkedArray:
    if not (_is_text(column.type) or _is_fixed(column.type)):
        return column.take(pa.array(rows))
    if not ascending:
        whole = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
        return pa.chunked_array([_take_of_chunk(whole, rows)] if len(rows) else [], column.type)
    taken, first = [], 0
    for chunk in column.chunks:
        here = slice(*np.searchsorted(rows, [first, first + len(chunk)]))
        taken.append(_take_of_chunk(chunk, rows[here] - first))
        first += len(chunk)
    return pa.chunked_array(taken, column.type)


def _take_of_chunk(chunk: pa.Array, rows: I64) -> pa.Array:
    validity, *buffers = chunk.buffers()
    places = rows + chunk.offset
    if chunk.null_count:
        bits = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")[places]
        validity = pa.py_buffer(np.packbits(bits, bitorder="little"))
    else:
        validity = None
    taken = _texts(chunk.type, buffers, places) if _is_text(chunk.type) else _values(chunk.type, buffers, places)
    return pa.Array.from_buffers(chunk.type, len(rows), [validity, *taken])


def _texts(kind: pa.DataType, buffers: list[pa.Buffer | None], places: I64) -> list[pa.Buffer]:
    width = np.int64 if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind) else np.int32
    offsets = np.frombuffer(buffers[0] or b"", width)  # one more than there are texts
    starts: I64 = offsets[places].astype(np.int64)
    ends = np.cumsum(offsets[places + 1].astype(np.int64) - starts)
    out = np.empty(ends[-1] if len(ends) else 0, np.uint8)
    gather(np.frombuffer(buffers[1] or b"", np.uint8), starts, ends, out)
    bounds = np.zeros(len(places) + 1, width)
    bounds[1:] = ends
    return [pa.py_buffer(bounds), pa.py_buffer(out)]


def _values(kind: pa.DataType, buffers: list[pa.Buffer | None], places: I64) -> list[pa.Buffer]:
    width = kind.bit_width // 8
    return [pa.py_buffer(np.frombuffer(buffers[0] or b"", np.dtype(f"V{width}"))[places])]


def _is_text(kind: pa.DataType) -> bool:
    test = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(is_one(kind) for is_one in test)


def _is_fixed(kind: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(kind) and kind.bit_width % 8 == 0)
