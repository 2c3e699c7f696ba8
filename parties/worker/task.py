"""What a node tells its worker, and what the worker tells its node: JSON, on the worker's own input and socket."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict, TypeAdapter, with_config

from parties.datasets import Dataset


@dataclass(frozen=True)
class ModelFile:
    """Where the own part of a model is, and the SHA-256 that it must have, hexadecimal."""

    path: str
    digest: str


@with_config(ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))
@dataclass(frozen=True)
class Task:
    """All that a worker is given. `dataset` carries the salt of its commitment, so a task is never printed."""

    spec: str = field(repr=False)  # canonical JSON of the job
    name: str
    peers: tuple[str, ...]
    session: str  # hexadecimal
    folder: str  # the attempt's own, for whatever the work puts on disk
    result: str  # path to write the result to
    trained: str  # path to write the own part of a trained model to
    spool: str  # folder for what the next attempt at the job may go on from
    dataset: Dataset | None = field(repr=False)
    sets: str = ""  # path to write the sets of own rows to, if there are earlier ones to compare with
    earlier: tuple[bytes, ...] = field(default=(), repr=False)
    model: ModelFile | None = None  # the own part of the model that the job uses
    program: bytes = field(default=b"", repr=False)  # the text of the program that the job runs


@dataclass(frozen=True)
class Report:
    """One message of a worker: progress while it works, then `facts` or a `failure`, once."""

    step: str = ""
    done: int = 0
    total: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    facts: Mapping[str, int] | None = None
    dropped: tuple[str, ...] = ()
    failure: Mapping[str, Any] | None = None
    opened: bool = False  # whether figures that a privacy budget pays for may have been opened before that


def pack(value: Task | Report) -> bytes:
    """JSON bytes."""
    return _TASK.dump_json(value) if isinstance(value, Task) else _REPORT.dump_json(value)


def unpack_task(data: bytes) -> Task:
    return _TASK.validate_json(data)


def unpack_report(data: bytes) -> Report:
    return _REPORT.validate_json(data)


_TASK = TypeAdapter(Task)
_REPORT = TypeAdapter(Report)
