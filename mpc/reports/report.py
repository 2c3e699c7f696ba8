"""Joint reports in SQL over the common keys of two and more parties' tables.

Every party compiles the same text to the same plan. Each applies the conditions on its own columns, the keys that are
left are joined privately, and everything else is computed on shares: conditions that compare two parties' columns,
counts, sums, means, variances, minima, maxima and quantiles by group. A group with fewer than the minimum of different
people, or fewer rows than HAVING demands, is shown as suppressed, and nothing of it is opened. With `noise` all figures
are noisy, and so are the counts that decide which groups are shown: see `mpc.reports.noise`.

Two parties compute by themselves, or with a third that has no table. Of three and more, three compute, the asker and
the first two of the others in the order of the SQL; the rest bring shares of their columns.

Output:   each receiver learns the report: for each released group the figures asked for, with the counts and sums that
          means and variances are made of; for the others, that they are suppressed.
Leaks:    all learn how many different keys each other's own conditions leave (with noise: how many there are whatever
          the conditions), how many groups the others have, how many rows of one key at most (rounded up to a power of
          two), which groups are released, and, with LIMIT, the order of the released groups. J0: all learn which of
          their keys are common to all; J1, of two parties: the asker learns which of its are; J2: all learn how many
          are; J3: nobody learns anything of that. Of three and more parties nobody learns which keys, or how many, are
          common to some of them only. Who owns a column of which a minimum, maximum or quantile is asked learns that of
          each released group, and all learn how many values there are in it.
Security: semi-honest; that of `mpc.joins` and `mpc.sharing.engine`. Two parties learn no more from each other. Of three
          and more, no single party learns more, with any that do not compute; two of those that compute together learn
          what the others brought. With `verified` any one party may cheat: what is joined (see `mpc.joins.attested`)
          and computed (`mpc.sharing.verified`) is right for what it brought, and that has the form of rows
          (`mpc.reports.legality`), or the report ends in an error. A report is exact, so it gives way to
          differencing: see docs/what-this-does-not-protect.md.
Cost:     that of the join, and a product of shares for each common row, own group of each party and figure.
Source:   minimum group: Hundepool et al., Statistical Disclosure Control, 2012, chapter 4; the grammar is in
          docs/reports.md.
"""

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mpc.channel import in_step, naming
from mpc.errors import InputError, ProtocolError
from mpc.job import Job, canonical_json
from mpc.normalisation import DEFAULT, profile
from mpc.reports.declarations import row_sets, slots
from mpc.reports.disclosure import reveals
from mpc.reports.expressions import Column
from mpc.reports.members import COMPUTES, asker_of, check_members, computes_of, computing
from mpc.reports.params import Params
from mpc.reports.plan import EXTREMES
from mpc.spec import Estimate, Outcome, Party, Role, Rows, Spec
from mpc.uses import Use
from protos import report_pb2

if TYPE_CHECKING:
    import pyarrow as pa

    from mpc.conditions import Condition
    from mpc.keys import Keys
    from mpc.reports.columns import OwnColumns
    from mpc.reports.labels import Labels
    from mpc.reports.limbs import Extent
    from mpc.reports.plan import Plan
    from mpc.reports.results import Group
    from mpc.reports.sides import I64, Side
    from mpc.reports.tally import Tally
    from mpc.sharing.engine import Engine

MAX_CELLS = 10_000
MOST_PARTIES = 10
_MAX_ROWS_OF_KEY = 2**20
_LABEL = b"report.sql"


def run(party: Party[Params], tables: "Mapping[str, pa.Table]") -> Outcome:
    """Play one party. Facts: "own_rows" and "counted_rows", "keys_NAME" of each, "groups" and "suppressed"."""
    from mpc.reports.columns import OwnColumns
    from mpc.reports.sides import check_sizes, open_side

    plan = _plan(party.params)
    side = open_side(plan, party.params, party.name, tables, party.rows)
    own = OwnColumns(side, _keys(party, side, tables["key"]))
    if party.params.noise is None:
        check_sizes(side, own.keys)
    party.progress("check rows", 1, 4)
    extents = _exchange(party, plan, own)
    engine, released = _released(party, plan, own, extents)
    shown = _labels(party, plan, extents, released, side, engine)
    rows = tables["key"].num_rows if party.rows is None else party.rows.total
    facts = {"own_rows": rows, "counted_rows": len(own.counted), **_facts(plan, extents, released)}
    return Outcome(_result(party, plan, shown, released), facts)


