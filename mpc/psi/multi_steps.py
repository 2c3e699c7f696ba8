"""The steps of psi.multi between messages: shares of zero, PRFs with all parties, tags. Contract: `mpc.psi.multi`."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b

import numpy as np

from mpc.channel import naming
from mpc.errors import InputError, ProtocolError
from mpc.primitives import base_ot, key_agreement, okvs, oprf, vole
from mpc.primitives.aes import KEY_BYTES, FixedKey
from mpc.primitives.threads import spread
from mpc.psi import steps, tags
from mpc.psi import vole_steps as fast
from mpc.psi.canaries import CANARIES, NONCE_BYTES, with_canaries
from mpc.psi.params import MultiParams, VoleParams
from mpc.psi.vectors import receive_bytes, send_bytes
from mpc.rng import Rng
from mpc.spec import Party
from protos import psi_multi_pb2, psi_vole_pb2

MOST_KEYS = oprf.MAX_KEYS - CANARIES  # shares of 64 bits then make false matches with probability at most 2^-40
START_BYTES = key_agreement.KEY_BYTES + NONCE_BYTES

TAGGED_WORDS = 3  # of F: one that masks a share, two for tags

_DOMAIN_SHARE = b"sealane/psi.multi.share/1"
_DOMAIN_PAIR = b"sealane/psi.multi.pair/1\0"
_PIECE_KEYS = 2**15


@dataclass(frozen=True)
class Group:
    """What a party knows once all have started.

    `links` are those to the leader or, for the leader, to all others; `digests` are of the own keys, then of the
    canaries; `shared` are keys of 16 bytes, one with each other party.
    """

    links: tuple[steps.Link, ...]
    digests: fast.U64 = field(repr=False)
    shared: tuple[bytes, ...] = field(repr=False)


def leader_of(party: Party[MultiParams]) -> str:
    """The party that finds the common keys."""
    return party.job.receivers[0]


def start(party: Party[MultiParams], digests: fast.U8) -> Group:
    """The first messages, between all parties; sizes are told to and by the leader only."""
    own, leader = len(digests), leader_of(party)
    if own > MOST_KEYS:
        raise InputError(
            f"{own} different keys are too many for psi.multi (at most {MOST_KEYS})", hint="split the sets"
        )
    private, nonce = party.rng(key_agreement.KEY_BYTES), party.rng(NONCE_BYTES)
    public = key_agreement.public_key(private)
    channels = {peer: party.peers[peer] for peer in sorted(party.peers)}
    told = set(channels) if party.name == leader else {leader}
    for peer, channel in channels.items():
        keys = own if peer in told else 0
        channel.send(psi_multi_pb2.Start(public_key=public, nonce=nonce, keys=keys))
    starts = {peer: channel.recv(psi_multi_pb2.Start) for peer, channel in channels.items()}
    for peer, message in starts.items():
        _check_start(peer, message, peer in told)
    shared = tuple(
        key_agreement.agree(
            private,
            message.public_key,
            domain=_DOMAIN_SHARE,
            session=party.session,
            name=party.name,
            peer=peer,
            size=KEY_BYTES,
        )
        for peer, message in starts.items()
    )
    nonces = {party.name: nonce, **{peer: message.nonce for peer, message in starts.items()}}
    others = b"".join(nonces[name] for name in sorted(nonces) if name != leader)
    links = tuple(steps.Link(channels[peer], peer, own, starts[peer].keys) for peer in sorted(told))
    whole = with_canaries(digests, party.session, nonces[leader], others, overwrite=True)
    return Group(links, whole, shared)


def _check_start(peer: str, message: psi_multi_pb2.Start, told: bool) -> None:
    if len(message.nonce) != NONCE_BYTES:
        raise ProtocolError(f"{peer}: sent a nonce of {len(message.nonce)} bytes, not {NONCE_BYTES}")
    if message.keys and not told:
        raise ProtocolError(f"{peer}: tells how many keys it has to a party that is not to know")
    if message.keys > MOST_KEYS:
        raise ProtocolError(f"{peer}: claims {message.keys} keys (at most {MOST_KEYS})")


def pair_with(party: Party[MultiParams], other: str) -> Party[VoleParams]:
    """The party as it runs a PRF between the leader and `other`, in a session of the two."""
    session = blake2b(_DOMAIN_PAIR + other.encode(), digest_size=len(party.session), salt=party.session).digest()
    params = VoleParams(party.params.normalisation, party.params.min_result, code=party.params.code)
    return Party(party.name, party.job, params, party.peers, party.rng, party.progress, session)


def shares_of_zero(shared: Sequence[bytes], digests: fast.U64) -> fast.U64:
    """A word a key: those of all parties add up to zero, and to those who lack one of the keys `shared` look random.

    Each is the sum, over the other parties, of AES under the key shared with it.
    """
    ciphers = [FixedKey(key) for key in shared]
    shares = np.zeros(len(digests), np.uint64)
    for at in range(0, len(digests), _PIECE_KEYS):
        blocks = np.ascontiguousarray(digests[at : at + _PIECE_KEYS, :2])
        for cipher in ciphers:
            shares[at : at + _PIECE_KEYS] ^= cipher.encrypt(blocks)[:, 0]
    return shares


@dataclass(frozen=True)
class Prfs:
    """The leader's keys under the PRFs of all other parties, in the order of the rows of `keys`.

    `outputs` are the first words of F, a row a key, for each party; `retries` is how often a seed was drawn in vain.
    """

    keys: oprf.Keys = field(repr=False)
    outputs: tuple[fast.U64, ...] = field(repr=False)
    retries: int


def leader_prfs(
    party: Party[MultiParams], links: Sequence[steps.Link], digests: fast.U64, widths: Sequence[int]
) -> Prfs:
    """The leader's part in the PRFs of all other parties, of whose outputs it keeps as many words as `widths` says."""
    pairs, levels = (
        [pair_with(party, link.peer) for link in links],
        fast.plan(VoleParams(code=party.params.code), len(digests)),
    )
    receivers = ask(links, pairs, levels)
    with ThreadPoolExecutor(1) as beside:
        correlations = [
            beside.submit(fast.receive_correlation, link, pair, receiver, levels)
            for link, pair, receiver in zip(links, pairs, receivers, strict=True)
        ]
        query = oprf.query(digests, party.rng)  # one for all: each party sees it under another mask
        for link in links:
            link.channel.send(psi_vole_pb2.Seed(seed=query.keys.seed))
        shares = []
        for link, correlation in zip(links, correlations, strict=True):
            planes = correlation.result()
            send_bytes(link.channel, (query.vector ^ planes[0, : len(query.vector)]).view(np.uint8))
            shares.append(planes[1:])
    outputs = tuple(_outputs(query.keys, shares.pop(0), width) for width in widths)
    return Prfs(query.keys, outputs, query.retries)


