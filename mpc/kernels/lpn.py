"""The two linear maps of an expand-convolute code over GF(2^64), on up to four vectors side by side.

Field elements are uint64 as in `mpc.kernels.gf64`. The maps are linear over GF(2^64), so that the coordinates of an
extension field are encoded each by itself. Elements at one place of all vectors stand next to each other in memory and
make one vector register: most of the time goes into fetching them from random places.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mpc.kernels.gf64 import REDUCTION
from mpc.kernels.instructions import for_range, load, prefetch, splat, store, vector, word
from mpc.kernels.jit import instruction, kernel

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

LANES = 4
_AHEAD = 8  # rows for which memory is asked in advance
WINDOW = 24  # earlier values that the convolution may add, chosen by the bits of `taps`


@kernel("void(uint64[:, ::1], const uint32[::1])")
def convolve(mixed: U64, taps: U32) -> None:
    """In place, y[i] = x[i] + sum over j < 24 of taps[i]_j·y[i - 24 + j] + X·y[i - 25], for rows of four elements.

    The first 25 rows of `mixed` are the values before the start: row 25 + i belongs to taps[i].
    """
    for i in range(taps.shape[0]):
        _convolve_row(mixed[i:], np.uint64(taps[i]))


@kernel(
    "void(const uint64[:, ::1], const uint64[:, ::1], const uint32[:, ::1], int64, int64, uint64[:, ::1], "
    "uint64[::1], int64, uint64[::1])"
)
def expand(
    plain: U64, mixed: U64, choices: U32, weight: int, step: int, out: U64, further: U64, at: int, sums: U64
) -> None:
    """out[p, at + i] = plain[i, p] + sum over j < weight of X^s·mixed[25 + r, p]: a sparse matrix of monomials.

    Row i of `choices` has `weight` random words, from which the positions r (as fractions of the length), then words of
    eight random nibbles, from which s = step·nibble. `step` is at most 4. `further`, unless it is empty, receives the
    sums alone of one more column of `mixed`. `sums` is room for four words.
    """
    length = np.uint64(mixed.shape[0] - 1 - WINDOW)
    last = choices.shape[0] - 1
    planes = plain.shape[1]
    for i in range(last + 1):
        _sum_of_entries(mixed[1 + WINDOW :], choices[i], choices[min(i + _AHEAD, last)], weight, step, length, sums)
        for plane in range(planes):
            out[plane, at + i] = plain[i, plane] ^ sums[plane]
        if further.shape[0]:
            further[at + i] = sums[planes]


@instruction("void(array, uint64)")
def _convolve_row(builder: Any, rows: Any, chosen: Any) -> None:
    """Complete row 25 of `rows` from those before it."""
    kind = vector(64, LANES)
    oldest = load(builder, rows, 0, kind)
    total = builder.xor(load(builder, rows, LANES * (1 + WINDOW), kind), _times_x(builder, oldest))
    bits = splat(builder, chosen, LANES)
    for j in range(WINDOW):
        bit = splat(builder, word(1 << j), LANES)
        wanted = builder.icmp_unsigned("==", builder.and_(bits, bit), bit)
        earlier = load(builder, rows, LANES * (1 + j), kind)
        total = builder.xor(total, builder.and_(earlier, builder.sext(wanted, kind)))
    store(builder, total, rows, LANES * (1 + WINDOW))


@instruction("void(array, array, array, int64, int64, uint64, array)")
def _sum_of_entries(
    builder: Any, mixed: Any, choices: Any, later: Any, weight: Any, step: Any, length: Any, sums: Any
) -> None:
    """Write the sum over the entries of one row of the matrix to `sums`; reduction, being linear, comes last."""
    kind = vector(64, LANES)

    def choice(row: Any, index: Any) -> Any:
        return builder.zext(builder.load(builder.gep(row, [index])), length.type)

    def place(row: Any, j: Any) -> Any:
        return builder.mul(builder.lshr(builder.mul(choice(row, j), length), word(32)), word(LANES))

    def add(j: Any, carried: Sequence[Any]) -> Sequence[Any]:
        prefetch(builder, mixed, place(later, j))
        nibbles = choice(choices, builder.add(weight, builder.lshr(j, word(3))))
        nibble = builder.lshr(nibbles, builder.shl(builder.and_(j, word(7)), word(2)))
        shift = builder.mul(builder.and_(nibble, word(15)), step)
        value = load(builder, mixed, place(choices, j), kind)
        up, down = splat(builder, shift, LANES), splat(builder, builder.sub(word(63), shift), LANES)
        over = builder.lshr(builder.lshr(value, splat(builder, word(1), LANES)), down)  # below X^60
        return builder.xor(carried[0], builder.shl(value, up)), builder.xor(carried[1], over)

    total, over = for_range(builder, weight, [splat(builder, word(0), LANES)] * 2, add)
    for power in (0, 1, 3, 4):  # X^64 = X^4 + X^3 + X + 1
        total = builder.xor(total, builder.shl(over, splat(builder, word(power), LANES)))
    store(builder, total, sums, 0)


def _times_x(builder: Any, value: Any) -> Any:
    """The product of each lane with X."""
    top = builder.ashr(value, splat(builder, word(63), LANES))
    reduced = builder.and_(top, splat(builder, word(REDUCTION), LANES))
    return builder.xor(builder.shl(value, splat(builder, word(1), LANES)), reduced)
