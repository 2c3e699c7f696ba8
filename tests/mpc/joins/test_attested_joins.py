"""Joins of three computing parties of which one cheats: what is joined is what owners brought, or nobody goes on."""

import itertools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import ProtocolError
from mpc.job import Job, Member
from mpc.joins import attested, bins
from mpc.joins.joined import Column, Table
from mpc.joins.levels import LEVELS
from mpc.local import run_parties, run_program
from mpc.psi import multi_steps, row_prfs
from mpc.psi.canaries import CANARIES
from mpc.rng import system_rng
from mpc.sharing.deliveries import Deliveries
from mpc.sharing.engine import start
from mpc.spec import Party, no_progress
from tests.mpc.joins.joining import SESSION, digests

PARTIES = ("hk", "cn", "sg")
LEVEL_NAMES = [name for name, level in LEVELS.items() if level.verified is not None]
KEYS = st.lists(st.sampled_from([f"key {i}" for i in range(24)]), unique=True, max_size=20)
Keys = Mapping[str, Sequence[str]]


def join(level: str, keys: Keys, asker: str = "hk", columns: int = 1):
    """The row number (from 1) at each party with a table of each row that matches, as opened to all."""
    others = [name for name in PARTIES if name in keys and name != asker]
    declared = {name: {f"row{i}": Column(0, 10_000) for i in range(columns)} for name in keys}
    job = Job("report.sql", {name: Member("party") for name in keys}, ("hk",), id="0" * 32)

    def part(name: str):
        def play(peers):
            engine = start(name, peers, session=SESSION, label=b"join", rng=system_rng, verified=True)
            party = Party(name, job, None, peers, system_rng, no_progress, SESSION)
            table = None
            if name in keys:
                numbers = np.arange(1, len(keys[name]) + 1)
                table = Table(digests(keys[name]), {f"row{i}": numbers for i in range(columns)})
            work = LEVELS[level].verified
            joined = work(party, engine, b"join/keys", asker, others, declared, table)
            opened = [engine.open(joined.columns[each]["row0"]) for each in keys] if columns else []
            flags = np.ones(joined.rows, np.bool_) if joined.flags is None else engine.open(joined.flags)
            return np.stack([*opened, flags.astype(np.int64)], axis=1)

        return play

    rows = run_parties({name: part(name) for name in PARTIES})
    assert all(np.array_equal(rows["hk"], found) for found in rows.values())
    return sorted(tuple(row[:-1]) for row in rows["hk"].tolist() if row[-1])


def truth(keys: Keys) -> list[tuple[int, ...]]:
    common = set.intersection(*map(set, keys.values()))
    return sorted(tuple(own.index(key) + 1 for own in keys.values()) for key in common)


@pytest.mark.parametrize("tables", [PARTIES, ("hk", "cn"), ("hk", "sg")])
@pytest.mark.parametrize("level", LEVEL_NAMES)
@given(data=st.data())
@settings(max_examples=2)
def test_the_rows_are_those_whose_key_all_have(level, tables, data):
    keys = {name: data.draw(KEYS) for name in tables}
    assert join(level, keys) == truth(keys)


@pytest.mark.parametrize("level", LEVEL_NAMES)
def test_thousands_are_joined_and_columns_may_be_missing(level):
    keys = {"hk": [f"key {i}" for i in range(2000)], "cn": [f"key {i}" for i in range(700, 3000)]}
    assert join(level, keys, asker="cn") == truth(keys)
    assert len(join(level, keys, columns=0)) == 1300


HK, CN, SG = ([f"key {i}" for i in numbers] for numbers in (range(20), range(5, 30), range(25)))
MANY = {"hk": HK, "cn": CN, "sg": SG}


def of(name, cheating, honest):
    """A function that one party replaces by another."""
    return lambda *args, **more: (cheating if threading.current_thread().name == name else honest)(*args, **more)


@pytest.mark.parametrize("level", ["J2", "J3"])
@pytest.mark.parametrize("row", [0, 1, 2])
def test_an_asker_that_shares_other_words_than_it_was_given_has_no_match_there(monkeypatch, level, row):
    """Its fingerprints, tickets, values: all of them but those of one half of the bins, and of the keys all know."""

    def cheating(*args):
        words, own_rows = original(*args)
        words["cn"][row, :-CANARIES:2] += np.uint64(2**63)
        return words, own_rows

    original = attested._ask
    monkeypatch.setattr(attested, "_ask", of("hk", cheating, original))
    found = join(level, MANY)
    assert set(found) < set(truth(MANY))


@pytest.mark.parametrize("level", ["J2", "J3"])
@pytest.mark.parametrize("row", [0, 1, 2])
def test_an_asker_that_shares_other_words_everywhere_is_named(monkeypatch, level, row):
    def cheating(*args):
        words, own_rows = original(*args)
        words["cn"][row, ::2] += np.uint64(2**63)
        return words, own_rows

    original = attested._ask
    monkeypatch.setattr(attested, "_ask", of("hk", cheating, original))
    with pytest.raises(ProtocolError, match=r"^(hk|cn|hk or cn): 32 of the 64 keys that both .* in step 'match"):
        join(level, MANY)


