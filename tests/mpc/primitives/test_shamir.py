import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import ProtocolError
from mpc.primitives.shamir import Share, combine, split
from mpc.testing import InsecureSeededRng


def multiply(a: int, b: int) -> int:
    """Schoolbook multiplication in GF(2^8), the twin of the table."""
    product = 0
    for i in range(8):
        if b >> i & 1:
            product ^= a << i
    for i in range(14, 7, -1):
        if product >> i & 1:
            product ^= 0x11B << (i - 8)
    return product


def test_the_field_multiplies_as_in_the_example_of_fips_197():
    assert multiply(0x57, 0x83) == 0xC1  # FIPS 197 section 4.2
    # A polynomial with coefficient 0x57 at X, at the point 0x83.
    share = split(b"\0", 2, 0x83, lambda size: bytes([0x57] * size))[-1]
    assert share == Share(0x83, b"\xc1")


@settings(deadline=None)
@given(st.integers(0, 255), st.integers(0, 255))
def test_shares_are_values_of_the_polynomial(secret, slope):
    for share in split(bytes([secret]), 2, 255, lambda size: bytes([slope] * size)):
        assert share.data[0] == secret ^ multiply(slope, share.x)


@settings(deadline=None)
@given(st.binary(max_size=40), st.data())
def test_any_threshold_of_shares_give_the_secret(secret, data):
    holders = data.draw(st.integers(1, 12))
    threshold = data.draw(st.integers(1, holders))
    shares = split(secret, threshold, holders, InsecureSeededRng(b"s"))
    chosen = data.draw(st.permutations(shares))[: data.draw(st.integers(threshold, holders))]
    assert combine(chosen, threshold) == secret


def test_the_largest_number_of_holders_works():
    shares = split(b"secret", 128, 255, InsecureSeededRng(b"s"))
    assert combine(shares[100:228], 128) == b"secret"


@pytest.mark.parametrize("secret", [0, 1, 0xA7, 0xFF])
@pytest.mark.parametrize("pair", list(itertools.combinations(range(5), 2)))
def test_fewer_shares_than_the_threshold_are_uniform_whatever_the_secret(secret, pair):
    # One byte for each choice of the two random coefficients: each pair of shares comes about exactly once.
    choices = bytes(a for a in range(256) for _ in range(256)) + bytes(range(256)) * 256
    shares = split(bytes([secret]) * 2**16, 3, 5, lambda size: choices)
    assert len(choices) == 2 * 2**16
    assert len(set(zip(shares[pair[0]].data, shares[pair[1]].data, strict=True))) == 2**16


def test_an_altered_share_beyond_the_threshold_is_noticed():
    shares = split(b"secret", 2, 4, InsecureSeededRng(b"s"))
    for i in range(3):
        altered = list(shares[:3])
        altered[i] = Share(altered[i].x, bytes([altered[i].data[0] ^ 1]) + altered[i].data[1:])
        with pytest.raises(ProtocolError, match="do not belong to one secret"):
            combine(altered, 2)


@pytest.mark.parametrize(
    "shares, problem",
    [
        ([], "0 shares cannot give"),
        ([Share(1, b"a")], "1 shares cannot give"),
        ([Share(1, b"a"), Share(1, b"a")], "same point"),
        ([Share(0, b"a"), Share(1, b"a")], "point is not in 1 to 255"),
        ([Share(256, b"a"), Share(1, b"a")], "point is not in 1 to 255"),
        ([Share(-1, b"a"), Share(1, b"a")], "point is not in 1 to 255"),
        ([Share(1, b"a"), Share(2, b"ab")], "different lengths"),
    ],
)
def test_shares_that_cannot_be_combined_are_refused(shares, problem):
    with pytest.raises(ProtocolError, match=problem):
        combine(shares, 2)


@pytest.mark.parametrize("threshold, holders", [(0, 3), (4, 3), (2, 256), (1, 0)])
def test_impossible_thresholds_are_refused(threshold, holders):
    with pytest.raises(ValueError, match="1 <= threshold <= holders"):
        split(b"s", threshold, holders, InsecureSeededRng(b"s"))


def test_a_share_does_not_print_its_data():
    assert "secret" not in repr(split(b"secret", 1, 1, InsecureSeededRng(b"s"))[0])
