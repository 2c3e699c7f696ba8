"""One job has one form and one digest, and nothing else is taken for a job."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import InputError
from mpc.job import MAX_JOB_BYTES, Job, Member, canonical_json


def a_job(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "protocol": "psi.ecdh",
        "members": {
            "hk": Member("receiver", "cards", {"key": ("id", "birth")}, "ab" * 32),
            "cn": Member("sender", "accounts", {"key": ("number", "born")}, "cd" * 32),
        },
        "receivers": ("hk",),
        "params": {"profiles": ["exact/1", "date/1"]},
        "purpose": "反欺诈 2026",
        "deadline": 1_800_000_000,
        "id": "0123456789abcdef" * 2,
    }
    return Job(**(fields | changes))


def test_the_digest_is_a_fixed_function_of_the_contents() -> None:
    assert a_job().digest == "dc521e31421c3d58ce33404dd890f47ad8ed6bf20ac4367cd1edeade1efe87c0"


def test_bytes_and_job_are_two_forms_of_one_thing() -> None:
    data = a_job().to_bytes()
    assert Job.from_bytes(data) == a_job()
    assert Job.from_bytes(data).to_bytes() == data


@given(st.sampled_from(["id", "purpose", "deadline", "receivers", "protocol"]))
def test_a_change_anywhere_changes_the_digest(field: str) -> None:
    other = {"id": "f" * 32, "purpose": "p", "deadline": 1, "receivers": ("cn",), "protocol": "x"}
    assert a_job(**{field: other[field]}).digest != a_job().digest


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b" " + data,
        lambda data: json.dumps(json.loads(data)).encode(),
        lambda data: canonical_json(json.loads(data) | {"extra": 1}),
        lambda data: canonical_json({k: v for k, v in json.loads(data).items() if k != "receivers"}),
        lambda data: canonical_json(json.loads(data) | {"version": "1"}),
        lambda data: data[:-1],
        lambda data: data.replace(b'"exact/1"', b"1e999"),
        lambda data: data.replace(b'"exact/1"', b"NaN"),
        lambda data: data.replace(b'"deadline":1800000000', b'"deadline":1.8e9'),
        lambda data: data + bytes(MAX_JOB_BYTES),
        lambda _data: b"[" * 10_000,
        lambda _data: b"null",
    ],
)
def test_any_other_bytes_are_refused(spoil: Any) -> None:
    with pytest.raises(InputError):
        Job.from_bytes(spoil(a_job().to_bytes()))


@pytest.mark.fuzz
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        Job.from_bytes(data)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "short"}, "32 hexadecimal digits"),
        ({"receivers": ()}, "one or more receivers"),
        ({"receivers": ("hk", "hk")}, "each named once"),
        ({"receivers": ("us",)}, "take no part: us"),
        ({"receivers": "hk"}, "receivers are a tuple of names"),
        ({"members": {"hk": Member("receiver")}, "receivers": ("hk",)}, "2 to 50 parties, not 1"),
        ({"members": {"HK bank": Member("receiver"), "cn": Member("sender")}, "receivers": ("cn",)}, "party name"),
        ({"purpose": "p" * 501}, "at most 500"),
        ({"deadline": -1}, "deadline"),
        ({"deadline": 10**30}, "deadline"),
    ],
)
def test_what_cannot_be_a_job_says_why(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        a_job(**changes)


def test_columns_are_not_one_text() -> None:
    with pytest.raises(InputError, match=r"the columns of 'key' are a tuple of names, .*: \('id',\)"):
        Member("receiver", columns={"key": "id"})  # type: ignore[dict-item]
