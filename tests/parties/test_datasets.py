"""Registered datasets: what the node keeps of a file, and what it refuses to keep."""

import hashlib
import hmac
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpc.errors import InputError, PolicyDenied
from mpc.rng import Rng, system_rng
from parties import datasets, grants, reading
from parties.datasets import Column, Dataset, DatasetChanged
from parties.policy import Grant
from parties.store import Store

NOW = 1_800_000_000.0
PEER = "b" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.create(tmp_path / "sealane.db")
    yield made
    made.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "customers.csv"
    path.write_bytes("id,年齢\n007,41\n008,\n".encode())
    return path


def register(store: Store, name: str, path: Path, key: list[str], now: float, *, rng: Rng = system_rng) -> Dataset:
    dataset = reading.examine(name, path, key, now, rng=rng)
    with store.transaction() as db:
        datasets.save(db, dataset)
    return dataset


def remove(store: Store, name: str) -> None:
    with store.transaction() as db:
        datasets.remove(db, name, NOW)


def test_a_registered_dataset_is_kept_whole(store: Store, file: Path) -> None:
    made = register(store, "customers", file, ["id"], NOW)
    assert datasets.get(store.connection(), "customers") == made
    assert datasets.listed(store.connection()) == (made,)
    assert made.columns == (Column("id", "text", False), Column("年齢", "integer", True))
    assert (made.key, made.rows, made.format, made.registered_at) == (("id",), 2, "csv", NOW)
    assert made.path == file
    assert reading.load(made, ["年齢"])["年齢"].to_pylist() == [41, None]


def test_the_commitment_is_a_salted_mac_of_the_file(store: Store, file: Path) -> None:
    made = register(store, "customers", file, ["id"], NOW, rng=lambda size: b"s" * size)
    expected = hmac.new(b"s" * 32, b"sealane/dataset/1\0" + file.read_bytes(), hashlib.sha256)
    assert made.commitment == expected.hexdigest()
    assert register(store, "again", file, ["id"], NOW).commitment != made.commitment
    assert repr(made.salt) not in repr(made)


def test_a_relative_path_is_kept_absolute(store: Store, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert register(store, "customers", Path(file.name), ["id"], NOW).path == file


def test_registering_again_takes_the_file_as_it_is_now(store: Store, file: Path) -> None:
    old = register(store, "customers", file, ["id"], NOW)
    file.write_bytes(b"id\n1\n2\n3\n")
    with pytest.raises(DatasetChanged) as caught:
        reading.load(datasets.get(store.connection(), "customers"), ["id"])
    assert isinstance(caught.value, PolicyDenied)
    new = register(store, "customers", file, ["id"], NOW + 1)
    assert new.commitment != old.commitment
    assert reading.load(datasets.get(store.connection(), "customers"), ["id"]).num_rows == 3
    with pytest.raises(DatasetChanged):
        reading.load(old, ["id"])


def test_a_name_is_not_taken_over_by_another_file(store: Store, file: Path) -> None:
    made = register(store, "customers", file, ["id"], NOW)
    other = file.with_name("other.csv")
    other.write_bytes(b"id\n1\n")
    with pytest.raises(InputError, match="registered already, from"):
        register(store, "customers", other, ["id"], NOW)
    assert datasets.get(store.connection(), "customers") == made


def test_a_refused_file_leaves_nothing_registered(store: Store, file: Path) -> None:
    with pytest.raises(InputError, match="no key column 'nobody'"):
        register(store, "customers", file, ["nobody"], NOW)
    assert datasets.listed(store.connection()) == ()


@pytest.mark.parametrize("name", ["", "*", "A", "a b", "-a", "a" * 64, "a\n"])
def test_a_name_that_cannot_be_shown_safely_is_refused(store: Store, file: Path, name: str) -> None:
    with pytest.raises(InputError, match="a dataset's name"):
        register(store, name, file, ["id"], NOW)


def test_removing_a_dataset_ends_its_grants(store: Store, file: Path) -> None:
    register(store, "customers", file, ["id"], NOW)
    with store.transaction() as db:
        db.execute("INSERT INTO peers VALUES (?, 'bank-b', x'00', '', 'active', 0)", (PEER,))
    terms = {"peer": PEER, "protocol": "psi", "columns": ("id",), "purpose": "", "receivers": (PEER,)}
    for dataset in ("customers", "loans"):
        with store.transaction() as db:
            grants.add(db, Grant(dataset=dataset, **terms), NOW)  # type: ignore[arg-type]
    remove(store, "customers")
    assert {grant.dataset: grant.revoked for grant in grants.read(store.connection())} == {
        "customers": True,
        "loans": False,
    }
    for call in (lambda: datasets.get(store.connection(), "customers"), lambda: remove(store, "customers")):
        with pytest.raises(InputError, match="no dataset 'customers'"):
            call()
    assert file.exists()


def test_a_node_lists_and_decides_without_loading_arrow_or_duckdb() -> None:
    script = (
        "import sys\n"
        "from parties import datasets, grants, policy\n"
        "print(sorted({'pyarrow', 'duckdb', 'numpy', 'pandas'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout == "[]\n"