def ask(
    links: Sequence[steps.Link], pairs: Sequence[Party[VoleParams]], levels: Sequence[vole.Level]
) -> list[vole.Receiver]:
    """The leader's first steps with all other parties: base transfers, requests for correlations of these levels."""
    offers = [base_ot.offer(pair.rng) for pair in pairs]
    for link, offer in zip(links, offers, strict=True):
        link.channel.send(psi_multi_pb2.Offer(point=offer.point))
    receivers = []
    for link, offer, pair in zip(links, offers, pairs, strict=True):
        points = link.channel.recv(psi_multi_pb2.Choices).points
        with naming(link.peer):
            keys = base_ot.keys(offer, points, vole.BASE_COUNT, pair.session)
        receiver, request = vole.ask(keys, levels, pair.session, pair.rng)
        send_bytes(link.channel, request)
        receivers.append(receiver)
    return receivers


def _outputs(keys: oprf.Keys, shares: fast.U64, width: int) -> fast.U64:
    """The first `width` words of F of each of the leader's keys."""
    kept = np.empty((len(keys.rows.order), width), np.uint64)

    def use(piece: slice, outputs: fast.U64) -> None:
        kept[piece] = outputs[:, :width]

    oprf.each_receiver_output(keys, shares, use)
    return kept


def other_prf(
    party: Party[MultiParams], link: steps.Link, offered: bytes, digests: fast.U64
) -> tuple[oprf.Keys, fast.U64]:
    """The party's own keys under the leader's seed, and F of them (four words) in the order of their rows.

    The PRF is the party's own, which the leader has then evaluated too.
    """
    pair, base_keys, secret = choose(party, link, offered)
    arrange = partial(oprf.arrange_to_encode, digests)
    return fast.evaluate(link, pair, base_keys, secret, len(digests), arrange, overwrite=False)


