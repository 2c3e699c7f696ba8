"""Private joins whose matches nobody learns: as shares (J3, hidden), or their number alone (J2, size only).

The asker puts its keys into bins, one a bin; another party has three bins for each of its own. By an oblivious PRF
the other sends, under each of its keys, a random word of that bin and, less a mask of that bin, the values of its
columns. So in the bin of a common key the asker holds the other's random word, and parts of its values; anywhere else
something random. Equality of the words is computed on shares, and values are multiplied by it.

The asker does so with each of several others, with the same bins; a bin is a match where all words are equal, which
nobody learns of some of them.

    J3  rows are the asker's bins. Flags say which are matches; others' columns are zero where there is none. The
        asker knows which of its own rows each bin holds, and its columns have their values in all of these.
    J2  the same, shuffled by an order that nobody knows; then flags are opened and rows without a match dropped.

Checks:   asker and other add 64 keys in bins of their own, and all end in an error unless these are found with their
          values (see `mpc.joins.canaries`).
Leaks:    the sizes of all sets, and for J2 how many keys are common to all. The number of bins follows from the
          asker's.
Security: semi-honest; that of `mpc.psi.vole` (oblivious PRF) and of the engine. A bin matches falsely with probability
          2^-64, beside the bounds of the PRF.
Source:   Pinkas, Schneider, Tkachenko, Yanai, EUROCRYPT 2019, eprint.iacr.org/2019/241; Rindal, Schoppmann,
          EUROCRYPT 2021, eprint.iacr.org/2021/266 (its PRF for this).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from hashlib import blake2b
from operator import and_
from typing import Any

import numpy as np

from mpc.channel import naming
from mpc.errors import ProtocolError
from mpc.joins import bins, canaries
from mpc.joins.joined import I64, Column, Declared, Joined, Table, check_table, join_session, share_columns
from mpc.primitives import oprf
from mpc.primitives.aes import KEY_BYTES, FixedKey
from mpc.psi import multi_steps as prf
from mpc.psi.canaries import CANARIES
from mpc.psi.params import MultiParams
from mpc.psi.steps import Link
from mpc.sharing.engine import Engine
from mpc.sharing.ring import U64
from mpc.sharing.values import Secret
from mpc.spec import Party
from protos import psi_multi_pb2, psi_vole_pb2

_DOMAIN_PAD = b"sealane/join.pad/1\0"
MOST_ROWS = (oprf.MAX_KEYS - CANARIES) // bins.FUNCTIONS


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
    sizes = announce_sizes(party, engine, (asker, *others), table)
    count, names = bins.bins_for(sizes[asker]), {name: sorted(declared.get(name, {})) for name in others}
    words: dict[str, U64] = {}
    own_rows: I64 | None = None
    if table is not None:
        check_table(party.name, table, declared.get(party.name, {}))
        pair = meeting(party, label, others if party.name == asker else (asker,))
        if party.name == asker:
            words, own_rows = _ask(pair, table, sizes, count, {name: len(names[name]) for name in others})
        else:
            words[party.name] = _answer(pair, asker, table, sizes, count, names[party.name])
    whole = {}
    for name in others:
        held = words.get(name)
        parts = {asker: held if party.name == asker else None, name: held if party.name == name else None}
        whole[name] = combine(engine, parts, (1 + len(names[name]), count + CANARIES))
    canaries.check(engine, join_session(party.session, label), asker, {n: each[:, count:] for n, each in whole.items()})
    summed = {name: each[:, :count] for name, each in whole.items()}
    flags = reduce(and_, (summed[name][0] == 0 for name in others))
    columns = {asker: own_columns(engine, asker, count, table if party.name == asker else None, own_rows, declared)}
    for name in others:
        chosen = engine.select(flags, summed[name][1:]) if names[name] else summed[name][1:]
        columns[name] = as_columns(chosen, names[name], declared.get(name, {}))
    return Joined(count, columns, flags, own_rows, sizes=sizes)


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
    hidden = join_hidden(party, engine, label, asker, others, declared, table)
    return shuffled(engine, hidden, asker, others, declared)


def shuffled(engine: Engine, joined: Joined, asker: str, others: Sequence[str], declared: Declared) -> Joined:
    """The matches of what J3 leaves, in an order that nobody knows."""
    assert joined.flags is not None
    every = [(name, column) for name in (asker, *others) for column in sorted(declared.get(name, {}))]
    matches = joined.flags.integers() if joined.matches is None else joined.matches
    vectors = [matches, *(joined.columns[name][column] for name, column in every)]
    low, high = min(vector.low for vector in vectors), max(vector.high for vector in vectors)
    rows = [replace(vector, low=low, high=high, decimals=0).reshape(-1, 1) for vector in vectors]
    mixed = engine.shuffle(engine.concatenate(rows, axis=1))
    matched = np.flatnonzero(engine.open(mixed[:, 0].within(0, 1)))
    columns: dict[str, dict[str, Secret]] = {name: {} for name in (asker, *others)}
    for index, (name, column) in enumerate(every, 1):
        columns[name][column] = as_declared(mixed[matched, index], declared[name][column])
    return Joined(len(matched), columns, None, None, sizes=joined.sizes)


def announce_sizes(party: Party[Any], engine: Engine, owners: Sequence[str], table: Table | None) -> dict[str, int]:
    """How many keys each owner of a table has."""
    own = None if table is None else len(table.keys)
    return {name: engine.announce(name, own if party.name == name else None, most=MOST_ROWS) for name in owners}


def combine(engine: Engine, words: Mapping[str, U64 | None], shape: tuple[int, ...]) -> Secret:
    """The sum, modulo 2^64, of words that two parties hold; None at the others."""
    shares = [engine.share_words(name, own, shape=shape) for name, own in words.items()]
    parts = tuple(p + q for p, q in zip(shares[0].parts, shares[1].parts, strict=True))
    return replace(shares[0], parts=parts)


def meeting(party: Party[Any], label: bytes, peers: Sequence[str]) -> Party[MultiParams]:
    """The party as it evaluates PRFs with those peers."""
    channels = {peer: party.peers[peer] for peer in peers}
    return replace(party, params=MultiParams(), peers=channels, session=join_session(party.session, label))


def _ask(
    party: Party[MultiParams], table: Table, sizes: Mapping[str, int], count: int, widths: Mapping[str, int]
) -> tuple[dict[str, U64], I64]:
    """The asker's words (1 + columns x bins, canaries' last) by other party, and its own row in each bin."""
    placed = bins.place_keys(table.keys, party.rng)
    queries = []
    for other in widths:
        party.peers[other].send(psi_vole_pb2.Seed(seed=placed.seed))
        queries.append(Link(party.peers[other], other, count, bins.FUNCTIONS * sizes[other]))
    digests = np.concatenate([placed.digests, canaries.digests(party.session)])
    prfs = prf.leader_prfs(party, queries, digests, [2] * len(queries))
    words = {}
    for link, output in zip(queries, prfs.outputs, strict=True):
        words[link.peer] = np.empty((1 + widths[link.peer], len(digests)), np.uint64)
        for index, pad in enumerate(pads(output, party.session, 1 + widths[link.peer])):
            words[link.peer][index, prfs.keys.rows.order] = prf.receive_shares(link, prfs.keys, digests) ^ pad
    return words, placed.key_in


def _answer(
    party: Party[MultiParams], asker: str, table: Table, sizes: Mapping[str, int], count: int, names: list[str]
) -> U64:
    """The other party's words: what is to be added to the asker's."""
    channel = party.peers[asker]
    seed = read_seed(asker, channel.recv(psi_vole_pb2.Seed).seed)
    digests, places = asked_with_canaries(table, seed, count, party.session)
    queries = Link(channel, asker, bins.FUNCTIONS * sizes[party.name], count)
    with naming(asker):
        offered = channel.recv(psi_multi_pb2.Offer).point
    keys, outputs = prf.other_prf(party, queries, offered, digests)
    slots, added = count + CANARIES, canaries.values(party.session, 1 + len(names))
    words = np.frombuffer(bytearray(party.rng(8 * (1 + len(names)) * slots)), np.uint64).reshape(-1, slots)
    for index, pad in enumerate(pads(outputs[:, :2], party.session, 1 + len(names))):
        values = -words[index][places]
        values[-CANARIES:] += added[index]
        if index:
            values[:-CANARIES] += np.repeat(table.columns[names[index - 1]].view(np.uint64), bins.FUNCTIONS)
        prf.send_shares(queries, keys, digests, values[keys.rows.order] ^ pad, party.rng)
    return words


def asked_with_canaries(table: Table, seed: bytes, count: int, session: bytes) -> tuple[U64, I64]:
    """What another party's keys are asked for as, in each of their bins, and these bins; canaries last."""
    asked, places = bins.asked(table.keys, seed), bins.places(table.keys, seed, count).reshape(-1)
    behind = np.arange(count, count + CANARIES)
    return np.concatenate([asked, canaries.digests(session)]), np.concatenate([places, behind])


