"""Reports that differ by a few people are refused, whatever way their rows are grouped; others are not."""

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


def test_people_count_and_not_rows() -> None:
    people = PEOPLE // 10
    assert refused(all_but(*range(10)), all_but(), people)
    assert refused(all_but(*range(40)), all_but(), people)
    assert not refused(all_but(*range(50)), all_but(), people)


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
    assert refused(ours, theirs, people, minimum) == close
