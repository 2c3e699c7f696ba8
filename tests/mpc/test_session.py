"""An attempt at a job, on a protocol small enough to see through."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pytest

from mpc.channel import Channel, Pipe
from mpc.errors import ChannelError, InputError, ProtocolError
from mpc.job import Job, Member
from mpc.local import run_parties
from mpc.rng import system_rng
from mpc.session import run_role
from mpc.spec import Estimate, Outcome, Party, Role, Slot, Spec, no_progress
from protos import session_pb2


@dataclass(frozen=True)
class Params:
    most: int = 10


def count(party: Party[Params], tables: Mapping[str, pa.Table]) -> Outcome:
    """Everyone learns how many rows each other has."""
    rows = tables["rows"].num_rows
    for channel in party.peers.values():
        channel.send(session_pb2.Hello(version=rows))
    theirs = {peer: channel.recv(session_pb2.Hello).version for peer, channel in party.peers.items()}
    table = (
        pa.table({"peer": list(theirs), "rows": list(theirs.values())}) if party.name in party.job.receivers else None
    )
    return Outcome(table, {"rows": rows})


SPEC = Spec(
    name="test.count",
    version=3,
    summary="Everyone learns how many rows each other has.",
    params=Params,
    roles={"counter": Role(count, {"rows": Slot("any", least=1, most=2)}, least=2, most=3)},
    reveals=lambda job, _params: dict.fromkeys(job.members, "how many rows each other has"),
    estimate=lambda _job, _params, _rows, _name: Estimate(0, 0, 0, 0),
    minimum_result=lambda _params: 0,
)
TABLE = pa.table({"a": [1, 2, 3]})


def a_job(**changes: Any) -> Job:
    members = {name: Member("counter", columns={"rows": ("a",)}) for name in ("x", "y", "z")}
    return replace(Job("test.count", members, ("x", "z"), version=3), **changes)


def play(
    jobs: Mapping[str, Job],
    sessions: Mapping[str, bytes],
    wrap: Callable[[str, str, Pipe], Pipe] = lambda _name, _peer, pipe: pipe,
) -> dict[str, Outcome]:
    def part(name: str) -> Callable[[Mapping[str, Channel]], Outcome]:
        return lambda peers: run_role(
            SPEC, jobs[name], name, {"rows": TABLE}, peers, system_rng, no_progress, sessions[name]
        )

    return run_parties({name: part(name) for name in jobs}, wrap=wrap)


def test_every_receiver_and_nobody_else_ends_with_a_table() -> None:
    job = a_job()
    outcomes = play(dict.fromkeys("xyz", job), dict.fromkeys("xyz", bytes(16)))
    assert outcomes["y"].table is None
    assert outcomes["x"].table.to_pylist() == [{"peer": "y", "rows": 3}, {"peer": "z", "rows": 3}]
    assert outcomes["z"].facts == {"rows": 3}


def test_parties_that_mean_different_jobs_do_not_start() -> None:
    job = a_job()
    jobs = {"x": job, "y": job, "z": replace(job, purpose="another")}
    with pytest.raises(ProtocolError, match="job with other contents"):
        play(jobs, dict.fromkeys("xyz", bytes(16)))


def test_parties_of_different_attempts_do_not_start() -> None:
    job = a_job()
    with pytest.raises(ProtocolError, match="another attempt"):
        play(dict.fromkeys("xyz", job), {"x": bytes(16), "y": bytes(16), "z": bytes(15) + b"1"})


def test_a_party_that_fails_ends_the_others_and_its_own_error_is_what_is_raised() -> None:
    def fail(_peers: Mapping[str, Channel]) -> None:
        raise InputError("row 3 of column a")

    def wait(peers: Mapping[str, Channel]) -> None:
        with pytest.raises(ChannelError, match="ended before"):
            peers["bad"].recv(session_pb2.Hello)

    with pytest.raises(InputError, match="row 3"):
        run_parties({"good": wait, "bad": fail})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "version 2; this release has test.count version 3"),
        ({"params": {"most": "many"}}, "most"),
        ({"params": {"least": 1}}, "least"),
        ({"members": {"x": Member("cook"), "y": Member("counter")}, "receivers": ("x",)}, "no role 'cook'"),
        (
            {"members": dict.fromkeys("xy", Member("counter", columns={"cols": ("a",)})), "receivers": ("x",)},
            "takes no 'cols'",
        ),
        ({"members": dict.fromkeys("xy", Member("counter")), "receivers": ("x",)}, "1 to 2 columns, not 0"),
        (
            {"members": dict.fromkeys("xy", Member("counter", columns={"rows": ("a", "a")})), "receivers": ("x",)},
            "names a column twice",
        ),
        (
            {"members": dict.fromkeys("wxyz", Member("counter", columns={"rows": ("a",)})), "receivers": ("x",)},
            "2 to 3 of role counter, not 4",
        ),
    ],
)
def test_a_job_that_does_not_fit_its_protocol_says_why(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        SPEC.parse(a_job(**changes))
