"""What may be written into the evidence log: a closed set of kinds, each with its fields and what they may hold.

The types leave no room for a person's identifier, a share or a key: names of parties and of things that an operator
named, digests, counts, and labels made of letters. Texts for people, such as the reason a job failed, are not kept.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mpc.errors import InputError
from mpc.job import NAME

Type = Literal["name", "label", "digest", "id", "count"]

MAX_COUNT = 2**53 - 1  # the largest integer that every JSON reader keeps exactly
_PATTERNS: Mapping[str, re.Pattern[str]] = {
    "name": NAME,
    "label": re.compile(r"[A-Za-z](?:[A-Za-z_.-]{0,62})"),  # no digits: a rule, a state, the name of an error
    "digest": re.compile(r"[0-9a-f]{64}"),  # fingerprints too
    "id": re.compile(r"[0-9a-f]{32}"),
}


@dataclass(frozen=True)
class Kind:
    """The fields an entry must have, and those it may have."""

    required: Mapping[str, Type] = field(default_factory=dict)
    optional: Mapping[str, Type] = field(default_factory=dict)


_JOB: Mapping[str, Type] = {"job": "id", "digest": "digest"}
_PARTY: Mapping[str, Type] = {"name": "name", "fingerprint": "digest"}

KINDS: Mapping[str, Kind] = {
    "node_created": Kind(_PARTY),  # always the first entry, and only that
    "peer_added": Kind(_PARTY),
    "peer_removed": Kind(_PARTY),
    "peer_refused": Kind({"rule": "label"}, {"peer": "digest"}),
    "peer_misbehaved": Kind({"peer": "digest", "rule": "label"}, {"job": "id", "step": "label"}),
    "dataset_registered": Kind({"name": "name", "rows": "count", "commitment": "digest"}),
    "dataset_removed": Kind({"name": "name"}),
    "grant_added": Kind({"grant": "name", "peer": "digest", "terms": "digest"}),
    "grant_revoked": Kind({"grant": "name", "peer": "digest"}),
    "job_proposed": Kind({**_JOB, "protocol": "name", "version": "count"}),
    "job_received": Kind({**_JOB, "peer": "digest", "protocol": "name", "version": "count"}),
    "job_refused": Kind({"peer": "digest", "rule": "label"}, {**_JOB}),
    "job_conflict": Kind({**_JOB, "peer": "digest", "other": "digest"}),
    "job_approved": Kind(_JOB, {"peer": "digest", "dataset": "name", "commitment": "digest"}),
    "grant_used": Kind({**_JOB, "grant": "name"}),
    "job_denied": Kind(_JOB, {"peer": "digest", "rule": "label"}),
    "job_cancelled": Kind(_JOB, {"peer": "digest"}),
    "job_started": Kind({**_JOB, "attempt": "count"}),
    "job_ended": Kind({**_JOB, "outcome": "label", "attempt": "count"}, {"error": "label", "peer": "digest"}),
    "calls_answered": Kind({**_JOB, "calls": "count", "rows": "count"}),  # while it ran; of several entries the sums
    "model_kept": Kind({**_JOB, "model": "digest"}),
    "model_removed": Kind({**_JOB, "model": "digest"}),
    "program_added": Kind({"name": "name", "program": "digest"}),
    "program_removed": Kind({"name": "name", "program": "digest"}),
    "result_released": Kind(_JOB),
    "result_deleted": Kind(_JOB),
    "result_withheld": Kind(_JOB),
    "jobs_forgotten": Kind({"jobs": "count", "before": "count"}),  # in seconds since 1970
    "receipt_signed": Kind({**_JOB, "statement": "digest"}),  # before the own signature leaves the node
    "receipt_completed": Kind({**_JOB, "statement": "digest"}),  # when every party's signature is there
}


def check_fields(kind: str, fields: Mapping[str, Any]) -> None:
    """Raises `InputError`, which names the field and never its value, unless `fields` are right for `kind`."""
    known = KINDS.get(kind)
    if known is None:
        raise InputError(f"evidence has no kind {kind[:40]!r}")
    for name in known.required:
        if name not in fields:
            raise InputError(f"{kind} lacks the field {name}")
    types = {**known.required, **known.optional}
    for name, value in fields.items():
        if name not in types:
            raise InputError(f"{kind} has no field {str(name)[:40]!r}")
        if not _fits(value, types[name]):
            raise InputError(f"{kind}: the field {name} is not a {types[name]}")


def _fits(value: Any, type_: Type) -> bool:
    if type_ == "count":
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT
    return isinstance(value, str) and _PATTERNS[type_].fullmatch(value) is not None
