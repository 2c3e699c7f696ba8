"""`python -m parties.worker SOCKET`: reads a `Task` from standard input, plays the part, reports to its node, ends."""

import gc
import importlib
import os
import resource
import select
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpc import ahead, registry
from mpc.channel import Channel, CountingPipe, MessageChannel
from mpc.errors import (
    ChannelError,
    InputError,
    PolicyDenied,
    ProgramError,
    ProtocolError,
    ResultWithheld,
    SealaneError,
)
from mpc.job import Job
from mpc.rng import system_rng
from mpc.session import run_role
from mpc.spec import Outcome
from mpc.spool import MemorySpool
from parties.datasets import DatasetChanged
from parties.jobs.failure import Failure, Kind
from parties.spool import FileSpool
from parties.worker import pipe
from parties.worker.desk import Desk
from parties.worker.task import Report, Task, pack, unpack_task

if TYPE_CHECKING:
    import pyarrow as pa

_REPORT_EVERY_S = 0.2


def main() -> None:
    """Exit code 0: delivered; 1: a failure was reported."""
    # A crash dump would hold the party's data.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.meta_path.insert(0, NoPandas())
    ahead.keep_freed_memory()
    _load_ahead()
    gc.freeze()  # nothing of what is loaded is garbage
    data = sys.stdin.buffer.read()
    if not data:
        return  # the node has ended, and there was nothing to do
    task = unpack_task(data)
    os.chdir(task.folder)
    os.environ["TMPDIR"] = task.folder
    delivered = _work(task, int(sys.argv[1]))
    os._exit(not delivered)  # nothing is left to do, and to take down Arrow and numba takes longer than a small job


def _work(task: Task, descriptor: int) -> bool:
    """Play the part and report how it ended; gives whether it was delivered."""
    try:
        with pipe.connect(socket.socket(fileno=descriptor), task.peers) as link:
            counters = {peer: CountingPipe(link.pipes[peer]) for peer in task.peers}
            reporter = _Reporter(link, counters)
            try:
                outcome = _play(task, counters, reporter)
            except Exception as error:
                reporter.send(Report(failure=vars(_failure(error)), opened=reporter.opened))
                raise
            reporter.send(Report(facts=dict(outcome.facts), dropped=outcome.dropped))
    except Exception:  # it was reported, or the node has ended
        return False
    return True


class NoPandas:
    """Lets nothing import pandas: where it is there, Arrow loads it to see whether what it is given is from it."""

    def find_spec(self, name: str, _path: object, _target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name, name=name)


def _load_ahead() -> None:
    """While there is no task yet, load what tasks need."""
    for module in ("parties.worker.inputs", "parties.results", *ahead.MODULES):
        if select.select([sys.stdin], [], [], 0)[0]:
            return
        importlib.import_module(module)


class _Reporter:
    """Tells the node how far the work is, a few times a second at most."""

    def __init__(self, link: pipe.WorkerLink, counters: Mapping[str, CountingPipe]) -> None:
        self._link = link
        self._counters = counters
        self._last = 0.0
        self._lock = threading.Lock()
        self.opened = False

    def progress(self, step: str, done: int, total: int) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._last < _REPORT_EVERY_S and done < total:
                return
            self._last = now
        self.send(Report(step=step, done=done, total=total))

    def opening(self) -> None:
        self.opened = True

    def send(self, report: Report) -> None:
        sent = sum(counter.sent_bytes for counter in self._counters.values())
        received = sum(counter.received_bytes for counter in self._counters.values())
        fields: dict[str, Any] = vars(report) | {"sent_bytes": sent, "received_bytes": received}
        self._link.event(pack(Report(**fields)))


def _play(task: Task, counters: Mapping[str, CountingPipe], reporter: _Reporter) -> Outcome:
    from parties import models, results  # these load DuckDB and Arrow, which only workers need
    from parties.worker import inputs

    job = Job.from_bytes(task.spec.encode())
    spec = registry.get(job.protocol)
    in_memory = spec.in_memory(spec.parse(job))
    tables: Mapping[str, pa.Table] = {}
    rows = None
    if task.dataset is not None:
        reporter.progress("read data", 0, 1)
        tables, rows = inputs.read(task, task.dataset, spec, job)
        if task.sets and spec.row_sets is not None:
            inputs.compare_sets(task, task.dataset, spec, job, tables, rows)
    channels: dict[str, Channel] = {peer: MessageChannel(counter) for peer, counter in counters.items()}
    session = bytes.fromhex(task.session)
    questions = Desk(job.deadline) if spec.asks(job, spec.parse(job)) == task.name else ()
    spool = MemorySpool() if in_memory else FileSpool(Path(task.spool))
    outcome = run_role(
        spec,
        job,
        task.name,
        tables,
        channels,
        system_rng,
        reporter.progress,
        session,
        spool=spool,
        model=b"" if task.model is None else models.read(Path(task.model.path), task.model.digest),
        opening=reporter.opening,
        questions=questions,
        rows=rows,
        program=task.program,
    )
    if outcome.table is not None:
        results.write_result(outcome.table, Path(task.result))
    if len(outcome.model) > models.MAX_MODEL_BYTES:
        raise InputError(f"the own part of the model has {len(outcome.model)} bytes (at most {models.MAX_MODEL_BYTES})")
    if outcome.model:
        results.write_bytes(outcome.model, Path(task.trained))
    return outcome


def _failure(error: Exception) -> Failure:
    """What the node needs to know of an exception: its kind, and what may be said to whom."""
    text = str(error)
    hint = error.hint if isinstance(error, SealaneError) else ""
    match error:
        case ProgramError():
            return Failure(Kind.INPUT, "the program failed there; its operator sees where", text, hint)
        case InputError():
            return Failure(Kind.INPUT, "its own input cannot be used; its operator sees where", text, hint)
        case ChannelError():
            return Failure(Kind.INTERRUPTED, text, "", hint)
        case ProtocolError():
            return Failure(Kind.PROTOCOL, text, "", hint)
        case ResultWithheld():
            return Failure(Kind.WITHHELD, text, "", hint)
        case DatasetChanged():
            return Failure(Kind.POLICY, f"its {text}", "", hint)
        case PolicyDenied():
            return Failure(Kind.POLICY, "its policy no longer allows the job", text, hint)
        case MemoryError():
            return Failure(Kind.CRASHED, "its worker ran out of memory", "", "give the node more memory, or less data")
        case OSError() if error.errno:
            return Failure(Kind.CRASHED, f"its worker could not use its storage: {os.strerror(error.errno)}")
    # The words of an unforeseen exception may hold data: tell where it was raised, not what it says.
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
    detail = f"{type(error).__name__}{where}"
    return Failure(Kind.CRASHED, "its worker ended with an unforeseen error", detail, "report this to the developers")


if __name__ == "__main__":
    main()
