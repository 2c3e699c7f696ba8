"""The datasets an operator has registered: where each is, what its columns are, and a commitment to its bytes.

Importing this module loads neither Arrow nor DuckDB, so that an idle node stays small; `reading` does the reading.
"""

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

from mpc.errors import InputError, PolicyDenied
from mpc.job import NAME
from mpc.rng import Rng, system_rng
from parties.store import Store

Format = Literal["csv", "parquet"]

SALT_BYTES = 32
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


def register(store: Store, name: str, path: Path, key: Sequence[str], now: float, *, rng: Rng = system_rng) -> Dataset:
    """Check the CSV or Parquet file at `path` from end to end and register it; gives the dataset.

    `key` names the columns that identify a person or a thing. Registering a name again for the same path takes the
    file as it is now: grants stay, and jobs approved for the old bytes are refused. Raises `InputError` naming the
    file and, where there is one, the line or data row and the column, never a value.
    """
    from parties.reading import examine  # here only: it loads Arrow and DuckDB

    if not NAME.fullmatch(name):
        raise InputError("a dataset's name has a-z, 0-9, '.', '_' and '-', at most 63 characters")
    path = path.absolute()
    _check_free(store.connection(), name, path)
    dataset = examine(name, path, tuple(key), rng(SALT_BYTES), now)
    with store.transaction() as db:
        _check_free(db, name, path)
        db.execute(
            "INSERT OR REPLACE INTO datasets (name, path, format, columns, key, rows, salt, commitment, registered_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                name,
                str(path),
                dataset.format,
                json.dumps([astuple(column) for column in dataset.columns], ensure_ascii=False),
                json.dumps(dataset.key, ensure_ascii=False),
                dataset.rows,
                dataset.salt,
                dataset.commitment,
                now,
            ),
        )
    return dataset


def get(store: Store, name: str) -> Dataset:
    """The dataset of that name; raises `InputError` when there is none."""
    row = store.connection().execute("SELECT * FROM datasets WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise InputError(f"no dataset {name!r} is registered here", hint="see `sealane dataset list`")
    return _from_row(row)


def listed(store: Store) -> tuple[Dataset, ...]:
    """All datasets, by name."""
    rows = store.connection().execute("SELECT * FROM datasets ORDER BY name").fetchall()
    return tuple(map(_from_row, rows))


def remove(store: Store, name: str, now: float) -> None:
    """Forget a dataset and revoke its grants, so that they do not come to mean another file of that name."""
    with store.transaction() as db:
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


def _check_free(db: sqlite3.Connection, name: str, path: Path) -> None:
    row = db.execute("SELECT path FROM datasets WHERE name = ?", (name,)).fetchone()
    if row is not None and row["path"] != str(path):
        raise InputError(
            f"dataset {name} is registered already, from {row['path']}",
            hint="choose another name, or remove that dataset first",
        )


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
