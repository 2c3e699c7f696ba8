"""One level of GGM trees: children from what a fixed-key cipher made of their parents, and the sums of each side."""

import numpy as np
import numpy.typing as npt

from mpc.kernels.jit import kernel

U64 = npt.NDArray[np.uint64]


@kernel("void(uint64[:, :, ::1], uint64[:, :, ::1], uint64[:, :, ::1], uint64[:, :, ::1], uint64[:, :, ::1])")
def grow(parents: U64, left: U64, right: U64, children: U64, sums: U64) -> None:
    """children 2i and 2i + 1 of every tree = left[i] + parents[i] and right[i] + parents[i] (Matyas-Meyer-Oseas).

    Arrays are trees x nodes x 2 words; `sums` (trees x 2 x 2) receives the sum of all left and of all right children.
    """
    for tree in range(parents.shape[0]):
        a = b = c = d = np.uint64(0)
        for i in range(parents.shape[1]):
            low, high = parents[tree, i, 0], parents[tree, i, 1]
            left_low, left_high = left[tree, i, 0] ^ low, left[tree, i, 1] ^ high
            right_low, right_high = right[tree, i, 0] ^ low, right[tree, i, 1] ^ high
            children[tree, 2 * i, 0], children[tree, 2 * i, 1] = left_low, left_high
            children[tree, 2 * i + 1, 0], children[tree, 2 * i + 1, 1] = right_low, right_high
            a, b, c, d = a ^ left_low, b ^ left_high, c ^ right_low, d ^ right_high
        sums[tree, 0, 0], sums[tree, 0, 1], sums[tree, 1, 0], sums[tree, 1, 1] = a, b, c, d
