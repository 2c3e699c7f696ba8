"""What both parties of `mpc.sharing.bucket_sums` make of a batch of rows' trees, without a message.

Every row has a tree with a leaf for each bucket. Under each of several keys a leaf has a value of two words: its
encryption, added to itself (Matyas-Meyer-Oseas).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mpc.primitives import ggm
from mpc.primitives.aes import FixedKey
from mpc.sharing.ring import I64, U64

_LEAVES = 2**17  # at once, where no loop grows and sums each tree by itself


@dataclass(frozen=True)
class Forest:
    """`by_bucket` (keys x 2^depth x 2) collects the sums of values over all rows."""

    trees: ggm.Trees = field(repr=False)
    keys: Sequence[bytes] = field(repr=False)
    depth: int
    by_bucket: U64 = field(repr=False)

    @classmethod
    def empty(cls, trees: ggm.Trees, keys: Sequence[bytes], depth: int) -> "Forest":
        return cls(trees, keys, depth, np.zeros((len(keys), 1 << depth, 2), np.uint64))

    def hold(self, seeds: U64, left: U64, right: U64) -> tuple[U64, U64]:
        """Grow trees from n seeds (n x 2): the sums of levels' sides plus `left` and `right` (n x depth x 2 each), as
        n x depth x side x 2, and the sums of values by row (n x keys x 2)."""
        from mpc.kernels import aes, buckets

        masked = np.empty((len(seeds), self.depth, 4), np.uint64)
        by_row = np.empty((len(seeds), len(self.keys), 2), np.uint64)
        if aes.AVAILABLE and self.depth >= ggm.LEAST_DEPTH:
            memory = self._memory
            buckets.hold(
                seeds, self.trees.round_keys, self._round_keys, left, right, masked, self.by_bucket, by_row, *memory
            )
        else:
            self.portable_hold(seeds, left, right, masked, by_row)
        return masked.reshape(-1, self.depth, 2, 2), by_row

    def portable_hold(self, seeds: U64, left: U64, right: U64, masked: U64, by_row: U64) -> None:
        """`hold` for every processor, into `masked` and `by_row`."""
        for part in self._parts(len(seeds)):
            leaves, sums = ggm.portable_plant(self.trees, seeds[part], self.depth)
            masked[part, :, :2], masked[part, :, 2:] = sums[:, :, 0] ^ left[part], sums[:, :, 1] ^ right[part]
            self._add(leaves, by_row[part])

    def choose(self, points: I64, pads: U64, masked: U64, by_row: U64) -> None:
        """Regrow the trees but for the leaves at `points`, whose values become what `by_row` then lacks.

        `pads` (n x depth x 2) are what the other party added to the sides off the paths to the points.
        """
        from mpc.kernels import aes, buckets

        masked = masked.reshape(-1, self.depth, 4)
        if aes.AVAILABLE and self.depth >= ggm.LEAST_DEPTH:
            memory = self._memory
            buckets.choose(
                points, self.trees.round_keys, self._round_keys, pads, masked, by_row, self.by_bucket, *memory
            )
        else:
            self.portable_choose(points, pads, masked, by_row)

    def portable_choose(self, points: I64, pads: U64, masked: U64, by_row: U64) -> None:
        """`choose` for every processor."""
        side = ggm.sides(points, self.depth)[:, :, None]
        known = np.where(side, masked[:, :, 2:], masked[:, :, :2]) ^ pads
        for part in self._parts(len(points)):
            leaves = ggm.portable_puncture(self.trees, points[part], known[part], self.depth)
            sums = np.empty((len(leaves), len(self.keys), 2), np.uint64)
            self._add(leaves, sums)
            for key, by_bucket in enumerate(self.by_bucket):
                np.add.at(by_bucket, points[part], by_row[part, key] - sums[:, key])

    def _add(self, leaves: U64, by_row: U64) -> None:
        from mpc.kernels.buckets import sum_leaves

        sums = np.empty((len(leaves), 2), np.uint64)
        for index, (key, by_bucket) in enumerate(zip(self.keys, self.by_bucket, strict=True)):
            sum_leaves(FixedKey(key).encrypt(leaves) ^ leaves, by_bucket, sums)
            by_row[:, index] = sums

    def _parts(self, rows: int) -> list[slice]:
        step = max(1, _LEAVES >> self.depth)
        return [slice(start, start + step) for start in range(0, rows, step)]

    @cached_property
    def _round_keys(self) -> U64:
        from mpc.kernels.aes import expand_key

        return np.stack([expand_key(key) for key in self.keys])

    @cached_property
    def _memory(self) -> tuple[U64, U64]:
        """For the one tree that a loop works on."""
        return np.empty((1 << self.depth, 2), np.uint64), np.empty(8, np.uint64)
