"""Private set intersection of three to ten parties, from an oblivious PRF with each, an OKVS and shares of zero.

The first of the job's receivers is the leader. Each pair of parties shares a key; under these, each party has for any
key x a share s(x) such that the shares of all parties add up to zero. Each other party stores F(x) + s(x) under its
keys in an OKVS, F being its own PRF, which the leader has evaluated on the leader's keys. What the leader decodes for
a key that all parties have are shares that add up to its own; a key that one of them lacks gives a random sum.

Output:   each receiver learns its own rows whose key is in all sets.
Leaks:    the leader learns how many different keys each party has, the others how many the leader has. Those who
          receive nothing learn whether the result was withheld, that is, whether there are fewer common keys than the
          minimum, and whether because one of the sets alone is smaller, not whose. No party learns which keys, or how
          many, are common to some of the parties but not to all.
Collusion: any number of parties without the leader learn together only what each learns. The leader and others learn
          together which of the leader's keys all parties outside their group have, the sets within it set aside. They
          could learn that too by giving in the leader's keys as their own: this is security against any number of
          colluding parties in the augmented semi-honest model. So with a single party outside they learn which of
          the leader's keys it has; with two or more, only which of them all those have.
Security: semi-honest, as above; the assumptions of psi.vole, AES-128 as PRF, Diffie-Hellman in Curve25519 for the
          shared keys; 128 bits. Keys match falsely anywhere with probability at most 2^-40 by sums of 64 bits; tags
          of what another receiver is told collide with at most that too, which ends the job. The leader's node alone
          enforces the minimum. A party that departs from the protocol can do more than lie about its set: see
          docs/security-psi-multi.md.
Checks:   all parties add 64 keys that they agree on; the leader and each receiver end in an error unless they find all.
Cost:     per other party, with X its own and L the leader's set, about 10.6·|L| + 8.8·|X| bytes at a million keys; a
          receiver is told about 8.1 a common key more; nine messages one after the other, whatever the number of
          parties. The leader's work grows with their number, that of the others does not but for the shares.
Source:   Kolesnikov, Matania, Pinkas, Rosulek, Trieu, CCS 2017, eprint.iacr.org/2017/799 (the protocol for augmented
          semi-honest parties, with unconditional shares of zero); programmable PRF from VOLE: Rindal, Schoppmann,
          EUROCRYPT 2021, eprint.iacr.org/2021/266; the rest as psi.vole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from mpc.errors import ProtocolError
from mpc.job import Job
from mpc.psi import multi_steps, steps, tags
from mpc.psi import vole_steps as fast
from mpc.psi.canaries import CANARIES, without_canaries
from mpc.psi.params import MultiParams, Params, check_keys
from mpc.psi.vectors import PIECE_BYTES
from mpc.spec import Estimate, Outcome, Party, Role, Slot, Spec
from protos import psi_multi_pb2

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.keys import Keys

MOST_PARTIES = 10


def intersect(party: Party[MultiParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """A receiver's own rows in the intersection: key columns, then output columns; no table for the others."""
    from mpc.psi.table import load_keys

    matching: Party[Params] = Party(
        party.name, party.job, party.params.matching, party.peers, party.rng, party.progress, party.session
    )
    keys = load_keys(matching, tables, fast.digests)
    group = multi_steps.start(party, keys.digests)
    if party.name == multi_steps.leader_of(party):
        led = find_common(party, group)
        return _outcome(tables, keys, group.links, led.keys, {"okvs_retries": led.retries})
    common, retries = help_find(party, group)
    if common is None:
        return Outcome(None, {**_input_facts(keys, group.links), "okvs_retries": retries})
    return _outcome(tables, keys, group.links, common, {"okvs_retries": retries})


@dataclass(frozen=True)
class Found:
    """What the leader finds: its keys that all have, in their order; the same in the order in which each receiver among
    the others is left with them; and how often a seed was drawn in vain.
    """

    keys: fast.I32 = field(repr=False)
    as_told: Mapping[str, fast.I32] = field(repr=False)
    retries: int