def choose(party: Party[MultiParams], link: steps.Link, offered: bytes) -> tuple[Party[VoleParams], list[bytes], bytes]:
    """Another party's first step with the leader: itself as it runs their PRF, its base keys, and how it chose them."""
    pair = pair_with(party, party.name)
    secret = party.rng(vole.BASE_COUNT // 8)
    with naming(link.peer):
        base_keys, points = base_ot.choose(offered, fast.base_choices(secret), pair.session, party.rng)
    link.channel.send(psi_multi_pb2.Choices(points=points))
    return pair, base_keys, secret


def send_shares(link: steps.Link, keys: oprf.Keys, digests: fast.U64, values: fast.U64, rng: Rng) -> int:
    """Store a word under each of the `keys`, in the order of their rows, and send the vector to the leader.

    It is encoded under the seed of `keys`, in whose order they are already; should that fail, under another. Gives how
    often a seed was drawn in vain.
    """
    seed, retries = keys.seed, 0
    try:
        vector = oprf.store(keys, values, rng)
    except okvs.Unsolvable:
        placed = np.empty_like(values)
        placed[keys.rows.order] = values
        stored = oprf.encode(digests, lambda again: placed[again.rows.order], rng)
        seed, vector, retries = stored.keys.seed, stored.vector, 1 + stored.retries
    link.channel.send(psi_vole_pb2.Seed(seed=seed))
    send_bytes(link.channel, vector.view(np.uint8))
    return retries


def receive_shares(link: steps.Link, keys: oprf.Keys, digests: fast.U64) -> fast.U64:
    """The word that the peer stored under each of `keys`, in the order of their rows.

    Under a key that it does not have, it is one that looks random.
    """
    seed, vector = receive_vector(link, "masked shares")
    if seed == keys.seed:
        return _decoded(oprf.in_columns(keys, len(vector)), vector)
    return by_key(oprf.arrange(digests, len(vector), seed), vector)[keys.rows.order]


def receive_vector(link: steps.Link, what: str) -> tuple[bytes, fast.U64]:
    """The seed under which a peer stored words under its keys, and the vector."""
    seed = fast.receive_seed(link)
    return seed, receive_bytes(link, what, 8 * okvs.columns(link.theirs + CANARIES)).view(np.uint64)


def by_key(keys: oprf.Keys, vector: fast.U64) -> fast.U64:
    """The word stored under each key, in the order in which they were before they were arranged."""
    placed = np.empty(len(keys.rows.order), np.uint64)
    placed[keys.rows.order] = _decoded(keys, vector)
    return placed


def _decoded(keys: oprf.Keys, vector: fast.U64) -> fast.U64:
    """The word stored under each key, in the order of their rows."""
    bands, values = okvs.band_bits(keys.seed), np.empty(len(keys.rows.order), np.uint64)

    def work(piece: slice) -> None:
        values[piece] = okvs.decode(keys.rows, piece, bands, vector, vector)[:, 0]

    spread(work, len(values), okvs.PIECE_ROWS)
    return values


def found_by_all(peers: str, sums: fast.U64, order: fast.I32) -> fast.I64:
    """The rows whose shares add up to zero; `order` gives the key of each, canaries being last.

    Raises `ProtocolError` if a canary is not among them.
    """
    found = np.flatnonzero(sums == 0)
    missing = CANARIES - np.count_nonzero(order[found] >= len(sums) - CANARIES)
    if missing:
        raise ProtocolError(
            f"{peers}: {missing} of the {CANARIES} keys that all parties added were not found",
            hint="the result would miss keys: report this together with all parties' releases",
        )
    return found


def cut_tags(party: Party[MultiParams], link: steps.Link, outputs: fast.U64, keys: fast.I32, told: int) -> tags.Tags:
    """Tags of keys for a comparison in which the leader sends `told` of them, from the second and third word of F.

    Only the leader and the other party of the link can make them: the first word masks a share. The tags take
    the place of `outputs` (four words a key).
    """
    others = link.theirs if party.name == leader_of(party) else link.own
    return tags.cut_tags(outputs, keys, tags.prefix_bits(others + CANARIES, told), column=1)


def wire_bytes(params: MultiParams, leader_keys: int, other_keys: int) -> tuple[int, int]:
    """Bytes of vectors and points, without framing, that the leader and another party send each other.

    Without canaries in the arguments and with them in the result; the tags of common keys are not in it.
    """
    x, y = leader_keys + CANARIES, other_keys + CANARIES
    levels = fast.plan(VoleParams(code=params.code), x)
    by_leader = START_BYTES + 32 + vole.request_bytes(levels) + okvs.SEED_BYTES + 8 * okvs.columns(x)
    correlation = sum(level.chunks * 8 * level.message_words for level in levels)
    return by_leader, START_BYTES + 32 * vole.BASE_COUNT + correlation + okvs.SEED_BYTES + 8 * okvs.columns(y)
