"""Grouping by keys that no party knows.

By an index of few groups: each row is compared with every group, and nothing is revealed. By any keys: rows are sorted,
and the number of different keys becomes known.
"""

from dataclasses import dataclass, replace

import numpy as np

from mpc.errors import InputError
from mpc.sharing.engine import Engine
from mpc.sharing.sorting import sort_by
from mpc.sharing.values import Bits, Secret


@dataclass(frozen=True)
class Groups:
    """One entry a different key, in ascending order: keys, how many rows have it, and sums of the columns."""

    keys: Secret
    counts: Secret
    sums: Secret


def one_hot(group: Secret, count: int) -> Bits:
    """Whether each row (a vector of group numbers) is in each of the groups 0 to count - 1: rows x count."""
    return group.reshape(-1, 1) == np.arange(count)


def group_sums(engine: Engine, group: Secret, count: int, rows: Secret) -> Secret:
    """Sums of rows (rows x columns) by group number, count x columns; other numbers are in no group."""
    if len(group.shape) != 1 or len(rows.shape) != 2 or len(group) != len(rows):
        raise InputError(
            f"sums by group take group numbers (n) and rows (n x columns), not {group.shape} and {rows.shape}",
            hint="a vector as rows of one column: values.reshape(-1, 1)",
        )
    chosen = one_hot(group, count)
    if engine.setting != "no_helper":
        return (chosen.integers().T @ rows).within(*_bounds(rows))
    shape = (len(rows), count, rows.shape[1])
    values = rows.reshape(len(rows), 1, rows.shape[1]).broadcast_to(shape)
    return engine.select(chosen.reshape(len(rows), count, 1), values).sum(0)


def group_by(engine: Engine, keys: Secret, rows: Secret) -> Groups:
    """Counts and sums of rows (rows x columns) by key (a vector); all learn how many different keys there are."""
    keys, rows = sort_by(engine, keys, rows)
    if not len(keys):
        return Groups(keys, engine.constant([]), rows)
    last = engine.concatenate([keys[1:] != keys[:-1], engine.constant_bits(np.ones(1, np.bool_))])
    running = rows.cumsum()
    places = engine.constant(np.arange(1, len(keys) + 1))
    table = _columns(engine, keys, last.integers(), places, running)
    shuffled = engine.shuffle(table)
    ends = engine.open(replace(shuffled[:, 1], low=0, high=1)).astype(np.bool_)
    kept = shuffled[np.flatnonzero(ends)]
    ordered_keys, ordered = sort_by(
        engine, replace(kept[:, 0], low=keys.low, high=keys.high, decimals=keys.decimals), kept
    )
    counts = _steps(engine, replace(ordered[:, 2], low=0, high=len(keys), decimals=0)).within(1, len(keys))
    sums = _steps(engine, replace(ordered[:, 3:], low=running.low, high=running.high, decimals=rows.decimals)).within(
        *_bounds(rows)
    )
    return Groups(ordered_keys, counts, sums)


def _steps(engine: Engine, running: Secret) -> Secret:
    """From running totals to their differences."""
    return engine.concatenate([running[:1], running[1:] - running[:-1]])


def _columns(engine: Engine, *columns: Secret) -> Secret:
    """Vectors and rows side by side, with bounds that hold for all."""
    low, high = min(column.low for column in columns), max(column.high for column in columns)
    flat = [column if len(column.shape) == 2 else column.reshape(-1, 1) for column in columns]
    return engine.concatenate([replace(column, low=low, high=high, decimals=0) for column in flat], axis=1)


def _bounds(rows: Secret) -> tuple[int, int]:
    """Of a sum of some of the rows."""
    return min(rows.low * len(rows), 0), max(rows.high * len(rows), 0)
