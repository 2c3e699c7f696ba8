"""Four parties in one process, made once and copied for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parties.jobs.parties_in_memory import World, make_parties, world


@pytest.fixture(scope="session")
def parties_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parties")
    make_parties(folder)
    return folder


@pytest.fixture
def parties(parties_template: Path, tmp_path: Path) -> Iterator[World]:
    with world(parties_template, tmp_path / "world") as copy:
        yield copy
