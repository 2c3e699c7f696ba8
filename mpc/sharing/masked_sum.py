"""Sum of n parties' integer vectors under pairwise masks, with or without drop-outs (secure aggregation).

Each two parties agree on a seed; one adds the seed's keystream to its vector, the other subtracts it, so that the
masks cancel in the sum. The aggregator adds up the masked vectors. With `survive_dropouts` > 0 each party also adds a
self-mask, and shares the seed of that and its private key among all, any `threshold = n - survive_dropouts` of whom
can then open either: the seed of a party whose vector is in the sum, or the key of one that is gone.

Output:   the aggregator learns the sum modulo 2^64 of the survivors' vectors, and who survived.
Leaks:    all learn the vectors' length and who survived.
Security: semi-honest; computational Diffie-Hellman in Curve25519, AES-128 as PRG; 128 bits. Without drop-outs, up to
          n - 1 parties together learn no more than the sum of the others. With drop-outs the same holds for fewer
          than `threshold` parties; `threshold` of them together learn every vector. An aggregator that tells parties
          different members or survivors, together with c - 1 others, learns no party's vector if
          2·threshold > n + c, for which survivors compare what they were told; c = 1 always holds.
          A false sum by the aggregator, or a false vector by a party, is not noticed.
Cost:     8 bytes an element and party to the aggregator; (n - 1) keystreams a party, and one more with drop-outs.
Source:   Bonawitz et al., CCS 2017, doi.org/10.1145/3133956.3133982, figure 4. There a server relays the shares, so
          they are encrypted; here each channel is private to its two ends.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.errors import ChannelError, InputError, ProtocolError
from mpc.primitives import key_agreement, shamir
from mpc.primitives.prg import SEED_BYTES, Prg, add_keystreams
from mpc.rng import Rng
from mpc.sharing.dropouts import HeldShares, SharePair, check_roster, mutual, names_of, require_enough, threshold
from mpc.sharing.links import Links
from mpc.spec import Party, Progress, no_progress
from protos import masked_sum_pb2 as wire

CHUNK_WORDS = 2**17  # 1 MiB
MAX_LENGTH = 2**31
_PAIR_DOMAIN = b"sealane/sum.masked/1/pair"
_COMMIT_DOMAIN = b"sealane/sum.masked/1/commit\0"


@dataclass(frozen=True)
class Setting:
    """What all parties of one sum agree on, and what is this party's own.

    `members` are the names that take part; `session` and `label` together must be new for every sum. Raises
    `InputError` when so many drop-outs cannot be survived.
    """

    name: str
    members: tuple[str, ...]
    aggregator: str
    session: bytes
    label: bytes
    links: Links = field(repr=False)
    rng: Rng = field(repr=False)
    survive_dropouts: int = 0
    progress: Progress = field(default=no_progress, repr=False)

    def __post_init__(self) -> None:
        if sorted(set(self.members)) != list(self.members) or len(self.members) < 2:
            raise InputError("a sum takes two or more members, in sorted order")
        if self.name not in self.members or self.aggregator not in self.members:
            raise InputError("this party and the aggregator must be members")
        threshold(len(self.members), self.survive_dropouts)

    @classmethod
    def of(cls, party: Party[Any], survive_dropouts: int, label: bytes, progress: Progress = no_progress) -> "Setting":
        """A sum among all members of the party's job, at its first receiver."""
        return cls(
            name=party.name,
            members=tuple(sorted(party.job.members)),
            aggregator=party.job.receivers[0],
            session=party.session,
            label=label,
            links=Links(party.peers),
            rng=party.rng,
            survive_dropouts=survive_dropouts,
            progress=progress,
        )

    def among(self, survivors: tuple[str, ...]) -> "Setting":
        """The setting of what follows, among those that are left; as many must stay as before."""
        return replace(self, members=survivors, survive_dropouts=len(survivors) - self.needed)

    @property
    def needed(self) -> int:
        """How many members must stay."""
        return threshold(len(self.members), self.survive_dropouts)

    @property
    def context(self) -> bytes:
        """What every derived value of this sum is bound to."""
        return len(self.session).to_bytes(1, "little") + self.session + self.label


@dataclass(frozen=True)
class Sum:
    """The sum of the vectors of `survivors`: at the aggregator; None elsewhere."""

    total: NDArray[np.int64] | None = field(repr=False)
    survivors: tuple[str, ...]


@dataclass(frozen=True)
class _Secrets:
    key: bytes = field(repr=False)
    seed: bytes = field(repr=False)


