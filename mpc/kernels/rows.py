"""Chosen rows of columns of text."""

import numpy as np
import numpy.typing as npt

from mpc.kernels.jit import kernel

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]


@kernel("void(const uint8[::1], const int64[::1], const int64[::1], uint8[::1])")
def gather(data: U8, starts: I64, ends: I64, out: U8) -> None:
    """Copy piece after piece of `data`, from starts[i] on, to `out`, where piece i ends at ends[i]."""
    at = 0
    for i in range(starts.shape[0]):
        length = ends[i] - at
        source, target = data[starts[i] : starts[i] + length], out[at : at + length]
        for j in range(length):
            target[j] = source[j]
        at += length
