"""The exit codes of `sealane`, and how an error is told: in words on standard error, or as JSON."""

import json
from enum import IntEnum

import click

from mpc.errors import ChannelError, InputError, PolicyDenied, ProtocolError, SealaneError
from parties.cli.output import clean


class Exit(IntEnum):
    """What a script can tell the endings apart by; docs/command-line.md explains them."""

    OK = 0
    UNEXPECTED = 1  # a bug
    INPUT = 2  # the command line, a file or a setting cannot be used; or a question was answered with no
    DENIED = 3  # a party's policy or operator said no, or a result was withheld
    UNREACHABLE = 4  # a peer or the own node did not answer in time
    PROTOCOL = 5  # a peer broke the rules, or evidence does not hold
    JOB_ENDED = 6  # the job failed, was cancelled or expired
    STORE = 7  # the node's database cannot be written
    INTERRUPTED = 130  # Ctrl-C


def code_of(error: SealaneError) -> Exit:
    """The exit code for `error`."""
    # Here, because they load much that `sealane --help` does not need.
    from parties.evidence.verify import BadEvidence
    from parties.jobs.watching import JobFailed
    from parties.store import StoreError

    table: tuple[tuple[type[SealaneError], Exit], ...] = (
        (BadEvidence, Exit.PROTOCOL),  # an InputError, but what a verifier looks for
        (InputError, Exit.INPUT),
        (PolicyDenied, Exit.DENIED),
        (ChannelError, Exit.UNREACHABLE),
        (ProtocolError, Exit.PROTOCOL),
        (JobFailed, Exit.JOB_ENDED),
        (StoreError, Exit.STORE),
    )
    return next((code for kind, code in table if isinstance(error, kind)), Exit.UNEXPECTED)


def tell(kind: str, message: str, hint: str, *, as_json: bool) -> None:
    """Write an error to standard error: "error: ...", then "hint: ..."; with `as_json` one object."""
    if as_json:
        click.echo(json.dumps({"error": {"kind": kind, "message": message, "hint": hint}}), err=True)
        return
    for label, text in (("error", message), ("hint", hint)):
        first, *others = clean(text, keep_lines=True).split("\n")
        if first or others:
            click.echo("\n".join([f"{label}: {first}", *(f"  {line}" for line in others)]), err=True)
