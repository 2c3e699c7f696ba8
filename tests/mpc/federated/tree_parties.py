"""Parties that train and predict with boosted trees in one process, rows aligned by the test instead of by PSI."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
from google.protobuf.message import Message
from pyarrow import csv

from mpc.channel import Pipe, decode, encode
from mpc.federated import alignment
from mpc.federated.columns import Column, read_columns, read_numbers
from mpc.federated.trees_boost import training_rows
from mpc.federated.trees_columns import PlainModel, fit_plain
from mpc.federated.trees_objective import read_target
from mpc.federated.trees_params import TreesParams
from mpc.job import Job, Member
from mpc.local import run_parties
from mpc.primitives.paillier import PrivateKey
from mpc.registry import get
from mpc.session import run_role
from mpc.spec import Outcome, Party, no_progress
from mpc.testing import InsecureSeededRng, insecure_paillier
from protos import federated_pb2
from protos import federated_trees_pb2 as wire

DATA = Path(__file__).parents[2] / "data"
BITS = 512
SESSION = bytes(range(16))
TYPES: dict[str, type[Message]] = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (
        federated_pb2.Key,
        wire.Tree,
        federated_pb2.Piece,
        wire.Layout,
        wire.Level,
        wire.Choices,
        wire.Standing,
        wire.Lefts,
        wire.Part,
        wire.Headings,
        wire.Outputs,
    )
}
Wrap = Callable[[str, str, Pipe], Pipe]


def unwrapped(_name: str, _peer: str, pipe: Pipe) -> Pipe:
    return pipe


@dataclass(frozen=True)
class Case:
    """Tables whose rows are aligned already, and the job that trains on them; bank holds the labels."""

    tables: Mapping[str, pa.Table] = field(repr=False)
    job: Job

    @property
    def params(self) -> TreesParams:
        params: TreesParams = get(self.job.protocol).parse(self.job)
        return params

    def slots(self, name: str) -> dict[str, pa.Table]:
        return {slot: self.tables[name].select(list(names)) for slot, names in self.job.members[name].columns.items()}


def case(tables: Mapping[str, pa.Table], label: str = "y", receivers: Sequence[str] = (), **params: Any) -> Case:
    """bank's table has `label`; columns of text or booleans are categories, all others but "id" features."""
    members = {}
    for name, table in tables.items():
        columns: dict[str, tuple[str, ...]] = {"key": ("id",)}
        if name == "bank":
            columns["label"] = (label,)
        kinds: dict[str, list[str]] = {"feature": [], "category": []}
        for each in table.schema:
            if each.name not in ("id", label) or (each.name == label and name != "bank"):
                kinds["category" if each.type in (pa.string(), pa.bool_()) else "feature"].append(each.name)
        columns |= {slot: tuple(names) for slot, names in kinds.items() if names}
        members[name] = Member("label_holder" if name == "bank" else "feature_holder", columns=columns)
    given = {"key_bits": BITS, "encryption": "fast", "min_rows": 1, "trees": 3, **params}
    with insecure_paillier():
        return Case(tables, Job("train.boosted_trees", members, tuple(receivers or tables), given, id="0" * 32))


def real(name: str, key: str = "id") -> dict[str, pa.Table]:
    """A data set of FATE's between bank and telco, rows joined."""
    ours, theirs = (csv.read_csv(DATA / f"{name}_{part}.csv") for part in ("guest", "host"))
    place = {value: row for row, value in enumerate(theirs[key].to_pylist())}
    theirs = theirs.take([place[value] for value in ours[key].to_pylist()])
    return {
        who: table.rename_columns(["id" if column == key else column for column in table.column_names])
        for who, table in (("bank", ours), ("telco", theirs))
    }


_KEYS: dict[int, PrivateKey] = {}


def _one_key(rng: Any, bits: int = BITS) -> PrivateKey:
    """The same key pair in all tests, which saves finding primes."""
    if bits not in _KEYS:
        with insecure_paillier():
            _KEYS[bits] = _MAKE(InsecureSeededRng(b"key"), bits)
    return _KEYS[bits]


_MAKE = PrivateKey.generate


def in_order(party: Party[Any], keys: pa.Table, *_rest: Any) -> alignment.Alignment:
    """Instead of PSI: row i of every table belongs to one key."""
    return alignment.Alignment(np.arange(keys.num_rows), {"common_rows": keys.num_rows})


