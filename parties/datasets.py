"""The datasets an operator has registered: where each is, what its columns are, and a commitment to its bytes.

Importing this module loads neither Arrow nor DuckDB, so that an idle node stays small; `reading` does the reading.
"""

import hashlib
import hmac
import json
import sqlite3
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from mpc.errors import InputError, PolicyDenied

Format = Literal["csv", "parquet"]

COMMITMENT_DOMAIN = b"sealane/dataset/1\0"
CHUNK_BYTES = 2**20


class DatasetChanged(PolicyDenied):
    """A dataset's file is no longer what was registered, and so not what was approved."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"dataset {name} has changed since it was registered",
            hint=f"register {name} again, then propose the job again so that all parties approve the new data",
        )


@dataclass(frozen=True)
class Column:
    """A column: `type` is text, integer, decimal(p,s), float, date, timestamp or boolean."""

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True)
class Dataset:
    """A registered file. `commitment` is an HMAC-SHA256 of its bytes under `salt`, which never leaves the node."""

    name: str
    path: Path
    format: Format
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rows: int
    salt: bytes = field(repr=False)
    commitment: str
    registered_at: float

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def save(db: sqlite3.Connection, dataset: Dataset) -> None:
    """Register a dataset; `db` is in a transaction.

    A name again for the same path takes the file as it is now: grants stay, and jobs approved for the old bytes are
    refused. Raises `InputError` when the name is taken by another path.
    """
    assert db.in_transaction
    row = db.execute("SELECT path FROM datasets WHERE name = ?", (dataset.name,)).fetchone()
    if row is not None and row["path"] != str(dataset.path):
        raise InputError(
            f"dataset {dataset.name} is registered already, from {row['path']}",
            hint="choose another name, or remove that dataset first",
        )
    db.execute(
        "INSERT OR REPLACE INTO datasets (name, path, format, columns, key, rows, salt, commitment, registered_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            dataset.name,
            str(dataset.path),
            dataset.format,
            json.dumps([astuple(column) for column in dataset.columns], ensure_ascii=False),
            json.dumps(dataset.key, ensure_ascii=False),
            dataset.rows,
            dataset.salt,
            dataset.commitment,
            dataset.registered_at,
        ),
    )


def find(db: sqlite3.Connection, name: str) -> Dataset | None:
    """The dataset of that name, if there is one."""
    row = db.execute("SELECT * FROM datasets WHERE name = ?", (name,)).fetchone()
    return None if row is None else _from_row(row)


def get(db: sqlite3.Connection, name: str) -> Dataset:
    """The dataset of that name; raises `InputError` when there is none."""
    dataset = find(db, name)
    if dataset is None:
        raise InputError(f"no dataset {name!r} is registered here", hint="see `sealane dataset list`")
    return dataset


def listed(db: sqlite3.Connection) -> tuple[Dataset, ...]:
    """All datasets, by name."""
    return tuple(map(_from_row, db.execute("SELECT * FROM datasets ORDER BY name").fetchall()))


def remove(db: sqlite3.Connection, name: str, now: float) -> None:
    """Forget a dataset and revoke its grants, so that they do not come to mean another file of that name."""
    assert db.in_transaction
    if db.execute("DELETE FROM datasets WHERE name = ?", (name,)).rowcount == 0:
        raise InputError(f"no dataset {name!r} is registered here", hint="see `sealane dataset list`")
    db.execute(
        "UPDATE grants SET revoked_at = ? WHERE revoked_at IS NULL AND json_extract(terms, '$.dataset') = ?",
        (now, name),
    )


def commitment(file: BinaryIO, salt: bytes) -> str:
    """HMAC-SHA256 of what is left of `file`, in hexadecimal."""
    state = hmac.new(salt, COMMITMENT_DOMAIN, hashlib.sha256)
    while chunk := file.read(CHUNK_BYTES):
        state.update(chunk)
    return state.hexdigest()


def _from_row(row: sqlite3.Row) -> Dataset:
    return Dataset(
        name=row["name"],
        path=Path(row["path"]),
        format=row["format"],
        columns=tuple(Column(*column) for column in json.loads(row["columns"])),
        key=tuple(json.loads(row["key"])),
        rows=row["rows"],
        salt=row["salt"],
        commitment=row["commitment"],
        registered_at=row["registered_at"],
    )