def find_common(party: Party[MultiParams], group: multi_steps.Group) -> Found:
    """The leader's part, after `multi_steps.start`."""
    params, links, own = party.params, group.links, group.links[0].own
    smallest = min(own, *(link.theirs for link in links))
    if smallest < params.min_result:
        for link in links:
            link.channel.send(psi_multi_pb2.Offer(withheld=True))
        raise steps.too_small(params.matching, smallest)
    widths = [multi_steps.TAGGED_WORDS if link.peer in party.job.receivers else 1 for link in links]
    prfs = multi_steps.leader_prfs(party, links, group.digests, widths)
    order = prfs.keys.rows.order
    sums = multi_steps.shares_of_zero(group.shared, group.digests)[order]
    for index, (link, output) in enumerate(zip(links, prfs.outputs, strict=True)):
        sums ^= output[:, 0] ^ multi_steps.receive_shares(link, prfs.keys, group.digests)
        party.progress("collect shares", index + 1, len(links))
    rows = multi_steps.found_by_all(", ".join(sorted(party.peers)), sums, order)
    common = np.sort(order[rows])[:-CANARIES]
    if len(common) < params.min_result:
        for link in links:
            link.channel.send(psi_multi_pb2.Verdict(withheld=True))
        raise steps.too_small(params.matching, len(common))
    as_told = {}
    for link, output in zip(links, prfs.outputs, strict=True):
        if link.peer not in party.job.receivers:
            link.channel.send(psi_multi_pb2.Verdict())
            continue
        link.channel.send(psi_multi_pb2.Verdict(keys=len(common)))
        words = np.zeros((len(rows), 4), np.uint64)
        words[:, : multi_steps.TAGGED_WORDS] = output[rows]
        told = multi_steps.cut_tags(party, link, words, order[rows], len(rows))
        tags.send_tags(link, told)
        as_told[link.peer] = told.order[told.order < own]
    return Found(common, as_told, prfs.retries)


def help_find(party: Party[MultiParams], group: multi_steps.Group) -> tuple[fast.I32 | None, int]:
    """The part of a party that does not lead, after `multi_steps.start`.

    Gives its common keys, in an order that the leader knows, None unless it is a receiver; and how often a seed was
    drawn in vain.
    """
    params, (link,) = party.params, group.links
    offer = link.channel.recv(psi_multi_pb2.Offer)
    if offer.withheld:
        raise steps.too_small(params.matching, 1)
    keys, outputs = multi_steps.other_prf(party, link, offer.point, group.digests)
    masked = outputs[:, 0] ^ multi_steps.shares_of_zero(group.shared, group.digests)[keys.rows.order]
    retries = multi_steps.send_shares(link, keys, group.digests, masked, party.rng)
    verdict = link.channel.recv(psi_multi_pb2.Verdict)
    if verdict.withheld:
        raise steps.too_small(params.matching, 1)
    if party.name not in party.job.receivers:
        if verdict.keys:
            raise ProtocolError(f"{link.peer}: sent a result to a party that is not among the receivers")
        return None, retries
    if not params.min_result <= verdict.keys <= min(link.own, link.theirs):
        raise ProtocolError(f"{link.peer}: sent a result that the sizes of the sets and the minimum exclude")
    own = multi_steps.cut_tags(party, link, outputs, keys.rows.order, verdict.keys + CANARIES)
    hits, their_hits = tags.match(link, own, *tags.receive_tags(replace(link, theirs=verdict.keys)))
    if not their_hits.all():
        raise ProtocolError(f"{link.peer}: names common keys that this party does not have")
    return without_canaries(link, own.order[hits]), retries


