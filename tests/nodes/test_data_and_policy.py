"""What changes between approval and start, data that cannot be used, and where values of the data are never found."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mpc.errors import InputError, PolicyDenied
from mpc.job import Job, Member
from parties.jobs.records import JobRecord
from parties.jobs.states import State
from parties.sandbox import Sandbox, sandbox
from tests.nodes.observe import end_of, evidence, frozen, in_state, until, verify_evidence

pytestmark = pytest.mark.nodes

KEY, OUTPUT, BAD = "PLANTEDKEY", "PLANTEDOUTPUT", "PLANTEDBAD"


@dataclass(frozen=True)
class Place:
    """Two nodes, and the folders in which they keep temporary files and find their data."""

    nodes: Sandbox
    data: Path
    temporary: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    data, temporary = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        with sandbox("ann", "bob", folder=tmp_path_factory.mktemp("nodes")) as nodes:
            for name in nodes:
                _write(data / f"{name}.csv", name)
                nodes[name].node.add_dataset("rows", data / f"{name}.csv", ["id"])
                _grant(nodes, name, "rows", automatic=True)
            yield Place(nodes, data, temporary)


def _write(path: Path, owner: str, rows: int = 20) -> None:
    """Half of the keys are common to both owners."""
    lines = [f"{KEY}-{i if i < rows // 2 else owner + str(i)},{OUTPUT}-{owner}-{i},{i}" for i in range(rows)]
    path.write_text("id,text,n\n" + "".join(f"{line}\n" for line in lines))


def _grant(nodes: Sandbox, name: str, dataset: str, **terms: Any) -> str:
    other = "bob" if name == "ann" else "ann"
    terms = {"purpose": "*", "receivers": ["*"], "min_result": 0, **terms}
    return nodes[name].node.grant(other, "*", dataset, ["*"], **terms).id


def _psi(bobs: str = "rows", column: str = "id", **fields: Any) -> Job:
    ann = Member("receiver", "rows", {"key": ("id",), "output": ("text",)})
    members = {"ann": ann, "bob": Member("sender", bobs, {"key": (column,), "output": ("text",)})}
    return replace(Job("psi.ecdh", members, ("ann", "bob")), **fields)


def _sum(place: Place, bobs: pa.Table | Path, name: str, **fields: Any) -> JobRecord:
    """How a sum of the column n ends, for which Bob brings a dataset of its own."""
    place.nodes["bob"].node.add_dataset(name, bobs, ["id"])
    _grant(place.nodes, "bob", name, automatic=True)
    members = {
        "ann": Member("party", "rows", {"value": ("n",)}),
        "bob": Member("party", name, {"value": ("n",)}),
    }
    params = {"values": [{"name": "n", "lower": "0", "upper": "100"}], "minimum_group": 0}
    record = place.nodes["ann"].node.propose(Job("sum.masked", members, ("ann",), params))
    return end_of(place.nodes, record.id)["bob"]


@pytest.mark.parametrize("what", ["revoked", "expired", "edited", "registered anew", "removed"])
def test_what_changes_between_approval_and_start_is_refused_by_name_on_both_sides(place: Place, what: str) -> None:
    nodes, bob = place.nodes, place.nodes["bob"].node
    name = "data-" + what.partition(" ")[0]
    path = place.data / f"{name}.csv"
    _write(path, "bob")
    bob.add_dataset(name, path, ["id"])
    grant = _grant(nodes, "bob", name)
    record = nodes["ann"].node.propose(_psi(name))
    in_state(nodes["bob"], record.id, State.PROPOSED)
    with frozen(nodes["ann"].process.pid):
        bob.approve(record.id, record.digest)
        match what:
            case "revoked":
                bob.revoke(grant)
            case "expired":
                with bob._store.transaction() as db:  # to wait for it takes long, or too long to approve before
                    change = "UPDATE grants SET terms = json_set(terms, '$.expires_at', ?) WHERE id = ?"
                    db.execute(change, (int(time.time()), grant))
            case "edited":
                path.write_bytes(path.read_bytes().replace(b"-19", b"-\xff9"))  # as long as before, and not UTF-8
            case "registered anew":
                _write(path, "bob", rows=30)
                bob.add_dataset(name, path, ["id"])
            case "removed":
                bob.remove_dataset(name)
    ends = end_of(nodes, record.id)
    assert ends["ann"].state is State.FAILED
    word = {"edited": f"dataset {name} has changed", "removed": "grant was revoked"}.get(what, what)
    assert ends["ann"].reason.startswith("bob: its ")
    assert word in ends["ann"].reason
    assert len([fields for fields in evidence(nodes["bob"], "grant_used") if fields["job"] == record.id]) == 1


def test_the_coordinator_too_is_held_to_what_it_approved(place: Place) -> None:
    nodes, bob = place.nodes, place.nodes["bob"].node
    _write(place.data / "asked.csv", "bob")
    bob.add_dataset("asked", place.data / "asked.csv", ["id"])
    _grant(nodes, "bob", "asked")
    _write(place.data / "anns.csv", "ann")
    nodes["ann"].node.add_dataset("anns", place.data / "anns.csv", ["id"])
    grant = _grant(nodes, "ann", "anns", automatic=True)
    job = _psi("asked")
    job = replace(job, members={**job.members, "ann": replace(job.members["ann"], dataset="anns")})
    record = nodes["ann"].node.propose(job)
    in_state(nodes["bob"], record.id, State.PROPOSED)
    nodes["ann"].node.revoke(grant)
    bob.approve(record.id, record.digest)
    ends = end_of(nodes, record.id)
    assert ends["bob"].reason == "ann: its grant was revoked after it approved the job"
    assert ends["bob"].attempt == 0


def test_a_column_that_does_not_fit_the_protocol_is_denied_without_saying_what_there_is(place: Place) -> None:
    members = {
        "ann": Member("party", "rows", {"value": ("n",)}),
        "bob": Member("party", "rows", {"value": ("text",)}),
    }
    params = {"values": [{"name": "n", "lower": "0", "upper": "100"}], "minimum_group": 0}
    record = place.nodes["ann"].node.propose(Job("sum.masked", members, ("ann",), params))
    ends = end_of(place.nodes, record.id)
    assert ends["ann"].state is State.DENIED
    assert ends["ann"].reason == "bob: this party's policy does not allow the job"
    assert ends["bob"].detail == "dataset rows: value column 'text' is text, not a number"


def test_two_keys_on_one_side_and_one_on_the_other_are_refused_before_anybody_is_asked(place: Place) -> None:
    job = _psi()
    two = replace(job.members["bob"], columns={"key": ("id", "text")})
    with pytest.raises(InputError, match="different numbers of key columns"):
        place.nodes["ann"].node.propose(replace(job, members={**job.members, "bob": two}))
    with pytest.raises(PolicyDenied):  # an own column that does not exist
        mine = replace(job.members["ann"], columns={"key": ("nothing",)})
        place.nodes["ann"].node.propose(replace(job, members={**job.members, "ann": mine}))


def test_a_number_that_cannot_be_summed_is_named_to_its_owner_only(place: Place) -> None:
    ids = [f"{BAD}-{i}" for i in range(3)]
    with pytest.raises(InputError, match="data row 2, column 'n': is NaN"):
        place.nodes["bob"].node.add_dataset("nan", pa.table({"id": ids, "n": [1.0, float("nan"), 3.0]}), ["id"])
    huge = _sum(place, pa.table({"id": ids, "n": [1, 2, 734_523_551]}), "huge")
    assert huge.state is State.FAILED
    assert huge.reason == "bob: its own input cannot be used; its operator sees where"
    assert "row 3" in huge.detail
    assert "'n'" in huge.detail
    assert BAD not in huge.detail
    assert "734" not in huge.detail
    assert place.nodes["ann"].node.job(huge.id).detail == ""


def test_no_common_row_is_an_empty_result_or_none_as_agreed(place: Place) -> None:
    nodes = place.nodes
    nodes["bob"].node.add_dataset("strangers", pa.table({"id": ["x", "y"], "text": [OUTPUT, OUTPUT]}), ["id"])
    _grant(nodes, "bob", "strangers", automatic=True)
    assert nodes.run(_psi("strangers", params={"min_result": 0}))["ann"].num_rows == 0
    record = nodes["ann"].node.propose(_psi("strangers"))
    ends = end_of(nodes, record.id)
    assert ends["bob"].state is State.FAILED
    assert ends["bob"].result is ends["ann"].result is None


def test_values_of_the_data_are_nowhere_but_in_the_owners_files_and_released_results(place: Place) -> None:
    nodes = place.nodes
    job = _psi()
    table = nodes.run(job)["ann"]
    assert table["text"].to_pylist() == [f"{OUTPUT}-ann-{i}" for i in range(10)]
    end_of(nodes, job.id)
    verify_evidence(nodes)
    planted = (KEY.encode(), OUTPUT.encode(), BAD.encode())
    for party in nodes.values():
        own = {party.node.home.path / "datasets", party.node.home.results}
        files = [path for path in party.node.home.path.rglob("*") if path.is_file() and path.parent not in own]
        assert any(path.name == "sealane.db" for path in files)
        for path in [*files, party.log]:
            content = path.read_bytes()
            assert not any(word in content for word in planted), path
        exported = b"".join(party.node.export_evidence())
        assert not any(word in exported for word in planted)
        other = b"-bob-" if party.name == "ann" else b"-ann-"
        for result in party.node.home.results.iterdir():
            assert OUTPUT.encode() + other not in result.read_bytes()
        assert not any(party.node.home.work.iterdir())
    # A process that loads what it needs may keep a library here for that time.
    until(lambda: not [path for path in place.temporary.rglob("*") if path.is_file()])
