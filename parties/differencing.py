"""Whether two reports could be told apart by a few people: the figures of two sets of rows that differ by fewer people
than the minimum group give away, by subtraction, what those few are.

A report's sets are those of its groups, each with the rows of the dataset that count in it, and all unions of them, as
who has the figures of groups has those of their union. Sets with fewer people than the minimum are left out: nothing is
released of them. Equal sets are no danger.
"""

import zlib
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpc.errors import PolicyDenied

I64 = NDArray[np.int64]


def pack(sets: I64) -> bytes:
    """The set of each row (-1: none), as bytes."""
    return zlib.compress(sets.astype("<i4").tobytes())


def people_of(keys: pa.Table) -> I64:
    """Number the people of rows, who are the different combinations of values in `keys`."""
    import pyarrow.compute as pc  # takes longer to load than a small job, and few jobs have rows to tell apart

    people = np.zeros(keys.num_rows, np.int64)
    for column in keys.columns:
        codes = pc.dictionary_encode(column.cast(pa.large_string()).combine_chunks()).indices
        codes = pc.fill_null(codes, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        _, people = np.unique(people * (codes.max(initial=0) + 2) + codes + 1, return_inverse=True)
    return people.astype(np.int64)


def check(sets: I64, people: I64, earlier: Iterable[bytes], minimum: int) -> None:
    """Raise `PolicyDenied` if a set differs from an earlier one by some people, but fewer than `minimum`.

    `sets` and `people` give each row's set and person, `earlier` the packed sets of reports on the same rows.
    """
    most = int(np.bincount(people, minlength=1).max(initial=1))
    for packed in earlier:
        others = np.frombuffer(zlib.decompress(packed), "<i4").astype(np.int64)
        for ours in (sets, np.minimum(sets, 0)):
            for theirs in (others, np.minimum(others, 0)):
                if _too_close(ours, theirs, people, minimum, most):
                    raise PolicyDenied(
                        "rule differencing: the report's rows differ from those of an earlier report by fewer people "
                        f"than the minimum group of {minimum}",
                        hint="ask for the rows of the earlier report, or for rows that differ by more people",
                    )


def _too_close(ours: I64, theirs: I64, people: I64, minimum: int, most: int) -> bool:
    """Whether two of their sets, or a set and a union of the other's, differ by 1 to `minimum` - 1 people.

    `most` is the rows of one person at most.
    """
    width = int(theirs.max(initial=-1)) + 2
    height = int(ours.max(initial=-1)) + 2
    common = np.bincount((ours + 1) * width + theirs + 1, minlength=height * width).reshape(height, width)
    difference = common.sum(axis=1)[:, None] + common.sum(axis=0)[None, :] - 2 * common
    # Fewer people than the minimum cannot have more rows than this.
    close = (difference > 0) & (difference < minimum * most)
    close[0, :] = close[:, 0] = False
    for a, b in np.argwhere(close):
        in_ours, in_theirs = ours == a - 1, theirs == b - 1
        if min(_count(people, in_ours), _count(people, in_theirs)) < minimum:
            continue
        if _count(people, in_ours != in_theirs) < minimum:
            return True
    return _near_union(ours, theirs, common, people, minimum, most) or _near_union(
        theirs, ours, common.T, people, minimum, most
    )


def _near_union(sets: I64, groups: I64, common: I64, people: I64, minimum: int, most: int) -> bool:
    """Whether one of `sets` differs by 1 to `minimum` - 1 people from the union of `groups` that is nearest to it.

    `common` counts the rows of each set and group, after those of none. With one row a person no other union can be
    that near: it would differ by a whole group more. With several rows, the union is that which differs by the fewest.
    """
    size = common.sum(axis=0)
    of_people = size if most == 1 else _people_in(groups, people, len(size))
    chosen = (2 * common > size) & (of_people >= minimum)
    chosen[:, 0] = False  # rows in no group
    differing = np.where(chosen, size - common, common).sum(axis=1)
    for own in np.flatnonzero((differing > 0) & (differing < minimum * most) & chosen.any(axis=1)):
        in_set = sets == own - 1
        differ = in_set != chosen[own][groups + 1]
        if own and _count(people, in_set) >= minimum and _count(people, differ) < minimum:
            return True
    return False


def _people_in(groups: I64, people: I64, width: int) -> I64:
    """How many people each group has, after those in none."""
    total = int(people.max(initial=0)) + 1
    pairs = np.unique((groups + 1) * total + people)
    return np.bincount(pairs // total, minlength=width)


def _count(people: I64, chosen: NDArray[np.bool_]) -> int:
    return len(np.unique(people[chosen]))
