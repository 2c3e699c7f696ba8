"""Rows of two and more parties in one order, against the plaintext intersection."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest

from mpc.channel import Channel
from mpc.errors import InputError, ProtocolError, ResultWithheld, SealaneError
from mpc.federated import alignment
from mpc.job import Job, Member
from mpc.local import run_parties
from mpc.psi.vectors import send_bytes
from mpc.spec import Party, no_progress
from mpc.testing import InsecureSeededRng


def job_of(names: Sequence[str]) -> Job:
    members = {name: Member(f"role_of_{name}", columns={"key": ("id",)}) for name in names}
    return Job("train.any", members, (names[0],), id="0" * 32)


def align_all(tables: Mapping[str, pa.Table], leader: str, min_rows: int = 1) -> dict[str, alignment.Alignment]:
    job = job_of(list(tables))

    def part(name: str) -> Any:
        def play(peers: Mapping[str, Channel]) -> alignment.Alignment:
            rng = InsecureSeededRng(name.encode())
            params = SimpleNamespace(normalisation=(), min_rows=min_rows)
            party = Party(name, job, params, peers, rng, no_progress, bytes(16))
            return alignment.align(party, tables[name], f"role_of_{leader}")

        return play

    return run_parties({name: part(name) for name in tables})


def ids(numbers: Sequence[int | None]) -> pa.Table:
    return pa.table({"id": pa.array([None if i is None else f"id{i}" for i in numbers], pa.string())})


@pytest.mark.parametrize(("names", "leader"), [("ab", "a"), ("ab", "b"), ("abc", "b"), ("abcd", "d")])
def test_row_i_of_every_party_belongs_to_one_key_and_no_common_key_is_lost(names: str, leader: str) -> None:
    rng = np.random.default_rng(3)
    numbers = {name: [None, *rng.permutation(1500)[:1200].tolist(), None] for name in names}
    found = align_all({name: ids(numbers[name]) for name in names}, leader)
    common = set.intersection(*({i for i in each if i is not None} for each in numbers.values()))
    aligned = {name: [numbers[name][row] for row in found[name].rows] for name in names}
    first = aligned[names[0]]
    assert all(each == first for each in aligned.values())
    assert len(first) == len(common)
    assert set(first) == common
    facts = {"own_rows": 1202, "own_distinct": 1200, "nulls": 2, "common_rows": len(common)}
    assert all(each.facts == facts for each in found.values())


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_the_order_is_that_of_no_table(names: str) -> None:
    found = align_all({name: ids(range(200)) for name in names}, "a")
    rows = found["a"].rows.tolist()
    assert sorted(rows) == list(range(200))
    assert np.count_nonzero(np.diff(rows) == 1) < 20


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_too_few_common_rows_are_withheld(names: str) -> None:
    tables = {name: ids(range(i, i + 5)) for i, name in enumerate(names)}
    with pytest.raises(ResultWithheld):
        align_all(tables, "a", min_rows=5)


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_a_key_that_repeats_is_refused(names: str) -> None:
    tables = {name: ids([1, 2, 3]) for name in names} | {"b": ids([1, 2, 2])}
    with pytest.raises(InputError, match="1 rows repeat the key"):
        align_all(tables, "a")


def test_an_order_that_gives_a_place_twice_is_refused() -> None:
    real = send_bytes

    def spoil(channel: Any, data: Any) -> None:
        if len(data) == 4 * 100:
            data = data.copy()
            data[:4] = data[4:8]
        real(channel, data)

    tables = {name: ids(range(100)) for name in "abc"}
    with patch.object(alignment, "send_bytes", spoil), pytest.raises(SealaneError) as caught:
        align_all(tables, "a")
    assert isinstance(caught.value, ProtocolError)
    assert "a: sent an order" in str(caught.value)


def test_it_says_what_each_learns() -> None:
    two, three = alignment.reveals(job_of("ab"), "a"), alignment.reveals(job_of("abc"), "a")
    assert two["b"] == "which of its own rows have a key that a also has, and how many different keys a has"
    assert three["a"] == (
        "which of its own rows have a key that b and c all have, and how many different keys each of b and c has"
    )
    assert "how many different keys a has" in three["c"]
