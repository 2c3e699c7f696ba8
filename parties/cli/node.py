"""The node itself: make it, run it, look at it."""

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from parties import running
from parties.cli.command import Session, command
from parties.cli.output import cell, heading, print_json, say, show_facts, show_table
from parties.cli.units import iso_time, show_bytes, show_time
from parties.transport.allocator import keep_freed_buffers

if TYPE_CHECKING:
    from parties.node import Node

_LEVELS = ("debug", "info", "warning", "error")


@command("init")
@click.argument("name")
@click.option("--listen", default="", metavar="HOST:PORT", help="Where peers are accepted. Without it, only dial out.")
@click.option("--advertise", default="", metavar="HOST:PORT", help="Where peers reach it, if not as --listen.")
@click.option("--metrics-listen", default="", metavar="HOST:PORT", help="Where /metrics and /healthz are served.")
def init(session: Session, name: str, listen: str, advertise: str, metrics_listen: str) -> None:
    """Make a node called NAME in a new folder, with keys of its own.

    \b
    Example:
      sealane init hk-bank --home /srv/sealane --listen 0.0.0.0:7443 --advertise node.hk-bank.example:7443
    """
    from parties.identity.keys import format_fingerprint
    from parties.node import Node

    made = Node.create(session.home, name, listen=listen, advertise=advertise, metrics_listen=metrics_listen)
    document = {"name": made.name, "fingerprint": made.fingerprint, "home": str(session.home)}

    def show() -> None:
        show_facts(
            {"node": made.name, "folder": str(session.home), "fingerprint": format_fingerprint(made.fingerprint)}
        )
        say("Next: `sealane serve` runs it; `sealane peer invite` meets another party.")

    session.answer(document, show)


@command("serve")
@click.option("--log-level", type=click.Choice(_LEVELS), help="Instead of the log_level in settings.toml.")
def serve(session: Session, log_level: str | None) -> None:
    """Run the node until SIGTERM or Ctrl-C.

    Running jobs may end first, for a while. One line on standard output says when it is ready. The log goes to
    standard error, one JSON object a line.

    \b
    Example:
      sealane serve --home /srv/sealane
    """
    from parties import logs
    from parties.home import Home
    from parties.server import Server

    home = Home.load(session.home)
    logs.configure(log_level or home.settings.log_level)

    def ready(port: int) -> None:
        listens = f"listens on port {port}" if home.settings.listen else "only dials out"
        if session.as_json:
            print_json({"event": "ready", "name": home.settings.name, "port": port})
        else:
            say(f"ready: {home.settings.name} {listens}")

    keep_freed_buffers()
    with running.only_one(home.path):
        asyncio.run(Server(home, ready).run())


@command("status")
def status(session: Session) -> None:
    """Show the node, its peers' links, and what waits for you.

    \b
    Example:
      sealane status
    """
    from parties.identity.keys import format_fingerprint

    node = session.node()
    document = _status(node)

    def show() -> None:
        expires = node.certificate.not_after
        soon = (expires - datetime.now(UTC)).days < 30
        show_facts(
            {
                "node": node.name,
                "fingerprint": format_fingerprint(node.fingerprint),
                "identity until": cell(f"{expires:%Y-%m-%d}", "red" if soon else ""),
                "folder": str(node.home.path),
                "listens on": document["listen"] or "nowhere: it only dials out",
                "reached at": document["advertise"],
                "release": document["release"],
                "running": cell("yes", "green") if document["running"] else cell("no: `sealane serve` runs it", "red"),
                "keeps": ", ".join(
                    f"{what} {show_bytes(size)}" for what, size in document["stored_bytes"].items() if size
                ),
            }
        )
        if document["peers"]:
            heading("Peers")
            show_table(
                ("NAME", "LINK", "SINCE", "RELEASE", ""),
                [
                    (peer["name"], _link(peer["link"]), _since(peer["since"]), peer["release"], peer["detail"])
                    for peer in document["peers"]
                ],
            )
        if document["jobs"]:
            heading("Jobs")
            show_table(("STATE", "JOBS"), [(name, str(n)) for name, n in document["jobs"].items()], right=("JOBS",))
        waiting = document["jobs"].get("proposed", 0)
        if waiting:
            wait = "waits" if waiting == 1 else "wait"
            say(f"{waiting} {wait} for your decision: `sealane job list --state proposed`")

    session.answer(document, show)


def _status(node: "Node") -> dict[str, Any]:
    from parties.release import release

    runs = running.is_running(node.home.path)
    links = node.links() if runs else {}
    unknown = {"state": "unknown", "detail": "", "release": "", "updated_at": None}
    settings = node.home.settings
    return {
        "name": node.name,
        "fingerprint": node.fingerprint,
        "expires_at": iso_time(node.certificate.not_after.timestamp()),
        "home": str(node.home.path),
        "listen": settings.listen,
        "advertise": settings.advertise,
        "release": release(),
        "running": runs,
        "stored_bytes": node.stored_bytes(),
        "peers": [
            {
                "name": peer.name,
                "fingerprint": peer.fingerprint,
                "link": (link := links.get(peer.fingerprint, unknown))["state"],
                "detail": link["detail"],
                "release": link["release"],
                "since": iso_time(link["updated_at"]),
            }
            for peer in node.peers()
            if peer.state == "active"
        ],
        "jobs": {str(state): count for state, count in sorted(node.job_counts().items())},
    }


def _since(moment: str | None) -> str:
    return show_time(datetime.fromisoformat(moment).timestamp()) if moment else ""


def _link(state: str) -> Any:
    return cell(state, {"connected": "green", "refused": "red"}.get(state, "yellow"))
