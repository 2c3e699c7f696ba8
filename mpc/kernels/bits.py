"""Arrays of words as bit planes and back: plane j holds bit j of every word, 64 words to a word."""

import numpy as np
import numpy.typing as npt

from mpc.kernels.jit import kernel

U64 = npt.NDArray[np.uint64]

_ONE = np.uint64(1)


@kernel("void(uint64[::1], uint64[:, ::1], uint64[::1])")
def to_planes(words: U64, planes: U64, block: U64) -> None:
    """planes[j, i] = bits j of words[64·i], ..., words[64·i + 63], the least significant first; zeros after the last.

    A 64 x 64 matrix of bits is transposed by exchanging the off-diagonal quarters, then those of each quarter.
    `planes` may have fewer than 64 rows: those of the lowest bits. `block` is scratch of 64 words.
    """
    for i in range(planes.shape[1]):
        count = min(64, words.shape[0] - 64 * i)
        for j in range(count):
            block[j] = words[64 * i + j]
        for j in range(count, 64):
            block[j] = 0
        mask = np.uint64(0x00000000FFFFFFFF)
        width = 32
        while width:
            shift = np.uint64(width)
            for start in range(0, 64, 2 * width):
                for j in range(start, start + width):
                    swap = ((block[j] >> shift) ^ block[j + width]) & mask
                    block[j] ^= swap << shift
                    block[j + width] ^= swap
            width >>= 1
            mask ^= mask << np.uint64(width)
        for j in range(planes.shape[0]):
            planes[j, i] = block[j]
