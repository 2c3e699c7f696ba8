"""Routing through a network of exchanges that can bring rows into any order (Beneš), a level at a time."""

import numpy as np
import numpy.typing as npt

from mpc.kernels.jit import kernel

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

_UNKNOWN = np.uint8(2)


@kernel("void(const int64[::1], int64, int64[::1], int64[::1], uint8[::1], uint8[::1], uint8[::1])")
def route(order: I64, half: int, inverse: I64, inner: I64, enter: U8, leave: U8, side: U8) -> None:
    """What the first and the last exchanges of each block of 2·half places must do, and the orders within.

    Output p of a block is to be its input order[p]. Place i < half is exchanged with i + half: enter[i] and leave[i]
    say whether. In between both halves are blocks of their own, with the orders `inner`. `inverse` and `side` are
    scratch. Two inputs of an exchange go to different halves and two outputs come from different ones, which is
    followed from output to output until it comes back.
    """
    size = 2 * half
    for i in range(order.shape[0]):
        inverse[i - i % size + order[i]] = i % size
        side[i] = _UNKNOWN
    for start in range(0, order.shape[0], size):
        for first in range(half):
            place = first
            while side[start + place] == _UNKNOWN:
                side[start + place] = 0
                source = order[start + place]
                enter[start + (source & (half - 1))] = source >= half
                other = inverse[start + (source ^ half)]
                side[start + other] = 1
                place = other ^ half
        for place in range(size):
            inner[start + half * side[start + place] + (place & (half - 1))] = order[start + place] & (half - 1)
        for place in range(half):
            leave[start + place] = side[start + place]
