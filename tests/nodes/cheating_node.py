"""A node whose workers cheat or stop: `sealane` with the worker of this module. The purpose of a job says how.

python -m tests.nodes.cheating_node --home FOLDER serve
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from mpc.channel import MessageChannel
from mpc.spec import Progress
from protos import federated_features_pb2, federated_pb2, federated_regression_pb2, federated_trees_pb2

Change = Callable[[Any], None]


def _piece(change: Callable[[bytes], bytes]) -> Change:
    def edit(message: Any) -> None:
        message.data = change(message.data)

    return edit


def _products(change: Callable[[bytes], bytes]) -> Change:
    def edit(message: Any) -> None:
        message.ciphertexts = change(message.ciphertexts)

    return edit


def _even_key(message: federated_regression_pb2.Start) -> None:
    message.public_key = bytes([message.public_key[0] & 0xFE]) + message.public_key[1:]


#: By purpose: the type of the first message that is changed, and how.
CHEATS: dict[str, tuple[type[Message], Change]] = {
    "a ciphertext of 0": (federated_pb2.Piece, _piece(lambda data: bytes(512) + data[512:])),
    "a ciphertext above the modulus": (federated_pb2.Piece, _piece(lambda data: b"\xff" * 512 + data[512:])),
    "a ciphertext under another key": (federated_pb2.Piece, _piece(lambda data: b"\x03" * 511 + b"\x01" + data[512:])),
    "a histogram of the wrong shape": (federated_pb2.Piece, _piece(lambda data: data[512:])),
    "other candidates than sums": (federated_trees_pb2.Layout, lambda message: setattr(message, "candidates", 2**31)),
    "an even key": (federated_regression_pb2.Start, _even_key),
    "products of the wrong shape": (federated_regression_pb2.Ciphertexts, _products(lambda data: data[512:])),
    "products of 0": (federated_regression_pb2.Ciphertexts, _products(lambda data: bytes(512) + data[512:])),
    "bins of no rows": (federated_features_pb2.Bins, lambda message: message.Clear()),
}


def cheat(purpose: str) -> None:
    """From now on this process sends what `purpose` says in the place of the first message of its type."""
    kind, change = CHEATS[purpose]
    honest, done = MessageChannel.send, [False]

    def send(self: MessageChannel, message: Message) -> None:
        if isinstance(message, kind) and not done[0]:
            done[0] = True
            change(message)
        honest(self, message)

    MessageChannel.send = send  # type: ignore[method-assign]


#: The purpose of a job in which the worker stops (SIGSTOP) when it has sent its first masked vector.
STOPS = "a worker that stops between its sums"


def stopping(progress: Progress) -> Progress:
    """Reports, and stops at that step."""

    def report(step: str, done: int, total: int) -> None:
        progress(step, done, total)
        if (step, done) == ("sending the masked vector", total):
            os.kill(os.getpid(), signal.SIGSTOP)

    return report


def work() -> None:
    """The worker: as every other until it knows its job."""
    from parties.worker import __main__ as worker

    honest = worker.run_role

    def run_role(spec: Any, job: Any, *rest: Any, **named: Any) -> Any:
        if job.purpose in CHEATS:
            cheat(job.purpose)
        if job.purpose == STOPS:
            *before, progress, session = rest
            rest = (*before, stopping(progress), session)
        return honest(spec, job, *rest, **named)

    worker.run_role = run_role  # type: ignore[attr-defined]
    worker.main()


def serve() -> None:
    """The node: starts this module where others start `parties.worker`."""
    from parties.cli import main

    honest = asyncio.create_subprocess_exec

    async def start(*command: str, **named: Any) -> Any:
        at = command.index("parties.worker")
        return await honest(*command[:at], "tests.nodes.cheating_node", "--worker", *command[at + 1 :], **named)

    asyncio.create_subprocess_exec = start  # type: ignore[assignment]
    main()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        del sys.argv[1]
        work()
    else:
        serve()
