"""Sorting of shared rows.

Rows are shuffled by an order that nobody knows; then comparisons may be opened, since the outcome of sorting a random
order says nothing, and quicksort does what it does in the clear. Keys are made different before, by their place in the
shuffled order.

Source: Hamada, Kikuchi, Ikarashi, Chida, Takahashi, ICISC 2012, doi.org/10.1007/978-3-642-37682-5_15.
"""

from dataclasses import replace

import numpy as np

from mpc.errors import InputError
from mpc.sharing.engine import Engine
from mpc.sharing.ring import I64
from mpc.sharing.values import Secret


def sort(engine: Engine, values: Secret) -> Secret:
    """A vector in ascending order; raises `InputError` as `sort_by`."""
    return sort_by(engine, values, replace(values.reshape(-1, 1)[:, :0], low=0, high=0))[0]


def sort_by(engine: Engine, keys: Secret, rows: Secret) -> tuple[Secret, Secret]:
    """Keys (a vector) in ascending order, and the rows (rows x columns) that belong to them.

    Rows with equal keys come in any order. Raises `InputError` when keys and row numbers together exceed 63 bits.
    """
    if len(keys.shape) != 1 or len(rows.shape) != 2 or len(keys) != len(rows):
        raise InputError(
            f"sorting takes keys (n) and rows (n x columns), not {keys.shape} and {rows.shape}",
            hint="a vector as rows of one column: values.reshape(-1, 1)",
        )
    if len(keys) < 2:
        return keys, rows
    both = engine.shuffle(_beside(engine, keys, rows))
    shuffled = replace(both[:, 0], low=keys.low, high=keys.high, decimals=keys.decimals)
    order = _quicksort(engine, shuffled)
    sorted_rows = replace(both[:, 1:], low=rows.low, high=rows.high, decimals=rows.decimals)
    return shuffled[order], sorted_rows[order]


def top_k(engine: Engine, keys: Secret, rows: Secret, k: int) -> tuple[Secret, Secret]:
    """The k largest keys in descending order, and their rows (rows x columns); all if there are fewer."""
    if k < 0:
        raise InputError("there are no fewer than 0 largest keys")
    sorted_keys, sorted_rows = sort_by(engine, keys, rows)
    return sorted_keys[::-1][:k], sorted_rows[::-1][:k]


def _beside(engine: Engine, keys: Secret, rows: Secret) -> Secret:
    """Keys as a column in front of the rows, with bounds that hold for both."""
    low, high = min(keys.low, rows.low), max(keys.high, rows.high)
    columns = [replace(x, low=low, high=high, decimals=0) for x in (keys.reshape(-1, 1), rows)]
    return engine.concatenate(columns, axis=1)


def _quicksort(engine: Engine, keys: Secret) -> I64:
    """The ascending order of shuffled keys, from opened comparisons; all segments of a level are compared at once."""
    from mpc.kernels.quicksort import pairs, partition

    count = len(keys)
    unique = replace(keys, decimals=0) * count + np.arange(count)
    order, scratch = np.arange(count), np.empty(count, np.int64)
    segments = np.array([[0, count]])
    while len(segments):
        compared = int((segments[:, 1] - segments[:, 0] - 1).sum())
        left, right = np.empty((2, compared), np.int64)
        pairs(order, segments, left, right)
        below = engine.open(unique[left] < unique[right])
        found = np.empty((2 * len(segments), 2), np.int64)
        remaining = partition(order, segments, below.view(np.uint8), scratch, found)
        segments = found[:remaining]
    return order
