"""What a private join leaves: rows that all parties count alike, and shares of both sides' columns in their order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from mpc.errors import InputError
from mpc.sharing.engine import Engine
from mpc.sharing.values import Bits, Secret

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
BOOL = npt.NDArray[np.bool_]

_DOMAIN = b"sealane/join/1\0"


@dataclass(frozen=True)
class Column:
    """What all parties know of a column: integers between `low` and `high` that stand for v / 10^decimals."""

    low: int
    high: int
    decimals: int = 0


Declared = Mapping[str, Mapping[str, Column]]  # by party and name


@dataclass(frozen=True)
class Table:
    """A party's own part: a digest of each row's key (n x 32 bytes, none twice), and its columns of n integers."""

    keys: U8 = field(repr=False)
    columns: Mapping[str, I64] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Joined:
    """The joined rows.

    `columns[party][name]` has an entry a row, as has `flags`, which says which rows are matches (None: all are), and
    `matches`, which is the same as 0 and 1 where it was computed.
    `own_rows` gives the row of the own table that each joined row belongs to, negative where there is none, as far as
    this party learns it (None: it does not). `sizes` says with how many keys others came, as far as it learns that.
    """

    rows: int
    columns: Mapping[str, Mapping[str, Secret]] = field(repr=False)
    flags: Bits | None = field(repr=False)
    own_rows: I64 | None = field(repr=False)
    matches: Secret | None = field(default=None, repr=False)
    sizes: Mapping[str, int] = field(default_factory=dict)

    def place(self, values: I64) -> I64:
        """Own values, one a row of the own table, in the order of the joined rows; zeros where there is none."""
        if self.own_rows is None:
            raise InputError("this party does not learn where its rows are among the joined ones")
        placed = np.zeros(self.rows, values.dtype)
        present = self.own_rows >= 0
        placed[present] = values[self.own_rows[present]]
        return placed


def check_table(name: str, table: Table, declared: Mapping[str, Column]) -> None:
    """Raises `InputError` unless the table has the columns that its party declared, and no key twice."""
    if set(table.columns) != set(declared):
        raise InputError(f"{name}: declared the columns {', '.join(sorted(declared))}, and brings others")
    if any(values.shape != (len(table.keys),) for values in table.columns.values()):
        raise InputError(f"{name}: a column has not one value for each key")
    if _repeat(table.keys):
        raise InputError(f"{name}: a key repeats", hint="join on keys that are unique, or sum up by key before")


def _repeat(keys: U8) -> bool:
    """Whether a key occurs twice: compared as a whole only where first words do."""
    first = np.sort(np.ascontiguousarray(keys[:, :8]).view(np.uint64).ravel())
    return bool((first[1:] == first[:-1]).any()) and len(np.unique(keys.view("V32"))) != len(keys)


def share_columns(
    engine: Engine, owner: str, rows: int, values: Mapping[str, I64] | None, declared: Mapping[str, Column]
) -> dict[str, Secret]:
    """Shares of the columns of `owner`, whose `values` are None at the others; zero is always among the values."""
    return {
        name: engine.share(
            owner,
            None if values is None else values[name],
            shape=(rows,),
            low=min(column.low, 0),
            high=max(column.high, 0),
            decimals=column.decimals,
        )
        for name, column in sorted(declared.items())
    }


def join_session(session: bytes, label: bytes) -> bytes:
    """What a join's own messages and hashes are bound to: the attempt and the stage."""
    return blake2b(_DOMAIN + label, digest_size=16, salt=session).digest()
