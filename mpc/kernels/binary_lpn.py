"""The two linear maps of a binary expand-convolute code, on blocks of 128 bits, for four vectors side by side.

Blocks at one place of the four vectors make one row of eight words: with one look at a random place of memory the
same output of all four is served.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from mpc.kernels.instructions import for_range, load, prefetch, shuffle, splat, store, vector, word
from mpc.kernels.jit import instruction, kernel

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

SIDE_BY_SIDE = 4
WORDS = 2 * SIDE_BY_SIDE  # a row
WINDOW = 24  # earlier values that the convolution may add, chosen by the bits of `taps`
_AHEAD = 16  # rows for which memory is asked in advance


@kernel("void(const uint64[:, :, ::1], int64, uint64[:, ::1])")
def gather(vectors: U64, start: int, rows: U64) -> None:
    """rows[i] = the blocks at place start + i of the four vectors."""
    for i in range(rows.shape[0]):
        for j in range(4):
            rows[i, 2 * j], rows[i, 2 * j + 1] = vectors[j, start + i, 0], vectors[j, start + i, 1]


@kernel("void(uint64[:, ::1], const uint32[::1])")
def convolve(mixed: U64, taps: U32) -> None:
    """In place, y[i] = x[i] + sum over j < 24 of taps[i]_j·y[i - 24 + j] + y[i - 25].

    The first 25 rows of `mixed` are the values before the start: row 25 + i belongs to taps[i].
    """
    for i in range(taps.shape[0]):
        _convolve_row(mixed[i:], np.uint64(taps[i]))


@kernel("void(uint64[:, :, ::1], const uint64[:, ::1], const uint32[:, ::1], int64)")
def expand(vectors: U64, mixed: U64, choices: U32, weight: int) -> None:
    """In place, vectors[:, i] += sum over j < weight of mixed[25 + r]: a sparse matrix.

    Row i of `choices` begins with `weight` random words, from which the positions r, as fractions of the length.
    """
    length = np.uint64(mixed.shape[0] - 1 - WINDOW)
    last = choices.shape[0] - 1
    for i in range(last + 1):
        _add_entries(
            mixed[1 + WINDOW :], choices[i], choices[min(i + _AHEAD, last)], weight, length,
            vectors[0, i], vectors[1, i], vectors[2, i], vectors[3, i],
        )  # fmt: skip


@instruction("void(array, uint64)")
def _convolve_row(builder: Any, rows: Any, chosen: Any) -> None:
    """Complete row 25 of `rows` from those before it."""
    kind = vector(64, WORDS)
    total = builder.xor(load(builder, rows, WORDS * (1 + WINDOW), kind), load(builder, rows, 0, kind))
    bits = splat(builder, chosen, WORDS)
    for j in range(WINDOW):
        bit = splat(builder, word(1 << j), WORDS)
        wanted = builder.icmp_unsigned("==", builder.and_(bits, bit), bit)
        earlier = load(builder, rows, WORDS * (1 + j), kind)
        total = builder.xor(total, builder.and_(earlier, builder.sext(wanted, kind)))
    store(builder, total, rows, WORDS * (1 + WINDOW))


@instruction("void(array, array, array, int64, uint64, array, array, array, array)")
def _add_entries(
    builder: Any, mixed: Any, choices: Any, later: Any, weight: Any, length: Any, a: Any, b: Any, c: Any, d: Any
) -> None:
    """Add the sum over the entries of one row of the matrix to the four outputs."""
    kind = vector(64, WORDS)

    def place(row: Any, j: Any) -> Any:
        choice = builder.zext(builder.load(builder.gep(row, [j])), length.type)
        return builder.mul(builder.lshr(builder.mul(choice, length), word(32)), word(WORDS))

    def add(j: Any, carried: Any) -> Any:
        prefetch(builder, mixed, place(later, j))
        return [builder.xor(carried[0], load(builder, mixed, place(choices, j), kind))]

    (total,) = for_range(builder, weight, [ir.Constant(kind, [0] * WORDS)], add)
    for i, output in enumerate((a, b, c, d)):
        own = shuffle(builder, total, total, [2 * i, 2 * i + 1])
        store(builder, builder.xor(load(builder, output, 0, own.type), own), output, 0)
