import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.channel import Pipe, decode, encode
from mpc.errors import InputError, ProtocolError
from mpc.joins import bins
from mpc.joins.joined import Table
from mpc.joins.levels import LEVELS
from mpc.psi import multi_steps
from mpc.rng import system_rng
from protos import psi_vole_pb2
from tests.mpc.joins.joining import digests, join, matches, tables
from tests.mpc.sharing.programs import SETTINGS

KEYS = st.lists(st.sampled_from([f"key {i}" for i in range(30)]), unique=True, max_size=20)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("level", LEVELS)
@given(hk=KEYS, cn=KEYS)
@settings(max_examples=2)
def test_the_rows_of_a_join_are_those_of_the_plaintext_join(setting, level, hk, cn):
    joined, columns, flags = join(setting, level, tables(hk, cn))
    found = zip(columns["limit"][flags], columns["group"][flags], columns["balance"][flags], strict=True)
    assert sorted(found) == matches(hk, cn)
    assert {one.rows for one in joined.values()} == {len(flags)}
    if level == "J1":
        assert not columns["limit"][~flags].any()
    if level == "J3":
        assert not columns["balance"][~flags].any()


@pytest.mark.parametrize("level", LEVELS)
def test_either_party_can_ask(level):
    hk, cn = [f"key {i}" for i in range(40)], [f"key {i}" for i in range(25, 90)]
    _, columns, flags = join("no_helper", level, tables(hk, cn), asker="cn")
    found = zip(columns["limit"][flags], columns["group"][flags], columns["balance"][flags], strict=True)
    assert sorted(found) == matches(hk, cn)


@pytest.mark.parametrize("level", LEVELS)
def test_a_join_of_thousands_loses_nothing(level):
    hk, cn = [f"key {i}" for i in range(3000)], [f"key {i}" for i in range(1000, 5000)]
    own = {
        "hk": Table(digests(hk), {"limit": np.arange(3000) % 1000, "group": np.arange(3000) % 10}),
        "cn": Table(digests(cn), {"balance": np.arange(1000, 5000) % 1000 * -3}),
    }
    _, columns, flags = join("replicated", level, own)
    assert flags.sum() == 2000
    assert np.array_equal(columns["balance"][flags], -3 * columns["limit"][flags])
    assert sorted(columns["limit"][flags]) == sorted(np.arange(1000, 3000) % 1000)


@pytest.mark.parametrize(
    ("level", "known_to"), [("J0", {"hk", "cn"}), ("J1", {"hk", "cn"}), ("J2", set()), ("J3", {"hk"})]
)
def test_each_party_knows_of_the_rows_what_the_level_says(level, known_to):
    hk, cn = ["a", "b", "c"], ["x", "c", "b", "y"]
    joined, columns, flags = join("replicated", level, tables(hk, cn))
    assert {name for name, one in joined.items() if one.own_rows is not None} == known_to
    for name, column in (("hk", "limit"), ("cn", "balance")):
        if name in known_to:
            values = tables(hk, cn)[name].columns[column]
            assert np.array_equal(joined[name].place(values)[flags], columns[column][flags])
        else:
            with pytest.raises(InputError, match="does not learn"):
                joined[name].place(np.arange(4))
    if level == "J1":  # the other party's rows are all there, in an order of their own
        assert sorted(joined["cn"].own_rows) == [0, 1, 2, 3]
        assert sorted(joined["hk"].own_rows) == [-1, -1, 1, 2]
    if level == "J3":
        assert sorted(row for row in joined["hk"].own_rows if row >= 0) == [0, 1, 2]
    assert set(LEVELS[level].reveals("hk", ("cn",))) == {"hk", "cn"}


@pytest.mark.parametrize("level", LEVELS)
def test_tables_that_cannot_be_joined_are_refused(level):
    fine = tables(["a", "b"], ["b"])
    for wrong, complaint in (
        (Table(digests(["a", "a"]), fine["hk"].columns), "a key repeats"),
        (Table(digests(["a", "b"]), {"limit": np.arange(2)}), "declared the columns"),
        (Table(digests(["a", "b"]), {"limit": np.arange(3), "group": np.arange(2)}), "one value for each key"),
        (Table(digests(["a", "b"]), {"limit": np.array([1, 1001]), "group": np.arange(2)}), "outside the declared"),
    ):
        if "outside" in complaint and level != "J3":
            wrong = Table(digests(["a", "b"]), {"limit": np.array([1001, 1001]), "group": np.arange(2)})
        with pytest.raises(InputError, match=f"hk.*{complaint}"):
            join("no_helper", level, {**fine, "hk": wrong})


@pytest.mark.parametrize("size", [1, 2, 5, 100, 3000])
def test_every_key_has_a_bin_among_its_three(size):
    keys = digests([f"key {i}" for i in range(size)])
    for _ in range(20):
        placed = bins.place_keys(keys, system_rng)
        count = len(placed.key_in)
        assert sorted(placed.key_in[placed.key_in >= 0]) == list(range(size))
        possible = bins.places(keys, placed.seed, count)
        for bin_, key in enumerate(placed.key_in.tolist()):
            if key >= 0:
                assert bin_ in possible[key]
        theirs = bins.asked(keys, placed.seed).reshape(size, 3, 4)
        asked = placed.digests[placed.key_in >= 0]
        held = placed.key_in[placed.key_in >= 0]
        assert (theirs[held] == asked[:, None]).all(axis=2).any(axis=1).all()


@dataclass
class Seeding:
    """Shortens the seeds that a party sends."""

    inner: Pipe

    def send_bytes(self, data: bytes, /) -> None:
        if b"psi_vole.v1.Seed" in data[:40]:
            data = encode(psi_vole_pb2.Seed(seed=decode(data, psi_vole_pb2.Seed).seed[:-1]))
        self.inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self.inner.recv_bytes()


@pytest.mark.parametrize("level", ["J2", "J3"])
def test_a_seed_of_another_length_is_refused_by_name(level):
    with pytest.raises(ProtocolError, match="hk: sent a seed of 15 bytes"):
        join(
            "no_helper",
            level,
            tables(["a"], ["a"]),
            wrap=lambda name, _peer, pipe: Seeding(pipe) if name == "hk" else pipe,
        )


@pytest.mark.parametrize("level", ["J2", "J3"])
@pytest.mark.parametrize("vector", [0, 1])
def test_keys_or_values_that_are_lost_in_matching_end_the_join(monkeypatch, level, vector):
    """Of the keys that all know enough are lost too, whether what is lost are their words or the values under them."""

    def losing(link, keys, digests, values, rng):
        lost = np.arange(len(values)) % 4 == 0
        return original(link, keys, digests, values ^ (lost & (next(vectors) == vector)).astype(np.uint64), rng)

    vectors, original = itertools.count(), multi_steps.send_shares
    monkeypatch.setattr(multi_steps, "send_shares", losing)
    hk, cn = [f"key {i}" for i in range(40)], [f"key {i}" for i in range(25, 90)]
    with pytest.raises(ProtocolError, match=r"^(hk|cn): \d+ of the 64 keys that both .* in step 'match"):
        join("no_helper", level, tables(hk, cn))
