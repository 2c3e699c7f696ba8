"""Worker processes that are started ahead of their task."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from parties.worker import process
from parties.worker.process import SpareWorkers, WorkerProcess


def with_spares(folder: Path, count: int, work: Callable[[SpareWorkers], Awaitable[None]]) -> None:
    """Run `work`, then end the spares and see that no process is left."""

    async def body() -> None:
        spares = SpareWorkers(folder, count)
        try:
            await work(spares)
        finally:
            await spares.close()

    before = set(psutil.Process().children())
    asyncio.run(body())
    assert set(psutil.Process().children()) <= before


async def filled(spares: SpareWorkers) -> None:
    spares.fill()
    assert spares._filling is not None
    await spares._filling


def test_the_worker_that_was_started_first_is_taken_and_another_takes_its_place(tmp_path: Path) -> None:
    async def work(spares: SpareWorkers) -> None:
        await filled(spares)
        first = spares._waiting[0]
        worker = await spares.take()
        assert worker is first
        assert len(spares._waiting) == 1
        await worker.end()
        spares.replace()
        assert spares._filling is not None
        await spares._filling
        assert len(spares._waiting) == 2

    with_spares(tmp_path, 2, work)


def test_a_worker_is_replaced_late_while_it_works_and_soon_when_it_has_ended(tmp_path: Path) -> None:
    async def work(spares: SpareWorkers) -> None:
        clock = asyncio.get_running_loop().time
        worker = await spares.take()
        filling, late = spares._filling, spares._due
        assert late > clock() + process._AFTER_END_S
        spares.replace()
        assert spares._filling is filling
        assert spares._due <= clock() + process._AFTER_END_S
        spares.fill(process._AFTER_START_S)
        assert spares._due < late
        await worker.end()

    with_spares(tmp_path, 1, work)


def test_nothing_is_started_once_the_spares_were_ended(tmp_path: Path) -> None:
    async def work(spares: SpareWorkers) -> None:
        worker = await spares.take()
        await spares.close()
        await worker.end()
        spares.replace()
        assert spares._filling is not None
        assert spares._filling.cancelled()

    with_spares(tmp_path, 1, work)


def test_those_that_are_not_needed_end_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_DISMISS_S", 120.0)  # a busy machine may take longer than the node waits

    async def work(spares: SpareWorkers) -> None:
        await filled(spares)
        waiting = list(spares._waiting)
        await spares.close()
        assert [worker.process.returncode for worker in waiting] == [0, 0]

    with_spares(tmp_path, 2, work)


def test_a_spare_worker_that_died_is_not_given_to_a_job(tmp_path: Path) -> None:
    async def work(spares: SpareWorkers) -> None:
        await filled(spares)
        dead = spares._waiting[0]
        dead.process.kill()
        await dead.process.wait()
        worker = await spares.take()
        assert worker.process.pid != dead.process.pid
        assert worker.process.returncode is None
        await worker.end()

    with_spares(tmp_path, 1, work)


def test_without_spare_workers_each_is_started_when_it_is_needed(tmp_path: Path) -> None:
    async def work(spares: SpareWorkers) -> None:
        await filled(spares)
        assert not spares._waiting
        worker = await spares.take()
        assert worker.process.returncode is None
        await worker.end()

    with_spares(tmp_path, 0, work)


def test_a_waiting_worker_ends_by_itself_when_its_node_has_gone(tmp_path: Path) -> None:
    async def work(_: SpareWorkers) -> None:
        worker = await WorkerProcess.start(tmp_path)
        assert worker.process.stdin is not None
        worker.process.stdin.close()  # as the kernel does for a node that was killed
        assert await worker.process.wait() == 0
        await worker.end()

    with_spares(tmp_path, 0, work)


def open_files(pid: int) -> Iterator[str]:
    """What a process has open, but for modules that it closes while one looks."""
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            yield str(path.readlink())


def test_a_worker_is_given_nothing_but_its_input_and_one_socket(tmp_path: Path) -> None:
    async def work(_: SpareWorkers) -> None:
        worker = await WorkerProcess.start(tmp_path)
        try:
            opened = list(open_files(worker.process.pid))
        finally:
            await worker.end()
        assert sorted(what.partition(":")[0] for what in opened if not what.startswith("/")) == ["pipe", "socket"]

    with_spares(tmp_path, 0, work)
