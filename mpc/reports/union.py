"""Joint reports in SQL over the union of several parties' rows: the same columns at all, no join.

Every party compiles the same text to the same plan, applies its own conditions, and adds up its own rows by group.
These totals are added up on shares, and which groups are large enough is decided on shares: a group is shown only if,
without the rows of any one receiver, it still has the minimum of different people; of others nothing is opened.

Nobody learns which people several parties have, so how many there are in a group is known within bounds only: at least
as many as the party has that has most, and that is compared with the minimum; at most the sum, which is compared where
the parties declare that no person has rows at two of them (`separate_people`).

Two parties compute by themselves, or with a third that has no table. Of three and more, the first three in the order of
the SQL compute; all hide their totals under pairwise masks first, which cancel in the sum.

Output:   each receiver learns the report: for each released group the figures asked for, with the counts and sums that
          means and variances are made of; for the others, that they are suppressed.
Leaks:    all learn which groups are released, and, with LIMIT, the order of the released groups. A receiver can
          subtract its own rows' figures; what is left are figures of the other parties alone.
Security: semi-honest; that of `mpc.sharing.engine` and `mpc.sharing.masked_sum`. Of three and more parties, two of
          those that compute together learn the counts and sums of all groups, suppressed ones too, of all other parties
          together; of each party they learn how many people it has in each group (with `separate_people`: of each
          receiver), and its least and greatest values in released groups if these are asked for. A party can bring
          false totals; with `verified` any one party can do no more (see `mpc.sharing.verified`), and they must be
          totals that rows can have. Then totals have no masks: two of those that compute together learn each party's. A
          report is exact, so it gives way to differencing: see docs/what-this-does-not-protect.md.
Cost:     8 bytes from each party for each group and limb of 48 bits of a figure, and about 200 to each other party.
Source:   masks: Bonawitz et al., CCS 2017, doi.org/10.1145/3133956.3133982, without its drop-outs; minimum group:
          Hundepool et al., Statistical Disclosure Control, 2012, chapter 4; the grammar is in docs/reports.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mpc.errors import InputError, PolicyDenied
from mpc.job import Job
from mpc.reports.declarations import row_sets, slots
from mpc.reports.members import COMPUTES, check_members, computes_of, listed
from mpc.reports.plan import EXTREMES
from mpc.reports.report import MAX_CELLS
from mpc.reports.union_params import UnionParams
from mpc.spec import Estimate, Outcome, Party, Role, Rows, Spec
from mpc.uses import Use

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from mpc.conditions import Condition
    from mpc.reports.compiling_unions import UnionPlan
    from mpc.reports.deciding import Extremes, Figures
    from mpc.reports.params import Params
    from mpc.reports.results import Group
    from mpc.reports.union_totals import Layout, OwnRows
    from mpc.sharing.engine import Engine
    from mpc.sharing.values import Bits, Secret

    I64 = NDArray[np.int64]

MOST_PARTIES = 50
_LABEL = b"report.union"


def run(party: Party[UnionParams], tables: "Mapping[str, pa.Table]") -> Outcome:
    """Play one party. Facts: "own_rows" and "counted_rows", "groups" and "suppressed"."""
    from mpc.reports.groups import declared_labels
    from mpc.reports.results import cell_labels, result_table
    from mpc.reports.union_totals import open_rows

    union, params = _plan(party.params), party.params.report
    own = open_rows(union, params, party.name, tables, party.rows)
    _check_people(party, union, own)
    party.progress("check rows", 1, 3)
    released = _released(party, union, own)
    table = None
    if party.name in party.job.receivers:
        labels = cell_labels(union.plan, {union.alias: declared_labels(union.plan, params, union.alias)})
        groups = {cell: group for cell, group in released.items() if group is not None}
        table = result_table(union.plan, params, labels, groups)
    rows = tables["key"].num_rows if party.rows is None else party.rows.total
    facts = {"own_rows": rows, "counted_rows": len(own.counted()), **_facts(union, params, released)}
    return Outcome(table, facts)


def compute(party: Party[UnionParams], _tables: "Mapping[str, pa.Table]") -> Outcome:
    """Play the party that computes with two others, and has no table of its own. Facts: "groups" and "suppressed"."""
    union = _plan(party.params)
    return Outcome(None, _facts(union, party.params.report, _released(party, union, None)))


def _released(party: Party[UnionParams], union: "UnionPlan", own: "OwnRows | None") -> "dict[int, Group | None]":
    """The groups that are shown, with their figures at a receiver."""
    from mpc.reports.deciding import decide
    from mpc.reports.union_totals import Layout
    from mpc.sharing.engine import start

    computing = computing_of(union, computes_of(party.job))
    engine = start(
        party.name,
        party.peers,
        session=party.session,
        label=_LABEL + union.digest,
        rng=party.rng,
        guests=[name for name in union.parties if name not in computing],
        verified=party.params.verified,
    )
    figures = _figures(party, engine, Layout(union, party.params.report, len(union.parties)), own)
    party.progress("compute", 2, 3)
    party.opening()
    released = decide(figures, party.job.receivers, lambda cells: _extremes(party, figures, own, cells))
    engine.finish()
    return released


def _facts(union: "UnionPlan", params: "Params", released: "Mapping[int, Group | None]") -> dict[str, int]:
    cells = cells_of(union, params)
    return {"groups": cells, "suppressed": cells - len(released)}


def cells_of(union: "UnionPlan", params: "Params") -> int:
    """How many groups the report has."""
    from mpc.reports.groups import group_count

    return group_count(union.plan, params, union.alias) or 1


def _plan(params: UnionParams) -> "UnionPlan":
    from mpc.reports.compiling_unions import compile_union  # loads sqlglot

    return compile_union(params.sql)


def computing_of(union: "UnionPlan", third: str = "") -> tuple[str, ...]:
    """Who computes on shares: two, two and a third without a table, or the first three of more."""
    return (*union.parties[: min(len(union.parties), 3)], *([third] if third else []))


def _check_people(party: Party[UnionParams], union: "UnionPlan", own: "OwnRows") -> None:
    """Raise `PolicyDenied` if the own conditions leave too few people, whom a receiver could tell apart."""
    import numpy as np

    minimum = party.params.minimum_group
    people = len(np.unique(own.people[own.side.keep & (own.people >= 0)]))
    if union.source(party.name).conditions and people < minimum:
        raise PolicyDenied(
            f"rule small_filter: the conditions on {party.name}'s own columns leave less people than the minimum group",
            hint=f"widen the conditions until at least {minimum} people are left",
        )


def _figures(party: Party[UnionParams], engine: "Engine", layout: "Layout", own: "OwnRows | None") -> "Figures":
    """The totals over all parties, and which cells have enough people."""
    import numpy as np

    from mpc.reports.deciding import Figures
    from mpc.reports.measures import needed
    from mpc.reports.union_totals import LIMB_BITS, MAX_ROWS

    union, cells = layout.union, cells_of(layout.union, layout.params)
    people, brought = None, None
    if own is not None:
        people, brought = own.people_by_cell(), own.words(layout)
        if party.params.separate_people:
            brought = np.concatenate([brought, people.view(np.uint64)])
    length = cells * (sum(layout.limbs(measure) for measure in needed(union.plan)) + party.params.separate_people)
    summed = _sum(party, layout, engine, brought, length).reshape(-1, cells)
    totals, place = {}, 0
    for measure in needed(union.plan):
        count = layout.limbs(measure)
        totals[measure] = [
            (LIMB_BITS * index, summed[place + index].within(*layout.bounds(measure, index))) for index in range(count)
        ]
        place += count
    everybody = None
    if party.params.separate_people:
        everybody = summed[place].within(0, layout.parties * MAX_ROWS)
    large = _large(party, union, engine, people, cells, everybody)
    ((_, rows),) = totals[needed(union.plan)[0]]
    return Figures(union.plan, layout.params, engine, union.parties, large, rows, totals)


def _sum(
    party: Party[UnionParams], layout: "Layout", engine: "Engine", words: "NDArray[np.uint64] | None", length: int
) -> "Secret":
    """The sum of what all parties bring, modulo 2^64.

    All hide it under masks from two that compute and pool their shares, who then know the sum only. Three that verify
    each other bring it without: of one other party there is nothing to hide it in, and what it brings is checked.
    """
    from dataclasses import replace

    from mpc.reports.union_legality import check_totals
    from mpc.sharing.masked_sum import Setting, masked_words

    union, verified = layout.union, party.params.verified
    if words is not None and not verified:
        words = masked_words(Setting.of(party, 0, _LABEL + union.digest), words)
    shares = [
        engine.share_words(name, words if name == party.name else None, shape=(length,)) for name in union.parties
    ]
    if verified:
        for name, share in zip(union.parties, shares, strict=True):
            check_totals(engine, name, layout, share, people=party.params.separate_people)
    parts = shares[0].parts
    for share in shares[1:]:
        parts = tuple(p + q for p, q in zip(parts, share.parts, strict=True))
    return replace(shares[0], parts=parts)


def _large(
    party: Party[UnionParams],
    union: "UnionPlan",
    engine: "Engine",
    people: "I64 | None",
    cells: int,
    everybody: "Secret | None",
) -> "Bits":
    """Which cells have the minimum of people whichever receiver takes its own away."""
    from functools import reduce
    from operator import and_

    from mpc.reports.legality import check_within
    from mpc.reports.union_totals import MAX_ROWS

    minimum = party.params.minimum_group
    receivers = party.job.receivers

    def brought(name: str) -> "Secret":
        own = people if name == party.name else None
        found = engine.share(name, own, shape=(cells,), low=0, high=MAX_ROWS)
        if party.params.verified:
            check_within(engine, name, found, 0, MAX_ROWS)
        return found

    if everybody is not None:
        return reduce(and_, [everybody - brought(name) >= minimum for name in receivers])
    enough = engine.concatenate([brought(name) for name in union.parties]) >= minimum
    by_party = enough.integers().reshape(len(union.parties), cells)
    parties = by_party.sum(axis=0)
    return reduce(and_, [parties - by_party[union.parties.index(name)] >= 1 for name in receivers])


def _extremes(party: Party[UnionParams], figures: "Figures", own: "OwnRows | None", cells: "I64") -> "Extremes":
    """The least and greatest values of released cells, at a receiver."""
    from mpc.reports import ranks
    from mpc.reports.deciding import impossible, open_to_all
    from mpc.reports.legality import check_within
    from mpc.reports.measures import count_measure

    plan, engine, params = figures.plan, figures.engine, figures.params
    found: Extremes = {}
    for aggregate in (each for each in plan.aggregates if each.function in EXTREMES):
        low, high = ranks.interval(params, aggregate)
        mine = None if own is None else own.extreme(aggregate)[cells]
        shares = [
            engine.share(name, mine if name == party.name else None, shape=cells.shape, low=low, high=high)
            for name in figures.parties
        ]
        if party.params.verified:
            for name, share in zip(figures.parties, shares, strict=True):
                check_within(engine, name, share, low, high)
        every = engine.concatenate([share.reshape(1, -1) for share in shares])
        best = every.min(axis=0) if aggregate.function == "min" else every.max(axis=0)
        ((_, counted),) = figures.totals[count_measure(plan, aggregate)]
        pair = engine.concatenate([best.reshape(1, -1), counted[cells].reshape(1, -1)])
        opened = open_to_all(engine, party.job.receivers, pair)
        if opened is None:
            continue
        for cell, value, count in zip(cells.tolist(), *opened.tolist(), strict=True):
            if not low <= value <= high:
                raise impossible(figures.parties, engine.name, "a value outside its column's bounds")
            found.setdefault(cell, {})[aggregate] = ranks.assemble(params, aggregate, count, [value] if count else [])
    return found


def _reveals(job: Job, params: UnionParams) -> Mapping[str, str]:
    union = _plan(params)
    texts = {}
    for name in union.parties:
        others = listed([each for each in union.parties if each != name])
        figures = (
            f"the report: figures of each group that has at least {params.minimum_group} people whichever receiver "
            f"takes its own rows away, the others suppressed; less its own figures, those of {others} alone"
        )
        learned = [figures if name in job.receivers else "which groups are released, and no figures"]
        if union.plan.limit is not None:
            learned.append("the order of all groups that are large enough")
        learned += _pooled(union, params, name, computing_of(union, computes_of(job)))
        texts[name] = "; ".join(learned)
    third = computes_of(job)
    if third:
        learned = ["which groups are released, and no figures"]
        if union.plan.limit is not None:
            learned.append("the order of all groups that are large enough")
        learned += _pooled(union, params, third, computing_of(union, third))
        texts[third] = "; ".join(learned)
    return texts


def _pooled(union: "UnionPlan", params: UnionParams, name: str, together: Sequence[str]) -> list[str]:
    """What a computing party would learn with another one."""
    if len(together) < 3 or name not in together:
        return []
    pair = listed([each for each in together if each != name], "or")
    if params.verified:
        return [f"and if it pooled what it holds with {pair}, each party's counts, sums and people by group"]
    each = "each receiver's people" if params.separate_people else "each party's people"
    if any(aggregate.function in EXTREMES for aggregate in union.plan.aggregates):
        each += ", least and greatest values"
    return [
        f"and if it pooled what it holds with {pair}, the sums of suppressed groups over all others, "
        f"and {each} by group"
    ]


def _check(job: Job, params: UnionParams) -> None:
    from mpc.reports import measures, ranks
    from mpc.reports.groups import group_count, labels_of

    union = _plan(params)
    check_members(union.parties, job, verified=params.verified)
    for name in union.parties:
        member = job.members[name]
        _check_member(union, name, member.dataset, {slot: tuple(each) for slot, each in member.columns.items()})
    measures.check(union.plan, params.report)
    for key in union.plan.groups:
        if labels_of(key, params.report) is None:
            raise InputError(
                f"column {key.column} is grouped by and its values are not declared: who has which would be told",
                hint="declare its values, or group by width_bucket of it",
            )
    for aggregate in union.plan.aggregates:
        if aggregate.function in EXTREMES - {"min", "max"}:
            raise InputError(
                "a union has no medians and quantiles", hint="take MIN and MAX, or COUNT(*) by width_bucket"
            )
        if aggregate.function in EXTREMES:
            ranks.interval(params.report, aggregate)
    groups = group_count(union.plan, params.report, union.alias) or 1
    if groups > MAX_CELLS:
        raise InputError(f"the report has {groups} groups (at most {MAX_CELLS})", hint="group by less")


def _check_member(union: "UnionPlan", name: str, dataset: str, given: Mapping[str, tuple[str, ...]]) -> None:
    source, columns = union.source(name), union.columns(name)
    if dataset not in ("", source.dataset):
        raise InputError(f"{name}: the SQL reads dataset {source.dataset}, and the job names {dataset}")
    if {slot: names for slot, names in given.items() if slot != "key"} != columns:
        raise InputError(f"{name}: the job's columns are not those of the SQL", hint="make the job from the SQL")
    for column in given.get("key", ()):
        if any(column in names for names in columns.values()):
            raise InputError(
                f"rule single_person, column {name}.{column}: it tells people apart, and the report uses it",
                hint="no grant allows that; leave it out",
            )


def _uses(job: Job, params: UnionParams, name: str) -> Mapping[str, frozenset[Use]]:
    union = _plan(params)
    if name not in union.parties:
        return {}
    source = union.source(name)
    own = dict(zip(union.names, source.columns, strict=True))
    found: dict[str, set[Use]] = {column: {"join"} for column in job.members[name].columns.get("key", ())}

    def add(columns: Iterable[str], use: Use) -> None:
        for column in columns:
            found.setdefault(column, set()).add(use)

    add((own[key.column.name] for key in union.plan.groups), "group")
    for aggregate in union.plan.aggregates:
        columns = aggregate.argument.columns if aggregate.argument is not None else ()
        add((own[column.name] for column in columns), "extreme" if aggregate.function in EXTREMES else "aggregate")
    add(union.columns(name).get("filter", ()), "filter")
    return {column: frozenset(uses) for column, uses in found.items()}


def _conditions(_job: Job, params: UnionParams, name: str) -> "Sequence[Condition]":
    union = _plan(params)
    return union.source(name).conditions if name in union.parties else ()


def _row_sets(_job: Job, params: UnionParams, name: str, tables: "Mapping[str, pa.Table]", rows: Rows | None) -> "I64":
    from mpc.reports.union_totals import open_rows

    return row_sets(open_rows(_plan(params), params.report, name, tables, rows).side, rows)


def _estimate(job: Job, params: UnionParams, rows: Mapping[str, int], name: str) -> Estimate:
    from mpc.reports.union_estimates import total

    return total(_plan(params), job, params, rows, name)


_SLOTS = slots("columns that tell people apart within the party")

SPEC = Spec(
    name="report.union",
    version=1,
    summary="A report in SQL over the union of several parties' rows: counts, sums, means, extremes by group.",
    params=UnionParams,
    roles={"party": Role(run, _SLOTS, least=2, most=MOST_PARTIES), COMPUTES: Role(compute, {}, least=0)},
    reveals=_reveals,
    estimate=_estimate,
    minimum_result=lambda params: params.minimum_group,
    check=_check,
    uses=_uses,
    row_sets=_row_sets,
    conditions=_conditions,
    in_memory=lambda params: params.in_memory,
)
