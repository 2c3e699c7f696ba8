"""What several parties agree to compute, as one value: the same in one process, on spawned nodes, and on real ones.

A job's bytes are canonical JSON (sorted keys, no spaces, UTF-8), so that people can read what they approve. Its
digest, SHA-256 over a domain and those bytes, is what every party approves, signs and logs. Bytes received from a
peer are digested as they came; `Job.from_bytes` refuses any that are not canonical, so one job has one digest.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from mpc.errors import InputError

if TYPE_CHECKING:  # loaded by whoever has something to check
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import ErrorDetails

DOMAIN = b"sealane/job/1\0"
MAX_JOB_BYTES = 256 * 2**10  # fifty members with a hundred columns each fit
MAX_DEADLINE = 253402300799  # the last second of the year 9999
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

_STRICT = {"extra": "forbid", "strict": False, "allow_inf_nan": False}  # for pydantic


@dataclass(frozen=True)
class Member:
    """One party's part in a job.

    `columns` maps an input slot of the role ("key", "value", ...) to column names of `dataset`, in order.
    `fingerprint` is the SHA-256 of the party's identity certificate in hexadecimal; empty in one process.
    """

    __pydantic_config__: ClassVar = _STRICT

    role: str
    dataset: str = ""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fingerprint: str = ""

    def __post_init__(self) -> None:
        for slot, names in self.columns.items():
            if isinstance(names, str):
                raise InputError(f"the columns of {slot!r} are a tuple of names, also a single one: ({names!r},)")


@dataclass(frozen=True)
class Job:
    """One joint computation: who takes part, in which role, on what, for whom, and why.

    `members` is keyed by party name; `receivers` are the names that learn the result; `params` are the protocol's
    own (see its `Spec.params`); `deadline` is in seconds since 1970 (0: none), after which nothing starts.
    """

    __pydantic_config__: ClassVar = _STRICT

    protocol: str
    members: Mapping[str, Member]
    receivers: tuple[str, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    purpose: str = ""
    version: int = 1
    deadline: int = 0
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{32}", self.id):
            raise InputError("a job's id is 32 hexadecimal digits")
        for name in self.members:
            check_name(name, "party name")
        if not 2 <= len(self.members) <= 50:
            raise InputError(f"a job takes 2 to 50 parties, not {len(self.members)}")
        if isinstance(self.receivers, str):
            raise InputError("a job's receivers are a tuple of names, also a single one, as ('hk-bank',)")
        unknown = sorted(set(self.receivers) - set(self.members))
        if unknown:
            raise InputError(f"receivers that take no part: {', '.join(unknown)}")
        if not self.receivers or len(set(self.receivers)) != len(self.receivers):
            raise InputError("a job needs one or more receivers, each named once")
        if len(self.purpose) > 500:
            raise InputError("a job's purpose is at most 500 characters")
        if not 0 <= self.deadline <= MAX_DEADLINE:
            raise InputError("a job's deadline is in seconds since 1970, before the year 10000, or 0")

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(asdict(self))

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the domain and the canonical bytes: what a party approves."""
        return digest_of(self.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> "Job":
        """The job in `data`; raises `InputError` when it is too long, malformed or not canonical."""
        if len(data) > MAX_JOB_BYTES:
            raise InputError(f"a job of {len(data)} bytes is too long (at most {MAX_JOB_BYTES})")
        from pydantic import ValidationError

        try:
            job = _adapter().validate_json(data)
        except ValidationError as error:
            raise InputError(f"not a job: {explain(error)}") from None
        try:
            canonical = job.to_bytes()
        except ValueError:  # NaN or infinity among the parameters
            raise InputError("not a job: its JSON holds a number that is not finite") from None
        if canonical != data:
            raise InputError("not a job: its JSON is not in canonical form")
        return job


@cache
def _adapter() -> "TypeAdapter[Job]":
    from pydantic import TypeAdapter

    return TypeAdapter(Job)


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys, no spaces, UTF-8, no NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def check_name(name: str, what: str) -> None:
    """Raises `InputError` unless `name` may be one; `what` says of what it is."""
    if not NAME.fullmatch(name):
        raise InputError(f"{what} {name[:80]!r}: use a-z, 0-9, '.', '_' and '-', at most 63 characters")


def digest_of(data: bytes) -> str:
    """A job's digest from its canonical bytes."""
    return hashlib.sha256(DOMAIN + data).hexdigest()


def explain(error: "ValidationError") -> str:
    """Where each problem is and what it is, without the offending values."""
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'top level'}: {_said(item)}"
        for item in error.errors(include_input=False, include_url=False)[:5]
    )


def _said(item: "ErrorDetails") -> str:
    if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return "there is nothing of that name"
    return item["msg"].removeprefix("Value error, ")
