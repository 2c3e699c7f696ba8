"""Peers: meet them, look at them, part from them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mpc.errors import ChannelError, InputError
from parties import running
from parties.cli import diagnosis, files
from parties.cli.catalogue import read_catalogue, show_catalogue
from parties.cli.command import Session, command, file_argument, force_option, out_option, yes_option
from parties.cli.exits import Exit
from parties.cli.output import cell, say, show_facts, show_table
from parties.cli.units import iso_time, show_time

if TYPE_CHECKING:
    from parties.identity.invitations import Invitation
    from parties.identity.peers import Peer


@click.group()
def peer() -> None:
    """Other parties: invite, accept, look at, diagnose, remove."""


@command("invite", peer)
@out_option("The invitation, for one new peer.", required=True)
@force_option
def invite(session: Session, out: Path, force: bool) -> None:
    """Write an invitation for one new peer.

    It works once, for seven days; send it by any means. The other operator accepts it and sends a reply, which you
    accept in turn. Then compare fingerprints aloud.

    \b
    Example:
      sealane peer invite --out for-cn-bank.json
    """
    from parties.identity.keys import format_fingerprint

    node = session.node()
    with files.new(out, force=force) as file:
        file.write(node.invite())

    def show() -> None:
        show_facts({"invitation": str(out), "your fingerprint": format_fingerprint(node.fingerprint)})
        say("Next: the other operator runs `sealane peer accept` and sends you the reply; accept that here.")

    session.answer({"file": str(out), "name": node.name, "fingerprint": node.fingerprint}, show)


@command("accept", peer)
@file_argument("file")
@out_option("The reply to an invitation, to be sent back.")
@click.option("--fingerprint", metavar="HEX", help="The fingerprint that the other operator told you.")
@force_option
@yes_option
def accept(session: Session, file: Path, out: Path | None, fingerprint: str | None, force: bool, yes: bool) -> None:
    """Accept an invitation, or a reply to one of yours.

    That pins the party that wrote it. Compare the fingerprint shown with the other operator, aloud. With
    --fingerprint nothing is asked, and any other party is refused.

    \b
    Examples:
      sealane peer accept from-hk-bank.json --out reply-to-hk-bank.json
      sealane peer accept reply-from-cn-bank.json
    """
    from parties.identity.invitations import MAX_INVITATION_BYTES
    from parties.identity.keys import format_fingerprint

    node = session.node()
    data = files.read_at_most(file, MAX_INVITATION_BYTES)
    invitation = node.read_invitation(data)
    if invitation.kind == "sealane invitation" and out is None:
        raise InputError("an invitation is answered with a reply", hint="name its file with --out")
    if not session.as_json:
        _show_invitation(invitation)
    if fingerprint is None:
        question = "Is this the fingerprint that the other operator reads aloud?"
        session.confirm(question, yes=yes, instead="--fingerprint with what the other operator told you")
    elif "".join(fingerprint.split()).replace(":", "").lower() != invitation.certificate.fingerprint:
        raise InputError(
            f"the file is of {invitation.certificate.name} with another fingerprint than --fingerprint",
            hint="do not use it: ask the other operator for the file and the fingerprint again",
        )
    if invitation.kind == "sealane invitation":
        assert out is not None
        with files.new(out, force=force) as reply_file:
            pinned, reply = node.accept(data)
            reply_file.write(reply)
    else:
        pinned, _ = node.accept(data)

    def show() -> None:
        say(f"{pinned.name} is now a peer.")
        if invitation.kind == "sealane invitation":
            say(f"Next: send {out} back; your own fingerprint is {format_fingerprint(node.fingerprint)}")

    replied = str(out) if invitation.kind == "sealane invitation" else None
    session.answer(_document(pinned) | {"reply": replied}, show)


@command("list", peer)
def list_(session: Session) -> None:
    """Show all peers, also removed ones.

    \b
    Example:
      sealane peer list
    """
    node = session.node()
    links = node.links() if running.is_running(node.home.path) else {}
    documents = []
    for known in node.peers():
        link = links.get(known.fingerprint)
        if link is not None:
            link = link | {"protocols": json.loads(link["protocols"]), "updated_at": iso_time(link["updated_at"])}
        documents.append(_document(known) | {"link": link})

    def show() -> None:
        if not documents:
            say("no peers; `sealane peer invite` meets one")
            return
        show_table(
            ("NAME", "FINGERPRINT", "ADDRESS", "STATE", "LINK"),
            [
                (
                    known["name"],
                    known["fingerprint"][:16],
                    known["address"] or "it dials us",
                    cell(known["state"], "red" if known["state"] == "removed" else ""),
                    known["link"]["state"] if known["link"] else "",
                )
                for known in documents
            ],
        )

    session.answer(documents, show)


@command("show", peer)
@click.argument("who", metavar="PEER")
def show(session: Session, who: str) -> None:
    """Show one peer, with its whole fingerprint.

    \b
    Example:
      sealane peer show cn-bank
    """
    from parties.identity.certificates import read_identity
    from parties.identity.keys import format_fingerprint

    known = session.node().peer(who)
    expires = read_identity(known.certificate_pem).not_after

    def show() -> None:
        show_facts(
            {
                "name": known.name,
                "fingerprint": format_fingerprint(known.fingerprint),
                "address": known.address or "none: it dials us",
                "state": known.state,
                "peer since": show_time(known.added_at),
                "identity until": f"{expires:%Y-%m-%d}",
            }
        )

    session.answer(_document(known) | {"expires_at": iso_time(expires.timestamp())}, show)


@command("remove", peer)
@click.argument("who", metavar="PEER")
@yes_option
def remove(session: Session, who: str, yes: bool) -> None:
    """Cut a peer off: its link, its open jobs, its grants.

    \b
    Example:
      sealane peer remove cn-bank
    """
    node = session.node()
    known = node.peer(who)
    session.confirm(f"Remove {known.name} with its open jobs and its grants?", yes=yes)
    removed = node.remove_peer(known.fingerprint)
    session.answer(_document(removed), lambda: say(f"{removed.name} is removed; its grants are revoked."))


@command("address", peer)
@click.argument("who", metavar="PEER")
@click.argument("address")
def address(session: Session, who: str, address: str) -> None:
    """Change where a peer is dialled.

    ADDRESS is host:port, or "" to wait for the peer to dial.

    \b
    Example:
      sealane peer address cn-bank node.cn-bank.example:7443
    """
    changed = session.node().set_peer_address(who, address)
    where = f"is dialled at {changed.address}" if changed.address else "is not dialled; it dials us"
    session.answer(_document(changed), lambda: say(f"{changed.name} {where}."))


@command("datasets", peer)
@click.argument("who", metavar="PEER")
def datasets(session: Session, who: str) -> None:
    """Show what a peer's grants let you use. Needs the running node.

    \b
    Example:
      sealane peer datasets cn-bank
    """
    node = session.node()
    if not running.is_running(node.home.path):
        raise ChannelError("only the running node can ask a peer", hint="start it with `sealane serve`")
    catalogue = read_catalogue(node.catalogue(who))
    session.answer(asdict(catalogue), lambda: show_catalogue(catalogue))


@command("diagnose", peer)
@click.argument("who", metavar="PEER")
def diagnose(session: Session, who: str) -> None:
    """Check all that a job with the peer needs.

    Each line says ok, or what to do. Exits with 4 if one of them is not ok.

    \b
    Example:
      sealane peer diagnose cn-bank
    """
    node = session.node()
    known = node.peer(who)
    checks = diagnosis.examine(node, known)
    document = {"peer": known.name, "ok": all(check.ok for check in checks), "checks": [asdict(c) for c in checks]}
    session.answer(document, lambda: diagnosis.show(checks))
    if not document["ok"]:
        click.get_current_context().exit(Exit.UNREACHABLE)


def _show_invitation(invitation: "Invitation") -> None:
    from parties.identity.keys import format_fingerprint

    show_facts(
        {
            "file": invitation.kind.removeprefix("sealane "),
            "of": invitation.certificate.name,
            "address": invitation.address or "none: it will dial us",
            "valid until": f"{invitation.expires:%Y-%m-%d %H:%M} UTC",
            "fingerprint": format_fingerprint(invitation.certificate.fingerprint),
        }
    )


def _document(known: "Peer") -> dict[str, Any]:
    return {
        "name": known.name,
        "fingerprint": known.fingerprint,
        "address": known.address,
        "state": known.state,
        "added_at": iso_time(known.added_at),
    }
