"""Worker processes: started by exec, told their task on standard input, killed when they are not wanted any more.

A few are started ahead, so that a job need not wait until a process has loaded Arrow, DuckDB and the protocols. One
that waits has no task, no key and no network; it ends when its standard input closes, so that none outlives its node.
"""

import asyncio
import contextlib
import os
import socket
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from mpc import ahead
from parties.worker.task import Task, pack

_LOG = structlog.get_logger()
_PASSED_ENVIRONMENT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "XDG_CACHE_HOME",  # compiled loops are kept there
)
# A process that loads its libraries would take the machine from the job whose worker it replaces: until the worker has
# ended and the result was released, if the job does not take long.
_AFTER_END_S = 0.5
_AFTER_START_S = 10.0
_DISMISS_S = 5.0


@dataclass(frozen=True, eq=False)
class WorkerProcess:
    """One worker process, and this node's end of its socket."""

    process: asyncio.subprocess.Process
    sock: socket.socket

    @classmethod
    async def start(cls, folder: Path) -> "WorkerProcess":
        """Start a process in `folder` that waits for its task; `OSError` if the machine cannot."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",  # what lies in the folder is not code
                    "-m",
                    "parties.worker",
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,  # a library's words may hold data
                    pass_fds=[theirs.fileno()],
                    cwd=folder,
                    env={key: os.environ[key] for key in _PASSED_ENVIRONMENT if key in os.environ} | ahead.SETTINGS,
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            raise
        return cls(process, ours)

    def begin(self, task: Task) -> None:
        """Tell it what to do."""
        assert self.process.stdin is not None
        self.process.stdin.write(pack(task))
        self.process.stdin.close()

    async def dismiss(self) -> None:
        """Let it end by itself, with nothing to do: killed while it loads, it would leave what libraries unpack."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), _DISMISS_S)
        await self.end()

    async def end(self) -> None:
        """Kill it unless it has ended, and wait until it has gone."""
        self.sock.close()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@dataclass
class SpareWorkers:
    """Keeps `count` worker processes waiting in `folder` once `fill` was called, until `close`."""

    folder: Path
    count: int
    _waiting: deque[WorkerProcess] = field(default_factory=deque)
    _filling: asyncio.Task[None] | None = None
    _due: float = 0.0  # when it begins, by the loop's clock
    _sooner: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False

    def fill(self, after_s: float = 0.0) -> None:
        """Start what is missing after that time, unless that is to happen sooner anyway."""
        if self._closed:
            return
        due = asyncio.get_running_loop().time() + after_s
        if self._filling is None or self._filling.done():
            self._due = due
            self._filling = asyncio.create_task(self._fill())
        elif due < self._due:
            self._due = due
            self._sooner.set()

    async def take(self) -> WorkerProcess:
        """A process that waits for its task: one started ahead if there is one, otherwise a new one."""
        self.fill(_AFTER_START_S)
        while self._waiting:
            worker = self._waiting.popleft()
            if worker.process.returncode is None:
                return worker
            worker.sock.close()
        return await WorkerProcess.start(self.folder)

    def replace(self) -> None:
        """A process that was taken has ended: have another take its place soon."""
        self.fill(_AFTER_END_S)

    async def close(self) -> None:
        """End those that wait, and start no more."""
        self._closed = True
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.gather(self._filling, return_exceptions=True)
        waiting, self._waiting = self._waiting, deque()
        await asyncio.gather(*(worker.dismiss() for worker in waiting))

    async def _fill(self) -> None:
        while (left := self._due - asyncio.get_running_loop().time()) > 0:
            self._sooner.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._sooner.wait(), left)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            while len(self._waiting) < self.count:
                worker = await WorkerProcess.start(self.folder)
                self._waiting.append(worker)
                _LOG.info("spare worker started", pid=worker.process.pid)
        except OSError as error:
            _LOG.warning("no spare worker could be started", reason=os.strerror(error.errno or 0))
