"""Matching against Python's sets; most tags share their high word, so that the low one decides."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mpc.kernels import tags

TAGS = st.tuples(st.integers(0, 3), st.integers(0, 9))
SETS = st.sets(TAGS, max_size=30).map(sorted)
LISTS = st.lists(TAGS, max_size=8).map(sorted)


def words(pairs: list[tuple[int, int]], which: int) -> np.ndarray:
    return np.array([pair[which] for pair in pairs], np.uint64)


def mark(ours: list[tuple[int, int]], theirs: list[tuple[int, int]]) -> tuple[bool, list[bool], list[bool]]:
    hits, other_hits = np.zeros(len(ours), bool), np.zeros(len(theirs), bool)
    certain = tags.mark_common(words(ours, 0), words(ours, 1), words(theirs, 0), words(theirs, 1), hits, other_hits)
    return certain, hits.tolist(), other_hits.tolist()


@given(ours=SETS, theirs=SETS)
def test_exactly_the_common_tags_are_marked(ours: list[tuple[int, int]], theirs: list[tuple[int, int]]) -> None:
    assert mark(ours, theirs) == (True, [tag in theirs for tag in ours], [tag in ours for tag in theirs])


@given(ours=LISTS, theirs=LISTS)
def test_a_common_tag_that_repeats_makes_the_result_uncertain(
    ours: list[tuple[int, int]], theirs: list[tuple[int, int]]
) -> None:
    common = set(ours) & set(theirs)
    assert mark(ours, theirs)[0] == all(ours.count(tag) == theirs.count(tag) == 1 for tag in common)


@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=4))
def test_disorder_is_noticed(pairs: list[tuple[int, int]]) -> None:
    assert tags.ascending(words(pairs, 0), words(pairs, 1)) == (pairs == sorted(pairs))
