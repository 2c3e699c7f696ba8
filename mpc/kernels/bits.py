"""Arrays of words as bit planes: plane j holds bit j of every word, 64 words to a word."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mpc.kernels.instructions import load, splat, store, transpose, vector, word
from mpc.kernels.jit import instruction, kernel

U64 = npt.NDArray[np.uint64]

SIDE_BY_SIDE = 8  # blocks of 64 words that are transposed at once: a vector register of the widest kind
_BLOCK = 64


@kernel("void(const uint64[::1], uint64[:, ::1], uint64[:, ::1])")
def to_planes(words: U64, planes: U64, blocks: U64) -> None:
    """planes[j, i] = bits j of words[64·i], ..., words[64·i + 63], the least significant first; zeros after the last.

    `planes` may have fewer than 64 rows: those of the lowest bits. `blocks` is scratch of 64 x `SIDE_BY_SIDE` words.
    A 64 x 64 matrix of bits is transposed by exchanging the off-diagonal quarters, then those of each quarter.
    """
    columns = planes.shape[1]
    for first in range(0, columns, SIDE_BY_SIDE):
        if words.shape[0] - _BLOCK * first >= _BLOCK * SIDE_BY_SIDE:
            _gather(words, _BLOCK * first, blocks)
        else:
            for j in range(_BLOCK):
                for block in range(SIDE_BY_SIDE):
                    at = _BLOCK * (first + block) + j
                    blocks[j, block] = words[at] if at < words.shape[0] else np.uint64(0)
        mask = np.uint64(0x00000000FFFFFFFF)
        width = 32
        while width:
            for start in range(0, _BLOCK, 2 * width):
                for j in range(start, start + width):
                    _exchange(blocks, SIDE_BY_SIDE * j, SIDE_BY_SIDE * (j + width), np.uint64(width), mask)
            width >>= 1
            mask ^= mask << np.uint64(width)
        for j in range(planes.shape[0]):
            for block in range(min(SIDE_BY_SIDE, columns - first)):
                planes[j, first + block] = blocks[j, block]


@instruction("void(array, int64, array)")
def _gather(builder: Any, words: Any, start: Any, blocks: Any) -> None:
    """blocks[j, i] = words[start + 64·i + j]."""
    kind = vector(64, SIDE_BY_SIDE)
    for j in range(0, _BLOCK, SIDE_BY_SIDE):
        rows = [load(builder, words, builder.add(start, word(_BLOCK * i + j)), kind) for i in range(SIDE_BY_SIDE)]
        for i, column in enumerate(transpose(builder, rows)):
            store(builder, column, blocks, SIDE_BY_SIDE * (j + i))


@instruction("void(array, int64, int64, uint64, uint64)")
def _exchange(builder: Any, blocks: Any, upper: Any, lower: Any, width: Any, mask: Any) -> None:
    """Bits of the row at `upper` outside the mask change places with those within it, `width` lower, at `lower`."""
    kind = vector(64, SIDE_BY_SIDE)
    a, b = load(builder, blocks, upper, kind), load(builder, blocks, lower, kind)
    shift = splat(builder, width, SIDE_BY_SIDE)
    swap = builder.and_(builder.xor(builder.lshr(a, shift), b), splat(builder, mask, SIDE_BY_SIDE))
    store(builder, builder.xor(a, builder.shl(swap, shift)), blocks, upper)
    store(builder, builder.xor(b, swap), blocks, lower)
