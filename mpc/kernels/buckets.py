"""Sums of the rows of a table by bucket, where each row has a value for every bucket."""

import numpy as np
import numpy.typing as npt

from mpc.kernels.jit import kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


@kernel("void(const uint64[:, :, ::1], uint64[:, ::1], uint64[:, ::1])")
def sum_leaves(leaves: U64, by_bucket: U64, by_row: U64) -> None:
    """Add up leaves (rows x buckets x 2), modulo 2^64: onto `by_bucket` over rows, and into `by_row` over buckets.

    `by_bucket` may have fewer buckets than there are leaves a row; the others count for `by_row` alone.
    """
    kept = by_bucket.shape[0]
    for row in range(leaves.shape[0]):
        low = high = np.uint64(0)
        for bucket in range(leaves.shape[1]):
            low += leaves[row, bucket, 0]
            high += leaves[row, bucket, 1]
        by_row[row, 0], by_row[row, 1] = low, high
        for bucket in range(kept):
            by_bucket[bucket, 0] += leaves[row, bucket, 0]
            by_bucket[bucket, 1] += leaves[row, bucket, 1]
