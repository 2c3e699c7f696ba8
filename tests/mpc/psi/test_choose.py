"""Which protocol is chosen for which sizes and links, and that a choice never changes who learns what."""

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import InputError
from mpc.job import Job, Member
from mpc.local import run_job
from mpc.psi.choose import FAMILY, LOOPBACK, Network, choose, resolve
from mpc.registry import get

MEMBERS = {name: Member(role, columns={"key": ("id",)}) for name, role in (("a", "receiver"), ("b", "sender"))}
JOB = Job(FAMILY, MEMBERS, ("a",), id="0" * 32)


def sizes(receiver: int, sender: int) -> dict[str, int]:
    return {"receiver": receiver, "sender": sender}


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_small_sets_take_the_protocol_without_a_start_and_large_sets_the_one_with_cheap_keys(cores: int) -> None:
    assert choose(sizes(1000, 1000), cores=cores).protocol == "psi.ecdh"
    assert choose(sizes(10**6, 10**6), cores=cores).protocol == "psi.vole"
    assert choose(sizes(10, 10**6), cores=cores).protocol == "psi.vole"


@given(rows=st.tuples(st.integers(0, 2**24 - 64), st.integers(0, 2**24 - 64)), rate=st.floats(1e3, 1e10))
def test_the_protocol_that_is_done_first_is_chosen_and_the_reason_names_both(
    rows: tuple[int, int], rate: float
) -> None:
    choice = choose(sizes(*rows), Network(rate, 0.1))
    assert "psi.vole_buckets" in choice.seconds
    assert choice.seconds[choice.protocol] == min(choice.seconds.values())
    assert choice.reason.startswith(choice.protocol)
    assert all(name in choice.reason for name in ("psi.ecdh", "psi.vole", "psi.vole_buckets"))


def test_a_slow_link_moves_the_crossing_towards_the_protocol_that_sends_less() -> None:
    near, far = (choose(sizes(12_000, 12_000), Network(rate)).protocol for rate in (1e9, 2e4))
    assert (near, far) == ("psi.vole", "psi.ecdh")


def test_a_count_is_never_chosen_where_a_node_would_see_which_keys_match() -> None:
    choice = choose(sizes(10**6, 10**6), release="count")
    assert choice.protocol == "psi.ecdh_cardinality"
    assert set(choice.seconds) == {"psi.ecdh_cardinality"}
    assert "psi.vole would let the receiver's node see" in choice.reason


def test_results_are_aligned_by_the_protocol_that_can() -> None:
    choice = choose(sizes(5, 5), release="aligned")
    assert (choice.protocol, set(choice.seconds)) == ("psi.vole", {"psi.vole", "psi.vole_buckets"})
    assert choose(sizes(10**7, 10**7), release="aligned", memory_mb=1024).protocol == "psi.vole_buckets"


def test_what_a_party_does_not_allow_is_not_chosen() -> None:
    choice = choose(sizes(10**6, 10**6), among=["psi.ecdh"])
    assert choice.protocol == "psi.ecdh"
    assert "psi.vole is not allowed by both parties" in choice.reason
    with pytest.raises(InputError, match=r"psi\.vole is not allowed"):
        choose(sizes(1, 1), among=[])


def test_sets_that_are_too_large_for_one_protocol_take_the_other() -> None:
    choice = choose(sizes(2**24, 1), memory_mb=2**16)
    assert choice.protocol == "psi.vole_buckets"
    assert "psi.vole takes at most" in choice.reason
    with pytest.raises(InputError, match="at most"):
        choose(sizes(2**27 + 1, 1))


def test_sets_that_do_not_fit_memory_are_matched_in_buckets() -> None:
    assert choose(sizes(10**7, 10**7), memory_mb=2**14).protocol == "psi.vole"
    choice = choose(sizes(10**7, 10**7), memory_mb=1024)
    assert choice.protocol == "psi.vole_buckets"
    assert "psi.vole needs" in choice.reason
    job = resolve(replace(JOB, params={"memory_mb": 1024}), choice.protocol)
    assert get(choice.protocol).parse(job).memory_mb == 1024


