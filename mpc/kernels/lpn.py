"""The two linear maps of an expand-convolute code over GF(2^64), on several vectors ("planes") at once.

Field elements are uint64 as in `mpc.kernels.gf64`. A plane is a row of a two-dimensional array; the maps are linear
over GF(2^64), so planes that hold the coordinates of an extension field are encoded coordinate by coordinate.
"""

import numpy as np
import numpy.typing as npt

from mpc.kernels.gf64 import REDUCTION
from mpc.kernels.jit import kernel

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

WINDOW = 24  # earlier values that the convolution may add, chosen by the bits of `taps`

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_TOP = np.uint64(63)
_REDUCTION = np.uint64(REDUCTION)


@kernel("void(uint64[:, ::1], uint32[::1])")
def convolve(planes: U64, taps: U32) -> None:
    """In place, y[i] = x[i] + sum over j < 24 of taps[i]_j·y[i - 24 + j] + X·y[i - 25].

    The first 25 places of `planes` are the values before the start: place 25 + i belongs to taps[i].
    """
    for i in range(taps.shape[0]):
        chosen = np.uint64(taps[i])
        for plane in range(planes.shape[0]):
            earlier = planes[plane, i + 1 : i + 1 + WINDOW]
            oldest = planes[plane, i]
            total = planes[plane, i + 1 + WINDOW] ^ (oldest << _ONE) ^ (_REDUCTION * (oldest >> _TOP))
            for j in range(WINDOW):
                total ^= earlier[j] & (_ZERO - ((chosen >> np.uint64(j)) & _ONE))
            planes[plane, i + 1 + WINDOW] = total


@kernel("void(uint64[:, ::1], uint64[:, ::1], uint32[:, ::1], int64, int64, uint64[:, ::1])")
def expand(plain: U64, mixed: U64, choices: U32, weight: int, step: int, out: U64) -> None:
    """out[i] = plain[i] + sum over j < weight of X^s·mixed[r], a sparse matrix with monomial coefficients.

    `mixed` comes with the 25 values in front of it, which are not used. Row i of `choices` has `weight` random words,
    from which the positions r (as fractions of the length), then words of eight random nibbles, from which s =
    step·nibble. `step` is at most 4.
    """
    length = np.uint64(mixed.shape[1] - 1 - WINDOW)
    for plane in range(plain.shape[0]):
        source = mixed[plane, 1 + WINDOW :]
        for i in range(out.shape[1]):
            total = plain[plane, i]
            for j in range(weight):
                value = source[(np.uint64(choices[i, j]) * length) >> np.uint64(32)]
                nibble = (choices[i, weight + (j >> 3)] >> np.uint32(4 * (j & 7))) & np.uint32(15)
                shift = np.uint64(step) * np.uint64(nibble)
                over = (value >> _ONE) >> (_TOP - shift)  # below X^60, so that one reduction is enough
                reduced = over ^ (over << _ONE) ^ (over << np.uint64(3)) ^ (over << np.uint64(4))
                total ^= (value << shift) ^ reduced
            out[plane, i] = total
