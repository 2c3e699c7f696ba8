"""The worker processes of a node: started by exec, one a running attempt, ended when the database says so."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from mpc import registry
from mpc.errors import ChannelError, InputError, ProtocolError, SealaneError
from parties import memory, models
from parties.datasets import Dataset
from parties.jobs.endings import held_result
from parties.jobs.failure import Failure, Kind
from parties.jobs.records import JobRecord, own_part
from parties.row_sets import Earlier
from parties.transport.transport import Transport
from parties.worker.process import SpareWorkers
from parties.worker.task import ModelFile, Report, Task, unpack_report

_LOG = structlog.get_logger()
_RESULT, _MODEL, _SETS = "result.parquet", "trained.model", "rows.sets"

Key = tuple[str, int]


@dataclass(frozen=True)
class Inputs:
    """What an attempt is given here: a dataset, a part of a model, sets of rows to compare with, a program's text."""

    dataset: Dataset | None
    model: ModelFile | None
    earlier: Earlier | None
    program: bytes = field(repr=False)


@dataclass(frozen=True)
class Ended:
    """A worker ended: with `facts` (and its result held, if it has one) or with a failure."""

    job: str
    attempt: int
    facts: Mapping[str, int] | None
    failure: Failure | None
    dropped: tuple[str, ...] = ()
    misbehaved: tuple[str, ...] = ()  # fingerprints of peers that broke the rules of the session
    sets: bytes = field(default=b"", repr=False)  # of own rows whose figures the result shows, if that is noted
    opened: bool = True  # whether it may have opened figures; False only if a worker that failed said so itself
    seen: int = 0  # up to which entry earlier sets were compared with


@dataclass
class Workers:
    """Runs workers over `transport`; tells `on_report` of progress and `on_end` of every end, once each."""

    me: str
    work: Path
    spool: Path
    spares: SpareWorkers
    transport: Transport
    on_report: Callable[[JobRecord, Report, float], Awaitable[None]]
    on_end: Callable[[Ended], Awaitable[None]]
    results: Path
    memory: Path
    _running: dict[Key, asyncio.Task[None]] = field(default_factory=dict)

    @property
    def running(self) -> set[Key]:
        """The job and attempt of each worker there is."""
        return set(self._running)

    def launch(self, record: JobRecord, inputs: Inputs) -> None:
        """Start the worker of this party's part in the record's attempt."""
        key = record.id, record.attempt
        task = asyncio.create_task(self._run(record, inputs), name=f"worker {record.id} {record.attempt}")
        self._running[key] = task
        task.add_done_callback(lambda _task: self._running.pop(key))

    def end(self, key: Key) -> None:
        """End a worker that is not wanted any more; nothing is reported of it."""
        task = self._running[key]
        if not task.cancelling():  # a second time would interrupt its cleaning up
            task.cancel()

    async def end_all(self) -> None:
        """End every worker, also those that wait, and return when all have gone."""
        await self.spares.close()
        tasks = list(self._running.values())
        for key in self._running:
            self.end(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, record: JobRecord, inputs: Inputs) -> None:
        earlier = inputs.earlier
        in_memory = _is_in_memory(record)
        folder = (self.memory if in_memory else self.work) / f"{record.id}.{record.attempt}"
        try:
            if in_memory:
                memory.make_ready(self.memory)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            ended = await self._play(record, inputs, folder)
            if ended is None:
                return
            if ended.facts is not None:
                if earlier is not None:
                    ended = replace(ended, sets=(folder / _SETS).read_bytes(), seen=earlier.seen)
                held = held_result(self.results, record.id)
                if not in_memory:
                    _hold(folder / _RESULT, held)
                elif (folder / _RESULT).exists():
                    memory.keep(folder / _RESULT, self.memory / f"{record.id}.parquet", held)
                _hold(folder / _MODEL, models.held(self.results, record.id))
        except ChannelError as error:
            ended = Ended(record.id, record.attempt, None, Failure(Kind.INTERRUPTED, str(error)))
        except InputError as error:
            public = "its own input cannot be used; its operator sees where"
            ended = Ended(record.id, record.attempt, None, Failure(Kind.INPUT, public, str(error), error.hint))
        except OSError as error:
            ended = Ended(record.id, record.attempt, None, _machine_failure(error))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        await self.on_end(ended)

    async def _play(self, record: JobRecord, inputs: Inputs, folder: Path) -> Ended | None:
        """How it ended; None if `on_end` was told so already."""
        name, _ = own_part(record, self.me)
        peers = {party.name: party.fingerprint for party in record.others(self.me)}
        assert record.session is not None
        task = Task(
            spec=record.spec.decode(),
            name=name,
            peers=tuple(peers),
            session=record.session.hex(),
            folder=str(folder),
            result=str(folder / _RESULT),
            trained=str(folder / _MODEL),
            spool=str(self.spool / record.id),
            dataset=inputs.dataset,
            sets="" if inputs.earlier is None else str(folder / _SETS),
            earlier=() if inputs.earlier is None else inputs.earlier.sets,
            model=inputs.model,
            program=inputs.program,
        )
        worker = await self.spares.take()
        _LOG.info("worker started", job=record.id, attempt=record.attempt, pid=worker.process.pid)
        started = time.time()
        last: list[Report] = []

        async def on_event(data: bytes) -> None:
            report = unpack_report(data)
            if report.facts is not None or report.failure is not None:
                last.append(report)
            await self.on_report(record, report, started)

        def ended(code: int, errors: Mapping[str, SealaneError]) -> Ended:
            misbehaved = tuple(peers[peer] for peer, error in errors.items() if isinstance(error, ProtocolError))
            return replace(_outcome(record, last[-1] if last else None, code), misbehaved=misbehaved)

        told = False

        async def on_failed(errors: Mapping[str, SealaneError]) -> None:
            # Before peers know: their workers fail because of it, and may be heard before this process has gone.
            nonlocal told
            if last and last[-1].failure is not None:
                await self.on_end(ended(1, errors))
                told = True

        try:
            worker.begin(task)
            traffic = await self.transport.run_worker(worker.sock, record.session, peers, on_event, on_failed)
            code = await worker.process.wait()
        finally:
            await worker.end()
            self.spares.replace()
        return None if told else ended(code, traffic.errors)


def _is_in_memory(record: JobRecord) -> bool:
    """Whether nothing of the job may be written to a disk."""
    spec = registry.get(record.job.protocol)
    return spec.in_memory(spec.parse(record.job))


def _outcome(record: JobRecord, report: Report | None, code: int) -> Ended:
    if report is not None and report.facts is not None and code == 0:
        return Ended(record.id, record.attempt, report.facts, None, report.dropped)
    if report is not None and report.failure is not None:
        return Ended(record.id, record.attempt, None, Failure(**report.failure), opened=report.opened)
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    hint = "the machine may have run out of memory: see its kernel log" if code == -signal.SIGKILL else ""
    return Ended(record.id, record.attempt, None, Failure(Kind.CRASHED, f"its worker process {how}", "", hint))


def _hold(made: Path, held: Path) -> None:
    """Move what an attempt made, if it made it, to where it waits for the end of the job."""
    if made.exists():
        made.replace(held)


def _machine_failure(error: OSError) -> Failure:
    why = os.strerror(error.errno or 0)
    return Failure(Kind.CRASHED, "its machine could not run a worker", why, "look at its disk, memory and limits")