def run(
    subject: Case,
    job: Job | None = None,
    models: Mapping[str, bytes] | None = None,
    wrap: Wrap = unwrapped,
    progress: Any = no_progress,
) -> dict[str, Outcome]:
    """Run the case's job, or another on its tables, without PSI and with a seeded source of randomness a party."""
    job = subject.job if job is None else job
    spec = get(job.protocol)

    def part(name: str) -> Any:
        slots = {s: subject.tables[name].select(list(c)) for s, c in job.members[name].columns.items()}
        rng = InsecureSeededRng(name.encode())
        model = (models or {}).get(name, b"")
        return lambda peers: run_role(spec, job, name, slots, peers, rng, progress, SESSION, model=model)

    with (
        insecure_paillier(),
        patch.object(alignment, "align", in_order),
        patch.object(PrivateKey, "generate", _one_key),
    ):
        return run_parties({name: part(name) for name in job.members}, wrap=wrap)


def plain(subject: Case) -> PlainModel:
    """The same training in the clear."""
    with insecure_paillier():
        params = subject.params
    parties: dict[str, list[Column]] = {"bank": read_columns(subject.slots("bank"))}
    parties |= {name: read_columns(subject.slots(name)) for name in sorted(set(subject.tables) - {"bank"})}
    table = subject.slots("bank")["label"]
    (name,) = table.column_names
    labels = read_numbers(table, name)
    target, labels = read_target(params, name, labels, training_rows(params, len(labels)))
    return fit_plain(labels, target, parties, params)


def predict_job(subject: Case, receivers: Sequence[str] = ("bank",), output: Mapping[str, str] | None = None) -> Job:
    """The job that predicts with the case's model on the case's tables."""
    members = {}
    for name, member in subject.job.members.items():
        columns = {slot: names for slot, names in member.columns.items() if slot != "label"}
        if output and name in output:
            columns["output"] = (output[name],)
        members[name] = Member(member.role, columns=columns)
    return Job("predict.boosted_trees", members, tuple(receivers), {"model": subject.job.id}, id="1" * 32)


def mixed(rows: int = 240, seed: int = 1, holders: Sequence[str] = ("telco",), labels: str = "binary") -> Case:
    """Made-up columns of every kind, with missing values, that do tell something about the label."""
    rng = np.random.default_rng(seed)
    own = rng.normal(size=rows)
    score = own.copy()
    tables = {}
    for name in holders:
        mine = np.random.default_rng(zlib.crc32(name.encode()) + seed)
        amount, visits, city = mine.normal(size=rows), mine.integers(0, 5, rows), mine.integers(0, 6, rows)
        score += amount + (visits == 2) - 1.5 * (city == 3)
        tables[name] = pa.table(
            {
                "id": np.arange(rows),
                "amount": pa.array(amount, mask=mine.random(rows) < 0.2),
                "visits": visits,
                "city": pa.array([f"city{i}" for i in city], mask=mine.random(rows) < 0.1),
            }
        )
    noise = rng.normal(size=rows) / 2
    y = {
        "binary": (score + noise > 0).astype(np.int64),
        "regression": 1000 * (score + noise),
        "multiclass": np.digitize(score + noise, [-1.0, 1.0]) * 10,
    }[labels]
    bank = pa.table({"id": np.arange(rows), "y": y, "age": own, "member": pa.array((own > 1).tolist())})
    return case({"bank": bank, **tables}, objective=labels, classes=3 if labels == "multiclass" else 2)


def with_params(subject: Case, **params: Any) -> Case:
    """The case with some parameters changed."""
    with insecure_paillier():
        job = subject.job
        changed = Job(job.protocol, job.members, job.receivers, {**job.params, **params}, id=job.id)
        return Case(subject.tables, changed)


@dataclass
class Meddler:
    """Replaces what one party sends: `edit` maps each message to those sent instead of it."""

    inner: Pipe
    edit: Callable[[Message], Sequence[Message]]
    types: Mapping[str, type[Message]] = field(default_factory=lambda: TYPES)

    def send_bytes(self, data: bytes, /) -> None:
        kind = self.types.get(data[1 : 1 + data[0]].decode())
        for message in [None] if kind is None else self.edit(decode(data, kind)):
            self.inner.send_bytes(data if message is None else encode(message))

    def recv_bytes(self) -> bytes:
        return self.inner.recv_bytes()
