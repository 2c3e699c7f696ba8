"""Oblivious PRFs of a leader with other parties that have an instance a row, and words stored under what is asked for.

As the PRFs of `mpc.psi.multi_steps`, with the same messages, but of `mpc.primitives.row_oprf`: the leader has the
output of one key in each row.
"""

from collections.abc import Sequence

import numpy as np

from mpc.primitives import okvs, oprf, row_oprf, vole
from mpc.psi import multi_steps, steps
from mpc.psi import vole_steps as fast
from mpc.psi.canaries import CANARIES
from mpc.psi.params import MultiParams, VoleParams
from mpc.psi.vectors import receive_bytes, send_bytes
from mpc.rng import Rng
from mpc.spec import Party
from protos import psi_vole_pb2


def ask(party: Party[MultiParams], links: Sequence[steps.Link], digests: fast.U64) -> list[fast.U64]:
    """F (two words) of the leader's key of each row under each other party's PRF of that row."""
    pairs, levels = [multi_steps.pair_with(party, link.peer) for link in links], _levels(party.params, len(digests))
    receivers = multi_steps.ask(links, pairs, levels)
    query = row_oprf.query(digests, party.rng)  # one for all: each party sees it under another mask
    for link in links:
        link.channel.send(psi_vole_pb2.Seed(seed=query.seed))
    outputs = []
    for link, pair, receiver in zip(links, pairs, receivers, strict=True):
        planes = fast.receive_correlation(link, pair, receiver, levels)
        send_bytes(link.channel, (query.vector ^ planes[0, : len(digests)]).view(np.uint8))
        outputs.append(row_oprf.receiver_outputs(query, planes[1:])[:, :2])
    return outputs


def answer(
    party: Party[MultiParams], link: steps.Link, offered: bytes, digests: fast.U64, rows: fast.I64, count: int
) -> fast.U64:
    """F (two words) of own keys, each under the own PRF of its row, of the leader's `count` rows."""
    pair, base_keys, secret = multi_steps.choose(party, link, offered)
    delta, shares = fast.send_correlation(link, pair, base_keys, secret, _levels(party.params, count))
    seed = fast.receive_seed(link)
    masked = receive_bytes(link, "a masked vector", 8 * count).view(np.uint64)
    return row_oprf.sender_outputs(digests, rows, seed, masked, delta, shares)[:, :2]


def send_words(link: steps.Link, digests: fast.U64, values: fast.U64, rng: Rng) -> None:
    """Store a word under each key, and send the vector to the leader."""
    stored = oprf.encode(digests, lambda keys: values[keys.rows.order], rng)
    link.channel.send(psi_vole_pb2.Seed(seed=stored.keys.seed))
    send_bytes(link.channel, stored.vector.view(np.uint8))


def receive_words(link: steps.Link, digests: fast.U64) -> fast.U64:
    """The word that the peer stored under each key; under a key that it does not have, one that looks random."""
    seed, vector = multi_steps.receive_vector(link, "masked words")
    return multi_steps.by_key(oprf.arrange(digests, len(vector), seed), vector)


def wire_bytes(params: MultiParams, rows: int, other_keys: int) -> tuple[int, int]:
    """Bytes that the leader and another party, which stores one word a key, send each other; see `multi_steps`."""
    levels = _levels(params, rows)
    by_leader = multi_steps.START_BYTES + 32 + vole.request_bytes(levels) + okvs.SEED_BYTES + 8 * rows
    correlation = sum(level.chunks * 8 * level.message_words for level in levels)
    vector = okvs.SEED_BYTES + 8 * okvs.columns(other_keys + CANARIES)
    return by_leader, multi_steps.START_BYTES + 32 * vole.BASE_COUNT + correlation + vector


def _levels(params: MultiParams, rows: int) -> list[vole.Level]:
    return vole.levels(rows, fast.weight(VoleParams(code=params.code)))
