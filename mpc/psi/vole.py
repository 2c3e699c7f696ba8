"""Private set intersection from an oblivious PRF on subfield VOLE and an OKVS: two parties, sets X and Y of keys.

Output:   the receiver learns its own rows whose key is in X ∩ Y, the sender too if it is among the job's receivers;
          with `release` count they learn |X ∩ Y| alone.
Leaks:    each learns how many different keys the other has. The sender learns whether the result was withheld, that
          is, whether X ∩ Y has fewer keys than the minimum. With `release` count the receiver's node still sees which
          of its keys match while it computes, and keeps only the number; psi.ecdh_cardinality hides them from it too.
Security: semi-honest; Diffie-Hellman in ristretto255 for the base transfers, regular dual LPN for the correlation (see
          `mpc.primitives.lpn`), hashes as random oracles; 128 bits. Keys match falsely anywhere with probability at
          most 2^-39: 2^-40 by tags and 2^-40 by hashes of 64 bits in the OKVS. A party that departs from the protocol
          can do more than lie about its set: see docs/security-psi-vole.md.
Checks:   both parties add 64 keys that they agree on, and end in an error unless all of them are found. Both compare
          the size of the result with the sizes of their sets, and with each other's if both learn it.
Cost:     about 8.8·|X| + 8.1·|Y| bytes and 2 more a key of the receiver, at a million keys a side; nine messages one
          after the other.
Source:   Raghuraman, Rindal, CCS 2022, eprint.iacr.org/2022/320; Rindal, Schoppmann, EUROCRYPT 2021,
          eprint.iacr.org/2021/266; Bienstock et al., USENIX Security 2023, eprint.iacr.org/2023/903.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mpc.errors import InputError, ProtocolError
from mpc.job import Job
from mpc.primitives import base_ot, vole
from mpc.psi import steps
from mpc.psi import vole_steps as fast
from mpc.psi.canaries import CANARIES, NONCE_BYTES, receive_nonce, with_canaries, without_canaries
from mpc.psi.params import Params, VoleParams, by_role, check_aligned, check_no_repetition, check_pair
from mpc.psi.vectors import PIECE_BYTES
from mpc.spec import Estimate, Outcome, Party, Role, Slot, Spec
from protos import psi_pb2, psi_vole_pb2

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.keys import Keys


def receive(party: Party[VoleParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """The receiver's matching rows, key columns, then output columns; or one row, `intersection`."""
    keys, link = _start(party, tables)
    found = find_common(link, party, keys.digests, overwrite=True)
    common, params = found.common, party.params
    if len(common) < params.min_result:
        link.channel.send(psi_pb2.Verdict(withheld=True))
        raise steps.too_small(params.matching, len(common))
    verdict = psi_pb2.Verdict()
    if link.peer in party.job.receivers:
        verdict.size = len(common)
        if params.release != "count":
            verdict.matched = np.packbits(found.their_hits, bitorder="little").tobytes()
    link.channel.send(verdict)
    party.progress("agree on the result", 1, 1)
    return _outcome(params, tables, keys, link, common, {"okvs_retries": found.retries})


