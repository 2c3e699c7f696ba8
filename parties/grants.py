"""The grants an operator has made, in the node's database; `policy` decides with them."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mpc.errors import InputError, PolicyDenied
from mpc.job import canonical_json, explain
from mpc.rng import Rng, system_rng
from parties import budgets, datasets
from parties.datasets import Dataset
from parties.policy import ANY, Grant, unusable
from parties.store import StoreError

ID_BYTES = 8
#: The catalogue shown to a peer is no longer than this in canonical JSON.
MAX_CATALOGUE_BYTES = 256 * 2**10

_NOT_TERMS = ("id", "peer", "uses", "revoked")  # kept in columns of their own
_ADAPTER = TypeAdapter(Grant)


@dataclass(frozen=True)
class Budget:
    """How a privacy budget stands, in millionths of epsilon: `limit` is the largest of live grants."""

    dataset: str
    peer: str
    purpose: str
    spent: int
    limit: int | None  # None: no grant has one


def add(db: sqlite3.Connection, grant: Grant, now: float, *, rng: Rng = system_rng) -> Grant:
    """Store the terms of `grant` as a new, unused grant; gives it with its id. `db` is in a transaction.

    Raises `InputError` when its peer is not registered.
    """
    assert db.in_transaction
    grant = replace(grant, id=rng(ID_BYTES).hex(), uses=0, revoked=False)
    try:
        db.execute(
            "INSERT INTO grants (id, peer, terms, created_at) VALUES (?, ?, ?, ?)",
            (grant.id, grant.peer, _terms(grant).decode(), now),
        )
    except sqlite3.IntegrityError:
        raise InputError("a grant is for a registered peer", hint="see `sealane peer list`") from None
    return grant


def terms_digest(grant: Grant) -> str:
    """Hexadecimal SHA-256 of the grant's terms: what the evidence log keeps of them."""
    return hashlib.sha256(b"sealane/grant/1\0" + _terms(grant)).hexdigest()


def revoke(db: sqlite3.Connection, grant_id: str, now: float) -> Grant:
    """End a grant for good, in the caller's transaction; gives it. Revoking again changes nothing.

    Raises `InputError` when there is none of that id.
    """
    assert db.in_transaction
    db.execute("UPDATE grants SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?", (now, grant_id))
    row = db.execute("SELECT * FROM grants WHERE id = ?", (grant_id,)).fetchone()
    if row is None:
        raise InputError(f"no grant has the id {grant_id[:80]!r}", hint="see `sealane grant list`")
    return _from_row(row)


def revoke_all(db: sqlite3.Connection, peer: str, now: float) -> None:
    """End all grants of a peer, in the caller's transaction."""
    assert db.in_transaction
    db.execute("UPDATE grants SET revoked_at = coalesce(revoked_at, ?) WHERE peer = ?", (now, peer))


def read(db: sqlite3.Connection, peers: Iterable[str] | None = None) -> tuple[Grant, ...]:
    """The grants of `peers`, or all, as `db` sees them: inside a transaction, as they will be when it commits."""
    wanted = None if peers is None else set(peers)
    rows = db.execute("SELECT * FROM grants ORDER BY created_at, id").fetchall()
    return tuple(_from_row(row) for row in rows if wanted is None or row["peer"] in wanted)


def debit(db: sqlite3.Connection, grant_ids: Iterable[str], now: float) -> None:
    """Count one use of each grant, in the caller's transaction.

    Raises `PolicyDenied`, upon which the transaction must be rolled back, when one is revoked, expired or used up.
    """
    for grant_id in grant_ids:
        row = db.execute("SELECT * FROM grants WHERE id = ?", (grant_id,)).fetchone()
        reason = "does not exist" if row is None else unusable(_from_row(row), now)
        if reason:
            raise PolicyDenied(f"grant {grant_id} {reason}", hint="add a new grant, then propose the job again")
        db.execute("UPDATE grants SET uses = uses + 1 WHERE id = ?", (grant_id,))


def budgets_of(db: sqlite3.Connection, now: float) -> tuple[Budget, ...]:
    """Every dataset, peer and purpose with a privacy budget or something debited, sorted."""
    limits: dict[tuple[str, str, str], int] = {}
    for grant in read(db):
        if grant.epsilon_millionths is not None and not unusable(grant, now):
            key = grant.dataset, grant.peer, grant.purpose
            limits[key] = max(limits.get(key, 0), grant.epsilon_millionths)
    debited = {(each.dataset, each.peer, each.purpose): each.millionths for each in budgets.listed(db)}
    return tuple(Budget(*key, spent=debited.get(key, 0), limit=limits.get(key)) for key in sorted({*limits, *debited}))


def visible(db: sqlite3.Connection, peer: str, now: float) -> dict[str, Any]:
    """What `peer` is shown of the datasets that its live grants let it propose jobs on, ready for JSON.

    Gives {"datasets": [{dataset, rows, key, columns: [[name, type], ...], protocols, purposes}, ...],
    "left_out": how many more there are beyond `MAX_CATALOGUE_BYTES`}. `protocols` and `purposes` are gathered from
    all grants on the dataset; not every combination need be allowed.
    """
    live: dict[str, list[Grant]] = {}
    for grant in read(db, [peer]):
        if not unusable(grant, now):
            live.setdefault(grant.dataset, []).append(grant)
    entries = [_entry(dataset, live[dataset.name]) for dataset in datasets.listed(db) if dataset.name in live]
    shown: list[dict[str, Any]] = []
    room = MAX_CATALOGUE_BYTES - len(canonical_json({"datasets": [], "left_out": len(entries)}))
    for entry in entries:
        room -= len(canonical_json(entry)) + 1  # and a comma
        if room < 0:
            break
        shown.append(entry)
    return {"datasets": shown, "left_out": len(entries) - len(shown)}


def _terms(grant: Grant) -> bytes:
    return canonical_json({name: value for name, value in asdict(grant).items() if name not in _NOT_TERMS})


def _entry(dataset: Dataset, live: list[Grant]) -> dict[str, Any]:
    granted = {column for grant in live for column in grant.columns}
    columns = [column for column in dataset.columns if column.name in granted or ANY in granted]
    names = {column.name for column in columns}
    return {
        "dataset": dataset.name,
        "rows": dataset.rows,
        "key": [name for name in dataset.key if name in names],
        "columns": [[column.name, column.type] for column in columns],
        "protocols": sorted({grant.protocol for grant in live}),
        "purposes": sorted({grant.purpose for grant in live}),
    }


def _from_row(row: sqlite3.Row) -> Grant:
    own = {"id": row["id"], "peer": row["peer"], "uses": row["uses"], "revoked": row["revoked_at"] is not None}
    try:
        return _ADAPTER.validate_json(json.dumps({**json.loads(row["terms"]), **own}))
    except ValidationError as error:
        why = explain(error)
    except InputError as error:
        why = str(error)
    except (ValueError, TypeError):
        why = "its terms are not a JSON object"
    raise StoreError(f"grant {row['id']} cannot be read from the database: {why}")
