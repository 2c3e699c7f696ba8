"""Is everything there that a job with a peer needs? One check a line, and what to do where it is not."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mpc.errors import ChannelError
from parties import running
from parties.cli.output import cell, show_table
from parties.cli.units import show_bytes, show_duration

if TYPE_CHECKING:
    from parties.identity.peers import Peer
    from parties.node import Node

_EXPIRES_SOON_DAYS = 30
_MEET_S = 8.0  # nodes dial again after at most five seconds
_POLL_S = 0.1
_CLOCK_S = 30.0  # well inside what certificates and deadlines tolerate


@dataclass(frozen=True)
class Check:
    """`do` says what to do about a check that is not ok."""

    check: str
    ok: bool
    detail: str
    do: str = ""


def examine(node: "Node", peer: "Peer") -> list[Check]:
    """All checks of the link to `peer`, up to the first without which the others mean nothing."""
    return [_running(node), *_certificates(node, peer), *_link(node, peer)]


def show(checks: Sequence[Check]) -> None:
    """Print them for people."""
    show_table(
        ("CHECK", "", "", "WHAT TO DO"),
        [
            (check.check, cell("ok", "green") if check.ok else cell("no", "red"), check.detail, check.do)
            for check in checks
        ],
    )


def _running(node: "Node") -> Check:
    if running.is_running(node.home.path):
        return Check("own node", True, "runs")
    return Check("own node", False, "does not run", "start it with `sealane serve`")


def _certificates(node: "Node", peer: "Peer") -> Iterator[Check]:
    from parties.identity.certificates import read_identity

    now = datetime.now(UTC)
    for label, certificate in (
        ("own identity", node.certificate),
        (f"identity of {peer.name}", read_identity(peer.certificate_pem)),
    ):
        days = (certificate.not_after - now).days
        yield Check(
            label,
            certificate.not_before <= now and days >= _EXPIRES_SOON_DAYS,
            f"valid until {certificate.not_after:%Y-%m-%d}",
            "" if days >= _EXPIRES_SOON_DAYS else "make a new identity and exchange invitations anew",
        )


def _link(node: "Node", peer: "Peer") -> Iterator[Check]:
    from parties.release import Release, own_release

    if peer.state != "active":
        yield Check("peer", False, "was removed here", "exchange invitations again")
        return
    if not running.is_running(node.home.path):
        return
    link = _met(node, peer)
    if link["state"] != "connected":
        seen = ": ".join(filter(None, (link["state"], link["detail"])))
        yield Check("link", False, seen, _how_to_connect(node, peer, link["detail"]))
        return
    yield Check("link", True, "connected")
    mine, theirs = own_release(), Release(link["release"], json.loads(link["protocols"]))
    yield Check("release", True, f"{theirs.release or 'unknown'} there, {mine.release} here")
    apart = mine.lacks(theirs)
    yield Check(
        "protocols",
        not apart,
        f"no common version of {', '.join(apart)}" if apart else f"all {len(mine.protocols)} in common versions",
        "jobs with the others work; for these, update the older of the two nodes" if apart else "",
    )
    yield from _measured(node, peer)


def _met(node: "Node", peer: "Peer") -> dict[str, Any]:
    """The link to the peer once it is connected, or as it is when it should have been: a peer was perhaps just added,
    and its node dials again in a while."""
    deadline = time.monotonic() + _MEET_S
    while True:
        link = node.links().get(peer.fingerprint, {"state": "not connected", "detail": "", "release": ""})
        if link["state"] == "connected" or time.monotonic() > deadline:
            return link
        time.sleep(_POLL_S)


def _how_to_connect(node: "Node", peer: "Peer", refusal: str) -> str:
    if "does not accept" in refusal:
        return "ask its operator whether it has accepted our reply and not removed us; if so, exchange invitations anew"
    if peer.address and "Socket closed" in refusal:  # what gRPC says when the far side ends the handshake
        return (
            f"something listens at {peer.address} and hangs up: probably its operator has not accepted our reply yet;"
            " otherwise check that the address is that of its node, with nothing in between that terminates TLS"
        )
    if not peer.address and not node.home.settings.listen:
        return "neither side can dial: set listen in settings.toml, or `sealane peer address` to dial the peer"
    if not peer.address:
        return "the peer dials us: ask its operator to run the node and to check our address and the firewall"
    return f"check that {peer.address} is right and open (`sealane peer address` changes it), and that its node runs"


def _measured(node: "Node", peer: "Peer") -> Iterator[Check]:
    try:
        measured: dict[str, Any] = node.diagnose(peer.fingerprint)
    except ChannelError as error:
        yield Check("answer", False, str(error), error.hint)
        return
    for what, size, seconds in (
        ("throughput there", measured["received_bytes"], measured["seconds"]),
        ("throughput back", measured["returned_bytes"], measured["return_seconds"]),
    ):
        whole = size == measured["sent_bytes"]
        yield Check(
            what,
            whole,
            f"{show_bytes(size / seconds)}/s ({show_bytes(size)} in {show_duration(seconds)})",
            "" if whole else "not all of it arrived: run this again, and report it if it stays so",
        )
    offset = float(measured["clock_offset_s"])
    good = abs(offset) <= _CLOCK_S
    yield Check(
        "clocks",
        good,
        f"the peer's is {show_duration(abs(offset))} {'ahead' if offset >= 0 else 'behind'}",
        "" if good else "let both nodes take their time from NTP: deadlines and certificates depend on it",
    )
