"""A party's factors as columns over keys: one entry a different key and own group, in limbs."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mpc.errors import InputError
from mpc.keys import Keys
from mpc.reports.limbs import Extent, limb_count
from mpc.reports.measures import Factor, largest
from mpc.reports.sides import I64, Side


@dataclass(frozen=True)
class OwnColumns:
    """The own side by key. `keys` are those of the rows that count, numbered as the join numbers them."""

    side: Side
    keys: Keys = field(repr=False)

    @cached_property
    def counted(self) -> I64:
        """The rows that count and have a key."""
        return np.flatnonzero(self.side.keep & (self.keys.key_of_row >= 0))

    @cached_property
    def extent(self) -> Extent:
        """The extent of the own side."""
        key = self.keys.key_of_row[self.counted]
        most = int(np.bincount(key, minlength=1).max(initial=1)) if len(key) else 1
        noise = self.side.params.noise
        if noise is not None:
            declared = noise.rows(self.side.party)
            if most > declared:
                raise InputError(
                    f"a person has more rows than the {declared} that were declared for {self.side.party}",
                    hint="declare more rows of a person, which makes the noise larger, or leave rows out",
                )
            most = declared  # what the data have stays unknown
        return Extent(len(self.side.labels), len(self.keys.digests), 1 << (most - 1).bit_length())

    @cached_property
    def group_of_key(self) -> I64:
        """The group of each key, -1 for none; for a side with one row a key."""
        groups = np.full(len(self.keys.digests), -1, np.int64)
        groups[self.keys.key_of_row[self.counted]] = self.side.groups[self.counted]
        return groups

    def limb(self, factor: Factor, bits: int, index: int) -> I64:
        """Limb `index` of a factor, of the rows that count."""
        values = self.side.values(factor)[self.counted] >> (bits * index)
        is_last = index == limb_count(largest(self.side.params, self.side.party, factor), bits) - 1
        return np.asarray(values if is_last else values & ((1 << bits) - 1)).astype(np.int64)

    def people(self) -> I64:
        """1 for each key and group that has a row."""
        return np.minimum(self.sums(np.ones(len(self.counted), np.int64)), 1)

    def sums(self, values: I64) -> I64:
        """`values` of the rows that count, added up by key and group: shape (keys, groups)."""
        groups = len(self.side.labels)
        sums = np.zeros(len(self.keys.digests) * groups, np.int64)
        np.add.at(sums, self.keys.key_of_row[self.counted] * groups + self.side.groups[self.counted], values)
        return sums.reshape(-1, groups)

    def by_key(self, values: I64) -> I64:
        """`values` of the rows that count, added up by key: shape (keys,)."""
        sums = np.zeros(len(self.keys.digests), np.int64)
        np.add.at(sums, self.keys.key_of_row[self.counted], values)
        return sums
