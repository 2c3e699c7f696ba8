"""Rows of all parties in one order: the first step of every job on columns that different parties hold.

Two parties run psi.vole, three to ten psi.multi; then all hold their common rows in an order that they share and that
says nothing about any table.

Output:   every party learns which of its own rows have a key that all parties have, in the shared order.
Leaks:    as the protocol that is run, with every party a receiver: between two parties each learns how many different
          keys the other has; among more the leader learns how many each has, the others how many the leader has. No
          party learns which keys only some of the parties have.
Security: that of `mpc.psi.vole` and `mpc.psi.multi`. The order among more than two parties is that of tags on the
          leader's link to the first of the others, made of pseudo-random values; to the rest the leader sends where in
          it their rows stand, 4 bytes a row.
Checks:   those of the protocol that is run; a place in the order given twice or not at all.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mpc.errors import InputError, ProtocolError
from mpc.job import Job
from mpc.psi import multi, multi_steps, steps, vole
from mpc.psi import vole_steps as fast
from mpc.psi.canaries import without_canaries
from mpc.psi.params import MultiParams, VoleParams, by_role
from mpc.psi.vectors import receive_bytes, send_bytes
from mpc.spec import Estimate, Party
from protos import psi_pb2

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.keys import Keys

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

MOST_PARTIES = multi.MOST_PARTIES

LABEL_HOLDER, FEATURE_HOLDER = "label_holder", "feature_holder"  # the roles of most jobs; the label holder leads


@dataclass(frozen=True)
class Alignment:
    """The party's common rows.

    `rows` are indices into its own table, entry i of every party's belonging to one key. `facts` are counts for
    `Outcome.facts`: own_rows, own_distinct, nulls, common_rows.
    """

    rows: I64 = field(repr=False)
    facts: dict[str, int]


def align(party: Party[Any], keys: "pa.Table", leading: str) -> Alignment:
    """Find the rows whose key all members of the job have; the only member in the role `leading` leads.

    `keys` are the party's key columns. The job's parameters have `normalisation`, one profile a key column (none:
    exact/1), and `min_rows`. Raises `InputError` when a key repeats, and `ResultWithheld`, at every party, when fewer
    than `min_rows` rows are common.
    """
    leader, normalisation, min_rows = by_role(party.job, leading), party.params.normalisation, party.params.min_rows
    find = _align_two if len(party.peers) == 1 else _align_more
    mine, common = find(party, keys, leader, tuple(normalisation), min_rows)
    first_row = np.empty(len(mine.digests), np.int64)
    first_row[mine.key_of_row[mine.key_of_row >= 0]] = np.flatnonzero(mine.key_of_row >= 0)
    facts = {
        "own_rows": mine.quality.rows,
        "own_distinct": mine.quality.distinct,
        "nulls": mine.quality.nulls,
        "common_rows": len(common),
    }
    return Alignment(first_row[common], facts)


def _align_two(
    party: Party[Any], keys: "pa.Table", leader: str, normalisation: tuple[str, ...], min_rows: int
) -> "tuple[Keys, I32]":
    params = VoleParams(normalisation, min_rows)
    matching, sided = replace(party, params=params.matching), replace(party, params=params)
    mine = _load(matching, keys)
    link = steps.exchange_sizes(matching, len(mine.digests))
    fast.check_size(link)
    if party.name != leader:
        order = vole.help_find(link, sided, mine.digests)
        verdict = steps.receive_verdict(link, matching.params)
        common = without_canaries(link, order[vole.read_bitmap(link, verdict.matched)])
        if not min_rows <= len(common) <= min(link.own, link.theirs):
            raise ProtocolError(f"{link.peer}: sent a result that the sizes of the sets and the minimum exclude")
        return mine, common
    found = vole.find_common(link, sided, mine.digests)
    if len(found.common) < min_rows:
        link.channel.send(psi_pb2.Verdict(withheld=True))
        raise steps.too_small(matching.params, len(found.common))
    link.channel.send(psi_pb2.Verdict(matched=np.packbits(found.their_hits, bitorder="little").tobytes()))
    return mine, found.common


def _align_more(
    party: Party[Any], keys: "pa.Table", leader: str, normalisation: tuple[str, ...], min_rows: int
) -> "tuple[Keys, I32]":
    params = MultiParams(normalisation, min_rows)
    mine = _load(replace(party, params=params.matching), keys)
    sided: Party[MultiParams] = replace(party, params=params, job=_all_receive(party.job, leader))
    group = multi_steps.start(sided, mine.digests)
    if party.name != leader:
        common, _retries = multi.help_find(sided, group)
        (link,) = group.links
        if common is None:
            raise AssertionError("every party is a receiver")
        return mine, common[_receive_order(link, len(common))]
    found = multi.find_common(sided, group)
    first, *others = (link.peer for link in group.links)
    order = found.as_told[first]
    place = np.empty(len(mine.digests), np.int64)
    place[order] = np.arange(len(order))
    for link in group.links:
        if link.peer in others:
            told = np.argsort(place[found.as_told[link.peer]]).astype(np.int32)
            send_bytes(link.channel, told.view(np.uint8))
        else:
            send_bytes(link.channel, np.arange(len(order), dtype=np.int32).view(np.uint8))
    return mine, order


def _all_receive(job: Job, leader: str) -> Job:
    return replace(job, receivers=(leader, *sorted(set(job.members) - {leader})))


def _receive_order(link: steps.Link, count: int) -> I32:
    """Which of the common rows, as this party was told them, comes first in the shared order, second, and so on."""
    order = receive_bytes(link, "the order of rows", 4 * count).view(np.int32)
    if not np.array_equal(np.sort(order), np.arange(count)):
        raise ProtocolError(f"{link.peer}: sent an order in which a row stands twice or not at all")
    return order


def _load(matching: Party[Any], keys: "pa.Table") -> "Keys":
    from mpc.psi.table import load_keys

    mine = load_keys(matching, {"key": keys}, fast.digests)
    if mine.quality.duplicates:
        raise InputError(
            f"{mine.quality.duplicates} rows repeat the key of an earlier one, so that rows cannot be aligned",
            hint="keep one row a key",
        )
    return mine


def reveals(job: Job, leader: str) -> dict[str, str]:
    """By party, what it learns from the alignment."""
    counted = {name: [leader] for name in job.members} | {leader: sorted(set(job.members) - {leader})}
    return {
        name: f"which of its own rows have a key that {_listed(sorted(set(job.members) - {name}))}, and how many "
        f"different keys {_listed(counted[name], each='each of ')}"
        for name in job.members
    }


def _listed(names: list[str], each: str = "") -> str:
    if len(names) == 1:
        return f"{names[0]} {'has' if each else 'also has'}"
    joined = f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{each}{joined} has" if each else f"{joined} all have"


def estimate(job: Job, leader: str, rows: dict[str, int], name: str) -> Estimate:
    """The price of one party's part."""
    every: Job = _all_receive(job, leader)
    if len(job.members) > 2:
        return multi.SPEC.estimate(every, MultiParams(), rows, name)
    roles = {member: replace(job.members[member], role="sender") for member in job.members}
    roles[leader] = replace(job.members[leader], role="receiver")
    return vole.SPEC.estimate(replace(every, members=roles), VoleParams(release="aligned"), rows, name)
