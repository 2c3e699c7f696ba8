"""Addresses as operators and peers write them: host:port, with IPv6 addresses in brackets."""

import re

from mpc.errors import InputError

_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?):([1-9][0-9]{0,4})")
_EVERYWHERE = ("0.0.0.0", "[::]", "::")  # noqa: S104 (what is told from addresses that can be dialled)


def check_address(address: str) -> None:
    """Raises `InputError` unless `address` is empty or host:port."""
    match = _ADDRESS.fullmatch(address)
    if address and (match is None or int(match[1]) > 65535):
        raise InputError(f"{address[:80]!r} is not host:port, as in node.example.org:7443 or [2001:db8::1]:7443")


def check_own_address(address: str) -> None:
    """As `check_address`; port 0 is right too, where this machine chooses one."""
    check_address(f"{address[:-2]}:1" if address.endswith(":0") else address)


def split(address: str) -> tuple[str, int]:
    """The host, without brackets, and the port of an address that was checked."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def dial_address(listen: str, advertise: str) -> str:
    """Where peers are told to dial a party with these settings, or empty: it dials them.

    Raises `InputError` where the settings do not say it: nobody can dial all interfaces of another machine.
    """
    # A port of 0 is chosen anew at every start, so peers cannot be told it.
    address = advertise or ("" if listen.endswith(":0") else listen)
    if address and split(address)[0] in _EVERYWHERE:
        raise InputError(
            f"peers cannot dial {address}, which is every address of this machine",
            hint="say where they reach it: --advertise node.example.org:7443, or advertise in settings.toml",
        )
    return address
