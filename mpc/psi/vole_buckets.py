"""psi.vole for sets that do not fit memory: both parties sort their keys into buckets, and match bucket by bucket.

Output:   the receiver learns its own rows whose key is in X ∩ Y; the sender too if it is among the job's receivers,
          both in one order if they ask for aligned results.
Leaks:    each learns how many different keys the other has. The sender learns whether the result was withheld, that
          is, whether X ∩ Y has fewer keys than the minimum. Buckets are filled up with random digests to a size that
          follows from the number of keys alone, so their own sizes are not seen.
Security: as psi.vole, and its checks in every bucket. Keys match falsely anywhere by their tags with probability at
          most 2^-40, in all buckets together, and by hashes of 64 bits in the OKVS at most |Y|·2^-64. A bucket
          overflows, which ends the job in an error, with probability at most 2^-40 a party.
Restart:  an attempt that is interrupted leaves the buckets it finished. The next keeps those that both parties
          finished in the same attempt, and runs all others anew with fresh randomness.
Cost:     that of psi.vole for the filled buckets, a start for each of them, and about 45 bytes of storage a row.
Source:   psi.vole; buckets as by Pinkas, Schneider, Zohner, ACM TOPS 21(2), 2018, doi.org/10.1145/3154794, with fixed
          instead of expected sizes: see `mpc.psi.buckets`.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, StrictInt

from mpc.channel import Channel
from mpc.errors import InputError, ProtocolError
from mpc.job import Job
from mpc.primitives import oprf
from mpc.primitives.threads import usable_cores
from mpc.psi import buckets, steps, vole
from mpc.psi import vole_steps as fast
from mpc.psi.canaries import CANARIES, without_canaries
from mpc.psi.params import (
    MAX_KEYS,
    Params,
    VoleParams,
    by_role,
    check_aligned,
    check_no_repetition,
    check_pair,
    profile_names,
)
from mpc.psi.vectors import receive_bytes, send_bytes
from mpc.session import SESSION_BYTES
from mpc.spec import Estimate, Outcome, Party, Role, Slot, Spec, no_progress
from mpc.spool import U8
from protos import psi_buckets_pb2, psi_pb2

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULT_MEMORY_MB = 4096
MAX_TOTAL_KEYS = 2**27  # false matches by hashes of 64 bits then have probability at most 2^-37

# Memory of a process that matches one bucket. Both parties must count alike: another number is another version.
_BASE_BYTES = 320 * 2**20
_KEY_BYTES = 400
_RECEIVER_KEY_BYTES = 100

_SESSION = b"sealane/psi.vole_buckets.session/1\0"


@dataclass(frozen=True)
class BucketParams:
    """Parameters of psi.vole_buckets: `normalisation`, `min_result` and `code` as in psi.vole, and `release`, which may
    be "rows" or "aligned".

    `memory_mb` is what a party's process may use, in MiB beside the mapped input and the result: it sets the number of
    buckets, a power of two up to 256.
    """

    normalisation: tuple[str, ...] = ()
    min_result: Annotated[StrictInt, Field(ge=0, le=MAX_KEYS)] = 1
    release: Literal["rows", "aligned"] = "rows"
    code: Literal["standard", "conservative"] = "standard"
    memory_mb: Annotated[StrictInt, Field(ge=512, le=2**20)] = DEFAULT_MEMORY_MB

    @property
    def matching(self) -> Params:
        """The part that all matching protocols share."""
        return Params(self.normalisation, self.min_result)

    @property
    def memory_bytes(self) -> int:
        """The same in bytes."""
        return self.memory_mb * 2**20

    @property
    def inner(self) -> VoleParams:
        """The parameters of a bucket."""
        return VoleParams(self.normalisation, 0, self.release, self.code)


@dataclass(frozen=True)
class _Work:
    """What a party has once both know the sizes: its spread keys, the number of buckets, and a link for each."""

    spread: buckets.Spread = field(repr=False)
    count: int
    link: steps.Link
    kept: frozenset[int]

    def total_own(self) -> int:
        return self.spread.quality.distinct


def receive(party: Party[BucketParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """The receiver's matching rows: key columns, then output columns, in their order."""
    work, theirs = _start(party, tables)
    retries = 0
    for number in _buckets_to_do(party, work):
        keys = work.spread.bucket(number, work.count, work.link.own, party.rng)
        found = vole.find_common(work.link, _inner(party, number), keys)
        own = found.common[found.common < work.spread.count(number, work.count)]
        retries += found.retries
        hits = np.packbits(found.their_hits, bitorder="little")
        _finish(party, number, np.concatenate([hits, own.view(np.uint8)]))
    size = sum(len(_own_found(party, work, number)) for number in range(work.count))
    if size < party.params.min_result:
        work.link.channel.send(psi_pb2.Verdict(withheld=True))
        raise steps.too_small(party.params.matching, size)
    tells = work.link.peer in party.job.receivers
    work.link.channel.send(psi_pb2.Verdict(size=size if tells else 0))
    if tells:
        for number in range(work.count):
            send_bytes(work.link.channel, _result(party, number)[: _bitmap_bytes(work.link.theirs)])
    more = {"okvs_retries": retries}
    return _outcome(party, tables, work, theirs, lambda number: _own_found(party, work, number), more)