@pytest.mark.parametrize("rows", [{}, {"receiver": 1}, {"a": 1, "b": 2}, {"receiver": -1, "sender": 1}])
def test_rows_are_needed_for_both_roles(rows: dict[str, int]) -> None:
    with pytest.raises(InputError, match="receiver and sender"):
        choose(rows)


@pytest.mark.parametrize(("rate", "delay"), [(0.0, 0.0), (-1.0, 0.0), (1.0, -1.0)])
def test_a_link_must_be_one(rate: float, delay: float) -> None:
    with pytest.raises(InputError):
        Network(rate, delay)


@pytest.mark.parametrize("protocol", ["psi.ecdh", "psi.vole", "psi.vole_buckets"])
def test_a_resolved_job_runs_and_keeps_all_but_its_protocol(protocol: str) -> None:
    job = resolve(replace(JOB, params={"release": "rows", "min_result": 2, "normalisation": ["trim/1"]}), protocol)
    get(protocol).parse(job)
    assert (job.id, job.members, job.receivers, job.params["min_result"]) == (JOB.id, MEMBERS, ("a",), 2)
    tables = {"a": pa.table({"id": ["1", " 2", "3"]}), "b": pa.table({"id": ["2", "3", "4"]})}
    assert run_job(job, tables)["a"].table == pa.table({"id": [" 2", "3"]})


def test_a_count_resolves_to_the_protocol_whose_result_is_a_count() -> None:
    job = resolve(replace(JOB, params={"release": "count"}), "psi.ecdh_cardinality")
    assert job.params == {}
    get(job.protocol).parse(job)


@pytest.mark.parametrize(
    ("params", "protocol"),
    [
        ({"release": "aligned"}, "psi.ecdh"),
        ({"release": "count"}, "psi.vole"),
        ({"release": "rows"}, "psi.ecdh_cardinality"),
        ({"release": "all"}, "psi.vole"),
        ({"memory_mb": "much"}, "psi.vole"),
        ({"release": "count"}, "psi.vole_buckets"),
        ({"code": "conservative"}, "psi.ecdh"),
        ({}, "sum.masked"),
    ],
)
def test_a_job_does_not_become_one_that_releases_something_else(params: dict[str, str], protocol: str) -> None:
    with pytest.raises(InputError):
        resolve(replace(JOB, params=params), protocol)
    with pytest.raises(InputError):
        resolve(replace(JOB, protocol="psi.ecdh"), "psi.vole")


def test_roles_are_swapped_where_both_learn_the_same_and_a_small_set_is_the_senders() -> None:
    small, large = 1000, 10**6
    as_named, swapped = choose(sizes(small, large), both=True), choose(sizes(large, small), both=True)
    assert (as_named.swapped, swapped.swapped) == (False, True)
    assert "roles swapped" in swapped.reason
    assert swapped.seconds["psi.vole"] == as_named.seconds["psi.vole"]
    assert swapped.estimates["psi.vole"]["sender"] == as_named.estimates["psi.vole"]["receiver"]
    assert not choose(sizes(large, small)).swapped
    assert not choose(sizes(large, large), both=True).swapped
    assert choose(sizes(large, small), release="aligned").swapped


def test_a_job_with_swapped_roles_gives_both_the_same_rows() -> None:
    both = replace(JOB, receivers=("a", "b"))
    tables = {"a": pa.table({"id": ["1", "2", "3"]}), "b": pa.table({"id": ["3"]})}
    job = resolve(both, "psi.vole", swapped=True)
    assert {name: member.role for name, member in job.members.items()} == {"a": "sender", "b": "receiver"}
    outcomes = run_job(job, tables)
    assert outcomes["a"].table == outcomes["b"].table == pa.table({"id": ["3"]})
    with pytest.raises(InputError, match="both parties learn"):
        resolve(JOB, "psi.vole", swapped=True)


def test_a_link_on_one_machine_is_the_default() -> None:
    assert choose(sizes(10, 10)) == choose(sizes(10, 10), LOOPBACK)
