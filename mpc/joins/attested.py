"""Private joins among three computing parties of which one may cheat: what is delivered is what an owner brought.

J0  `mpc.psi.multi` finds the common keys, also of two: the leader must prove each key that it names to each other party
    by a tag that only who asked for that key can make. All parties with tables compare, on shares, what they
    found: else the leader could tell two of them of different people.
J3  that of `mpc.joins.hidden`, but for three things. The oblivious PRF has an instance a bin, so that the asker has the
    words of one key in each. What another party sends under a key are values less a mask of the bin, and instead of a
    random word their fingerprint, masked too (see `mpc.sharing.deliveries`): a bin is a match where the fingerprint is
    that of the words that the asker shared. So whoever shares other words than it was given has no match there. And
    each key has a ticket, a random word, and each bin a blank one. In an order that it does not know, the witness sees
    a word a bin, the ticket of a match and else the blank, and that these are different ones of a list that the other
    party gave it: so no key is a match in two of its three bins. Nor are there more matches than anybody said it has
    keys, which is all that is opened of their number.
J2  the same, shuffled by networks of exchanges; then flags are opened.

Checks:   as `mpc.joins.hidden` and `mpc.psi.multi`: keys that all add are found.
Leaks:    as J0, J2 and J3 in `mpc.joins.hidden` and `mpc.joins.matching`. The witness of another party, which is the
          computing party beside it and the asker, sees words that look random.
Security: that the rows are those of keys which each of the parties with tables brought, none twice, and have the values
          that their owners brought: malicious, one of the three, with probability 1 - 2^-39. A cheater chooses its own
          keys and values, and at J0 which keys to leave out once it knows which are common. That nobody learns more:
          semi-honest, as in `mpc.psi.multi`.
Source:   as in `mpc.joins.hidden`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from hashlib import blake2b
from operator import and_
from typing import Any

import numpy as np

from mpc.channel import naming
from mpc.errors import ProtocolError
from mpc.joins import bins, canaries, hidden
from mpc.joins.joined import I64, Declared, Joined, Table, check_table, join_session
from mpc.joins.matching import announce_matches, columns_at, common_to_all
from mpc.primitives.prg import SEED_BYTES, Prg
from mpc.psi import row_prfs
from mpc.psi.canaries import CANARIES
from mpc.psi.params import MultiParams
from mpc.psi.steps import Link
from mpc.rng import Rng
from mpc.sharing.engine import Engine
from mpc.sharing.protocol import Words
from mpc.sharing.ring import U64
from mpc.sharing.values import INT64_MAX, INT64_MIN, Bits, Secret
from mpc.sharing.verified import Verified
from mpc.spec import Party
from protos import psi_multi_pb2, psi_vole_pb2

_DOMAIN_KEYS = b"sealane/join.keys/1\0"
_KEY_WORDS = 4  # of a hash of all common keys


def join_open(
    party: Party[Any],
    engine: Engine,
    label: bytes,
    asker: str,
    others: Sequence[str],
    declared: Declared,
    table: Table | None,
) -> Joined:
    """J0. `table` is None at a third computing party, which brings no rows."""
    own: I64 | None = None
    sizes: Mapping[str, int] = {}
    if table is not None:
        own, sizes = common_to_all(party, label, asker, others, declared, table)
    count = announce_matches(engine, asker, own)
    _compare(party, engine, asker, others, None if table is None or own is None else table.keys[own])
    columns = columns_at(party, engine, (asker, *others), count, declared, table, own)
    return Joined(count, columns, None, own, sizes=sizes)


def _compare(
    party: Party[Any], engine: Engine, asker: str, others: Sequence[str], keys: "np.ndarray[Any, Any] | None"
) -> None:
    """Raise `ProtocolError` unless all parties with tables found the same keys; only that is learned."""
    digest = None
    if keys is not None:
        state = blake2b(_DOMAIN_KEYS + np.ascontiguousarray(keys).tobytes(), digest_size=8 * _KEY_WORDS)
        digest = np.frombuffer(state.digest(), np.uint64)
    shared = {
        name: engine.share_words(name, digest if party.name == name else None, shape=(_KEY_WORDS,))
        for name in (asker, *others)
    }
    same = []
    for name in others:
        parts = tuple(p - q for p, q in zip(shared[name].parts, shared[asker].parts, strict=True))
        same.append(replace(shared[name], parts=parts) == 0)
    for name, bits in zip(others, same, strict=True):
        if not engine.open(bits).all():
            raise ProtocolError(f"{asker} or {name}: the two found different common keys, in step 'compare keys'")


def join_hidden(
    party: Party[Any],
    engine: Engine,
    label: bytes,
    asker: str,
    others: Sequence[str],
    declared: Declared,
    table: Table | None,
) -> Joined:
    """J3. `table` is None at a third computing party, which brings no rows."""
    sizes = hidden.announce_sizes(party, engine, (asker, *others), table)
    count, names = bins.bins_for(sizes[asker]), {name: sorted(declared.get(name, {})) for name in others}
    words: dict[str, U64] = {}
    own_rows: I64 | None = None
    given: _Given | None = None
    if table is not None:
        check_table(party.name, table, declared.get(party.name, {}))
        pair = hidden.meeting(party, label, others if party.name == asker else (asker,))
        if party.name == asker:
            words, own_rows = _ask(pair, table, sizes, count, {name: _rows(names[name]) for name in others})
        else:
            given = _give(pair, asker, table, sizes, count, names[party.name])
    offers = {}
    for name in others:
        mine = given if party.name == name else None
        offers[name] = _receive(engine, asker, name, words.get(name), mine, sizes[name], count, _rows(names[name]))
    flags = reduce(and_, (offer.flags for offer in offers.values()))
    matches = flags.integers()
    chosen = _choose(engine, matches, offers)
    columns = {
        asker: hidden.own_columns(engine, asker, count, table if party.name == asker else None, own_rows, declared)
    }
    for name in others:
        columns[name] = hidden.as_columns(chosen[name][1:], names[name], declared.get(name, {}))
    found = {name: offer.canaries for name, offer in offers.items()}
    canaries.check(
        engine,
        join_session(party.session, label),
        asker,
        {name: words for name, (words, _) in found.items()},
        {name: hits for name, (_, hits) in found.items()},
    )
    _check_tickets(engine, asker, offers, chosen)
    check_count(engine, matches, sizes)
    return Joined(count, columns, flags, own_rows, matches, sizes)


def join_size_only(
    party: Party[Any],
    engine: Engine,
    label: bytes,
    asker: str,
    others: Sequence[str],
    declared: Declared,
    table: Table | None,
) -> Joined:
    """J2. `table` is None at a third computing party, which brings no rows."""
    joined = join_hidden(party, engine, label, asker, others, declared, table)
    return hidden.shuffled(engine, joined, asker, others, declared)


def _rows(names: Sequence[str]) -> int:
    """Words a bin: fingerprint, ticket, columns."""
    return 2 + len(names)


@dataclass(frozen=True)
class _Given:
    """What a party knows of what it gave the asker.

    `keys` of the fingerprint, one for the ticket and each column; `masks` (words a bin x bins, canaries' last) of
    fingerprint, ticket and columns; `blanks`, one a bin; `known`, all tickets and blanks in ascending order.
    """

    keys: U64 = field(repr=False)
    masks: U64 = field(repr=False)
    blanks: U64 = field(repr=False)
    known: U64 = field(repr=False)


@dataclass(frozen=True)
class _Offer:
    """What one party offers in each bin, shared: which bins match, words (ticket and columns), blanks. `known` are all
    tickets and blanks, at that party and at its witness; `canaries` are the words and matches in canaries' bins."""

    flags: Bits = field(repr=False)
    words: Secret = field(repr=False)
    canaries: tuple[Secret, Bits] = field(repr=False)
    blanks: Secret = field(repr=False)
    witness: str
    known: U64 | None = field(repr=False)


def _ask(
    party: Party[MultiParams], table: Table, sizes: Mapping[str, int], count: int, widths: Mapping[str, int]
) -> tuple[dict[str, U64], I64]:
    """The asker's words (words a bin x bins, canaries' last) by other party, and its own row in each bin."""
    placed = bins.place_keys(table.keys, party.rng)
    queries = []
    for other in widths:
        party.peers[other].send(psi_vole_pb2.Seed(seed=placed.seed))
        queries.append(Link(party.peers[other], other, count, bins.FUNCTIONS * sizes[other]))
    digests = np.concatenate([placed.digests, canaries.digests(party.session)])
    outputs = row_prfs.ask(party, queries, digests)
    words = {}
    for link, output in zip(queries, outputs, strict=True):
        words[link.peer] = np.empty((widths[link.peer], len(digests)), np.uint64)
        for index, pad in enumerate(hidden.pads(output, party.session, widths[link.peer])):
            words[link.peer][index] = row_prfs.receive_words(link, digests) ^ pad
    return words, placed.key_in


def _give(
    party: Party[MultiParams], asker: str, table: Table, sizes: Mapping[str, int], count: int, names: Sequence[str]
) -> _Given:
    """Send the asker what it finds under each key; gives what this party knows of it."""
    from mpc.kernels.gf64 import add_products, table_of

    channel = party.peers[asker]
    seed = hidden.read_seed(asker, channel.recv(psi_vole_pb2.Seed).seed)
    asked, places = hidden.asked_with_canaries(table, seed, count, party.session)
    queries, slots = Link(channel, asker, bins.FUNCTIONS * sizes[party.name], count), count + CANARIES
    with naming(asker):
        offered = channel.recv(psi_multi_pb2.Offer).point
    outputs = row_prfs.answer(party, queries, offered, asked, places, slots)
    width = _rows(names)
    keys, masks = _random(party.rng, width - 1), _random(party.rng, width, slots)
    known = _random(party.rng, len(table.keys) + count)
    given = _Given(keys, masks, known[len(table.keys) :], np.sort(known))
    brought = [known[: len(table.keys)], *(table.columns[name].view(np.uint64) for name in names)]
    fingerprint = masks[0][places]
    words, added = [fingerprint], canaries.values(party.session, width - 1)
    for key, values, canary, mask in zip(keys.tolist(), brought, added, masks[1:], strict=True):
        words.append(np.concatenate([np.repeat(values, bins.FUNCTIONS), canary]) - mask[places])
        add_products(fingerprint, words[-1], table_of(key))
    for each, pad in zip(words, hidden.pads(outputs, party.session, width), strict=True):
        row_prfs.send_words(queries, asked, each ^ pad, party.rng)
    return given


def _random(rng: Rng, *shape: int) -> U64:
    words = np.empty(shape, np.uint64)
    Prg(rng(SEED_BYTES)).fill(words.reshape(-1))
    return words


def _receive(
    engine: Engine, asker: str, name: str, held: U64 | None, given: _Given | None, keys: int, count: int, width: int
) -> _Offer:
    """Share what the asker holds of one other party's, and find in which bins it is what that party gave."""
    sharing = _verified(engine)
    deliveries, witness = sharing.deliveries, _witness(engine, asker, name)
    slots, rest = count + CANARIES, None
    taken = deliveries.hand_over(asker, witness, held, (width, slots))
    mask = deliveries.share_planes(name, None if given is None else given.masks[0], (slots,))
    key = deliveries.share_planes(name, None if given is None else given.keys, (width - 1,))
    if given is not None:
        rest = np.concatenate([given.masks[1:], np.append(given.blanks, np.zeros(CANARIES, np.uint64))[None]])
    own = engine.share_words(name, rest, shape=(width, slots)).parts
    found = deliveries.fingerprints(key, tuple(part[1:] for part in taken))
    unmasked = tuple(a ^ b[0] ^ c for a, b, c in zip(found, taken, mask, strict=True))
    flags = Bits(engine, sharing.zero_words(unmasked), (slots,))
    words = _of_words(engine, tuple(a[1:] + b[:-1] for a, b in zip(taken, own, strict=True)), (width - 1, slots))
    known = deliveries.tell(name, witness, None if given is None else given.known, keys + count)
    return _Offer(
        flags[:count],
        words[:, :count],
        (words[:, count:], flags[count:]),
        _of_words(engine, tuple(part[-1, :count] for part in own), (count,)),
        witness,
        known,
    )


def _choose(engine: Engine, matches: Secret, offers: Mapping[str, _Offer]) -> dict[str, Secret]:
    """By party, for each bin: its ticket, or blank where there is no match, and its columns, or zeros."""
    sharing, blanks = _verified(engine), [offer.blanks.parts for offer in offers.values()]
    less = [
        _first_row_changed(offer.words.parts, tuple(-part for part in blank))
        for offer, blank in zip(offers.values(), blanks, strict=True)
    ]
    whole = tuple(np.concatenate(parts) for parts in zip(*less, strict=True))
    matched = tuple(np.broadcast_to(part, whole[0].shape) for part in matches.parts)
    product = sharing.multiply(matched, whole, whole[0].shape)
    found, place = {}, 0
    for (name, offer), blank in zip(offers.items(), blanks, strict=True):
        rows = slice(place, place + offer.words.shape[0])
        own = _first_row_changed(tuple(part[rows] for part in product), blank)
        found[name] = _of_words(engine, own, offer.words.shape)
        place = rows.stop
    return found


def _first_row_changed(words: Words, added: Words) -> Words:
    """Parts of words (rows x bins) to whose first row something is added."""
    return tuple(np.concatenate([(p[0] + q)[None], p[1:]]) for p, q in zip(words, added, strict=True))


def _check_tickets(engine: Engine, asker: str, offers: Mapping[str, _Offer], chosen: Mapping[str, Secret]) -> None:
    """Raise `ProtocolError` unless each witness sees different ones of the words that it knows."""
    sharing = _verified(engine)
    sharing.check()
    for name, offer in offers.items():
        shown = sharing.deliveries.show(tuple(part[0] for part in chosen[name].parts), offer.witness)
        good = None
        if shown is not None and offer.known is not None:
            good = _different(np.sort(shown), offer.known)
        suspects = f"{asker} or {name}"
        sharing.deliveries.judge(offer.witness, good, suspects, "matched a key twice, or one that it was not given")


def check_count(engine: Engine, matches: Secret, sizes: Mapping[str, int]) -> None:
    """Raise `ProtocolError` if there are more matches than one of the parties said that it has keys.

    Its blanks could have made room for tickets of more, in bins that it guessed to be matches.
    """
    few = min(sizes, key=lambda name: sizes[name])
    if engine.open(matches.sum() > sizes[few]):
        raise ProtocolError(f"{few}: has more keys in common than it said it has, in step 'count matches'")


def _different(shown: U64, known: U64) -> bool:
    """Whether the words shown, ascending, are different ones of the known ones, ascending and different."""
    places = np.minimum(np.searchsorted(known, shown), len(known) - 1)
    return bool((known[1:] > known[:-1]).all() and (known[places] == shown).all() and (shown[1:] > shown[:-1]).all())


def _witness(engine: Engine, asker: str, name: str) -> str:
    """The third computing party."""
    return next(party for party in engine.computing if party not in (asker, name))


def _of_words(engine: Engine, parts: Words, shape: tuple[int, ...]) -> Secret:
    return Secret(engine, parts, shape, INT64_MIN, INT64_MAX)


def _verified(engine: Engine) -> Verified:
    assert isinstance(engine.sharing, Verified)
    return engine.sharing
