"""How fast a peer may make a node keep what leads to nothing."""

from hypothesis import given
from hypothesis import strategies as st

from parties.throttle import Throttle


def test_a_burst_is_taken_at_once_and_told_of_once() -> None:
    throttle = Throttle(burst=3, every_s=10)
    assert [throttle.charge("a", 0) for _ in range(3)] == [False, False, True]
    assert throttle.wait_s("a", 0) == 10
    assert throttle.wait_s("b", 0) == 0
    assert throttle.wait_s("a", 5) == 5
    assert throttle.wait_s("a", 10) == 0
    assert not throttle.charge("a", 10)
    assert throttle.wait_s("a", 10) == 10
    assert throttle.wait_s("a", 1000) == 0
    assert [throttle.charge("a", 1000) for _ in range(3)] == [False, False, True]


@given(st.lists(st.floats(0, 50), max_size=200))
def test_no_more_than_the_burst_and_one_each_period_are_taken(pauses: list[float]) -> None:
    throttle = Throttle(burst=5, every_s=10)
    now = 0.0
    for taken, pause in enumerate(pauses, start=1):
        now += pause
        now += throttle.wait_s("a", now)
        throttle.charge("a", now)
        assert taken <= 5 + now / 10 + 1e-6