def compute(party: Party[Params], _tables: "Mapping[str, pa.Table]") -> Outcome:
    """Play the party that computes with two others, and has no table of its own. Facts as in `run`, but of own rows."""
    plan = _plan(party.params)
    extents = _exchange(party, plan, None)
    engine, released = _released(party, plan, None, extents)
    _labels(party, plan, extents, released, None, engine)
    return Outcome(None, _facts(plan, extents, released))


def _released(
    party: Party[Params], plan: "Plan", own: "OwnColumns | None", extents: "Mapping[str, Extent]"
) -> "tuple[Engine, dict[int, Group | None]]":
    """The engine, and the groups that are shown, with their figures at a receiver."""
    from mpc.reports.release import release

    party.progress("join", 2, 4)
    tally = _join(party, plan, own, extents)
    party.progress("compute", 3, 4)
    party.opening()
    released = release(tally, party.job.receivers)
    tally.engine.finish()
    return tally.engine, released


def _facts(plan: "Plan", extents: "Mapping[str, Extent]", released: "Mapping[int, Group | None]") -> dict[str, int]:
    cells = math.prod(extent.groups for extent in extents.values())
    keys = {f"keys_{name}": extents[name].keys for name in plan.parties}
    return {**keys, "groups": cells, "suppressed": cells - len(released)}


def _plan(params: Params) -> "Plan":
    from mpc.reports.compiling import compile_sql  # loads sqlglot

    return compile_sql(params.sql)


