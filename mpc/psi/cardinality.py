"""Size of a private set intersection from Diffie-Hellman (PSI-CA) in ristretto255: sets X and Y of keys.

Output:   the receiver learns |X ∩ Y|; the sender too if it is among the job's receivers.
Leaks:    each learns how many different keys the other has. The sender learns whether the result was withheld, that
          is, whether X ∩ Y has fewer keys than the minimum.
Security: as psi.ecdh. The tags of the receiver's keys come back in ascending order of the whole set, so that they
          point at none of its rows. A receiver with few keys learns much from a size: a set of one key asks whether
          that key is there. Repeated jobs on sets that differ by one key tell whether that key is common.
Cost:     32·(|X| + |Y|) + t·|X| bytes, t = ⌈(40 + log2|X| + log2|Y|) / 8⌉; |X| + |Y| scalar multiplications a side.
Source:   De Cristofaro, Gasti, Tsudik, CANS 2012, doi.org/10.1007/978-3-642-35404-5_17; Meadows as in psi.ecdh.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from mpc.errors import ProtocolError
from mpc.job import Job
from mpc.primitives.threads import usable_cores
from mpc.psi import steps
from mpc.psi.estimates import estimate_pair
from mpc.psi.params import Params, by_role, check_pair
from mpc.spec import Estimate, Outcome, Party, Role, Slot, Spec
from protos import psi_pb2

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.keys import Quality


def receive(party: Party[Params], tables: "Mapping[str, pa.Table]") -> Outcome:
    """One row: intersection, own_distinct, peer_distinct."""
    link, quality, full = _exchange(party, tables)
    returned = steps.join([steps.receive_tags(link, i) for i in range(steps.chunks(link.own))], link.tag_bytes)
    if np.any(steps.as_scalars(returned)[1:] < steps.as_scalars(returned)[:-1]):
        raise ProtocolError(f"{link.peer}: sent tags that are not in ascending order")
    hits, _ = steps.match(link, returned, full[:, : link.tag_bytes])
    size = int(np.count_nonzero(hits))
    if size < party.params.min_result:
        link.channel.send(psi_pb2.Verdict(withheld=True))
        raise steps.too_small(party.params, size)
    link.channel.send(psi_pb2.Verdict(size=size if link.peer in party.job.receivers else 0))
    return _outcome(link, quality, size)


def send(party: Party[Params], tables: "Mapping[str, pa.Table]") -> Outcome:
    """The same row if the sender is among the receivers, otherwise no table."""
    link, quality, full = _exchange(party, tables)
    ascending = np.sort(steps.as_scalars(full[:, : link.tag_bytes]))
    for start in range(0, link.theirs, steps.CHUNK_KEYS):
        link.channel.send(psi_pb2.Tags(tags=ascending[start : start + steps.CHUNK_KEYS].tobytes()))
    verdict = steps.receive_verdict(link, party.params)
    if party.name not in party.job.receivers:
        if verdict.size:
            raise ProtocolError(f"{link.peer}: sent a result to a party that is not among the receivers")
        return Outcome(None, steps.input_facts(link, quality))
    if not party.params.min_result <= verdict.size <= min(link.own, link.theirs):
        raise ProtocolError(f"{link.peer}: sent a result that the sizes of the sets and the minimum exclude")
    return _outcome(link, quality, verdict.size)


def _exchange(party: Party[Params], tables: "Mapping[str, pa.Table]") -> "tuple[steps.Link, Quality, steps.Tags]":
    from mpc.psi.table import load_keys

    keys = load_keys(party, tables)
    link = steps.exchange_sizes(party, len(keys.digests))
    order = steps.permutation(link.own, party.rng)
    with ThreadPoolExecutor(usable_cores()) as pool:
        tags = list(steps.exchange_points(link, party, keys.digests[order], pool))
    full = steps.join(tags, steps.FULL_TAG_BYTES)
    steps.check_distinct(link, full)
    return link, keys.quality, full


def _outcome(link: steps.Link, quality: "Quality", size: int) -> Outcome:
    from mpc.psi.table import one_row

    table = one_row({"intersection": size, "own_distinct": link.own, "peer_distinct": link.theirs})
    return Outcome(table, {**steps.input_facts(link, quality), "matched_distinct": size})


def _reveals(job: Job, params: Params) -> Mapping[str, str]:
    receiver, sender = by_role(job, "receiver"), by_role(job, "sender")
    to_sender = (
        f"how many keys it shares with {receiver}"
        if sender in job.receivers
        else f"whether the common keys number at least {params.min_result}"
    )
    return {
        receiver: f"how many keys it shares with {sender}, not which, and how many different keys {sender} has",
        sender: f"{to_sender}, not which, and how many different keys {receiver} has",
    }


def _estimate(job: Job, _params: Params, rows: Mapping[str, int], name: str) -> Estimate:
    return estimate_pair(job, rows, name, bitmap=False)


_SLOTS = {"key": Slot("key", least=1, most=8, doc="columns that identify a row, in the order all parties name theirs")}

SPEC = Spec(
    name="psi.ecdh_cardinality",
    version=1,
    summary="Count the keys that two parties share, without learning which.",
    params=Params,
    roles={"receiver": Role(receive, _SLOTS), "sender": Role(send, _SLOTS)},
    reveals=_reveals,
    estimate=_estimate,
    minimum_result=lambda params: params.min_result,
    check=check_pair,
)
