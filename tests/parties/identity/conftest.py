"""Two parties with a database each, at a fixed time."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from parties.identity.keys import Identity, create
from parties.store import Store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def identity_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Identity]:
    """Makes an identity; the same one when it is asked again for the same name and time."""
    made: dict[tuple[str, datetime], Identity] = {}

    def make(name: str, since: datetime = NOW) -> Identity:
        if (name, since) not in made:
            made[name, since] = create(tmp_path_factory.mktemp("node") / "identity", name, since)
        return made[name, since]

    return make


@pytest.fixture(scope="session")
def alice(identity_of: Callable[..., Identity]) -> Identity:
    return identity_of("alice")


@pytest.fixture(scope="session")
def bob(identity_of: Callable[..., Identity]) -> Identity:
    return identity_of("bob")


@pytest.fixture
def alice_store(tmp_path: Path) -> Iterator[Store]:
    store = Store.create(tmp_path / "alice.db")
    yield store
    store.close()


@pytest.fixture
def bob_store(tmp_path: Path) -> Iterator[Store]:
    store = Store.create(tmp_path / "bob.db")
    yield store
    store.close()
