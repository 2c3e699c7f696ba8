"""Products of matrices of words modulo 2^64, tile by tile.

A tile of the result stays in vector registers while it goes through a stretch of the inner dimension: rows of the left
matrix, an element at a time, against a panel of the right one, some vectors wide. Processors without a product of
64-bit lanes are given one of three of 32 bits by LLVM.
Source: Goto, van de Geijn, ACM Transactions on Mathematical Software 34 (2008), doi.org/10.1145/1356052.1356053.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from mpc.kernels.instructions import for_range, load, splat, store, vector, word
from mpc.kernels.jit import Instruction, instruction, kernel
from mpc.kernels.machine import features

U64 = npt.NDArray[np.uint64]

DEPTH = 256  # of the inner dimension at a time: a panel stays in a core's second cache
_LANES, _ROWS = (8, 8) if "avx512dq" in features() else (4, 4)
_VECTORS = 2
PANEL = _LANES * _VECTORS  # columns


@kernel("void(const uint64[:, ::1], const uint64[:, ::1], uint64[:, :, ::1], uint64[:, ::1])")
def add_product(x: U64, y: U64, panels: U64, out: U64) -> None:
    """out += x·y, where `out` has as many columns as fill whole panels.

    `panels` is scratch of panels x `DEPTH` x `PANEL` words.
    """
    rows, inner, width = x.shape[0], x.shape[1], out.shape[1]
    whole = rows - rows % _ROWS
    for start in range(0, inner, DEPTH):
        depth = min(DEPTH, inner - start)
        for panel in range(panels.shape[0]):
            for k in range(depth):
                for j in range(PANEL):
                    column = PANEL * panel + j
                    panels[panel, k, j] = y[start + k, column] if column < y.shape[1] else np.uint64(0)
            for i in range(0, whole, _ROWS):
                _tile(x[i:], start, inner, panels[panel], depth, out[i:], PANEL * panel, width)
            for i in range(whole, rows):
                _row(x[i:], start, inner, panels[panel], depth, out[i:], PANEL * panel, width)


def _tile_of(rows: int) -> Instruction:
    @instruction("void(array, int64, int64, array, int64, array, int64, int64)")
    def emit(
        builder: Any, x: Any, start: Any, inner: Any, panel: Any, depth: Any, out: Any, column: Any, width: Any
    ) -> None:
        """The product of `rows` rows of x from element `start` on, `depth` of them, and a panel, added to `out`."""
        kind = vector(64, _LANES)
        zero = ir.Constant(kind, [0] * _LANES)

        def step(k: Any, sums: Sequence[Any]) -> Sequence[Any]:
            right = [load(builder, panel, _plus(builder, k, PANEL, _LANES * v), kind) for v in range(_VECTORS)]
            at, following = builder.add(start, k), []
            for row in range(rows):
                element = builder.load(builder.gep(x, [builder.add(at, builder.mul(inner, word(row)))]), align=8)
                left = splat(builder, element, _LANES)
                following += [
                    builder.add(sums[_VECTORS * row + v], builder.mul(left, right[v])) for v in range(_VECTORS)
                ]
            return following

        sums = for_range(builder, depth, [zero] * (rows * _VECTORS), step)
        for row in range(rows):
            for v in range(_VECTORS):
                at = builder.add(builder.add(column, word(_LANES * v)), builder.mul(width, word(row)))
                store(builder, builder.add(load(builder, out, at, kind), sums[_VECTORS * row + v]), out, at)

    return emit


def _plus(builder: Any, index: Any, factor: int, offset: int) -> Any:
    return builder.add(builder.mul(index, word(factor)), word(offset))


_tile, _row = _tile_of(_ROWS), _tile_of(1)
