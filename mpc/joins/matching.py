"""Private joins whose matches somebody learns: all parties (J0, open) or the one who asks (J1, one-sided).

The keys of two are matched by `mpc.psi.vole`; then each party shares its columns in a row order that follows from the
tags or the digests of keys and says nothing about any table.

    J0  rows are the matches. All parties learn which of their own rows match; of several others, none which match some
        of the others only (`mpc.psi.multi` matches their keys).
    J1  rows are the other party's keys in the order of their tags, a random one. The asker learns which of them match
        which of its own rows; it puts its own columns beside them, zeros where there is no match, and shares which
        rows are matches. The other party learns nothing of that.

Leaks:    beside the above each learns how many keys the other has; a third computing party learns the number of rows.
Security: semi-honest; that of `mpc.psi.vole` or `mpc.psi.multi`, and of the engine.
Checks:   those of `mpc.psi.vole` and `mpc.psi.multi`, which end in an error unless 64 agreed keys are found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mpc.errors import ProtocolError
from mpc.joins.joined import I64, Declared, Joined, Table, check_table, join_session, share_columns
from mpc.psi import multi, multi_steps, vole
from mpc.psi import vole_steps as fast
from mpc.psi.canaries import without_canaries
from mpc.psi.params import MAX_KEYS, MultiParams, VoleParams
from mpc.psi.steps import Link, exchange_sizes
from mpc.sharing.engine import Engine
from mpc.sharing.values import Secret
from mpc.spec import Party
from protos import psi_pb2


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
    if table is not None and len(others) > 1:
        own, sizes = common_to_all(party, label, asker, others, declared, table)
    elif table is not None:
        pair, link = _meet(party, label, asker, others[0], declared, table)
        sizes = {link.peer: link.theirs}
        if party.name == asker:
            found = vole.find_common(link, pair, table.keys)
            own = found.common.astype(np.int64)
            link.channel.send(psi_pb2.Verdict(matched=np.packbits(found.their_hits, bitorder="little").tobytes()))
        else:
            order = vole.help_find(link, pair, table.keys)
            matched = vole.read_bitmap(link, link.channel.recv(psi_pb2.Verdict).matched)
            own = without_canaries(link, order[matched]).astype(np.int64)
    count = announce_matches(engine, asker, own)
    columns = columns_at(party, engine, (asker, *others), count, declared, table, own)
    return Joined(count, columns, None, own, sizes=sizes)


def join_one_sided(
    party: Party[Any],
    engine: Engine,
    label: bytes,
    asker: str,
    others: Sequence[str],
    declared: Declared,
    table: Table | None,
) -> Joined:
    """J1, of two parties. `table` is None at a third computing party, which brings no rows."""
    (other,) = others
    own: I64 | None = None
    expected: int | None = None
    sizes: Mapping[str, int] = {}
    if table is not None:
        pair, link = _meet(party, label, asker, other, declared, table)
        expected, sizes = link.theirs if party.name == asker else link.own, {link.peer: link.theirs}
        if party.name == asker:
            own = _partners(vole.find_common(link, pair, table.keys), link)
        else:
            order = vole.help_find(link, pair, table.keys)
            own = order[order < link.own].astype(np.int64)
    rows = engine.announce(other, expected, most=MAX_KEYS)
    if expected not in (None, rows):
        raise ProtocolError(f"{other}: names another number of rows than it has keys")
    columns = columns_at(party, engine, (asker, other), rows, declared, table, own)
    matched = own >= 0 if own is not None and party.name == asker else None
    return Joined(rows, columns, engine.share_bits(asker, matched, shape=(rows,)), own, sizes=sizes)


def common_to_all(
    party: Party[Any], label: bytes, asker: str, others: Sequence[str], declared: Declared, table: Table
) -> tuple[I64, Mapping[str, int]]:
    """The own keys that all parties have, in the order of their digests, and how many others say they have."""
    check_table(party.name, table, declared.get(party.name, {}))
    matching = replace(
        party,
        peers={name: party.peers[name] for name in (asker, *others) if name != party.name},
        job=replace(party.job, receivers=(asker, *others)),
        params=MultiParams(min_result=0),
        session=join_session(party.session, label),
    )
    group = multi_steps.start(matching, table.keys)
    if party.name == asker:
        common = multi.find_common(matching, group).keys
    else:
        told, _ = multi.help_find(matching, group)
        assert told is not None  # all are receivers
        common = told
    words = np.ascontiguousarray(table.keys[common]).view(np.uint64).reshape(-1, 4)
    return common[np.lexsort(words.T)].astype(np.int64), {link.peer: link.theirs for link in group.links}


def _meet(
    party: Party[Any], label: bytes, asker: str, other: str, declared: Declared, table: Table
) -> tuple[Party[VoleParams], Link]:
    """The party as it matches keys with the other one, and their link."""
    check_table(party.name, table, declared.get(party.name, {}))
    peer = other if party.name == asker else asker
    params = VoleParams(min_result=0)
    alone = {peer: party.peers[peer]}
    pair = replace(party, params=params, peers=alone, session=join_session(party.session, label))
    link = exchange_sizes(replace(pair, params=params.matching), len(table.keys))
    fast.check_size(link)
    return pair, link


def _partners(found: vole.Found, link: Link) -> I64:
    """For each of the other's keys, in the order of their tags, the own key that is the same, or -1."""
    partners = np.full(len(found.their_hits), -1, np.int64)
    partners[found.their_hits] = found.partners
    return partners[partners < link.own]


def announce_matches(engine: Engine, asker: str, own: I64 | None) -> int:
    """How many keys are common, as the asker says; `own` are this party's, None without a table."""
    count = engine.announce(asker, None if own is None else len(own), most=MAX_KEYS)
    if own is not None and count != len(own):
        raise ProtocolError(f"{asker}: names another number of matches than it marked")
    return count


def columns_at(
    party: Party[Any],
    engine: Engine,
    owners: Sequence[str],
    count: int,
    declared: Declared,
    table: Table | None,
    rows: I64 | None,
) -> dict[str, dict[str, Secret]]:
    """Shares of every owner's columns at its `count` rows, which are `rows` of the own table."""
    return {
        name: share_columns(
            engine, name, count, _taken(table, rows) if party.name == name else None, declared.get(name, {})
        )
        for name in owners
    }


def _taken(table: Table | None, rows: I64 | None) -> Mapping[str, I64] | None:
    """The columns' values at these rows, zeros at negative ones."""
    if table is None or rows is None:
        return None
    present = rows >= 0
    found = {}
    for name, values in table.columns.items():
        found[name] = np.zeros(len(rows), np.int64)
        found[name][present] = values[rows[present]]
    return found
