"""Matching against Python's sets; most tags share their high word, so that the low one decides."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from mpc.kernels import tags
from mpc.psi.tags import index_tags

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


@given(
    ours=st.lists(st.integers(0, 2**9 - 1), max_size=40),
    theirs=st.lists(st.integers(0, 2**9 - 1), max_size=40).map(sorted),
    bits=st.integers(0, 9),
    index_bits=st.integers(1, 9),
)
def test_looking_up_finds_every_pair_of_a_place_and_a_row(
    ours: list[int], theirs: list[int], bits: int, index_bits: int
) -> None:
    """Tags differ in their leading 9 bits, of which `bits` are prefixes."""
    high = np.array([tag >> 9 - bits for tag in theirs], np.uint64)
    low = np.array([(tag << 55 + bits) % 2**64 for tag in theirs], np.uint64)
    outputs = np.array([[tag << 55, 0, 9, 9] for tag in ours], np.uint64).reshape(-1, 4)
    index = index_tags(high, low, bits, index_bits)
    found = np.full((len(ours), 2), -1)
    count = tags.look_up(outputs, bits, index_bits, index, high, low, found)
    expected = [(j, i) for i, tag in enumerate(ours) for j, other in enumerate(theirs) if tag == other]
    assert count == len(expected)
    assert found[:count].tolist() == [list(pair) for pair in expected[: len(ours)]]


@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=4))
def test_disorder_is_noticed(pairs: list[tuple[int, int]]) -> None:
    assert tags.ascending(words(pairs, 0), words(pairs, 1)) == (pairs == sorted(pairs))


@given(packed=st.binary(max_size=40), spare=st.integers(-3, 3))
@example(packed=b"\xff" * 9, spare=-3)
def test_ones_are_found_and_no_more_are_written_than_there_is_room_for(packed: bytes, spare: int) -> None:
    octets = np.frombuffer(packed, np.uint8)
    places = np.flatnonzero(np.unpackbits(octets, bitorder="little"))
    most = max(0, len(places) + spare)
    memory = np.full(most + 16, 2**64 - 1, np.uint64)
    count = tags.places_of_ones(octets, memory[: most + 8])
    assert count == len(places) if most >= len(places) else count > most
    kept = min(most, len(places))
    assert memory[:kept].tolist() == (places - np.arange(len(places)))[:kept].tolist()
    assert (memory[most + 8 :] == 2**64 - 1).all()
