"""Private joins whose matches nobody learns: as shares (J3, hidden), or their number alone (J2, size only).

The asker puts its keys into bins, one a bin; the other party has three bins for each of its own. By an oblivious PRF
the other sends, under each of its keys, a random word of that bin and, less a mask of that bin, the values of its
columns. So in the bin of a common key the asker holds the other's random word, and parts of its values; anywhere else
something random. Equality of the words is computed on shares, and values are multiplied by it.

    J3  rows are the asker's bins. Flags say which are matches; the other's columns are zero where there is none. The
        asker knows which of its own rows each bin holds, and its columns have their values in all of these.
    J2  the same, shuffled by an order that nobody knows; then flags are opened and rows without a match dropped.

Leaks:    the sizes of both sets, and for J2 how many keys are common. The number of bins follows from the asker's.
Security: semi-honest; that of `mpc.psi.vole` (oblivious PRF) and of the engine. A bin matches falsely with probability
          2^-64, beside the bounds of the PRF.
Source:   Pinkas, Schneider, Tkachenko, Yanai, EUROCRYPT 2019, eprint.iacr.org/2019/241; Rindal, Schoppmann,
          EUROCRYPT 2021, eprint.iacr.org/2021/266 (its PRF for this).
"""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np

from mpc.errors import ProtocolError
from mpc.joins import bins
from mpc.joins.joined import I64, Column, Joined, Table, check_table, join_session, share_columns
from mpc.primitives import oprf
from mpc.primitives.aes import KEY_BYTES, FixedKey
from mpc.psi import multi_steps as prf
from mpc.psi import vole_steps as fast
from mpc.psi.params import MultiParams
from mpc.psi.steps import Link
from mpc.sharing.engine import Engine
from mpc.sharing.ring import U64
from mpc.sharing.values import Secret
from mpc.spec import Party
from protos import psi_multi_pb2, psi_vole_pb2

Declared = Mapping[str, Mapping[str, Column]]

_DOMAIN_PAD = b"sealane/join.pad/1\0"
MOST_ROWS = (oprf.MAX_KEYS - fast.CANARIES) // bins.FUNCTIONS


def join_hidden(
    party: Party[Any], engine: Engine, label: bytes, asker: str, other: str, declared: Declared, table: Table | None
) -> Joined:
    """J3. `table` is None at a third computing party, which brings no rows."""
    own_keys = None if table is None else len(table.keys)
    sizes = {
        name: engine.announce(name, own_keys if party.name == name else None, most=MOST_ROWS) for name in (asker, other)
    }
    count, names = bins.bins_for(sizes[asker]), sorted(declared.get(other, {}))
    words: dict[str, U64 | None] = {asker: None, other: None}
    own_rows: I64 | None = None
    if table is not None:
        check_table(party.name, table, declared.get(party.name, {}))
        pair = _pair(party, label, asker, other)
        if party.name == asker:
            words[asker], own_rows = _ask(pair, other, table, sizes, count, len(names))
        else:
            words[other] = _answer(pair, asker, table, sizes, count, names)
    summed = combine(engine, words, (1 + len(names), count))
    flags = summed[0] == 0
    columns = {asker: _own_columns(engine, asker, count, table, own_rows, declared)}
    chosen = engine.select(flags, summed[1:]) if names else summed[1:]
    columns[other] = {name: _declared(chosen[index], declared[other][name]) for index, name in enumerate(names)}
    return Joined(count, columns, flags, own_rows)


def join_size_only(
    party: Party[Any], engine: Engine, label: bytes, asker: str, other: str, declared: Declared, table: Table | None
) -> Joined:
    """J2. `table` is None at a third computing party, which brings no rows."""
    hidden = join_hidden(party, engine, label, asker, other, declared, table)
    assert hidden.flags is not None
    every = [(name, column) for name in (asker, other) for column in sorted(declared.get(name, {}))]
    vectors = [hidden.flags.integers(), *(hidden.columns[name][column] for name, column in every)]
    low, high = min(vector.low for vector in vectors), max(vector.high for vector in vectors)
    rows = [replace(vector, low=low, high=high, decimals=0).reshape(-1, 1) for vector in vectors]
    shuffled = engine.shuffle(engine.concatenate(rows, axis=1))
    matched = np.flatnonzero(engine.open(shuffled[:, 0].within(0, 1)))
    columns: dict[str, dict[str, Secret]] = {asker: {}, other: {}}
    for index, (name, column) in enumerate(every, 1):
        columns[name][column] = _declared(shuffled[matched, index], declared[name][column])
    return Joined(len(matched), columns, None, None)