def _outcome(
    tables: "Mapping[str, pa.Table]",
    keys: "Keys",
    links: Sequence[steps.Link],
    common: fast.I32,
    more: Mapping[str, int],
) -> Outcome:
    from mpc.psi.table import matched_rows

    matched = np.zeros(len(keys.digests), dtype=bool)
    matched[common] = True
    table = matched_rows(tables, keys, matched)
    facts = {**_input_facts(keys, links), **more}
    return Outcome(table, {**facts, "matched_distinct": len(common), "matched_rows": table.num_rows})


def _input_facts(keys: "Keys", links: Sequence[steps.Link]) -> dict[str, int]:
    quality = keys.quality
    facts = {"own_rows": quality.rows, "own_distinct": quality.distinct, "nulls": quality.nulls}
    return {**facts, **{f"distinct_{link.peer}": link.theirs for link in links}}


def _reveals(job: Job, params: MultiParams) -> Mapping[str, str]:
    leader = job.receivers[0]
    said = {}
    for name in job.members:
        others = [member for member in sorted(job.members) if member != name]
        listed = f"{', '.join(others[:-1])} and {others[-1]}"
        rows = f"which of its own rows have a key that {listed} all have"
        if name == leader:
            said[name] = (
                f"{rows}, and how many different keys each of them has; together with some of them, which of its rows "
                "have a key that all the rest have"
            )
        else:
            learned = (
                rows
                if name in job.receivers
                else f"whether the keys common to all number at least {params.min_result}, not which they are"
            )
            said[name] = f"{learned}, and how many different keys {leader} has"
    return said


# Seconds of one core of about 3 GHz, all cores' added up, from runs of three to five parties: a key, read, hashed and
# encoded; a key of the leader on each link; starting the process; base transfers.
_SECONDS_A_KEY = 0.5e-6
_SECONDS_A_LEADER_KEY_AND_LINK = 0.2e-6
_SECONDS_AT_THE_START = 0.8
_SECONDS_A_LINK = 0.05
_BASE_BYTES = 230 * 2**20  # Python, numpy, Arrow and the compiled loops
_KEY_BYTES = 300
_LINK_KEY_BYTES = 100
_TAG_BYTES = 9


def _estimate(job: Job, params: MultiParams, rows: Mapping[str, int], name: str) -> Estimate:
    leader = job.receivers[0]
    others = [member for member in job.members if member != leader]
    links = others if name == leader else [name]
    by_leader = by_other = 0
    for other in links:  # each party's cost depends on the sizes that it will learn, and on no others
        to_other, to_leader = multi_steps.wire_bytes(params, rows[leader], rows[other])
        told = _TAG_BYTES * (min(rows[leader], rows[other]) + CANARIES) if other in job.receivers else 0
        by_leader += to_other + told
        by_other += to_leader
    starts = multi_steps.START_BYTES * (len(job.members) - 1 - len(links))
    sent, received = (by_leader, by_other) if name == leader else (by_other + starts, by_leader + starts)
    framing = 64 * (8 * len(job.members) + (by_leader + by_other) // PIECE_BYTES)
    return Estimate(
        seconds=_SECONDS_AT_THE_START
        + _SECONDS_A_KEY * rows[name]
        + (_SECONDS_A_LEADER_KEY_AND_LINK * rows[leader] + _SECONDS_A_LINK) * len(links),
        sent_bytes=sent + framing,
        received_bytes=received + framing,
        peak_bytes=_BASE_BYTES + _KEY_BYTES * rows[name] + _LINK_KEY_BYTES * rows[leader] * len(links),
    )


_SLOTS = {
    "key": Slot("key", least=1, most=8, doc="columns that identify a row, in the order all parties name theirs"),
    "output": Slot("any", most=32, doc="columns of the party's own result beside the key"),
}

SPEC = Spec(
    name="psi.multi",
    version=1,
    summary="Find the rows whose keys all of several parties share, and nothing about keys that only some share.",
    params=MultiParams,
    roles={"party": Role(intersect, _SLOTS, least=3, most=MOST_PARTIES)},
    reveals=_reveals,
    estimate=_estimate,
    minimum_result=lambda params: params.min_result,
    check=lambda job, params: check_keys(job, params.matching),
)
