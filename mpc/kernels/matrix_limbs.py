"""Words as three signed limbs in float64, and sums of products of limbs as words: for exact products by BLAS."""

import numpy as np
import numpy.typing as npt

from mpc.kernels.jit import kernel

F64 = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]

LIMB_BITS = 22

_SHIFT = np.int64(LIMB_BITS)
_HALF = np.int64(1 << (LIMB_BITS - 1))
_MASK = np.int64((1 << LIMB_BITS) - 1)


@kernel("void(const uint64[:, ::1], float64[:, :, ::1])")
def split(words: U64, limbs: F64) -> None:
    """words = limbs[0] + 2^22·limbs[1] + 2^44·limbs[2] modulo 2^64, each at most 2^21 in magnitude."""
    for i in range(words.shape[0]):
        for j in range(words.shape[1]):
            rest = np.int64(words[i, j])
            for k in range(3):
                limb = ((rest + _HALF) & _MASK) - _HALF
                limbs[k, i, j] = np.float64(limb)
                rest = (rest - limb) >> _SHIFT


@kernel("void(const float64[:, ::1], int64, uint64[:, ::1])")
def add_shifted(products: F64, shift: int, out: U64) -> None:
    """out += 2^shift·products, integers below 2^53 in magnitude, modulo 2^64."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += np.uint64(np.int64(products[i, j])) << np.uint64(shift)