def combine(engine: Engine, words: Mapping[str, U64 | None], shape: tuple[int, ...]) -> Secret:
    """The sum, modulo 2^64, of words that two parties hold; None at the others."""
    shares = [engine.share_words(name, own, shape=shape) for name, own in words.items()]
    parts = tuple(p + q for p, q in zip(shares[0].parts, shares[1].parts, strict=True))
    return replace(shares[0], parts=parts)


def _pair(party: Party[Any], label: bytes, asker: str, other: str) -> Party[MultiParams]:
    peer = other if party.name == asker else asker
    return replace(
        party,
        params=MultiParams(),
        peers={peer: party.peers[peer]},
        session=join_session(party.session, label),
    )


def _ask(
    party: Party[MultiParams], other: str, table: Table, sizes: Mapping[str, int], count: int, width: int
) -> tuple[U64, I64]:
    """The asker's words (1 + columns x bins), and its own row in each bin."""
    placed = bins.place_keys(table.keys, party.rng)
    channel = party.peers[other]
    channel.send(psi_vole_pb2.Seed(seed=placed.seed))
    queries = Link(channel, other, count, bins.FUNCTIONS * sizes[other] - fast.CANARIES)
    (outputs,), _ = prf.leader_prfs(party, [queries], placed.digests)
    words = np.empty((1 + width, count), np.uint64)
    for index, pad in enumerate(_pads(outputs, party.session, 1 + width)):
        words[index] = prf.receive_shares(queries, placed.digests) ^ pad
    return words, placed.key_in


def _answer(
    party: Party[MultiParams], asker: str, table: Table, sizes: Mapping[str, int], count: int, names: list[str]
) -> U64:
    """The other party's words: what is to be added to the asker's."""
    channel = party.peers[asker]
    seed = channel.recv(psi_vole_pb2.Seed).seed
    if len(seed) != bins.SEED_BYTES:
        raise ProtocolError(f"{asker}: sent a seed of {len(seed)} bytes, not {bins.SEED_BYTES}")
    keys, places = bins.asked(table.keys, seed), bins.places(table.keys, seed, count).reshape(-1)
    queries = Link(channel, asker, bins.FUNCTIONS * sizes[party.name], count - fast.CANARIES)
    with prf.naming(asker):
        offered = channel.recv(psi_multi_pb2.Offer).point
    outputs = prf.other_prf(party, queries, offered, keys)
    words = np.frombuffer(bytearray(party.rng(8 * (1 + len(names)) * count)), np.uint64).reshape(-1, count)
    for index, pad in enumerate(_pads(outputs, party.session, 1 + len(names))):
        values = -words[index][places]
        if index:
            values += np.repeat(table.columns[names[index - 1]].view(np.uint64), bins.FUNCTIONS)
        prf.send_shares(queries, keys, values ^ pad, party.rng)
    return words


def _pads(outputs: U64, session: bytes, count: int) -> list[U64]:
    """As many pseudorandom words from each output of the PRF."""
    pads = []
    for index in range(count):
        key = blake2b(_DOMAIN_PAD + index.to_bytes(4, "little"), digest_size=KEY_BYTES, salt=session).digest()
        blocks = np.ascontiguousarray(outputs)
        pads.append((FixedKey(key).encrypt(blocks) ^ blocks)[:, 0])
    return pads


def _own_columns(
    engine: Engine, asker: str, count: int, table: Table | None, own_rows: I64 | None, declared: Declared
) -> dict[str, Secret]:
    values = None
    if table is not None and own_rows is not None:
        joined = Joined(count, {}, None, own_rows)
        values = {name: joined.place(column) for name, column in table.columns.items()}
    return share_columns(engine, asker, count, values, declared.get(asker, {}))


def _declared(values: Secret, column: Column) -> Secret:
    return replace(values, low=min(column.low, 0), high=max(column.high, 0), decimals=column.decimals)
