"""Two parties whose nodes have run a job together and hold its receipt."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from parties.evidence.export import export
from parties.evidence.log import append
from parties.evidence.receipt import Receipt
from parties.identity import peers
from parties.identity.certificates import read_identity
from parties.identity.keys import Identity, create
from parties.store import Store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Party:
    """An identity, its database, and what this suite does with them."""

    identity: Identity
    store: Store
    now: datetime = NOW

    def log(self, kind: str, fields: Mapping[str, str | int]) -> None:
        with self.store.transaction() as db:
            append(db, self.identity, kind, fields, NOW)

    def pin(self, other: Identity) -> None:
        with self.store.transaction() as db:
            peers.add(db, read_identity(other.certificate_pem), "", NOW)
        self.log("peer_added", {"name": other.name, "fingerprint": other.fingerprint})

    def keep(self, receipt: Receipt) -> None:
        """Stores a receipt as a node does when the last signature has arrived."""
        job, digest = receipt.statement.job, receipt.statement.digest
        fields = {"job": job, "digest": digest, "statement": receipt.statement.hash}
        with self.store.transaction() as db:
            db.execute(
                "INSERT INTO jobs (id, digest, spec, initiator, state, deadline, awaited, receipt, created_at, "
                "updated_at) VALUES (?, ?, x'', '', '', 0, 0, ?, 0, 0)",
                (job, digest, receipt.to_bytes().decode()),
            )
            append(db, self.identity, "receipt_signed", fields, NOW)
            append(db, self.identity, "receipt_completed", fields, NOW)

    def export(self) -> bytes:
        return b"".join(export(self.store.connection(), self.identity, NOW + timedelta(hours=1)))

    def file(self) -> io.BytesIO:
        return io.BytesIO(self.export())


@pytest.fixture(scope="session")
def identities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Identity, Identity]:
    folder = tmp_path_factory.mktemp("identities")
    return create(folder / "alice", "alice", NOW), create(folder / "bob", "bob", NOW)


@pytest.fixture
def alice(identities: tuple[Identity, Identity], tmp_path: Path) -> Iterator[Party]:
    yield from _party(identities[0], identities[1], tmp_path)


@pytest.fixture
def bob(identities: tuple[Identity, Identity], tmp_path: Path) -> Iterator[Party]:
    yield from _party(identities[1], identities[0], tmp_path)


def _party(identity: Identity, peer: Identity, folder: Path) -> Iterator[Party]:
    party = Party(identity, Store.create(folder / f"{identity.name}.db"))
    party.log("node_created", {"name": identity.name, "fingerprint": identity.fingerprint})
    party.pin(peer)
    yield party
    party.store.close()


@pytest.fixture
def trusted(identities: tuple[Identity, Identity]) -> set[str]:
    return {identity.fingerprint for identity in identities}
