"""A network of exchanges that brings rows into any order: which pairs of places it exchanges, and when it does.

Source: Beneš, Bell System Technical Journal 43(4), 1964; the setting of its exchanges: Waksman, J. ACM 15(1), 1968.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from mpc.sharing.ring import I64, U8


def padded(rows: int) -> int:
    """The number of places: a power of two."""
    return 1 << max(rows - 1, 0).bit_length()


def halves(places: int) -> Sequence[int]:
    """The distance of the places that are exchanged, level by level."""
    down = [places >> level for level in range(1, places.bit_length())]
    return [*down, *down[-2::-1]]


def pairs(places: int, half: int) -> tuple[I64, I64]:
    """The places that a level exchanges."""
    first = np.arange(places).reshape(-1, 2, half)[:, 0].reshape(-1)
    return first, first + half


def settings(order: I64) -> Iterator[U8]:
    """For each level, whether each of its pairs is exchanged, so that place p gets what was at order[p].

    The number of places must be a power of two.
    """
    from mpc.kernels.benes import route

    leaving = []
    local = np.ascontiguousarray(order)
    for half in halves(len(order))[: len(order).bit_length() - 1]:
        first, _ = pairs(len(order), half)
        if half == 1:
            yield local[first].astype(np.uint8)
            break
        inner, inverse = np.empty((2, len(order)), np.int64)
        enter, leave, side = np.empty((3, len(order)), np.uint8)
        route(local, half, inverse, inner, enter, leave, side)
        leaving.append(leave[first])
        local = inner
        yield enter[first]
    yield from reversed(leaving)
