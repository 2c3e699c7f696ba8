"""The code behind silent transfers: a binary expand-convolute code of rate 1/2, and how much noise it needs.

The encoder takes noise e of 2k bits, one of them set in a random place of each of `BLOCKS` blocks, to k bits that look
uniform if dual LPN holds for the code: out = e_1 + B·C·C'·e_2, as in `mpc.primitives.lpn` but with entries and noise of
one bit. What is encoded are blocks of 128 bits, of which bit 0 carries the noise; the other bits of a block are
pseudorandom and independent of it, so that there is one instance of binary LPN, not 128 on the same noise positions.

Security: regular syndrome decoding (dual LPN with regular noise) over GF(2) for this code: an assumption. Linear tests
          succeed with bias (1 - 2d)^t for relative distance d and t blocks of noise. d = 0.15 is what libOTe
          (ConfigureCode.cpp) estimates, and calls aggressive, for the code of weight 7.
Source:   Raghuraman, Rindal, Tanguy, CRYPTO 2023, eprint.iacr.org/2023/882; regular noise and linear tests: Couteau,
          Rindal, Raghuraman, CRYPTO 2021, eprint.iacr.org/2021/1150.
"""

import math

import numpy as np
import numpy.typing as npt

from mpc.primitives.lpn import PADDING, PSEUDO_DISTANCE, SECURITY_BITS, WEIGHT, Code, code, room

U64 = npt.NDArray[np.uint64]


def noise_blocks(distance: float = PSEUDO_DISTANCE, bits: int = SECURITY_BITS) -> int:
    """The number of noise positions for which linear tests have a bias of at most 2^-bits, rounded up to eights."""
    return -(-math.ceil(-bits / math.log2(1 - 2 * distance)) // 8) * 8


BLOCKS = noise_blocks()


def code_of(outputs: int) -> Code:
    """The code that all parties use for this many outputs."""
    return code(outputs, WEIGHT)


def encode(vectors: U64, code: Code) -> None:
    """Replace the first half of each of four vectors (4 x 2·outputs x 2 words) by its encoding."""
    from mpc.kernels import binary_lpn

    mixed = room(PADDING + code.outputs, binary_lpn.WORDS)
    mixed[:PADDING] = 0
    binary_lpn.gather(vectors, code.outputs, mixed[PADDING:])
    binary_lpn.convolve(mixed, code.taps[0])
    mixed[:PADDING] = mixed[-PADDING:]
    binary_lpn.convolve(mixed, code.taps[1])
    binary_lpn.expand(vectors, mixed, code.choices, code.weight)
