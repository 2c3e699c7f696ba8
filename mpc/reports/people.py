"""Which rows of a table are of one person: those with the same values in its key columns."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

I64 = NDArray[np.int64]


def numbered(table: pa.Table) -> I64:
    """A number for each row, the same for rows of one person; rows that have a NULL are alike where others are."""
    people = np.zeros(table.num_rows, np.int64)
    for column in table.columns:
        codes = pc.dictionary_encode(column.cast(pa.large_string()).combine_chunks()).indices
        codes = pc.fill_null(codes, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        _, people = np.unique(people * (codes.max(initial=0) + 2) + codes + 1, return_inverse=True)
    return people.astype(np.int64)


def known(table: pa.Table) -> NDArray[np.bool_]:
    """Which rows are of a person: those that have no NULL."""
    found = np.ones(table.num_rows, np.bool_)
    for column in table.columns:
        found &= np.asarray(column.is_valid().to_numpy(), np.bool_)
    return found


def distinct(cells: I64, people: I64, count: int) -> I64:
    """How many different people each of `count` cells has, from each row's cell and person."""
    if not len(cells):
        return np.zeros(count, np.int64)
    pairs = np.unique(np.stack([cells, people], axis=1), axis=0)
    return np.bincount(pairs[:, 0], minlength=count).astype(np.int64)
