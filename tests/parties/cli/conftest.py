"""Fixtures of the command line's tests."""

import shutil
from pathlib import Path

import pytest

from tests.parties.cli.driving import PROPOSAL, Party, World, allow


@pytest.fixture(scope="session")
def introduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two nodes that are each other's peers and have data; copied for each test."""
    folder = tmp_path_factory.mktemp("introduced")
    hk, cn = Party(folder / "hk"), Party(folder / "cn")
    hk("init", "hk-bank", "--listen", "127.0.0.1:7443")
    cn("init", "cn-bank")
    hk("peer", "invite", "--out", folder / "invitation")
    cn("peer", "accept", folder / "invitation", "--out", folder / "reply", "--yes")
    hk("peer", "accept", folder / "reply", "--yes")
    (folder / "cards.csv").write_text("id,balance\n1,5\n2,6\n3,7\n")
    (folder / "accounts.csv").write_text("card,city\n2,a\n3,b\n4,c\n")
    hk("dataset", "add", "cards", folder / "cards.csv", "--key", "id")
    cn("dataset", "add", "accounts", folder / "accounts.csv", "--key", "card")
    return folder


@pytest.fixture
def world(introduced: Path, tmp_path: Path) -> World:
    shutil.copytree(introduced, tmp_path / "world")
    return World(tmp_path / "world")


@pytest.fixture
def proposed(world: World) -> World:
    """hk-bank has proposed a job, and cn-bank's operator has to decide."""
    allow(world)
    world.hk(*PROPOSAL, "--yes")
    world.deliver()
    return world
