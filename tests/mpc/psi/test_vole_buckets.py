"""psi.vole_buckets against the plaintext join, after interruptions, and with a peer that cheats."""

import pickle
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pytest
from google.protobuf.message import Message
from psi_pairs import Meddler, Wire, pair_job

from mpc.channel import Channel, Pipe
from mpc.errors import ChannelError, InputError, ProtocolError, ResultWithheld
from mpc.job import Job
from mpc.local import run_job, run_parties
from mpc.primitives import okvs
from mpc.psi import buckets, vole_buckets
from mpc.psi.vole_buckets import SPEC, BucketParams, bucket_count
from mpc.session import run_role
from mpc.spec import Outcome, no_progress
from mpc.spool import MemorySpool, Spool
from mpc.testing import InsecureSeededRng
from parties.spool import FileSpool
from protos import psi_buckets_pb2, psi_pb2, psi_vole_pb2

BOTH = ("alice", "bob")
TYPES = {
    message.DESCRIPTOR.full_name: message
    for message in (psi_buckets_pb2.Size, psi_buckets_pb2.Finished, psi_pb2.Verdict, psi_vole_pb2.Piece)
}
Wrap = Callable[[str, str, Pipe], Pipe]


def table(*numbers: int | None) -> pa.Table:
    ids = [None if number is None else f"id{number}" for number in numbers]
    return pa.table({"id": pa.array(ids, pa.string()), "row": pa.array(range(len(ids)), pa.int64())})


TABLES = {"alice": table(*range(40), None, 3), "bob": table(*range(20, 50), 25, None, 25)}
COMMON = set(range(20, 40))


def job(receivers: Sequence[str] = BOTH, **params: Any) -> Job:
    return pair_job("psi.vole_buckets", receivers, output=dict.fromkeys(receivers, ("row",)), **params)


def in_buckets(count: int) -> AbstractContextManager[Any]:
    return patch.object(vole_buckets, "bucket_count", lambda *_: count)


def run(
    job: Job,
    tables: Mapping[str, pa.Table] = TABLES,
    spools: Mapping[str, Spool] | None = None,
    session: int = 1,
    wrap: Wrap = lambda _name, _peer, pipe: pipe,
) -> dict[str, Outcome]:
    def part(name: str) -> Callable[[Mapping[str, Channel]], Outcome]:
        slots = {slot: tables[name].select(list(names)) for slot, names in job.members[name].columns.items()}
        rng = InsecureSeededRng(f"{session}/{name}".encode())
        spool = None if spools is None else spools[name]
        return lambda peers: run_role(
            SPEC, job, name, slots, peers, rng, no_progress, session.to_bytes(16, "big"), spool=spool
        )

    return run_parties({name: part(name) for name in job.members}, wrap=wrap)


def check(outcomes: Mapping[str, Outcome], receivers: Sequence[str] = BOTH) -> None:
    """Each receiver has exactly its rows of the plaintext join, in their order; others have none."""
    for name, outcome in outcomes.items():
        if name not in receivers:
            assert outcome.table is None
            continue
        wanted = {f"id{number}" for number in COMMON}
        chosen = [value in wanted for value in TABLES[name]["id"].to_pylist()]
        assert outcome.table == TABLES[name].filter(pa.array(chosen))
        assert outcome.facts["matched_distinct"] == len(COMMON)


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("receivers", [("alice",), BOTH])
def test_each_receiver_gets_the_rows_of_a_plaintext_join(count: int, receivers: Sequence[str]) -> None:
    with in_buckets(count):
        outcomes = run(job(receivers))
    check(outcomes, receivers)
    assert outcomes["bob"].facts["own_rows"] == 33
    assert outcomes["bob"].facts["nulls"] == 1
    assert {name: outcome.facts["own_distinct"] for name, outcome in outcomes.items()} == {"alice": 40, "bob": 30}
    assert outcomes["alice"].facts["buckets"] == count
    assert outcomes["alice"].facts["okvs_retries"] == 0


def aligned_tables(seed: int) -> dict[str, pa.Table]:
    """Distinct keys in an order of each party's own, in several chunks."""
    order = np.random.default_rng(seed)
    one, other = table(*order.permutation(60).tolist()), table(*order.permutation(np.arange(25, 95)).tolist())
    return {"alice": pa.concat_tables([one.slice(0, 7), one.slice(7)]), "bob": other}


