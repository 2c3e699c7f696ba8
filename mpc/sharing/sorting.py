"""Sorting of shared rows.

Rows are shuffled by an order that nobody knows; then comparisons may be opened, since the outcome of sorting a random
order says nothing, and quicksort does what it does in the clear. Keys are made different before, by their place in the
shuffled order.

Source: Hamada, Kikuchi, Ikarashi, Chida, Takahashi, ICISC 2012, doi.org/10.1007/978-3-642-37682-5_15.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mpc.errors import InputError
from mpc.sharing.engine import Engine
from mpc.sharing.ring import I64
from mpc.sharing.values import Secret

BOOL = npt.NDArray[np.bool_]


def sort_by(engine: Engine, keys: Secret, rows: Secret) -> tuple[Secret, Secret]:
    """Keys (a vector) in ascending order, and the rows (rows x columns) that belong to them.

    Rows with equal keys come in any order. Raises `InputError` when keys and row numbers together exceed 63 bits.
    """
    if len(keys) != len(rows) or len(keys.shape) != 1 or len(rows.shape) != 2:
        raise InputError("sorting takes a vector of keys and one row for each")
    if len(keys) < 2:
        return keys, rows
    both = engine.shuffle(_beside(engine, keys, rows))
    shuffled = replace(both[:, 0], low=keys.low, high=keys.high, decimals=keys.decimals)
    order = _quicksort(engine, shuffled)
    sorted_rows = replace(both[:, 1:], low=rows.low, high=rows.high, decimals=rows.decimals)
    return shuffled[order], sorted_rows[order]


def top_k(engine: Engine, keys: Secret, rows: Secret, k: int) -> tuple[Secret, Secret]:
    """The k largest keys in descending order, and their rows."""
    sorted_keys, sorted_rows = sort_by(engine, keys, rows)
    return sorted_keys[::-1][:k], sorted_rows[::-1][:k]


def _beside(engine: Engine, keys: Secret, rows: Secret) -> Secret:
    """Keys as a column in front of the rows, with bounds that hold for both."""
    low, high = min(keys.low, rows.low), max(keys.high, rows.high)
    columns = [replace(x, low=low, high=high, decimals=0) for x in (keys.reshape(-1, 1), rows)]
    return engine.concatenate(columns, axis=1)


def _quicksort(engine: Engine, keys: Secret) -> I64:
    """The ascending order of shuffled keys, from opened comparisons; all segments of a level are compared at once."""
    count = len(keys)
    unique = replace(keys, decimals=0) * count + np.arange(count)
    order = np.arange(count)
    starts = np.array([0, count])  # of the segments, and the end
    while True:
        lengths = np.diff(starts)
        if (lengths <= 1).all():
            return order
        segment = np.repeat(np.arange(len(lengths)), lengths)
        pivots = starts[:-1] + lengths // 2
        compared = (lengths[segment] > 1) & (np.arange(count) != pivots[segment])
        below = np.zeros(count, np.bool_)
        below[compared] = engine.open(unique[order[compared]] < unique[order[pivots[segment]][compared]])
        order, starts = _partitioned(order, starts, segment, pivots, below)


def _partitioned(order: I64, starts: I64, segment: I64, pivots: I64, below: BOOL) -> tuple[I64, I64]:
    """Each segment with what is below its pivot first, then the pivot as a segment of its own, then the rest."""
    rank = np.where(below, 0, 2)
    rank[pivots[np.diff(starts) > 0]] = 1
    place = 3 * segment + rank
    moved = order[np.argsort(place, kind="stable")]
    sizes = np.bincount(place, minlength=3 * (len(starts) - 1))
    return moved, np.concatenate([[0], np.cumsum(sizes[sizes > 0])])