def _keys(party: Party[Params], side: "Side", table: "pa.Table") -> "Keys":
    """The keys of the rows that count; the others have none. With noise all have: how many there are tells nothing."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from mpc.joins.joined import join_session
    from mpc.keys import encode_keys
    from mpc.psi.vole_steps import digests

    keep = pa.array(side.keep if party.params.noise is None else np.ones(len(side.keep), np.bool_))
    columns = [pc.if_else(keep, column.combine_chunks(), None) for column in table.columns]
    kept = pa.table(dict(zip(table.column_names, columns, strict=True)))
    rows = None if party.rows is None else party.rows.numbers
    profiles = party.params.normalisation or (DEFAULT,) * len(columns)
    return encode_keys(kept, profiles, join_session(party.session, _LABEL), digests, rows=rows)


def _exchange(party: Party[Params], plan: "Plan", own: "OwnColumns | None") -> "dict[str, Extent]":
    """What all sides bring; raises `ProtocolError` for a peer that made another plan of the text."""
    extents = {}
    if own is not None:
        mine = extents[party.name] = own.extent
        setup = report_pb2.Setup(plan=plan.digest, keys=mine.keys, groups=mine.groups, rows_of_key=mine.rows_of_key)
        for channel in party.peers.values():
            channel.send(setup)
    for peer in plan.parties:
        if peer != party.name:
            with in_step("compare plans"), naming(peer):
                extents[peer] = _extent(peer, plan, party.params, party.peers[peer].recv(report_pb2.Setup))
    if own is not None and own.extent.rows_of_key > _MAX_ROWS_OF_KEY:
        raise InputError(f"a key has more than {_MAX_ROWS_OF_KEY} rows", hint="check the key columns")
    cells = math.prod(extent.groups for extent in extents.values())
    if cells > MAX_CELLS:
        raise InputError(f"the report has {cells} groups (at most {MAX_CELLS})", hint="group by less")
    compared = {side.party for each in plan.comparisons for side in (each.left, each.right)}
    if any(extents[name].rows_of_key > 1 for name in compared):
        raise InputError(
            "a condition compares columns of two parties, which needs one row a key on both sides",
            hint="prepare a dataset with one row a key",
        )
    return extents


def _extent(peer: str, plan: "Plan", params: Params, setup: report_pb2.Setup) -> "Extent":
    from mpc.reports.groups import group_count
    from mpc.reports.limbs import Extent

    if setup.plan != plan.digest:
        raise ProtocolError(f"{peer}: made another plan of the SQL", hint="use releases of one version")
    due = group_count(plan, params, peer)
    if setup.groups != due if due is not None else not 1 <= setup.groups <= MAX_CELLS:
        raise ProtocolError(f"{peer}: claims {setup.groups} groups")
    if setup.rows_of_key.bit_count() != 1 or setup.rows_of_key > _MAX_ROWS_OF_KEY or setup.keys > 2**40:
        raise ProtocolError(f"{peer}: claims {setup.rows_of_key} rows of one key and {setup.keys} keys")
    return Extent(setup.groups, setup.keys, setup.rows_of_key)


def _join(party: Party[Params], plan: "Plan", own: "OwnColumns | None", extents: "Mapping[str, Extent]") -> "Tally":
    """The sums over the common rows, ready to be computed."""
    import numpy as np

    from mpc.joins.joined import Column as Bounds
    from mpc.joins.joined import Table
    from mpc.joins.levels import LEVELS
    from mpc.reports.tally import Tally
    from mpc.sharing.engine import start

    asker = asker_of(party.job)
    others = tuple(name for name in plan.parties if name != asker)
    guests = [name for name in others if name not in computing(plan, asker)] if len(others) > 2 else []
    label = _label_of(extents)
    verified = party.params.verified
    engine = start(
        party.name,
        party.peers,
        session=party.session,
        label=label,
        rng=party.rng,
        guests=guests,
        verified=verified,
    )
    tally = Tally(engine, plan, party.params, asker, others, extents, own)
    bounds: dict[str, dict[str, Bounds]] = {}
    columns: dict[str, I64] = {}
    for name in tally.placed_before:
        bounds[name] = {}
        for brought in tally.hidden(name):
            values = brought.values() if party.name == name else None
            for index in range(brought.shape[0]) if brought.shape else [None]:
                column = brought.name if index is None else f"{brought.name}/{index}"
                bounds[name][column] = Bounds(brought.low, brought.high)
                if values is not None:
                    columns[column] = np.ascontiguousarray(values if index is None else values[:, index])
    level = LEVELS[party.params.join]
    join = level.verified if verified else level.join
    assert join is not None  # J1 is of two parties, and verified reports are not
    table = None if own is None else Table(own.keys.digests, columns)
    with in_step("match keys"):
        tally.joined = join(party, engine, _LABEL, asker, others, bounds, table)
    for name, keys in tally.joined.sizes.items():
        if keys != extents[name].keys:
            what = f"comes with {keys} keys, and said that it has {extents[name].keys}"
            raise ProtocolError(f"{name}: {what}, in step 'match keys'")
    tally.compare(plan.comparisons)
    return tally


def _label_of(extents: "Mapping[str, Extent]") -> bytes:
    """Names the stage after what was told, so that nobody computes with a peer that was told something else."""
    told = sorted((name, extent.groups, extent.keys, extent.rows_of_key) for name, extent in extents.items())
    return _LABEL + hashlib.sha256(canonical_json(told)).digest()


def _labels(
    party: Party[Params],
    plan: "Plan",
    extents: "Mapping[str, Extent]",
    released: "Mapping[int, Group | None]",
    side: "Side | None",
    engine: "Engine",
) -> "dict[str, Labels]":
    """What the groups of each party are called, as far as this party learns it; undeclared ones are told now."""
    from mpc.reports import labels
    from mpc.reports.groups import declared_labels

    sizes = [extents[name].groups for name in plan.parties]
    shown: dict[str, Labels] = {}
    for position, name in enumerate(plan.parties):
        numbers = {cell // math.prod(sizes[position + 1 :]) % sizes[position] for cell in released}
        secret = labels.secret_keys(plan, party.params, name)
        if not any(secret):
            shown[name] = declared_labels(plan, party.params, name)
            continue
        if name == party.name and side is not None:
            shown[name] = labels.shown(plan, party.params, name, side.labels, numbers)
            labels.tell([party.peers[peer] for peer in party.job.receivers if peer != name], shown[name])
        elif party.name in party.job.receivers:
            with in_step("name groups"), naming(name):
                shown[name] = labels.hear(name, party.peers[name], sizes[position], secret, numbers)
        if party.params.verified:
            labels.compare(engine, name, shown.get(name))
    return shown


def _result(
    party: Party[Params], plan: "Plan", shown: "Mapping[str, Labels]", released: "Mapping[int, Group | None]"
) -> "pa.Table | None":
    """The report at a receiver."""
    from mpc.reports.results import cell_labels, result_table

    if party.name not in party.job.receivers:
        return None
    figures = {cell: group for cell, group in released.items() if group is not None}
    return result_table(plan, party.params, cell_labels(plan, shown), figures)


def _check(job: Job, params: Params) -> None:
    from mpc.reports import measures, noise, ranks
    from mpc.reports.groups import group_count

    plan = _plan(params)
    check_members(plan.parties, job, verified=params.verified)
    for name in plan.parties:
        member = job.members[name]
        table, columns = plan.table(name), plan.columns(name)
        if member.dataset not in ("", table.dataset):
            raise InputError(f"{name}: the SQL reads dataset {table.dataset}, and the job names {member.dataset}")
        given = {slot: tuple(names) for slot, names in member.columns.items()}
        if given != columns:
            raise InputError(f"{name}: the job's columns are not those of the SQL", hint="make the job from the SQL")
    if params.normalisation and len(params.normalisation) != len(plan.tables[0].key):
        raise InputError(
            f"{len(params.normalisation)} normalisation profiles for {len(plan.tables[0].key)} key columns"
        )
    for name in params.normalisation:
        profile(name)
    measures.check(plan, params)
    noise.check(plan, params)
    if params.verified and params.join == "J1":
        raise InputError(
            "no verified report joins at J1",
            hint="join at J3, which tells nobody which keys match",
        )
    if params.verified and len(plan.parties) > 3 and params.join != "J0":
        raise InputError(
            f"a verified report of {len(plan.parties)} parties joins at J0",
            hint="at J2 and J3 who checks what one of them gives could, with that one, tell which keys are common",
        )
    if computes_of(job) and params.noise is not None:
        raise InputError("a report with noise is computed by parties with tables alone", hint="leave the third out")
    if params.join == "J1" and len(plan.parties) > 2:
        raise InputError(
            f"{len(plan.parties)} parties do not join at J1",
            hint="join at J3, which costs the same and tells nobody which keys match, or at J0",
        )
    for aggregate in plan.aggregates:
        if aggregate.function in EXTREMES:
            ranks.interval(params, aggregate)
            _check_extreme(plan, params, asker_of(job), ranks.argument_of(aggregate).parties)
    known = [group_count(plan, params, name) or 1 for name in plan.parties]
    if math.prod(known) > MAX_CELLS:
        raise InputError(f"the report has {math.prod(known)} groups (at most {MAX_CELLS})", hint="group by less")


def _check_extreme(plan: "Plan", params: Params, asker: str, owners: Collection[str]) -> None:
    """Whoever owns the values must learn where its rows are among the joined ones."""
    open_level = "J1" if len(plan.parties) == 2 else "J0"
    if params.join == "J2":
        raise InputError("at J2 there is no minimum, maximum or quantile", hint=f"join at {open_level} or J3")
    if params.join == "J3" and set(owners) != {asker}:
        raise InputError(
            "at J3 a minimum, maximum or quantile is of the asker's columns",
            hint=f"let {' or '.join(owners)} be the asker, or join at {open_level}",
        )


def _uses(_job: Job, params: Params, name: str) -> Mapping[str, frozenset[Use]]:
    plan = _plan(params)
    if name not in plan.parties:
        return {}
    found: dict[str, set[Use]] = {column: {"join"} for column in plan.table(name).key}

    def add(columns: Iterable[Column], use: Use) -> None:
        for column in columns:
            if column.party == name:
                found.setdefault(column.name, set()).add(use)

    for group in plan.groups:
        add([group.column], "group")
    for aggregate in plan.aggregates:
        columns = aggregate.argument.columns if aggregate.argument is not None else ()
        add(columns, "extreme" if aggregate.function in EXTREMES else "aggregate")
    for comparison in plan.comparisons:
        add([comparison.left, comparison.right], "filter")
    add([Column(name, column) for column in plan.columns(name).get("filter", ())], "filter")
    return {column: frozenset(uses) for column, uses in found.items()}


def _conditions(_job: Job, params: Params, name: str) -> "Sequence[Condition]":
    """The party's own; with noise the keys of all rows take part."""
    return () if params.noise is not None else _plan(params).filters.get(name, ())


def _row_sets(_job: Job, params: Params, name: str, tables: "Mapping[str, pa.Table]", rows: Rows | None) -> "I64":
    from mpc.reports.sides import open_side

    return row_sets(open_side(_plan(params), params, name, tables, rows), rows)


def _estimate(job: Job, params: Params, rows: Mapping[str, int], name: str) -> Estimate:
    from mpc.reports.estimates import total

    return total(_plan(params), job, params, rows, name)


_SLOTS = slots("columns that are joined, in the order of the SQL")

SPEC = Spec(
    name="report.sql",
    version=1,
    summary="A report in SQL over the common keys of several parties: counts, sums, means, extremes by group.",
    params=Params,
    roles={
        "asker": Role(run, _SLOTS),
        "other": Role(run, _SLOTS, most=MOST_PARTIES - 1),
        COMPUTES: Role(compute, {}, least=0),
    },
    reveals=lambda job, params: reveals(job, params, _plan(params)),
    estimate=_estimate,
    minimum_result=lambda params: params.minimum_group,
    check=_check,
    uses=_uses,
    row_sets=_row_sets,
    conditions=_conditions,
    in_memory=lambda params: params.in_memory,
    epsilon=lambda params: 0 if params.noise is None else params.noise.millionths,
)
