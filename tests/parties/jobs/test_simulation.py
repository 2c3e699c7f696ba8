"""Whatever parties, workers and links do, and in whatever order: the same end everywhere, released once or never."""

import itertools
import os
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from mpc.errors import InputError, PolicyDenied
from mpc.job import Job
from parties.jobs.attempts import GRACE_S
from parties.jobs.failure import Kind
from parties.jobs.records import JobRecord
from parties.jobs.states import ENDED, State
from tests.parties.jobs.parties_in_memory import NAMES, World, make_parties, psi_job, sum_job, world

_names = st.sampled_from(NAMES)
_pairs = st.sampled_from(list(itertools.permutations(NAMES, 2)))
_kinds = st.sampled_from([Kind.INTERRUPTED, Kind.INTERRUPTED, Kind.CRASHED, Kind.INPUT, Kind.PROTOCOL])
_index = st.integers(0, 50)
_dropped = st.sampled_from([(), (), *((name,) for name in NAMES)])
_LIFE_S = 100


def _machine(template: Path, folder: Path) -> type[RuleBasedStateMachine]:
    count = itertools.count()

    class Parties(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self._context = world(template, folder / str(next(count)))
            self.world: World = self._context.__enter__()
            self.proposed: list[tuple[str, Job]] = []

        def teardown(self) -> None:
            try:
                self._end_of_all()
            finally:
                self._context.__exit__(None, None, None)

        # What people do.

        @rule(pair=_pairs, dataset=st.sampled_from(["auto", "auto", "ask"]), many=st.booleans(), survive=st.booleans())
        def propose(self, pair: tuple[str, str], dataset: str, many: bool, survive: bool) -> None:
            initiator = pair[0]
            job = sum_job(initiator, survive=int(survive), dataset=dataset) if many else psi_job(*pair, dataset=dataset)
            job = replace(job, deadline=int(self.world.clock.now) + _LIFE_S)
            self.world[initiator].node.propose(job)
            self.proposed.append((initiator, job))

        @rule(which=_index)
        def propose_again(self, which: int) -> None:
            if self.proposed:
                initiator, job = self.proposed[which % len(self.proposed)]
                assert self.world[initiator].node.propose(job).id == job.id

        @rule(name=_names, which=_index, what=st.sampled_from(["approve", "approve", "deny", "cancel"]))
        def decide(self, name: str, which: int, what: str) -> None:
            party = self.world[name]
            jobs = party.jobs()
            if not jobs:
                return
            record = jobs[which % len(jobs)]
            try:
                match what:
                    case "approve":
                        party.node.approve(record.id, record.digest)
                    case "deny":
                        party.node.deny(record.id, "no")
                    case _:
                        party.node.cancel(record.id)
            except (InputError, PolicyDenied):
                assert record.state is not State.PROPOSED

        # What machines do.

        @rule(pair=_pairs, most=st.integers(1, 5), confirm=st.booleans(), busy=st.sampled_from([False, False, True]))
        def deliver(self, pair: tuple[str, str], most: int, confirm: bool, busy: bool) -> None:
            self.world.carry(*pair, most, confirm=confirm, busy=busy)

        @rule()
        def deliver_all(self) -> None:
            self.world.settle()

        @rule(name=_names)
        def start_jobs(self, name: str) -> None:
            self.world[name].start_jobs()

        @rule(name=_names, which=_index, dropped=_dropped)
        def worker_delivers(self, name: str, which: int, dropped: tuple[str, ...]) -> None:
            running = [record for record in self.world[name].jobs() if record.state is State.RUNNING]
            if running:
                self._deliver(name, running[which % len(running)], dropped)

        @rule(dropped=_dropped, odd=st.none() | _names)
        def play_all(self, dropped: tuple[str, ...], odd: str | None) -> None:
            """What can start starts, and all workers deliver; `odd` disagrees about who dropped out."""
            self.world.settle()
            for party in self.world.parties.values():
                party.start_jobs()
            self.world.settle()
            for name, party in self.world.parties.items():
                for record in party.jobs():
                    if record.state is State.RUNNING and name not in dropped:
                        self._deliver(name, record, () if name == odd else dropped)

        def _deliver(self, name: str, record: JobRecord, dropped: tuple[str, ...]) -> None:
            lossy = record.job.params.get("survive_dropouts") and not {name, *record.job.receivers} & set(dropped)
            self.world[name].deliver(record, dropped if lossy else ())

        @rule(name=_names, which=_index, kind=_kinds)
        def worker_stops(self, name: str, which: int, kind: int) -> None:
            party = self.world[name]
            running = [record for record in party.jobs() if record.state is State.RUNNING]
            if running:
                party.stop(running[which % len(running)], kind)

        @rule(name=_names)
        def crash(self, name: str) -> None:
            self.world[name].restart()

        @rule(seconds=st.sampled_from([0.5, 2.0, 2.0, 30.0]))
        def pass_time(self, seconds: float) -> None:
            self.world.pass_time(seconds)

        # What must hold.

        @invariant()
        def a_result_is_there_only_with_everyones_signature(self) -> None:
            for party in self.world.parties.values():
                for record in party.jobs():
                    if record.result is not None:
                        assert record.state is State.SUCCEEDED
                        assert (party.home.results / record.result).exists()
                        party.node.receipt(record.id)
                    assert (record.state is State.SUCCEEDED) <= (record.receipt is not None)

        def _end_of_all(self) -> None:
            for _ in range(3):
                self.world.settle()
                self.world.pass_time(_LIFE_S + GRACE_S)
            self.world.settle()
            ends: dict[str, set[tuple[str, str]]] = {}
            for party in self.world.parties.values():
                for record in party.jobs():
                    ends.setdefault(record.id, set()).add((record.state, record.reason))
                    assert record.receipt is not None
                    party.node.receipt(record.id)
                self._check_once(party.name)
            for job, end in ends.items():
                assert len(end) == 1, f"job {job} ended differently: {end}"
                assert {State(state) for state, _ in end} <= ENDED
            self.world.verify_evidence()

        def _check_once(self, name: str) -> None:
            party = self.world[name]
            assert not party.evidence("peer_misbehaved")
            released = Counter(fields["job"] for fields in party.evidence("result_released"))
            assert set(released) == {record.id for record in party.jobs() if record.result is not None}
            assert all(times == 1 for times in released.values())
            used = Counter((fields["job"], fields["grant"]) for fields in party.evidence("grant_used"))
            assert all(times == 1 for times in used.values())
            uses = Counter(grant for _, grant in used)
            assert all(uses[grant.id] == grant.uses for grant in party.node.grants())
            kept = {record.result for record in party.jobs() if record.result is not None}
            assert {path.name for path in party.home.results.iterdir()} == kept

    return Parties


@pytest.mark.timeout(0)
def test_every_job_ends_the_same_way_everywhere_whatever_happens(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else tmp_path) as folder:
        template = Path(folder) / "template"
        make_parties(template)
        run_state_machine_as_test(
            _machine(template, Path(folder)),
            settings=settings(
                max_examples=int(os.environ.get("SEALANE_FUZZ_EXAMPLES", "20")),
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
