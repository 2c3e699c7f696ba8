"""Joins of three and more parties: the rows are those whose key all have, and no pair's matches are told apart."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import InputError
from mpc.job import Job, Member
from mpc.joins.joined import Column, Table
from mpc.joins.levels import LEVELS
from mpc.local import run_parties
from mpc.rng import system_rng
from mpc.sharing.engine import start
from mpc.spec import Party, no_progress
from tests.mpc.joins.joining import SESSION, digests

PARTIES = ("hk", "cn", "sg", "uk", "my")
KEYS = st.lists(st.sampled_from([f"key {i}" for i in range(24)]), unique=True, max_size=20)
SEVERAL = [name for name, level in LEVELS.items() if level.most_others > 1]
Keys = Mapping[str, Sequence[str]]


def join(level: str, keys: Keys, asker: str = "hk"):
    """Each party's `Joined`, and for each row that matches the row number (from 1) at each party, as opened to all."""
    others = [name for name in keys if name != asker]
    guests = others[2:]
    declared = {name: {"row": Column(0, 10_000)} for name in keys}
    job = Job("report.sql", {name: Member("party") for name in keys}, ("hk",), id="0" * 32)

    def part(name: str):
        def play(peers):
            engine = start(name, peers, session=SESSION, label=b"join", rng=system_rng, guests=guests)
            party = Party(name, job, None, peers, system_rng, no_progress, SESSION)
            table = Table(digests(keys[name]), {"row": np.arange(1, len(keys[name]) + 1)})
            joined = LEVELS[level].join(party, engine, b"join/keys", asker, others, declared, table)
            opened = [engine.open(joined.columns[each]["row"]) for each in keys]
            flags = np.ones(joined.rows, np.bool_) if joined.flags is None else engine.open(joined.flags)
            return joined, np.stack(opened, axis=1), flags

        return play

    results = run_parties({name: part(name) for name in keys})
    return {name: found[0] for name, found in results.items()}, *results["hk"][1:]


def truth(keys: Keys) -> list[tuple[int, ...]]:
    common = set.intersection(*map(set, keys.values()))
    return sorted(tuple(own.index(key) + 1 for own in keys.values()) for key in common)


@pytest.mark.parametrize("count", [3, 4, 5])
@pytest.mark.parametrize("level", SEVERAL)
@given(data=st.data())
@settings(max_examples=2)
def test_the_rows_are_those_whose_key_all_have(level, count, data):
    keys = {name: data.draw(KEYS) for name in PARTIES[:count]}
    joined, rows, flags = join(level, keys)
    assert sorted(map(tuple, rows[flags].tolist())) == truth(keys)
    assert {one.rows for one in joined.values()} == {len(flags)}


@pytest.mark.parametrize("level", SEVERAL)
def test_a_join_of_thousands_loses_nothing_and_shows_no_match_of_some(level):
    ranges = {"hk": (0, 2500), "cn": (1000, 4000), "sg": (500, 2000), "uk": (1400, 5000)}
    keys = {name: [f"key {i}" for i in range(*ends)] for name, ends in ranges.items()}
    joined, rows, flags = join(level, keys, asker="cn")
    assert sorted(map(tuple, rows[flags].tolist())) == truth(keys)
    assert flags.sum() == 600
    if level == "J3":  # where one lacks a key nothing of the others is left
        assert not rows[~flags][:, [0, 2, 3]].any()
        assert joined["cn"].own_rows is not None
    for name in ("hk", "sg", "uk"):
        assert (joined[name].own_rows is not None) == (level == "J0")
    if level == "J0":
        for index, name in enumerate(keys):
            assert np.array_equal(joined[name].own_rows + 1, rows[:, index])


def test_each_level_says_what_every_party_learns():
    said = LEVELS["J0"].reveals("hk", ("cn", "sg"))
    assert said["sg"] == (
        "which of its own rows have a key in common with hk and cn, and how many different keys hk and cn have"
    )
    assert "nothing of which keys" in LEVELS["J3"].reveals("hk", ("cn", "sg"))["hk"]


@pytest.mark.parametrize("level", SEVERAL)
def test_a_key_that_repeats_is_refused(level):
    with pytest.raises(InputError, match="a key repeats"):
        join(level, {"hk": ["a", "b"], "cn": ["b", "b"], "sg": ["b"]})
