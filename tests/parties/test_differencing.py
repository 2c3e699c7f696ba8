"""Reports that differ by a few people are refused, whatever way their rows are grouped; others are not."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import PolicyDenied
from parties import differencing
from parties.differencing import I64

PEOPLE = np.arange(100)


def all_but(*out: int) -> I64:
    """One set: everybody but a few."""
    sets = np.zeros(100, np.int64)
    sets[list(out)] = -1
    return sets


def refused(sets: I64, earlier: I64, people: I64 = PEOPLE, minimum: int = 5) -> bool:
    try:
        differencing.check(sets, people, [differencing.pack(earlier)], minimum)
    except PolicyDenied as denial:
        assert "rule differencing" in str(denial)
        return True
    return False


def test_the_same_rows_may_be_asked_for_again() -> None:
    assert not refused(all_but(3), all_but(3))


def test_rows_that_differ_by_fewer_people_than_the_minimum_are_refused() -> None:
    assert refused(all_but(), all_but(7))
    assert refused(all_but(7), all_but(8))
    assert refused(all_but(*range(4)), all_but())
    assert not refused(all_but(*range(5)), all_but())


def test_one_group_of_many_is_compared_with_each_group_and_with_all() -> None:
    groups = PEOPLE % 4
    one = np.where(groups == 2, 0, -1)
    one[2] = -1
    assert refused(one, groups)
    assert refused(groups, one)
    assert not refused(np.where(groups == 2, 0, -1), groups)


def test_the_union_of_groups_is_compared_too() -> None:
    halves = np.where(PEOPLE < 50, 0, 1)
    assert refused(all_but(99), halves)


def test_a_group_is_compared_with_unions_of_several() -> None:
    quarters = PEOPLE // 25
    most_of_two = np.where(PEOPLE < 49, 0, -1)
    assert refused(most_of_two, quarters)
    assert refused(quarters, most_of_two)
    assert not refused(np.where(PEOPLE < 50, 0, -1), quarters)
    assert not refused(np.where(PEOPLE < 56, 0, -1), quarters)


def test_groups_of_which_nothing_was_released_are_in_no_union() -> None:
    few = np.where(PEOPLE < 50, 0, np.where(PEOPLE < 54, 1, -1))
    assert refused(np.where(PEOPLE < 54, 0, -1), few)  # it differs from the one released group by four
    assert not refused(np.where(PEOPLE < 60, 0, -1), few)


@given(st.data())
def test_it_finds_what_comparing_with_every_union_finds(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 30))
    ours, theirs = (
        np.array(data.draw(st.lists(st.integers(-1, 3), min_size=size, max_size=size)), np.int64) for _ in range(2)
    )
    minimum = data.draw(st.integers(1, 6))

    def released(of: I64) -> list[set[int]]:
        return [rows for i in range(4) if len(rows := set(np.flatnonzero(of == i))) >= minimum]

    def unions(groups: list[set[int]]) -> list[set[int]]:
        chosen = [c for n in range(1, len(groups) + 1) for c in itertools.combinations(groups, n)]
        return [set().union(*each) for each in chosen]

    def near(one: list[set[int]], other: list[set[int]]) -> bool:
        return any(0 < len(a ^ b) < minimum for a in one for b in other)

    close = near(released(ours), unions(released(theirs))) or near(released(theirs), unions(released(ours)))
    found = refused(ours, theirs, np.arange(size), minimum)
    assert found >= close
    if found and not close:  # all groups together are compared too, with those of which nothing was released
        whole = [set(np.flatnonzero(of >= 0)) for of in (ours, theirs)]
        assert near([whole[0]], [*unions(released(theirs)), whole[1]]) or near([whole[1]], unions(released(ours)))


def test_people_count_and_not_rows() -> None:
    people = PEOPLE // 10
    assert refused(all_but(*range(10)), all_but(), people)
    assert refused(all_but(*range(40)), all_but(), people)
    assert not refused(all_but(*range(50)), all_but(), people)


def test_rows_of_people_with_few_are_told_from_rows_of_one_with_many() -> None:
    people = np.where(PEOPLE < 50, 0, PEOPLE)  # the first has fifty rows
    assert not refused(all_but(*range(90, 96)), all_but(), people)  # six people
    assert refused(all_but(*range(90, 94)), all_but(), people)
    others = np.where(PEOPLE < 40, 0, np.where(PEOPLE < 80, 1, PEOPLE))
    one, other = all_but(*range(40)), all_but(*range(40, 80))  # most rows of each are not in the other
    assert refused(one, other, others)


def test_a_group_of_exactly_the_minimum_was_released() -> None:
    groups = np.where(PEOPLE < 5, 0, np.where(PEOPLE < 50, 1, 2))
    assert refused(np.where(PEOPLE < 48, 0, -1), groups)


def test_groups_below_the_minimum_are_never_released_and_endanger_nothing() -> None:
    few = np.where(PEOPLE < 4, 0, -1)
    fewer = np.where(PEOPLE < 3, 0, -1)
    assert not refused(few, fewer)


def test_every_earlier_report_is_compared() -> None:
    packed = [differencing.pack(all_but(*range(start, start + 20))) for start in (0, 20, 40)]
    differencing.check(all_but(*range(60, 80)), PEOPLE, packed, 5)
    with pytest.raises(PolicyDenied):
        differencing.check(all_but(*range(40, 59)), PEOPLE, packed, 5)


@given(st.data())
def test_it_finds_what_comparing_set_by_set_finds(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 30))
    arrays = [
        np.array(data.draw(st.lists(st.integers(low, high), min_size=size, max_size=size)))
        for low, high in ((-1, 2), (-1, 2), (0, 12))
    ]
    ours, theirs, people = arrays
    minimum = data.draw(st.integers(1, 6))

    def sets(of: I64) -> list[set[int]]:
        return [set(np.flatnonzero(of == i)) for i in range(3)] + [set(np.flatnonzero(of >= 0))]

    def count(rows: set[int]) -> int:
        return len({int(people[row]) for row in rows})

    close = any(
        0 < count(a ^ b) < minimum and min(count(a), count(b)) >= minimum for a in sets(ours) for b in sets(theirs)
    )
    assert refused(ours, theirs, people, minimum) >= close
