"""Addresses as operators and peers write them."""

import pytest

from mpc.errors import InputError
from parties.addresses import check_address, check_own_address, dial_address, split


@pytest.mark.parametrize("address", ["", "a:1", "127.0.0.1:7443", "node-1.example.org:65535", "[::1]:80"])
def test_addresses(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "a",
        "a:",
        ":1",
        "a:0",
        "a:65536",
        "a:01",
        "a:1\n",
        "unix:/x",
        "dns:///a:1",
        "::1:80",
        "a b:1",
        "é:1",
        "a" * 300 + ":1",
    ],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(InputError, match="host:port") as refused:
        check_address(address)
    assert str(refused.value).startswith(repr(address[:80]))


def test_a_party_may_leave_the_choice_of_its_own_port_to_the_machine() -> None:
    check_own_address("127.0.0.1:0")
    with pytest.raises(InputError, match="host:port"):
        check_own_address(":0")


def test_hosts_lose_their_brackets() -> None:
    assert split("[::1]:80") == ("::1", 80)
    assert split("node.example.org:7443") == ("node.example.org", 7443)


def test_peers_are_told_where_they_can_dial() -> None:
    assert dial_address("0.0.0.0:7443", "node.example.org:7443") == "node.example.org:7443"
    assert dial_address("10.0.0.1:7443", "") == "10.0.0.1:7443"
    assert dial_address("127.0.0.1:0", "") == ""
    assert dial_address("", "") == ""


@pytest.mark.parametrize(("listen", "advertise"), [("0.0.0.0:7443", ""), ("[::]:7443", ""), ("", "0.0.0.0:7443")])
def test_peers_are_not_told_to_dial_every_address_of_their_own_machine(listen: str, advertise: str) -> None:
    with pytest.raises(InputError, match="peers cannot dial") as caught:
        dial_address(listen, advertise)
    assert "--advertise" in caught.value.hint