def largest_summand(parties: int) -> int:
    """The largest magnitude of an element that cannot make the sum of `parties` vectors overflow."""
    return int((2**63 - 1) // parties)


def masked_sum(setting: Setting, vector: NDArray[np.int64]) -> Sum:
    """Take part in one sum with `vector`, as long as everybody else's.

    Raises `InputError`, before anything is sent, for an empty vector or an element beyond `largest_summand`;
    `ChannelError` naming who is missing when fewer members are left than needed or the aggregator is gone;
    `ProtocolError` when a peer sends what it must not.
    """
    words = _ring_elements(setting, vector)
    own = _Secrets(setting.rng(key_agreement.KEY_BYTES), setting.rng(SEED_BYTES) if setting.survive_dropouts else b"")
    offers = _exchange_keys(setting, own, len(words))
    if not setting.survive_dropouts:
        roster = list(setting.members)
    else:
        held = _exchange_shares(setting, own, offers)
        roster = _agree_on_roster(setting, list(held))
    plus, minus = _pair_masks(setting.name, own.key, roster, offers, setting)
    if setting.survive_dropouts:
        plus.append(Prg(own.seed))
    if setting.name != setting.aggregator:
        _send_masked(setting, words, plus, minus)
        if not setting.survive_dropouts:
            return Sum(None, setting.members)
        return Sum(None, tuple(_help_to_unmask(setting, roster, HeldShares(held))))
    total = words.copy()
    add_keystreams(total, plus, minus)
    survivors = _add_vectors(setting, total, roster)
    if setting.survive_dropouts:
        _unmask(setting, total, roster, survivors, offers, HeldShares(held))
    return Sum(total.view(np.int64), tuple(survivors))


def masked_words(setting: Setting, words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Own words under the pairwise masks, which cancel in the sum of all members' modulo 2^64; without drop-outs.

    Raises as `masked_sum` does. Fewer than n - 1 other members together learn from them no more than that sum tells.
    """
    own = _Secrets(setting.rng(key_agreement.KEY_BYTES), b"")
    offers = _exchange_keys(setting, own, len(words))
    plus, minus = _pair_masks(setting.name, own.key, setting.members, offers, setting)
    masked = words.copy()
    add_keystreams(masked, plus, minus)
    return masked


def send_words(links: Links, peer: str, words: NDArray[np.uint64]) -> None:
    """Send a contiguous vector in chunks."""
    for piece in _chunks(words):
        links.send_bulk(peer, wire.Words(), piece.view(np.uint8).data)


def recv_words(links: Links, peer: str, length: int) -> NDArray[np.uint64]:
    """A vector of `length` words in chunks; raises `ProtocolError` when a chunk has another size than agreed."""
    words = np.empty(length, np.uint64)
    for piece in _chunks(words):
        _recv_chunk(links, peer, piece)
    return words


def _recv_chunk(links: Links, peer: str, into: NDArray[np.uint64]) -> None:
    other = links.recv_bulk(peer, wire.Words(), into.view(np.uint8).data)
    if other is not None:
        raise ProtocolError(f"{peer}: sent {len(other.words)} bytes of a vector, not {into.nbytes}")


def _chunks(words: NDArray[np.uint64]) -> Iterator[NDArray[np.uint64]]:
    for start in range(0, len(words), CHUNK_WORDS):
        yield words[start : start + CHUNK_WORDS]


def _ring_elements(setting: Setting, vector: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The vector modulo 2^64, contiguous, not to be written to."""
    if vector.dtype != np.int64 or vector.ndim != 1 or not 1 <= len(vector) <= MAX_LENGTH:
        raise InputError(f"a vector has 1 to {MAX_LENGTH} elements of type int64")
    limit = largest_summand(len(setting.members))
    words = np.ascontiguousarray(vector).view(np.uint64)
    for start, piece in zip(range(0, len(words), CHUNK_WORDS), _chunks(words), strict=True):
        integers = piece.view(np.int64)
        if integers.min() < -limit or integers.max() > limit:
            row = start + int(np.flatnonzero((integers < -limit) | (integers > limit))[0])
            raise InputError(
                f"element {row + 1} of the vector is too large: the sum of {len(setting.members)} parties could"
                " overflow",
                hint="use fewer decimals or smaller units",
            )
    return words


def _exchange_keys(setting: Setting, own: _Secrets, length: int) -> dict[str, wire.Advertise]:
    """Everybody's public key and commitment by name, of those that are there."""
    commitment = _commitment(setting, setting.name, own.seed) if setting.survive_dropouts else b""
    offer = wire.Advertise(public_key=key_agreement.public_key(own.key), length=length, commitment=commitment)
    others = [name for name in setting.members if name != setting.name]
    for peer in others:
        setting.links.try_send(peer, offer)
    offers = {setting.name: offer}
    for peer in others:
        theirs = setting.links.try_recv(peer, wire.Advertise)
        if theirs is None:
            continue
        if theirs.length != length:
            raise ProtocolError(f"{peer}: brings a vector of {theirs.length} elements, not {length}")
        if len(theirs.public_key) != len(offer.public_key) or len(theirs.commitment) != len(commitment):
            raise ProtocolError(f"{peer}: sent a public key or a commitment of the wrong length")
        offers[peer] = theirs
    require_enough(setting.members, offers, setting.needed)
    return offers


def _exchange_shares(setting: Setting, own: _Secrets, offers: Mapping[str, wire.Advertise]) -> dict[str, SharePair]:
    """Everybody's shares for this party, by name; of its own secrets too."""
    count = len(setting.members)
    seeds = shamir.split(own.seed, setting.needed, count, setting.rng)
    keys = shamir.split(own.key, setting.needed, count, setting.rng)
    pairs = {name: SharePair(*pair) for name, *pair in zip(setting.members, seeds, keys, strict=True)}
    others = [name for name in offers if name != setting.name]
    for peer in others:
        setting.links.try_send(peer, wire.Shares(seed=pairs[peer].seed.data, key=pairs[peer].key.data))
    held = {setting.name: pairs[setting.name]}
    x = _point(setting, setting.name)
    for peer in others:
        theirs = setting.links.try_recv(peer, wire.Shares)
        if theirs is None:
            continue
        if len(theirs.seed) != SEED_BYTES or len(theirs.key) != key_agreement.KEY_BYTES:
            raise ProtocolError(f"{peer}: sent shares of the wrong length")
        held[peer] = SharePair(shamir.Share(x, theirs.seed), shamir.Share(x, theirs.key))
    return held


def _agree_on_roster(setting: Setting, heard: Sequence[str]) -> list[str]:
    """With whom all of them mask: the aggregator decides from what each has heard."""
    links, members = setting.links, setting.members
    if setting.name != setting.aggregator:
        links.send(setting.aggregator, wire.Heard(members=_indices(setting, heard)))
        return _recv_roster(setting, heard)
    reports = {setting.name: heard}
    for peer in heard:
        report = None if peer == setting.name else links.try_recv(peer, wire.Heard)
        if report is not None:
            reports[peer] = names_of(report.members, members, peer)
    roster = mutual(reports, setting.aggregator)
    _tell_roster(setting, list(reports), roster)
    return roster


def _recv_roster(setting: Setting, allowed: Sequence[str]) -> list[str]:
    aggregator = setting.aggregator
    roster = names_of(setting.links.recv(aggregator, wire.Roster).members, setting.members, aggregator)
    check_roster(roster, allowed, setting.name, aggregator, setting.members, setting.needed)
    return roster


def _tell_roster(setting: Setting, audience: Sequence[str], roster: Sequence[str]) -> None:
    """As the aggregator: tell all, even that too few are left, so that all can name the missing."""
    for peer in audience:
        if peer != setting.name:
            setting.links.try_send(peer, wire.Roster(members=_indices(setting, roster)))
    require_enough(setting.members, roster, setting.needed)


def _pair_masks(
    name: str, key: bytes, others: Sequence[str], offers: Mapping[str, wire.Advertise], setting: Setting
) -> tuple[list[Prg], list[Prg]]:
    """The masks that `name`, owner of `key`, shares with `others`: to add, and to subtract."""
    plus: list[Prg] = []
    minus: list[Prg] = []
    for peer in others:
        if peer != name:
            seed = key_agreement.agree(
                key,
                offers[peer].public_key,
                domain=_PAIR_DOMAIN,
                session=setting.context,
                name=name,
                peer=peer,
                size=SEED_BYTES,
            )
            (plus if name < peer else minus).append(Prg(seed))
    return plus, minus


def _send_masked(setting: Setting, words: NDArray[np.uint64], plus: Sequence[Prg], minus: Sequence[Prg]) -> None:
    masked, sent = np.empty(min(len(words), CHUNK_WORDS), np.uint64), 0
    for piece in _chunks(words):
        chunk = masked[: len(piece)]
        chunk[:] = piece
        add_keystreams(chunk, plus, minus)
        send_words(setting.links, setting.aggregator, chunk)
        sent += len(piece)
        setting.progress("sending the masked vector", sent, len(words))


def _add_vectors(setting: Setting, total: NDArray[np.uint64], roster: Sequence[str]) -> list[str]:
    """As the aggregator: add to `total` the masked vectors that arrive whole; tell the others whose they are."""
    survivors = []
    # What a party sent before it dropped out must not be in the sum: its vector is added when it has arrived whole,
    # unless the sum ends with a party that is missing.
    size = len(total) if setting.survive_dropouts else min(len(total), CHUNK_WORDS)
    received = np.empty(size, np.uint64)
    for done, peer in enumerate(roster):
        if peer != setting.name:
            try:
                for start in range(0, len(total), size):
                    stretch = received[: len(total) - start]
                    for piece in _chunks(stretch):
                        _recv_chunk(setting.links, peer, piece)
                    total[start : start + size] += stretch
            except ChannelError:
                continue
        survivors.append(peer)
        setting.progress("adding masked vectors", done + 1, len(roster))
    if setting.survive_dropouts:
        _tell_roster(setting, survivors, survivors)
    else:
        require_enough(setting.members, survivors, setting.needed)
    return survivors


def _help_to_unmask(setting: Setting, roster: Sequence[str], held: HeldShares) -> list[str]:
    """As another party: learn the survivors, make sure that the others were told the same, then open the shares.

    No share is given out before `needed` members say the same: any two sets of so many have an honest party in
    common, so that all who open do it for the same survivors, also when channels between parties are cut.
    """
    survivors = _recv_roster(setting, roster)
    others = [name for name in roster if name not in (setting.name, setting.aggregator)]
    statement = wire.Confirm(members=_indices(setting, survivors))
    for peer in others:
        setting.links.try_send(peer, statement)
    agreed = [setting.name, setting.aggregator]
    for peer in others:
        theirs = setting.links.try_recv(peer, wire.Confirm) if peer in survivors else None
        if theirs is None:
            continue
        if theirs.members != statement.members:
            raise ProtocolError(f"{setting.aggregator} or {peer}: told of other survivors than this party was")
        agreed.append(peer)
    require_enough(setting.members, agreed, setting.needed)
    opened = held.open(roster, survivors)
    setting.links.send(
        setting.aggregator,
        wire.Unmask(
            seed_shares=b"".join(opened[name].data for name in roster if name in survivors),
            key_shares=b"".join(opened[name].data for name in roster if name not in survivors),
        ),
    )
    return survivors


def _unmask(
    setting: Setting,
    total: NDArray[np.uint64],
    roster: Sequence[str],
    survivors: Sequence[str],
    offers: Mapping[str, wire.Advertise],
    held: HeldShares,
) -> None:
    """As the aggregator: take from `total` the survivors' self-masks and the pair masks of those that are gone."""
    shares = {name: [share] for name, share in held.open(roster, survivors).items()}
    answered = [setting.name]
    for peer in survivors:
        answer = None if peer == setting.name else setting.links.try_recv(peer, wire.Unmask)
        if answer is not None:
            for name, share in _opened(setting, peer, answer, roster, survivors).items():
                shares[name].append(share)
            answered.append(peer)
    require_enough(setting.members, answered, setting.needed)
    plus: list[Prg] = []
    minus: list[Prg] = []
    for name in roster:
        secret = _combine(setting, name, shares[name])
        if name in survivors:
            if _commitment(setting, name, secret) != offers[name].commitment:
                raise ProtocolError(f"the shares of {name}'s seed do not give the seed it committed to")
            minus.append(Prg(secret))
        else:
            if key_agreement.public_key(secret) != offers[name].public_key:
                raise ProtocolError(f"the shares of {name}'s key do not give the key it advertised")
            # The survivors' masks with `name` have the opposite sign of those of `name` with them: adding cancels.
            added, subtracted = _pair_masks(name, secret, survivors, offers, setting)
            plus += added
            minus += subtracted
    add_keystreams(total, plus, minus)


def _opened(
    setting: Setting, peer: str, answer: wire.Unmask, roster: Sequence[str], survivors: Sequence[str]
) -> dict[str, shamir.Share]:
    """The shares in a survivor's answer, by the party whose secret they are of."""
    gone = [name for name in roster if name not in survivors]
    shares = {}
    for names, data, size in (
        (survivors, answer.seed_shares, SEED_BYTES),
        (gone, answer.key_shares, key_agreement.KEY_BYTES),
    ):
        if len(data) != size * len(names):
            raise ProtocolError(f"{peer}: sent {len(data)} bytes of shares, not {size * len(names)}")
        for i, name in enumerate(names):
            shares[name] = shamir.Share(_point(setting, peer), data[i * size : (i + 1) * size])
    return shares


def _combine(setting: Setting, name: str, shares: Sequence[shamir.Share]) -> bytes:
    try:
        return shamir.combine(shares, setting.needed)
    except ProtocolError as error:
        raise ProtocolError(f"shares of {name}'s secret: {error}") from error


def _commitment(setting: Setting, name: str, seed: bytes) -> bytes:
    context = setting.context
    bound = len(context).to_bytes(4, "little") + context + name.encode() + b"\0" + seed
    return hashlib.sha256(_COMMIT_DOMAIN + bound).digest()


def _point(setting: Setting, name: str) -> int:
    """Where the polynomials are evaluated for `name`."""
    return setting.members.index(name) + 1


def _indices(setting: Setting, names: Sequence[str]) -> list[int]:
    return sorted(setting.members.index(name) for name in names)
