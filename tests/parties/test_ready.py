"""Whether a node says that it takes new work, while it has nothing to do."""

import asyncio
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from parties.home import Home
from parties.node import Node
from parties.server import Server

_Usage = namedtuple("_Usage", "free")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    Node.create(tmp_path / "ann", "ann").close()
    made = Server(Home.load(tmp_path / "ann"))
    yield made
    made._writer.submit(made._store.close).result()
    made._writer.shutdown()


def _is_ready(server: Server, free_bytes: int = 2**30) -> bool:
    """What a thread of the metrics' listener is told."""

    async def ask() -> bool:
        return await asyncio.to_thread(server._is_ready, asyncio.get_running_loop())

    with mock.patch("shutil.disk_usage", lambda _path: _Usage(free_bytes)):
        return asyncio.run(ask())


def test_a_node_with_little_room_left_on_its_disk_is_not_ready(server: Server) -> None:
    assert _is_ready(server)
    assert not _is_ready(server, 2**20)
    assert _is_ready(server)


def test_a_node_whose_database_cannot_be_written_is_not_ready(server: Server) -> None:
    server._writer.submit(lambda: server._store.connection().execute("PRAGMA query_only = ON")).result()
    assert not _is_ready(server)
    server._writer.submit(lambda: server._store.connection().execute("PRAGMA query_only = OFF")).result()
    assert _is_ready(server)
