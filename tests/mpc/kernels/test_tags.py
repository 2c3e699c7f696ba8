"""Matching against Python's sets; most tags share their high word, so that the low one decides."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mpc.kernels import tags

LISTS = st.sets(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=30).map(sorted)


def words(pairs: list[tuple[int, int]], which: int) -> np.ndarray:
    return np.array([pair[which] for pair in pairs], np.uint64)


@given(ours=LISTS, theirs=LISTS)
def test_exactly_the_common_tags_are_marked(ours: list[tuple[int, int]], theirs: list[tuple[int, int]]) -> None:
    hits, other_hits = np.zeros(len(ours), bool), np.zeros(len(theirs), bool)
    tags.mark_common(words(ours, 0), words(ours, 1), words(theirs, 0), words(theirs, 1), hits, other_hits)
    assert hits.tolist() == [tag in theirs for tag in ours]
    assert other_hits.tolist() == [tag in ours for tag in theirs]


@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=4))
def test_order_and_repetition_are_noticed(pairs: list[tuple[int, int]]) -> None:
    assert tags.strictly_ascending(words(pairs, 0), words(pairs, 1)) == (pairs == sorted(set(pairs)))