def read_seed(asker: str, seed: bytes) -> bytes:
    """The asker's seed of the bins; raises `ProtocolError` for one of another length."""
    if len(seed) != bins.SEED_BYTES:
        raise ProtocolError(f"{asker}: sent a seed of {len(seed)} bytes, not {bins.SEED_BYTES}")
    return seed


def pads(outputs: U64, session: bytes, count: int) -> list[U64]:
    """As many pseudorandom words from each output of the PRF."""
    pads = []
    for index in range(count):
        key = blake2b(_DOMAIN_PAD + index.to_bytes(4, "little"), digest_size=KEY_BYTES, salt=session).digest()
        blocks = np.ascontiguousarray(outputs)
        pads.append((FixedKey(key).encrypt(blocks) ^ blocks)[:, 0])
    return pads


def own_columns(
    engine: Engine, asker: str, count: int, table: Table | None, own_rows: I64 | None, declared: Declared
) -> dict[str, Secret]:
    """The asker's columns, in the order of the bins."""
    values = None
    if table is not None and own_rows is not None:
        joined = Joined(count, {}, None, own_rows)
        values = {name: joined.place(column) for name, column in table.columns.items()}
    return share_columns(engine, asker, count, values, declared.get(asker, {}))


def as_columns(rows: Secret, names: Sequence[str], declared: Mapping[str, Column]) -> dict[str, Secret]:
    """The columns of those names, which are rows of a matrix, zeros where there is no match."""
    return {name: as_declared(rows[index], declared[name]) for index, name in enumerate(names)}


def as_declared(values: Secret, column: Column) -> Secret:
    """Values of a column, zeros where there is no match."""
    return replace(values, low=min(column.low, 0), high=max(column.high, 0), decimals=column.decimals)