@pytest.mark.parametrize("level", ["J2", "J3"])
@pytest.mark.parametrize("index", [0, 1, 2])
def test_an_other_that_gives_other_words_than_it_says_is_named(monkeypatch, level, index):
    """Fingerprint, ticket or value: a fault that takes all keys away, not those of one party's choice."""

    def cheating(link, digests, values, rng):
        return original(link, digests, values ^ np.uint64(next(vectors) == index), rng)

    vectors, original = itertools.count(), row_prfs.send_words
    monkeypatch.setattr(row_prfs, "send_words", of("cn", cheating, original))
    with pytest.raises(ProtocolError, match=r"^(hk|cn|hk or cn): 64 of the 64 keys that both .* in step 'match"):
        join(level, MANY)


@pytest.mark.parametrize("level", ["J2", "J3"])
def test_an_asker_without_the_keys_matches_nothing(monkeypatch, level):
    """It knows how many there are, and asks for others, or says anything for what it is given."""

    def cheating(keys, rng):
        return original(digests([f"other {i}" for i in range(len(keys))]), rng)

    original = bins.place_keys
    monkeypatch.setattr(bins, "place_keys", of("hk", cheating, original))
    assert join(level, MANY) == []


@pytest.mark.parametrize("level", ["J2", "J3"])
@pytest.mark.parametrize("tables", [PARTIES, ("hk", "cn"), ("hk", "sg")])
def test_an_asker_that_puts_one_key_into_two_bins_is_found_by_the_witness(monkeypatch, level, tables):
    def cheating(keys, rng):
        placed = original(keys, rng)
        count = len(placed.key_in)
        where, words = bins.places(keys, placed.seed, count), bins.asked(keys, placed.seed).reshape(len(keys), 3, 4)
        for key, function in ((10, 0), (10, 1), (10, 2)):
            placed.key_in[where[key, function]] = key
            placed.digests[where[key, function]] = words[key, function]
        return placed

    original = bins.place_keys
    monkeypatch.setattr(bins, "place_keys", of("hk", cheating, original))
    with pytest.raises(ProtocolError, match=r"hk or (cn|sg):? matched a key twice"):
        join(level, {name: MANY[name] for name in tables})


def test_an_other_that_gives_two_keys_one_ticket_ends_the_join(monkeypatch):
    def cheating(rng, *shape):
        words = original(rng, *shape)
        if shape == (len(CN) + bins.bins_for(len(HK)),):
            words[: len(CN)] = words[0]
        return words

    original = attested._random
    monkeypatch.setattr(attested, "_random", of("cn", cheating, original))
    with pytest.raises(ProtocolError, match=r"hk or cn:? matched a key twice"):
        join("J3", MANY)


@pytest.mark.parametrize(("said", "ends"), [(4, True), (5, False)])
def test_more_matches_than_somebody_said_it_has_keys_end_the_join(said, ends):
    def program(engine):
        bits = engine.share_bits("hk", np.arange(9) < 5 if engine.name == "hk" else None, shape=(9,))
        attested.check_count(engine, bits.integers(), {"hk": 20, "cn": said})
        return "went on"

    if not ends:
        assert set(run_program(program, PARTIES, verified=True).values()) == {"went on"}
        return
    with pytest.raises(ProtocolError, match="cn: has more keys in common than it said it has"):
        run_program(program, PARTIES, verified=True)


@pytest.mark.parametrize("cheater", ["hk", "cn"])
def test_what_the_witness_is_shown_cannot_be_changed(monkeypatch, cheater):
    def cheating(self, x, witness):
        return original(self, tuple(part + np.uint64(1) for part in x), witness)

    original = Deliveries.show
    monkeypatch.setattr(Deliveries, "show", of(cheater, cheating, original))
    with pytest.raises(ProtocolError, match="matched a key twice, or one that it was not given"):
        join("J3", {"hk": HK, "cn": CN})


def test_a_leader_that_tells_two_parties_of_different_people_is_found(monkeypatch):
    """As many keys, another one left out."""

    def cheating(party, link, outputs, keys, told):
        left_out = np.flatnonzero(keys < link.own)[0 if link.peer == "cn" else 1]
        return original(party, link, np.delete(outputs, left_out, axis=0), np.delete(keys, left_out), told - 1)

    original = multi_steps.cut_tags
    monkeypatch.setattr(multi_steps, "cut_tags", of("hk", cheating, original))
    find = attested.common_to_all

    def count_less(party, *args):
        less = {name: _OneLess(channel) for name, channel in party.peers.items()}
        common, sizes = find(replace(party, peers=less), *args)
        return common[1:], sizes

    monkeypatch.setattr(attested, "common_to_all", of("hk", count_less, find))
    with pytest.raises(ProtocolError, match="different common keys"):
        join("J0", MANY)


class _OneLess:
    """A channel that names one common key less."""

    def __init__(self, channel) -> None:
        self._channel = channel

    def send(self, message) -> None:
        if message.DESCRIPTOR.full_name == "sealane.psi_multi.v1.Verdict":
            message.keys -= 1
        self._channel.send(message)

    def __getattr__(self, name):
        return getattr(self._channel, name)


def test_a_leader_cannot_name_a_key_that_it_did_not_ask_for(monkeypatch):
    """Its tags are made from what it got under other keys."""

    def cheating(party, link, outputs, keys, told):
        outputs[np.flatnonzero(keys < link.own)[0], 1] ^= np.uint64(1)
        return original(party, link, outputs, keys, told)

    original = multi_steps.cut_tags
    monkeypatch.setattr(multi_steps, "cut_tags", of("hk", cheating, original))
    with pytest.raises(ProtocolError, match="hk: names common keys that this party does not have"):
        join("J0", {"hk": HK, "cn": CN})