@pytest.mark.parametrize("count", [1, 4, 256])
def test_aligned_results_have_the_same_key_in_each_row_whatever_the_number_of_buckets(count: int) -> None:
    tables = aligned_tables(count)
    with in_buckets(count):
        outcomes = run(job(release="aligned"), tables)
    found = {name: outcome.table for name, outcome in outcomes.items()}
    assert found["alice"]["id"].to_pylist() == found["bob"]["id"].to_pylist()
    for name, whole in tables.items():
        wanted = whole.filter(pa.compute.is_in(whole["id"], pa.array([f"id{i}" for i in range(25, 60)])))
        assert found[name]["row"].to_pylist() != wanted["row"].to_pylist()
        assert found[name].sort_by("row") == wanted.sort_by("row").combine_chunks()
        assert outcomes[name].facts["matched_rows"] == outcomes[name].facts["matched_distinct"] == 35


@pytest.mark.parametrize("receivers", [("alice",), BOTH])
def test_rows_are_aligned_only_for_both_and_with_one_row_a_key(receivers: Sequence[str]) -> None:
    words = "rows repeat the key" if len(receivers) == 2 else "only if both"
    with pytest.raises(InputError, match=words):
        run(job(receivers, release="aligned"))


def test_seeds_that_were_drawn_in_vain_are_counted_over_all_buckets() -> None:
    encode, calls = okvs.encode, []

    def fails_first(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) in (1, 3, 4):
            raise okvs.Unsolvable("made to")
        return encode(*arguments)

    with in_buckets(2), patch.object(okvs, "encode", fails_first):
        outcomes = run(job())
    check(outcomes)
    assert outcomes["alice"].facts["okvs_retries"] == 3


def test_many_keys_in_buckets_that_follow_from_the_memory_limit() -> None:
    tables = {"alice": table(*range(6000)), "bob": table(*range(5000, 8000))}
    with patch.object(BucketParams, "memory_bytes", vole_buckets._BASE_BYTES + 2**20):
        outcomes = run(job(), tables)
    assert outcomes["alice"].facts["buckets"] > 1
    assert outcomes["alice"].table == tables["alice"].slice(5000)
    assert outcomes["bob"].table == tables["bob"].slice(0, 1000)


def test_the_minimum_holds_for_all_buckets_together() -> None:
    with in_buckets(4):
        check(run(job(min_result=len(COMMON))))
        with pytest.raises(ResultWithheld, match="at least 21 common keys"):
            run(job(min_result=len(COMMON) + 1))
        with pytest.raises(ResultWithheld, match="fewer keys"):
            run(job(min_result=31))


def test_what_is_sent_depends_on_the_sizes_alone() -> None:
    counts = []
    for shift in (0, 7):
        wire = Wire()
        tables = {"alice": table(*range(shift, 40 + shift)), "bob": table(*range(20 * shift, 20 * shift + 30))}
        with in_buckets(4):
            run(job(("alice",), min_result=0), tables, wrap=wire.wrap)
        counts.append({name: (one.sent_bytes, one.sent_messages) for name, one in wire.counts.items()})
    assert counts[0] == counts[1]


class Stop(Exception):
    """An attempt was interrupted."""


def stopping(who: str, number: int, *, saved: bool) -> AbstractContextManager[Any]:
    """`who` breaks down at the end of a bucket, before or after it has kept what it found."""
    finish = vole_buckets._finish

    def broken(party: Any, bucket: int, result: Any) -> None:
        if (party.name, bucket) != (who, number) or saved:
            finish(party, bucket, result)
        if (party.name, bucket) == (who, number):
            raise Stop

    return patch.object(vole_buckets, "_finish", broken)


@pytest.mark.parametrize("who", BOTH)
@pytest.mark.parametrize("saved", [False, True])
def test_an_attempt_goes_on_after_the_buckets_that_both_finished(who: str, saved: bool) -> None:
    spools = {name: MemorySpool() for name in BOTH}
    with in_buckets(4):
        with stopping(who, 2, saved=saved), pytest.raises((Stop, ChannelError)):
            run(job(), spools=spools)
        outcomes = run(job(), spools=spools, session=2)
        check(outcomes)
        assert outcomes["alice"].facts["buckets_kept"] == outcomes["bob"].facts["buckets_kept"] in (2, 3)
        whole = run(job(), spools=spools, session=3)
    check(whole)
    assert whole["alice"].facts["buckets_kept"] == 4


