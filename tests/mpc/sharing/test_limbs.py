import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.sharing.limbs import LIMBS, MAX_BITS, join, split
from mpc.sharing.masked_sum import largest_summand
from mpc.testing import InsecureSeededRng

NUMBERS = st.integers(0, 2**MAX_BITS - 1) | st.sampled_from([0, 2**MAX_BITS - 1, 2**55, 2**55 - 1])


@settings(deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=50), st.binary(max_size=4))
def test_the_sums_of_limbs_give_the_sum_of_numbers(numbers, seed):
    rng = InsecureSeededRng(seed)
    columns = zip(*(split(number, rng) for number in numbers), strict=True)
    assert join([sum(column) for column in columns]) == sum(numbers)


@pytest.mark.parametrize("random", [b"\0", b"\xff"])
@pytest.mark.parametrize("number", [0, 2**MAX_BITS - 1])
def test_limbs_of_fifty_parties_fit_the_ring(number, random):
    limbs = split(number, lambda size: random * size)
    assert len(limbs) == LIMBS
    assert max(map(abs, limbs)) <= largest_summand(50)


def test_every_limb_is_blinded():
    rng = InsecureSeededRng(b"s")
    a, b = split(12345, rng), split(12345, rng)
    assert all(x != y for x, y in zip(a, b, strict=True))
    assert join(a) == join(b) == 12345


def test_sums_of_limbs_depend_on_carries_only_through_the_blinds():
    # Two ways to the same total, one with a carry: with blinds that differ by that carry the sums of limbs are equal.
    def blinds(first: int):
        return lambda size: first.to_bytes(6, "little") + bytes(size - 6)

    with_carry = [split(2**11 - 1, blinds(4)), split(1, blinds(0))]
    without = [split(2**11, blinds(5)), split(0, blinds(0))]
    assert [sum(c) for c in zip(*with_carry, strict=True)] == [sum(c) for c in zip(*without, strict=True)]


@pytest.mark.parametrize("number", [-1, 2**MAX_BITS])
def test_numbers_out_of_range_are_refused(number):
    with pytest.raises(OverflowError):
        split(number, InsecureSeededRng(b"s"))
