"""Private set intersection from Diffie-Hellman (ECDH-PSI) in ristretto255: two parties, sets X and Y of keys.

Output:   the receiver learns its own rows whose key is in X ∩ Y; the sender too if it is among the job's receivers.
Leaks:    each learns how many different keys the other has. The sender learns whether the result was withheld, that
          is, whether X ∩ Y has fewer keys than the minimum. Nothing hides the sizes.
Security: semi-honest; DDH in ristretto255 and a hash as random oracle; 128 bits. Keys match falsely anywhere with
          probability at most 2^-40. Received points are checked to be elements other than the identity, sent once.
          A party may lie about its own set: put in keys it guessed, or leave keys out. The minimum is enforced by
          the receiver's node alone: the sender sees no result, and a receiver that runs other software can ignore it.
Cost:     32·(|X| + |Y|) + t·|X| bytes, t = ⌈(40 + log2|X| + log2|Y|) / 8⌉, and |Y| / 8 more if both learn the
          result; |X| + |Y| scalar multiplications a side; the rounds pipeline, so latency counts once, not a chunk.
Source:   Meadows, IEEE S&P 1986; Huberman, Franklin, Hogg, EC 1999, doi.org/10.1145/336992.337012; tags cut as by
          Pinkas, Schneider, Zohner, ACM TOPS 21(2), 2018, doi.org/10.1145/3154794.
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

    from mpc.keys import Keys


def receive(party: Party[Params], tables: "Mapping[str, pa.Table]") -> Outcome:
    """The receiver's own matching rows: key columns, then output columns, in their order."""
    from mpc.psi.table import load_keys

    keys = load_keys(party, tables)
    link = steps.exchange_sizes(party, len(keys.digests))
    order = steps.permutation(link.own, party.rng)
    theirs: list[steps.Tags] = []
    returned: list[steps.Tags] = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        for index, tags in enumerate(steps.exchange_points(link, party, keys.digests[order], pool)):
            theirs.append(tags)
            if index:
                returned.append(steps.receive_tags(link, index - 1))
    if link.rounds:
        returned.append(steps.receive_tags(link, link.rounds - 1))
    full = steps.join(theirs, steps.FULL_TAG_BYTES)
    steps.check_distinct(link, full)
    own_hits, their_hits = steps.match(link, steps.join(returned, link.tag_bytes), full[:, : link.tag_bytes])
    if np.count_nonzero(own_hits) < party.params.min_result:
        link.channel.send(psi_pb2.Verdict(withheld=True))
        raise steps.too_small(party.params, int(np.count_nonzero(own_hits)))
    shown = np.packbits(their_hits, bitorder="little").tobytes() if link.peer in party.job.receivers else b""
    link.channel.send(psi_pb2.Verdict(matched=shown))
    return _outcome(tables, keys, link, order, own_hits)


def send(party: Party[Params], tables: "Mapping[str, pa.Table]") -> Outcome:
    """The sender's own matching rows if it is among the receivers, otherwise no table."""
    from mpc.psi.table import load_keys

    keys = load_keys(party, tables)
    link = steps.exchange_sizes(party, len(keys.digests))
    order = steps.permutation(link.own, party.rng)
    theirs: list[steps.Tags] = []
    with ThreadPoolExecutor(usable_cores()) as pool:
        for tags in steps.exchange_points(link, party, keys.digests[order], pool):
            theirs.append(tags)
            link.channel.send(psi_pb2.Tags(tags=tags[:, : link.tag_bytes].tobytes()))
    steps.check_distinct(link, steps.join(theirs, steps.FULL_TAG_BYTES))
    verdict = steps.receive_verdict(link, party.params)
    if party.name not in party.job.receivers:
        if verdict.matched:
            raise ProtocolError(f"{link.peer}: sent a result to a party that is not among the receivers")
        return Outcome(None, steps.input_facts(link, keys.quality))
    return _outcome(tables, keys, link, order, _read_bitmap(link, party.params, verdict.matched))


def _read_bitmap(link: steps.Link, params: Params, packed: bytes) -> steps.Mask:
    if len(packed) != -(-link.own // 8):
        raise ProtocolError(f"{link.peer}: sent {len(packed)} bytes that say which of {link.own} keys matched")
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), bitorder="little").astype(bool)
    hits = bits[: link.own]
    if bits[link.own :].any() or not params.min_result <= np.count_nonzero(hits) <= link.theirs:
        raise ProtocolError(f"{link.peer}: sent a result that the sizes of the sets and the minimum exclude")
    return hits


def _outcome(
    tables: "Mapping[str, pa.Table]",
    keys: "Keys",
    link: steps.Link,
    order: steps.Order,
    hits: steps.Mask,
) -> Outcome:
    from mpc.psi.table import matched_rows

    matched = np.zeros(link.own, dtype=bool)
    matched[order] = hits
    table = matched_rows(tables, keys, matched)
    facts = steps.input_facts(link, keys.quality)
    return Outcome(table, {**facts, "matched_distinct": int(np.count_nonzero(hits)), "matched_rows": table.num_rows})


def _reveals(job: Job, params: Params) -> Mapping[str, str]:
    receiver, sender = by_role(job, "receiver"), by_role(job, "sender")
    to_sender = (
        f"which of its own rows have a key that {receiver} also has"
        if sender in job.receivers
        else f"whether the common keys number at least {params.min_result}, not which they are"
    )
    return {
        receiver: f"which of its own rows have a key that {sender} also has, and how many different keys {sender} has",
        sender: f"{to_sender}, and how many different keys {receiver} has",
    }


def _estimate(job: Job, _params: Params, rows: Mapping[str, int], name: str) -> Estimate:
    sender = by_role(job, "sender")
    return estimate_pair(job, rows, name, bitmap=sender in job.receivers)


_SLOTS = {
    "key": Slot("key", least=1, most=8, doc="columns that identify a row, in the order all parties name theirs"),
    "output": Slot("any", most=32, doc="columns of the party's own result beside the key"),
}

SPEC = Spec(
    name="psi.ecdh",
    version=1,
    summary="Find the rows whose keys two parties share, and nothing about the others but their number.",
    params=Params,
    roles={"receiver": Role(receive, _SLOTS), "sender": Role(send, _SLOTS)},
    reveals=_reveals,
    estimate=_estimate,
    minimum_result=lambda params: params.min_result,
    check=check_pair,
)