def send(party: Party[VoleParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """The sender's matching rows or the count if it is among the receivers, otherwise no table."""
    keys, link = _start(party, tables)
    order = help_find(link, party, keys.digests, overwrite=True)
    party.progress("agree on the result", 0, 1)
    verdict = steps.receive_verdict(link, party.params.matching)
    party.progress("agree on the result", 1, 1)
    receives, counted = party.name in party.job.receivers, party.params.release == "count"
    if (verdict.matched and (counted or not receives)) or (verdict.size and not receives):
        raise ProtocolError(f"{link.peer}: sent a result that this party is not to receive")
    if not receives:
        return Outcome(None, steps.input_facts(link, keys.quality))
    if not party.params.min_result <= verdict.size <= min(link.own, link.theirs):
        raise ProtocolError(f"{link.peer}: sent a result that the sizes of the sets and the minimum exclude")
    if counted:
        return _count(link, keys, verdict.size, {})
    common = without_canaries(link, order[read_bitmap(link, verdict.matched)])
    if len(common) != verdict.size:
        raise ProtocolError(f"{link.peer}: found {verdict.size} common keys, and marked {len(common)}")
    return _outcome(party.params, tables, keys, link, common, {})


@dataclass(frozen=True)
class Found:
    """What the receiver of a pair of sets finds.

    `common` are its common keys, in the order that both parties share; `their_hits` says which of the sender's tags
    are common, canaries included; `partners` gives the key that each of those belongs to, canaries after the own
    keys; `retries` is how often a seed was drawn in vain.
    """

    common: fast.I32 = field(repr=False)
    their_hits: fast.BOOL = field(repr=False)
    partners: fast.I32 = field(repr=False)
    retries: int


def find_common(link: steps.Link, party: Party[VoleParams], keys: fast.U8, *, overwrite: bool = False) -> Found:
    """The receiver's part for keys with these digests (n x 32 bytes), up to the verdict.

    With `overwrite`, the memory behind the digests may be used.
    """
    offered, nonce = base_ot.offer(party.rng), party.rng(NONCE_BYTES)
    link.channel.send(psi_vole_pb2.Offer(point=offered.point, nonce=nonce))
    choices = receive_nonce(link, psi_vole_pb2.Choices)
    pairs = base_ot.keys(offered, choices.points, vole.BASE_COUNT, party.session)
    digests = with_canaries(keys, party.session, nonce, choices.nonce, overwrite=overwrite)
    found = fast.find(link, party, pairs, digests)
    return Found(without_canaries(link, found.partners), found.their_hits, found.partners, found.retries)


def help_find(link: steps.Link, party: Party[VoleParams], keys: fast.U8, *, overwrite: bool = False) -> fast.I32:
    """The sender's part for keys with these digests (n x 32 bytes), up to the verdict: the key of each of its tags.

    With `overwrite`, the memory of the digests and behind them may be used for other things.
    """
    offer = receive_nonce(link, psi_vole_pb2.Offer)
    secret, nonce = party.rng(vole.BASE_COUNT // 8), party.rng(NONCE_BYTES)
    chosen, points = base_ot.choose(offer.point, fast.base_choices(secret), party.session, party.rng)
    link.channel.send(psi_vole_pb2.Choices(points=points, nonce=nonce))
    digests = with_canaries(keys, party.session, offer.nonce, nonce, overwrite=overwrite)
    return fast.help_find(link, party, chosen, secret, digests, overwrite=overwrite)


def _start(party: Party[VoleParams], tables: "Mapping[str, pa.Table]") -> "tuple[Keys, steps.Link]":
    from mpc.psi.table import load_keys

    matching: Party[Params] = Party(
        party.name, party.job, party.params.matching, party.peers, party.rng, party.progress, party.session
    )
    keys = load_keys(matching, tables, fast.digests)
    if party.params.release == "aligned":
        check_no_repetition(keys.quality.duplicates)
    link = steps.exchange_sizes(matching, len(keys.digests))
    fast.check_size(link)
    return keys, link


def read_bitmap(link: steps.Link, packed: bytes) -> fast.BOOL:
    """Which of the sender's tags matched, canaries included."""
    count = link.own + CANARIES
    if len(packed) != -(-count // 8):
        raise ProtocolError(f"{link.peer}: sent {len(packed)} bytes that say which of {count} tags matched")
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little").astype(np.bool_)
    if bits[count:].any():
        raise ProtocolError(f"{link.peer}: says that more tags matched than there are")
    return bits[:count]


def _outcome(
    params: VoleParams,
    tables: "Mapping[str, pa.Table]",
    keys: "Keys",
    link: steps.Link,
    common: fast.I32,
    more: Mapping[str, int],
) -> Outcome:
    """What is released of the common keys, which come in the order that both parties share."""
    from mpc.psi.rows import take
    from mpc.psi.table import matched_rows

    if params.release == "count":
        return _count(link, keys, len(common), more)
    chosen = np.zeros(link.own, dtype=bool)
    chosen[common] = True
    table = matched_rows(tables, keys, chosen)
    if params.release == "aligned":
        rank = np.empty(link.own, np.int64)
        rank[common] = np.arange(len(common))
        table = take(table, np.argsort(rank[keys.key_of_row[keys.rows_of(chosen)]]))
    facts = {**steps.input_facts(link, keys.quality), **more}
    return Outcome(table, {**facts, "matched_distinct": len(common), "matched_rows": table.num_rows})


def _count(link: steps.Link, keys: "Keys", count: int, more: Mapping[str, int]) -> Outcome:
    from mpc.psi.table import one_row

    table = one_row({"intersection": count, "own_distinct": link.own, "peer_distinct": link.theirs})
    return Outcome(table, {**steps.input_facts(link, keys.quality), **more, "matched_distinct": count})


def _check(job: Job, params: VoleParams) -> None:
    check_pair(job, params.matching)
    if params.release == "aligned":
        check_aligned(job)
    if params.release == "count":
        for name, member in job.members.items():
            if "output" in member.columns:
                raise InputError(f"{name}: a count has no output columns", hint="leave them out")


def _reveals(job: Job, params: VoleParams) -> Mapping[str, str]:
    receiver, sender = by_role(job, "receiver"), by_role(job, "sender")
    rows = "which of its own rows have a key that {} also has"
    if params.release == "count":
        to_receiver = (
            f"how many keys it shares with {sender}; its node sees which while it computes, and keeps the number alone"
        )
        to_sender = f"how many keys it shares with {receiver}"
    else:
        to_receiver, to_sender = rows.format(sender), rows.format(receiver)
    if sender not in job.receivers:
        to_sender = f"whether at least {params.min_result} keys are common, not which"
    return {
        receiver: f"{to_receiver}, and how many different keys {sender} has",
        sender: f"{to_sender}, and how many different keys {receiver} has",
    }


# Seconds of one core of about 3 GHz, all cores' added up: a key of one's own, read and hashed; a key of the receiver in
# the correlation, for both; encoding it, for the receiver; starting the process; base transfers. Bytes at the widest
# moment.
_SECONDS_A_KEY = 0.35e-6
_SECONDS_A_RECEIVER_KEY = 0.15e-6
_SECONDS_TO_ENCODE_A_KEY = 0.15e-6
SECONDS_AT_THE_START = 0.7
_SECONDS_A_RUN = 0.1
_BASE_BYTES = 250 * 2**20  # Python, numpy, Arrow, the compiled loops and what they work in
_KEY_BYTES = 150
_RECEIVER_KEY_BYTES = 60


def estimate(job: Job, params: VoleParams, rows: Mapping[str, int], name: str, pairs: int = 1) -> Estimate:
    """What one of `pairs` pairs of sets costs the party."""
    receiver, sender = by_role(job, "receiver"), by_role(job, "sender")
    by_receiver, by_sender = fast.wire_bytes(params, rows[receiver], rows[sender], pairs)
    if sender in job.receivers and params.release != "count":
        by_receiver += -(-(rows[sender] + CANARIES) // 8)
    framing = 64 * (8 + (by_receiver + by_sender) // PIECE_BYTES)
    sent, received = (by_receiver, by_sender) if name == receiver else (by_sender, by_receiver)
    a_receiver_key = _SECONDS_A_RECEIVER_KEY + (_SECONDS_TO_ENCODE_A_KEY if name == receiver else 0.0)
    return Estimate(
        seconds=SECONDS_AT_THE_START + _SECONDS_A_RUN + _SECONDS_A_KEY * rows[name] + a_receiver_key * rows[receiver],
        sent_bytes=sent + framing,
        received_bytes=received + framing,
        peak_bytes=_BASE_BYTES + _KEY_BYTES * rows[name] + _RECEIVER_KEY_BYTES * rows[receiver],
    )


_SLOTS = {
    "key": Slot("key", least=1, most=8, doc="columns that identify a row, in the order all parties name theirs"),
    "output": Slot("any", most=32, doc="columns of the party's own result beside the key"),
}

SPEC = Spec(
    name="psi.vole",
    version=1,
    summary="Find the rows whose keys two parties share: psi.ecdh for large sets, on one more assumption.",
    params=VoleParams,
    roles={"receiver": Role(receive, _SLOTS), "sender": Role(send, _SLOTS)},
    reveals=_reveals,
    estimate=estimate,
    minimum_result=lambda params: params.min_result,
    check=_check,
)
