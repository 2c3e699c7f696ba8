"""Evidence: what this node has recorded, for itself and for an auditor."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mpc.errors import InputError
from parties.cli import files
from parties.cli.command import Session, command, file_argument, force_option, out_option
from parties.cli.output import say, show_facts, show_table, tell_of_more

_FINGERPRINT_DIGITS = 64


@click.group()
def evidence() -> None:
    """The signed log of what happened: list, export, verify."""


@command("list", evidence)
@click.option("--last", type=click.IntRange(min=1), default=100, show_default=True, help="How many, the newest.")
@click.option("--job", "job_id", metavar="ID", help="Only those about this job.")
def list_(session: Session, last: int, job_id: str | None) -> None:
    """Show the newest entries of the log, the oldest of them first.

    That there are more is said on standard error.

    \b
    Example:
      sealane evidence list --last 20
    """
    found = list(session.node().evidence(job=job_id, newest=last + 1))
    entries = found[-last:]
    session.answer(
        [
            {"seq": entry.seq, "time": entry.time, "kind": entry.kind, "fields": dict(entry.fields), "hash": entry.hash}
            for entry in entries
        ],
        lambda: show_table(
            ("SEQ", "TIME", "KIND", "FIELDS"),
            [
                (
                    str(entry.seq),
                    entry.time,
                    entry.kind,
                    " ".join(f"{name}={_short(value)}" for name, value in entry.fields.items()),
                )
                for entry in entries
            ],
            right=("SEQ",),
        ),
    )
    if len(found) > last:
        tell_of_more("--last", last)


@command("export", evidence)
@out_option("The file, for an auditor.", required=True)
@force_option
def export(session: Session, out: Path, force: bool) -> None:
    """Write the whole log with all receipts to a file.

    Anybody can verify it who knows your fingerprint.

    \b
    Example:
      sealane evidence export --out evidence.jsonl
    """
    node = session.node()
    with files.new(out, force=force) as file:
        file.writelines(node.export_evidence())

    def show() -> None:
        say(f"written to {out}")
        say(f"Anybody verifies it with `sealane evidence verify {out} --trust {node.fingerprint}`")

    session.answer({"file": str(out), "name": node.name, "fingerprint": node.fingerprint}, show)


@command("verify", evidence)
@file_argument("file")
@click.option(
    "--trust", "trusted", multiple=True, required=True, metavar="FINGERPRINT", help="Of each party, learned elsewhere."
)
@click.option("--since", metavar="ENTRY:HASH", help="The head that an earlier verification gave.")
def verify(session: Session, file: Path, trusted: tuple[str, ...], since: str | None) -> None:
    """Check an exported log. Needs no node.

    Every entry, signature and receipt is checked. Exits with 5 if one does not hold. Keep the head that is shown:
    given as --since, it shows later that nothing was taken back.

    \b
    Example:
      sealane evidence verify evidence.jsonl --trust 3f0a...
    """
    from parties.evidence.verify import verify as verify_file

    fingerprints = frozenset(map(_fingerprint, trusted))
    with file.open("rb") as opened:
        report = verify_file(opened, fingerprints, None if since is None else _head(since))
    head = f"{report.head[0]}:{report.head[1]}"

    def show() -> None:
        show_facts(
            {
                "evidence": "holds",
                "of": report.name,
                "fingerprint": report.fingerprint,
                "entries": f"{report.entries:,}, from {report.first_time} to {report.last_time}",
                "receipts": f"{report.receipts:,}",
                "head": head,
            }
        )
        for stranger in report.strangers:
            say(f"A party to a receipt is not among those you trust: {stranger}")

    document: dict[str, Any] = asdict(report) | {"head": head, "strangers": list(report.strangers), "holds": True}
    session.answer(document, show)


def _fingerprint(text: str) -> str:
    digits = "".join(text.split()).replace(":", "").lower()
    if len(digits) != _FINGERPRINT_DIGITS or not set(digits) <= set("0123456789abcdef"):
        raise InputError(
            f"--trust {text[:80]!r} is not a fingerprint", hint="it has 64 hexadecimal digits; spaces do not matter"
        )
    return digits


def _head(text: str) -> tuple[int, str]:
    entry, _, digest = text.partition(":")
    if not entry.isdecimal() or not entry.isascii() or len(entry) > 15:
        raise InputError(f"--since {text[:80]!r} is not a head", hint="write it as an earlier verification showed it")
    return int(entry), digest


def _short(value: str | int) -> str:
    """A digest by its first digits."""
    return value[:12] if isinstance(value, str) and len(value) >= 32 else str(value)
