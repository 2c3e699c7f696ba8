import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import ProtocolError
from mpc.primitives.shamir import Share
from mpc.sharing.dropouts import HeldShares, SharePair, mutual

PAIRS = {name: SharePair(Share(1, b"seed" + name.encode()), Share(1, b"key" + name.encode())) for name in "abc"}


def test_of_each_party_one_of_the_two_shares_is_opened():
    opened = HeldShares(PAIRS).open(["a", "b", "c"], ["a", "c"])
    assert {name: share.data for name, share in opened.items()} == {"a": b"seeda", "b": b"keyb", "c": b"seedc"}


def test_a_second_opening_is_refused_even_if_it_asks_for_the_same():
    held = HeldShares(PAIRS)
    held.open(["a", "b"], ["a", "b"])
    for survivors in (["a"], ["a", "b"], []):
        with pytest.raises(ProtocolError, match="asked for a second time"):
            held.open(["a", "b"], survivors)


def test_shares_do_not_print():
    assert "seed" not in repr(PAIRS["a"]).replace("seed=", "")
    assert "keya" not in repr(PAIRS["a"])


@settings(deadline=None)
@given(st.data())
def test_whom_to_go_on_with_have_all_heard_each_other_and_the_aggregator_stays(data):
    names = [f"p{i}" for i in range(data.draw(st.integers(1, 7)))]
    heard = {name: {name} | data.draw(st.sets(st.sampled_from(names))) for name in names}
    roster = mutual(heard, "p0")
    assert "p0" in roster
    assert roster == sorted(roster)
    assert all(set(roster) <= heard[name] for name in roster)


def test_only_the_party_whose_links_are_down_is_left_out():
    names = {"a", "b", "c", "d"}
    assert mutual({"a": names, "b": names - {"d"}, "c": names - {"d"}, "d": {"a", "d"}}, "a") == ["a", "b", "c"]
    assert mutual(dict.fromkeys("abcd", names), "a") == ["a", "b", "c", "d"]
