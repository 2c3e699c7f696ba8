"""Cuckoo hashing: every key in one of the bins that its hash functions name, at most one a bin."""

import numpy as np
import numpy.typing as npt

from mpc.kernels.jit import kernel

I64 = npt.NDArray[np.int64]

_STEP = np.uint64(6364136223846793005)  # of a linear congruential generator, Knuth's MMIX
_ADD = np.uint64(1442695040888963407)


@kernel("int64(const int64[:, ::1], uint64, int64, int64[::1], int64[::1])")
def place(bins: I64, seed: np.uint64, most_moves: int, key_in: I64, function_of: I64) -> int:
    """Put key i into one of bins[i], moving others on; gives how many keys found no place.

    `key_in` (-1 at first) receives the key of each bin, `function_of` (a place for each bin) the column of `bins` by
    which it is there.
    """
    state = seed
    functions = bins.shape[1]
    homeless = 0
    for start in range(bins.shape[0]):
        key = start
        for _ in range(most_moves):
            placed = False
            for function in range(functions):
                target = bins[key, function]
                if key_in[target] < 0:
                    key_in[target], function_of[target] = key, function
                    placed = True
                    break
            if placed:
                key = -1
                break
            state = state * _STEP + _ADD
            function = int((state >> np.uint64(33)) % np.uint64(functions))
            target = bins[key, function]
            evicted = int(key_in[target])
            key_in[target] = key
            key = evicted
            function_of[target] = function
        if key >= 0:
            homeless += 1
    return homeless