def test_rows_stay_aligned_across_buckets_of_two_attempts() -> None:
    spools, tables = {name: MemorySpool() for name in BOTH}, aligned_tables(0)
    with in_buckets(4):
        with stopping("bob", 2, saved=True), pytest.raises((Stop, ChannelError)):
            run(job(release="aligned"), tables, spools)
        outcomes = run(job(release="aligned"), tables, spools, session=2)
    assert outcomes["alice"].facts["buckets_kept"] > 0
    keys = [outcomes[name].table["id"].to_pylist() for name in BOTH]
    assert keys[0] == keys[1]
    assert set(keys[0]) == {f"id{i}" for i in range(25, 60)}


@pytest.mark.parametrize("who", BOTH)
def test_results_of_different_attempts_are_never_put_together(who: str) -> None:
    spools = {name: MemorySpool() for name in BOTH}
    with in_buckets(2):
        run(job(), spools=spools)
        spools[who] = MemorySpool()
        run(job(), spools=spools, session=2)
        older = {name: MemorySpool() for name in BOTH}
        run(job(), spools=older, session=3)
        outcomes = run(job(), spools=spools | {who: older[who]}, session=4)
    check(outcomes)
    assert outcomes["alice"].facts["buckets_kept"] == 0


def test_randomness_is_fresh_for_every_bucket_and_attempt() -> None:
    wires = [Wire(), Wire()]
    with in_buckets(2):
        for session, wire in enumerate(wires, 1):
            run(job(), session=session, wrap=wire.wrap)
    name = psi_vole_pb2.Offer.DESCRIPTOR.full_name.encode()
    offers = [sent for wire in wires for sent in wire.records["alice"].sent if sent[1 : 1 + sent[0]] == name]
    assert len(offers) == len(set(offers)) == 4
    sessions = [vole_buckets._inner(party(session), number).session for session in (1, 2) for number in (0, 1)]
    assert len(set(sessions)) == 4


def party(session: int) -> Any:
    return vole_buckets.Party(
        "alice", job(), BucketParams(), {}, InsecureSeededRng(b""), no_progress, session.to_bytes(16, "big")
    )


