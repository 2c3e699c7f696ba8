"""The public data sets that the fit is measured on, split between a label holder and a feature holder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from mpc.job import Job, Member

DATA = Path(__file__).parents[2] / "tests" / "data"
_PARTS = {"bank": "guest", "telco": "host"}


@dataclass(frozen=True)
class DataSet:
    """A data set: its files, key and label, and parameters of a training that follow from it."""

    name: str
    key: str
    label: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def tables(self) -> dict[str, pa.Table]:
        """By party; columns of the same name are renamed at the feature holder."""
        found = {who: _read(f"{self.name}_{part}") for who, part in _PARTS.items()}
        names = [name if name == self.key else f"t_{name}" for name in found["telco"].column_names]
        return found | {"telco": found["telco"].rename_columns(names)}

    def joined(self) -> pa.Table:
        """All columns of all rows, the label holder's first."""
        tables = self.tables()
        return tables["bank"].join(tables["telco"], self.key).sort_by(self.key)

    def job(self, protocol: str, params: Mapping[str, Any]) -> Job:
        """A training on all columns."""
        return job_on(protocol, self.tables(), self.key, self.label, params)

    def labels(self) -> np.ndarray:
        """Of the rows of `joined`."""
        return self.joined()[self.label].to_numpy().astype(np.float64)

    def columns(self) -> dict[str, list[str]]:
        """The names of each party's features."""
        return {who: [n for n in t.column_names if n not in (self.key, self.label)] for who, t in self.tables().items()}

    def features(self) -> np.ndarray:
        """Of the rows of `joined`, the label holder's first."""
        joined = self.joined()
        names = [name for own in self.columns().values() for name in own]
        return np.stack([joined[name].to_numpy().astype(np.float64) for name in names], axis=1)


def job_on(protocol: str, tables: Mapping[str, pa.Table], key: str, label: str, params: Mapping[str, Any]) -> Job:
    """A training on all columns of the tables, the label holder's named bank."""
    members = {}
    for name, table in tables.items():
        columns = {"key": (key,), "feature": tuple(c for c in table.column_names if c not in (key, label))}
        if name == "bank":
            columns["label"] = (label,)
        members[name] = Member("label_holder" if name == "bank" else "feature_holder", "rows", columns)
    return Job(protocol, members, ("bank",), dict(params))


def _read(name: str) -> pa.Table:
    packed = DATA / f"{name}.parquet"
    return parquet.read_table(packed) if packed.exists() else csv.read_csv(DATA / f"{name}.csv")
