"""Jobs as people write them: a JSON file, or options."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mpc.errors import InputError
from mpc.job import MAX_JOB_BYTES, Job, Member, explain
from parties.cli import files

_MEMBER_HINT = "write NAME:ROLE:DATASET:SLOT=COLUMN,COLUMN, e.g. hk-bank:receiver:cards:key=id,country:output=balance"


def read_job(path: Path) -> Job:
    """The job in a JSON file with the fields of `mpc.job.Job`; raises `InputError`. Without an id it gets a new one."""
    data = files.read_at_most(path, MAX_JOB_BYTES)
    try:
        return TypeAdapter(Job).validate_json(data)
    except ValidationError as error:
        raise InputError(
            f"{path} is not a job: {explain(error)}", hint="see docs/command-line.md for its form"
        ) from None


def parse_members(texts: Sequence[str]) -> dict[str, Member]:
    """Members by name from NAME:ROLE[:DATASET[:SLOT=COLUMN,COLUMN]...]; raises `InputError`."""
    members: dict[str, Member] = {}
    for text in texts:
        name, *parts = text.split(":")
        if not parts or not parts[0]:
            raise InputError(f"--member {text[:80]!r} names no role", hint=_MEMBER_HINT)
        if name in members:
            raise InputError(f"--member names {name[:80]} twice", hint="give all its slots in one --member")
        role, dataset, slots = parts[0], parts[1] if len(parts) > 1 else "", parts[2:]
        members[name] = Member(role, dataset, dict(_parse_slot(slot) for slot in slots))
        if len(members[name].columns) != len(slots):
            raise InputError(f"--member {text[:80]!r} names a slot twice", hint=_MEMBER_HINT)
    return members


def _parse_slot(text: str) -> tuple[str, tuple[str, ...]]:
    slot, equals, columns = text.partition("=")
    if not slot or not equals or not all(columns.split(",")):
        raise InputError(f"{text[:80]!r} is not SLOT=COLUMN,COLUMN", hint=_MEMBER_HINT)
    return slot, tuple(columns.split(","))


def parse_params(texts: Sequence[str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters from NAME=VALUE as the protocol's JSON schema types them; raises `InputError`.

    A list is written with commas, or as JSON.
    """
    known: Mapping[str, Any] = schema.get("properties", {})
    params: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--param {text[:80]!r} is not NAME=VALUE")
        if name not in known:
            raise InputError(f"there is no parameter {name[:80]!r}, only {', '.join(known) or 'none'}")
        if name in params:
            raise InputError(f"--param gives {name} twice", hint="write a list with commas")
        params[name] = _parse_value(value, known[name])
    return params


def _parse_value(text: str, part: Mapping[str, Any]) -> Any:
    if part.get("type") == "string" or "enum" in part:
        return text
    if part.get("type") == "array" and not text.startswith("["):
        return [_parse_value(each, part.get("items", {})) for each in text.split(",")] if text else []
    try:
        return json.loads(text)
    except ValueError:
        return text  # the protocol says what it wants instead