class Elsewhere(Executor):
    """Runs what it is handed as another machine would: the call and its result cross as bytes."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        self.names.add(work.__name__)
        sent, given, more = pickle.loads(pickle.dumps((work, arguments, named)))
        done: Future[Any] = Future()
        done.set_result(pickle.loads(pickle.dumps(sent(*given, **more))))
        return done


def test_work_on_buckets_goes_to_the_executor_of_the_caller(tmp_path: Path) -> None:
    pools = {name: Elsewhere() for name in BOTH}

    def part(name: str) -> Callable[[Mapping[str, Channel]], Outcome]:
        slots = {slot: TABLES[name].select(list(names)) for slot, names in job().members[name].columns.items()}
        return lambda peers: run_role(
            SPEC,
            job(),
            name,
            slots,
            peers,
            InsecureSeededRng(name.encode()),
            no_progress,
            bytes(16),
            spool=FileSpool(tmp_path / name),
            pool=pools[name],
        )

    with in_buckets(4):
        check(run_parties({name: part(name) for name in BOTH}))
    assert all(pool.names == {"_encode", "_gather"} for pool in pools.values())


def test_every_step_tells_how_far_it_is() -> None:
    told: dict[str, list[tuple[int, int]]] = {}
    with in_buckets(4):
        run_job(job(), TABLES, progress=lambda step, done, total: told.setdefault(step, []).append((done, total)))
    assert list(told) == ["hash keys into parts", "sort keys in parts", "match buckets"]
    for steps in told.values():
        assert steps.count((steps[-1][1], steps[-1][1])) == 2  # once a party
    assert {total for _, total in told["match buckets"]} == {4}


def test_a_bucket_that_overflows_ends_the_job() -> None:
    with (
        in_buckets(4),
        patch.object(buckets, "most_in_bucket", lambda keys, count: keys // count),
        pytest.raises(buckets.BucketOverflow),
    ):
        run(job(), {"alice": table(*range(400)), "bob": table(*range(400))})


def test_more_memory_means_fewer_buckets_and_too_little_is_an_error() -> None:
    sizes = {"alice": 10**7, "bob": 10**7}
    counts = [bucket_count(sizes, job(), BucketParams(memory_mb=mb)) for mb in (1024, 2048, 16384)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 1
    assert counts[-1] == 1
    with pytest.raises(InputError, match="MiB are too little"):
        bucket_count({"alice": 2**27, "bob": 2**33}, job(), BucketParams(memory_mb=512))


def test_an_estimate_stays_within_the_memory_limit_and_never_fails() -> None:
    params = BucketParams(memory_mb=4096)
    part = SPEC.estimate(job(), params, dict.fromkeys(BOTH, 10**8), "alice")
    assert part.peak_bytes <= 4096 * 2**20 + 10**8
    for rows in (0, 1, 2**53):
        assert SPEC.estimate(job(), params, dict.fromkeys(BOTH, rows), "bob").sent_bytes > 0


def cheat(who: str, edit: Callable[[Message], Sequence[Message]]) -> Wrap:
    return lambda name, _peer, pipe: Meddler(pipe, edit, TYPES) if name == who else pipe


def swap(kind: type[Message], *instead: Message) -> Callable[[Message], Sequence[Message]]:
    return lambda message: instead if isinstance(message, kind) else [message]


@pytest.mark.parametrize(
    ("who", "edit", "words"),
    [
        ("bob", swap(psi_buckets_pb2.Size, psi_buckets_pb2.Size(keys=2**27 + 1)), "claims"),
        ("bob", swap(psi_buckets_pb2.Finished, psi_buckets_pb2.Finished(sessions=bytes(31))), "31 bytes that say"),
        ("alice", swap(psi_buckets_pb2.Finished, psi_buckets_pb2.Finished()), "0 bytes that say"),
        ("alice", swap(psi_pb2.Verdict, psi_pb2.Verdict(size=19)), "sizes of the sets and the minimum exclude"),
        ("alice", swap(psi_pb2.Verdict, psi_pb2.Verdict(size=20, matched=b"\1")), "minimum exclude"),
    ],
)
def test_a_peer_that_cheats_is_named(who: str, edit: Callable[[Message], Sequence[Message]], words: str) -> None:
    with in_buckets(2), pytest.raises(ProtocolError, match=words):
        run(job(), wrap=cheat(who, edit))


def test_a_result_for_a_party_that_is_no_receiver_is_refused() -> None:
    edit = swap(psi_pb2.Verdict, psi_pb2.Verdict(size=20))
    with in_buckets(2), pytest.raises(ProtocolError, match="not among the receivers"):
        run(job(("alice",)), wrap=cheat("alice", edit))


def test_bits_of_the_sender_that_miss_the_agreed_keys_are_refused() -> None:
    seen: list[Message] = []

    def edit(message: Message) -> Sequence[Message]:
        if isinstance(message, psi_pb2.Verdict):
            seen.append(message)
        elif seen and isinstance(message, psi_vole_pb2.Piece):
            return [psi_vole_pb2.Piece(data=bytes(len(message.data)))]
        return [message]

    with in_buckets(2), pytest.raises(ProtocolError, match="were not found"):
        run(job(), wrap=cheat("alice", edit))


def test_a_kept_result_that_is_gone_is_noticed() -> None:
    spools = {name: MemorySpool() for name in BOTH}
    with in_buckets(2):
        run(job(), spools=spools)
        spools["alice"].remove(f"result-1-{(1).to_bytes(16, 'big').hex()}")
        with pytest.raises(AssertionError, match="bucket 1 is gone"):
            run(job(), spools=spools, session=2)


def test_kept_results_hold_no_more_than_the_latest_attempt() -> None:
    spool = MemorySpool()
    for session in (1, 2):
        vole_buckets._finish(vole_buckets.replace(party(session), spool=spool), 0, np.full(3, session, np.uint8))
    assert vole_buckets._result(vole_buckets.replace(party(3), spool=spool), 0).tolist() == [2, 2, 2]
    assert not len(spool.read(f"result-0-{(1).to_bytes(16, 'big').hex()}"))