def send(party: Party[BucketParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """The sender's matching rows if it is among the receivers, otherwise no table."""
    work, theirs = _start(party, tables)
    for number in _buckets_to_do(party, work):
        keys = work.spread.bucket(number, work.count, work.link.own, party.rng)
        _finish(party, number, vole.help_find(work.link, _inner(party, number), keys).view(np.uint8))
    verdict = steps.receive_verdict(work.link, party.params.matching)
    if party.name not in party.job.receivers:
        if verdict.size or verdict.matched:
            raise ProtocolError(f"{work.link.peer}: sent a result to a party that is not among the receivers")
        return Outcome(None, _facts(work, theirs))
    found = [_told(party, work, number) for number in range(work.count)]
    least, most = party.params.min_result, min(work.total_own(), theirs)
    if verdict.matched or verdict.size != sum(map(len, found)) or not least <= verdict.size <= most:
        raise ProtocolError(f"{work.link.peer}: sent a result that the sizes of the sets and the minimum exclude")
    return _outcome(party, tables, work, theirs, found.__getitem__, {})


def bucket_count(sizes: Mapping[str, int], job: Job, params: BucketParams) -> int:
    """The least number of buckets with which both parties stay within their memory.

    `sizes` are numbers of keys by party. Raises `InputError` if `buckets.PARTS` do not suffice.
    """
    count = 1
    while not _fits(sizes, job, params, count):
        if count == buckets.PARTS:
            raise InputError(f"{params.memory_mb} MiB are too little for so many keys", hint="raise memory_mb")
        count *= 2
    return count


def _fits(sizes: Mapping[str, int], job: Job, params: BucketParams, count: int) -> bool:
    filled = {name: buckets.most_in_bucket(keys, count) for name, keys in sizes.items()}
    working = _BASE_BYTES + _KEY_BYTES * max(filled.values()) + _RECEIVER_KEY_BYTES * filled[by_role(job, "receiver")]
    return working <= params.memory_bytes and max(filled.values()) <= oprf.MAX_KEYS - CANARIES


def _start(party: Party[BucketParams], tables: "Mapping[str, pa.Table]") -> tuple[_Work, int]:
    """Spread the keys, agree on sizes and on what is finished; gives how many keys the peer has, too."""
    params, ((peer, channel),) = party.params, party.peers.items()
    with _pool(party) as pool:
        names, salt = profile_names(party.job, params.matching), buckets.salt(party.job.digest)
        spread = buckets.spread(tables["key"], names, salt, party.spool, pool, party.progress)
    if params.release == "aligned":
        check_no_repetition(spread.quality.duplicates)
    own = spread.quality.distinct
    if own > MAX_TOTAL_KEYS:
        raise InputError(f"{own} different keys are too many for {SPEC.name} (at most {MAX_TOTAL_KEYS})")
    channel.send(psi_buckets_pb2.Size(keys=own))
    theirs = channel.recv(psi_buckets_pb2.Size).keys
    if theirs > MAX_TOTAL_KEYS:
        raise ProtocolError(f"{peer}: claims {theirs} keys (at most {MAX_TOTAL_KEYS})")
    steps.check_minimum(params.matching, own, theirs)
    count = bucket_count({party.name: own, peer: theirs}, party.job, params)
    most_own, most_theirs = (buckets.most_in_bucket(keys, count) for keys in (own, theirs))
    link = steps.Link(channel, peer, most_own, most_theirs, pairs=count)
    return _Work(spread, count, link, _agree(party, channel, peer, count)), theirs


@contextmanager
def _pool(party: Party[BucketParams]) -> Iterator[Executor]:
    if party.pool is not None:
        yield party.pool
        return
    with ThreadPoolExecutor(usable_cores()) as pool:
        yield pool


def _agree(party: Party[BucketParams], channel: Channel, peer: str, count: int) -> frozenset[int]:
    """The buckets that both parties finished in the same attempt.

    In another attempt tags have another order: results of different attempts must never be put together.
    """
    ours = [bytes(party.spool.read(f"done-{number}")) or bytes(SESSION_BYTES) for number in range(count)]
    channel.send(psi_buckets_pb2.Finished(sessions=b"".join(ours)))
    sessions = channel.recv(psi_buckets_pb2.Finished).sessions
    if len(sessions) != SESSION_BYTES * count:
        raise ProtocolError(f"{peer}: sent {len(sessions)} bytes that say which of {count} buckets it finished")
    theirs = [sessions[i : i + SESSION_BYTES] for i in range(0, len(sessions), SESSION_BYTES)]
    return frozenset(
        number
        for number, (own, other) in enumerate(zip(ours, theirs, strict=True))
        if own == other != bytes(SESSION_BYTES)
    )


def _buckets_to_do(party: Party[BucketParams], work: _Work) -> Iterator[int]:
    done = len(work.kept)
    party.progress("match buckets", done, work.count)
    for number in sorted(set(range(work.count)) - work.kept):
        yield number
        done += 1
        party.progress("match buckets", done, work.count)


def _inner(party: Party[BucketParams], number: int) -> Party[VoleParams]:
    """The party in one bucket: a session of its own, so that no seed, salt or mask is used for two."""
    session = hashlib.sha256(_SESSION + party.session + number.to_bytes(4, "little")).digest()[:SESSION_BYTES]
    return Party(party.name, party.job, party.params.inner, party.peers, party.rng, no_progress, session)


def _finish(party: Party[BucketParams], number: int, result: U8) -> None:
    """Keep the result of a bucket, named by its attempt, and only then point to it."""
    before = party.spool.read(f"done-{number}").tobytes().hex()
    party.spool.replace(f"result-{number}-{party.session.hex()}", result)
    party.spool.replace(f"done-{number}", np.frombuffer(party.session, np.uint8))
    if before:
        party.spool.remove(f"result-{number}-{before}")


def _result(party: Party[BucketParams], number: int) -> U8:
    session = party.spool.read(f"done-{number}").tobytes().hex()
    result = party.spool.read(f"result-{number}-{session}")
    if not len(result):  # each has at least the canaries
        raise AssertionError(f"the result of bucket {number} is gone")
    return result


def _bitmap_bytes(keys: int) -> int:
    return -(-(keys + CANARIES) // 8)


def _own_found(party: Party[BucketParams], work: _Work, number: int) -> fast.I32:
    """The receiver's common keys of a bucket, as indices into it, in the order that both parties share."""
    found = _result(party, number)[_bitmap_bytes(work.link.theirs) :].copy()
    return found.view(np.int32)


def _told(party: Party[BucketParams], work: _Work, number: int) -> fast.I32:
    """The sender's common keys of a bucket in the same order, from what the receiver says of its tags."""
    packed = receive_bytes(work.link, "bits of a bucket", _bitmap_bytes(work.link.own))
    order = _result(party, number).view(np.int32)
    common = without_canaries(work.link, order[vole.read_bitmap(work.link, packed.tobytes())])
    return common[common < work.spread.count(number, work.count)]


def _outcome(
    party: Party[BucketParams],
    tables: "Mapping[str, pa.Table]",
    work: _Work,
    theirs: int,
    found: Callable[[int], fast.I32],
    more: Mapping[str, int],
) -> Outcome:
    from mpc.psi.rows import take
    from mpc.psi.table import own_columns

    own = own_columns(tables)
    if party.params.release == "aligned":
        rows = [work.spread.row_of_each(number, work.count, found(number)) for number in range(work.count)]
        table, matched = take(own, np.concatenate(rows)), sum(map(len, rows))
    else:
        chosen, matched = _chosen(work, found)
        table = own.filter(chosen)
    return Outcome(table, {**_facts(work, theirs), **more, "matched_distinct": matched, "matched_rows": table.num_rows})


def _chosen(work: _Work, found: Callable[[int], fast.I32]) -> "tuple[pa.BooleanArray, int]":
    """Which rows have a common key, and how many keys are common."""
    import pyarrow as pa

    chosen = np.zeros(work.spread.quality.rows, np.bool_)
    matched = 0
    for number in range(work.count):
        common = found(number)
        matched += len(common)
        for rows in work.spread.rows(number, work.count, common):
            chosen[rows] = True
    return pa.array(chosen), matched


def _facts(work: _Work, theirs: int) -> dict[str, int]:
    whole = replace(work.link, own=work.total_own(), theirs=theirs)
    return {**steps.input_facts(whole, work.spread.quality), "buckets": work.count, "buckets_kept": len(work.kept)}


def _check(job: Job, params: BucketParams) -> None:
    check_pair(job, params.matching)
    if params.release == "aligned":
        check_aligned(job)


def _reveals(job: Job, params: BucketParams) -> Mapping[str, str]:
    return vole.SPEC.reveals(job, replace(params.inner, min_result=params.min_result))


_SECONDS_A_ROW = 2e-6  # to sort it into its bucket
_SPOOL_MEMORY_BYTES = 600 * 2**20  # batches that are being sorted


def _estimate(job: Job, params: BucketParams, rows: Mapping[str, int], name: str) -> Estimate:
    counts = [2**i for i in range(buckets.PARTS.bit_length())]
    count = next((each for each in counts if _fits(rows, job, params, each)), buckets.PARTS)
    filled = {each: buckets.most_in_bucket(keys, count) for each, keys in rows.items()}
    one, start = vole.estimate(job, params.inner, filled, name, count), vole.SECONDS_AT_THE_START
    return Estimate(
        seconds=start + _SECONDS_A_ROW * rows[name] + count * (one.seconds - start),
        sent_bytes=count * one.sent_bytes,
        received_bytes=count * one.received_bytes,
        peak_bytes=max(one.peak_bytes, min(_SPOOL_MEMORY_BYTES, one.peak_bytes + 600 * rows[name])) + rows[name],
    )


_SLOTS = {
    "key": Slot("key", least=1, most=8, doc="columns that identify a row, in the order all parties name theirs"),
    "output": Slot("any", most=32, doc="columns of the party's own result beside the key"),
}

SPEC = Spec(
    name="psi.vole_buckets",
    version=1,
    summary="psi.vole for sets larger than memory: bucket by bucket, and on after an interruption.",
    params=BucketParams,
    roles={"receiver": Role(receive, _SLOTS), "sender": Role(send, _SLOTS)},
    reveals=_reveals,
    estimate=_estimate,
    minimum_result=lambda params: params.min_result,
    check=_check,
)
