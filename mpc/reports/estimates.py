"""What a report will cost, stage by stage: the same numbers for a job's estimate and for EXPLAIN.

Steps on shares are priced as they are (see `mpc.reports.pricing`), for one row a key on all sides.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mpc.job import Job
from mpc.joins import bins
from mpc.joins.joined import Joined
from mpc.primitives import okvs
from mpc.psi import multi_steps, row_prfs
from mpc.psi.canaries import CANARIES
from mpc.psi.params import MultiParams, VoleParams
from mpc.psi.vole_steps import wire_bytes as pair_bytes
from mpc.reports import ranks
from mpc.reports.groups import group_count
from mpc.reports.legality import claims_of
from mpc.reports.limbs import Extent
from mpc.reports.measures import needed
from mpc.reports.members import computes_of, computing
from mpc.reports.params import Params
from mpc.reports.plan import EXTREMES, Plan
from mpc.reports.pricing import Bill, bits, blank_engine
from mpc.reports.tally import Brought, Tally, without_ones
from mpc.sharing.engine import Engine
from mpc.sharing.values import Bits, Secret
from mpc.sharing.verified_prices import VerifiedPrices
from mpc.spec import Estimate

UNKNOWN_GROUPS = 10  # taken for groups that are not declared


@dataclass(frozen=True)
class Stage:
    """A step of a report: who computes, and what a party's part costs it."""

    name: str
    who: str
    rounds: int
    sent_bytes: int
    received_bytes: int
    seconds: float


@dataclass
class _Run:
    """A report as it is priced for the party `name`."""

    plan: Plan
    params: Params
    receivers: Sequence[str]
    rows: Mapping[str, int]
    name: str
    tally: Tally
    bill: Bill
    third: str  # computes without a table; empty: nobody does
    found: list[Stage] = field(default_factory=list)
    _brought: set[tuple[str, ...]] = field(default_factory=set)

    @property
    def parties(self) -> tuple[str, ...]:
        return (self.tally.asker, *self.tally.others)

    @property
    def joined(self) -> int:
        """Rows after the join."""
        if self.params.join in ("J0", "J2"):
            return min(self.rows.values())
        if self.params.join == "J1":
            return self.rows[self.tally.others[0]]
        return bins.bins_for(self.rows[self.tally.asker])

    @property
    def cells(self) -> int:
        return math.prod(extent.groups for extent in self.tally.extents.values())

    @property
    def computing(self) -> tuple[str, ...]:
        """Who computes on shares."""
        return computing(self.plan, self.tally.asker, self.third)

    @property
    def shared(self) -> str:
        """The same in words."""
        return " and ".join(self.computing)

    @property
    def everybody(self) -> tuple[str, ...]:
        """All that take part."""
        return (*self.parties, *([self.third] if self.third else []))

    def stage(self, name: str, who: str, before: tuple[int, int, int], seconds: float = 0.0) -> None:
        """Enter what was spent since `before`."""
        rounds, sent, received = (now - then for now, then in zip(self.bill.spent, before, strict=True))
        seconds += (sent + received) * (_SECONDS_A_VERIFIED_BYTE if self.params.verified else _SECONDS_A_BYTE)
        self.found.append(Stage(name, who, rounds, sent, received, seconds))

    def bring(self, party: str, brought: Brought) -> None:
        """Share what a party places among the joined rows, once."""
        if party not in self.tally.placed_before and (party, brought.name) not in self._brought:
            self._brought.add((party, brought.name))
            self.bill.share(party, self.joined * math.prod(brought.shape))

    def together(self, whole: Sequence[tuple[str, Brought]]) -> None:
        """Multiply what several parties bring, once."""
        self.bring(*whole[-1])
        key = tuple(f"{party}/{each.name}" for party, each in whole)
        if len(whole) > 1 and key not in self._brought:
            self._brought.add(key)
            self.together(whole[:-1])
            width = math.prod(math.prod(each.shape) for _, each in whole)
            self.bill.prices.multiply(self.joined * width)


def stages(plan: Plan, job: Job, params: Params, rows: Mapping[str, int], name: str) -> list[Stage]:
    """The steps in their order, for datasets of `rows` rows with one row a key, as the party `name` pays for them."""
    asker = next(party for party, member in job.members.items() if member.role == "asker")
    others = tuple(party for party in plan.parties if party != asker)
    extents = {
        party: Extent(group_count(plan, params, party) or UNKNOWN_GROUPS, rows[party], 1) for party in plan.parties
    }
    nothing: Any = None  # neither data nor peers
    tally = Tally(nothing, plan, params, asker, others, extents, nothing)
    third = computes_of(job)
    bill = Bill(name, computing(plan, asker, third), verified=params.verified)
    run = _Run(plan, params, job.receivers, rows, name, tally, bill, third)
    run.stage("filter and group own rows", "each party", run.bill.spent, _SECONDS_A_ROW * rows[name])
    _join(run)
    _compare(run)
    _sums(run)
    _check_brought(run)
    _decide(run)
    for aggregate in (each for each in plan.aggregates if each.function in EXTREMES):
        _extreme(run, *ranks.interval(params, aggregate), ranks.argument_of(aggregate).parties, aggregate.function)
    before = run.bill.spent
    limbs = sum(len(tally.terms(measure)) for measure in needed(plan))
    for receiver in job.receivers:
        run.bill.open(run.cells * (1 + limbs), (receiver,))
    run.stage("open released groups", "to the receivers", before)
    return run.found


def _join(run: _Run) -> None:
    """Matching of keys, and what is placed among the joined rows on the way."""
    before, tally = run.bill.spent, run.tally
    sent, received = _matching_bytes(run)
    keys = sum(run.rows.values()) if run.name == tally.asker else run.rows[run.name] + run.rows[tally.asker]
    keys = 0 if run.name == run.third else keys
    seconds = _SECONDS_AT_THE_START + _SECONDS_A_KEY * keys
    if run.bill.verified is not None:
        _join_verified(run, run.bill.verified)
    elif tally.placed_before:
        _join_hidden(run)
    if tally.placed_before:
        seconds *= 2
    if run.params.join == "J1":
        run.bill.share(tally.asker, bits(run.joined))
    run.stage(f"join, {run.params.join}", "all" if len(run.everybody) > 2 else "both", before, seconds)
    last = run.found.pop()
    run.found.append(
        Stage(
            last.name,
            last.who,
            last.rounds + _MATCHING_ROUNDS,
            last.sent_bytes + sent,
            last.received_bytes + received,
            last.seconds,
        )
    )


def _columns(run: _Run, party: str) -> int:
    """How many columns a party gives into a join that hides its matches."""
    return sum(math.prod(each.shape) for each in run.tally.hidden(party)) if party in run.tally.placed_before else 0


def _join_hidden(run: _Run) -> None:
    slots, tally = bins.bins_for(run.rows[run.tally.asker]), run.tally
    widths = {party: _columns(run, party) for party in run.parties}
    for party in tally.others:
        words = (1 + widths[party]) * (slots + CANARIES)
        run.bill.share(tally.asker, words)
        run.bill.share(party, words)
    run.bill.open(sum(1 + widths[party] for party in tally.others) * CANARIES, run.everybody)
    for _ in tally.others:
        run.bill.prices.zero(slots, 64)
    for _ in tally.others[1:]:
        run.bill.prices.conjoin(slots)
    for party in tally.others:
        run.bill.prices.select(widths[party] * slots)
    if run.params.join == "J2":
        run.bill.share(tally.asker, widths[tally.asker] * slots)
        run.bill.prices.integers(slots)
        run.bill.shuffle(slots, 1 + sum(widths.values()))
        run.bill.open(slots, run.parties)


def _join_verified(run: _Run, prices: VerifiedPrices) -> None:
    """As `mpc.joins.attested` does."""
    tally = run.tally
    if not tally.placed_before:
        prices.announce(tally.asker)
        for party in run.parties:
            run.bill.share(party, _KEY_WORDS)
        for _ in tally.others:
            prices.zero(_KEY_WORDS, 64)
            run.bill.open(bits(_KEY_WORDS), run.everybody)
        return
    slots, widths = bins.bins_for(run.rows[tally.asker]), {party: 1 + _columns(run, party) for party in tally.others}
    witness = {party: next(name for name in run.computing if name not in (tally.asker, party)) for party in widths}
    for party in run.parties:
        prices.announce(party)
    full = slots + CANARIES
    for party, width in widths.items():
        prices.hand_over(tally.asker, witness[party], (1 + width) * full)
        run.bill.share(party, full)
        run.bill.share(party, width)
        run.bill.share(party, (width + 1) * full)
        prices.fingerprints(width, full)
        prices.zero_words(full)
        prices.tell(party, witness[party], run.rows[party] + slots)
    for _ in tally.others[1:]:
        prices.conjoin(slots)
    prices.integers(slots)
    prices.multiply(sum(widths.values()) * slots)
    if run.params.join == "J2":
        run.bill.share(tally.asker, _columns(run, tally.asker) * slots)
    run.bill.open(sum(widths.values()) * CANARIES, run.everybody)
    run.bill.open(bits(len(widths) * CANARIES), run.everybody)
    for party in widths:
        prices.show(witness[party], slots)
    prices.sign(1, (2 * slots).bit_length())
    run.bill.open(1, run.everybody)
    if run.params.join == "J2":
        run.bill.shuffle(slots, 1 + sum(_columns(run, party) for party in run.parties))
        run.bill.open(slots, run.everybody)


def _check_brought(run: _Run) -> None:
    """What a verified report checks of the columns that each party brings, as `mpc.reports.legality` does."""
    before = run.bill.spent
    if run.bill.verified is None:
        return
    tally = _planned(run)
    for party in run.parties:
        run.bill.check(claims_of(tally, party))
    run.stage("check what was brought", run.shared, before)


def _planned(run: _Run) -> Tally:
    """The sums over the joined rows, without data: all that was brought to them."""
    nobody: Any = None
    engine = blank_engine(run.parties)
    tally = Tally(engine, run.plan, run.params, run.tally.asker, run.tally.others, run.tally.extents, nobody)
    columns = {
        party: {name: _blank(engine, run.joined, each) for each in tally.hidden(party) for name in each.columns}
        for party in tally.placed_before
    }
    hidden = run.params.join == "J3"
    matches = Secret(engine, (), (run.joined,), 0, 1) if hidden else None
    tally.joined = Joined(run.joined, columns, Bits(engine, (), (run.joined,)) if hidden else None, None, matches)
    tally.compare(run.plan.comparisons)
    tally.totals(needed(run.plan))
    return tally


def _blank(engine: Engine, rows: int, brought: Brought) -> Secret:
    return Secret(engine, (), (rows,), brought.low, brought.high)


def _matching_bytes(run: _Run) -> tuple[int, int]:
    """What a party sends and receives beside arrays on shares."""
    tally, rows = run.tally, run.rows
    by_asker = by_other = 0
    if run.name == run.third:
        return 0, 0
    for party in tally.others if run.name == tally.asker else (run.name,):
        if tally.placed_before:
            asked = bins.bins_for(rows[tally.asker])
            pair = multi_steps.wire_bytes(MultiParams(), asked, bins.FUNCTIONS * rows[party])
            if run.params.verified:
                pair = row_prfs.wire_bytes(MultiParams(), asked + CANARIES, bins.FUNCTIONS * rows[party])
            more = _columns(run, party) + run.params.verified  # a ticket
            pair = pair[0], pair[1] + 8 * okvs.columns(bins.FUNCTIONS * rows[party] + CANARIES) * more
        elif len(tally.others) > 1 or run.params.verified:
            told = _TAG_BYTES * (min(rows.values()) + CANARIES)
            pair = multi_steps.wire_bytes(MultiParams(), rows[tally.asker], rows[party])
            pair = pair[0] + told, pair[1]
        else:
            pair = pair_bytes(VoleParams(), rows[tally.asker], rows[party])
            pair = pair[0] + (rows[party] // 8 if run.params.join == "J0" else 0), pair[1]
        by_asker, by_other = by_asker + pair[0], by_other + pair[1]
    return (by_asker, by_other) if run.name == tally.asker else (by_other, by_asker)


def _compare(run: _Run) -> None:
    if not run.plan.comparisons:
        return
    before = run.bill.spent
    for comparison in run.plan.comparisons:
        for party, brought in run.tally.comparison(comparison).items():
            run.bring(party, brought)
        run.bill.prices.sign(run.joined, _COMPARED_BITS)
    run.stage("compare columns of two parties", run.shared, before)


def _sums(run: _Run) -> None:
    """The sums of all measures over the joined rows."""
    before, tally, joined = run.bill.spent, run.tally, run.joined
    terms = [term for measure in needed(run.plan) for term in tally.terms(measure)]
    wanted = {ours: {theirs for own, theirs, _ in terms if own == ours} for ours, _, _ in terms}
    groups, others = tally.extents[tally.asker].groups, math.prod(tally.extents[name].groups for name in tally.others)
    for ours, many in wanted.items():
        for limbs in many:
            run.together(without_ones(tally.brought(limbs)))
        columns = len(many) * others
        if run.plan.comparisons:
            run.bill.prices.integers(joined)
            run.bill.prices.multiply(joined * columns)
        if not tally.keyed:
            run.bill.prices.matmul(groups, joined, columns)
            continue
        if not ours.factor.is_one:
            run.bill.share(tally.asker, joined)
            run.bill.prices.multiply(joined * columns)
        run.bill.prices.sums_by(tally.asker, groups, (joined, columns))
    width = sum(len(many) for many in wanted.values()) * others
    run.stage("sum by group", run.shared, before, joined * width * _SECONDS_A_CELL)


def _decide(run: _Run) -> None:
    """Which groups are released."""
    before, cells = run.bill.spent, run.cells
    for _ in range(1 + (run.plan.having > 1)):
        run.bill.prices.sign(cells, _COMPARED_BITS)
    run.bill.open(bits(cells), run.everybody)
    run.stage("compare with the minimum", run.shared, before)
    if run.plan.limit is not None:
        before, pairs = run.bill.spent, cells * (cells - 1) // 2
        run.bill.prices.sign(pairs, 64)
        run.bill.open(bits(pairs), run.everybody)
        run.stage("find the top groups", run.shared, before)


def _extreme(run: _Run, low: int, high: int, owners: frozenset[str], function: str) -> None:
    """Bisection for one value of each cell."""
    before, tally, joined = run.bill.spent, run.tally, run.joined
    (owner,) = owners
    groups = tally.extents[tally.asker].groups
    for _ in range((high - low).bit_length()):
        if not tally.keyed:
            run.bill.share(owner, joined * run.cells)
            run.bill.prices.matmul(run.cells, joined, run.cells // tally.extents[owner].groups)
        elif owner != tally.asker:
            run.bill.share(owner, joined * run.cells)
            if len(tally.others) > 1:
                run.bill.prices.multiply(joined * run.cells)
            run.bill.prices.sums_by(tally.asker, groups, (joined, run.cells))
        else:
            for _ in range(run.cells // groups):
                run.bill.prices.sums_by(tally.asker, groups, (joined, 1))
        run.bill.prices.sign(run.cells, _COMPARED_BITS)
        run.bill.open(bits(run.cells), owners)
    run.stage(f"{function} by bisection", run.shared, before)


def total(plan: Plan, job: Job, params: Params, rows: Mapping[str, int], name: str) -> Estimate:
    """The sum of all stages."""
    parts = stages(plan, job, params, rows, name)
    return Estimate(
        seconds=sum(part.seconds for part in parts),
        sent_bytes=sum(part.sent_bytes for part in parts),
        received_bytes=sum(part.received_bytes for part in parts),
        peak_bytes=_VERIFIED_BASE_BYTES + _VERIFIED_ROW_BYTES * max(rows.values())
        if params.verified
        else _BASE_BYTES + _ROW_BYTES * rows[name],
    )


# Seconds on one core of about 3 GHz.
_SECONDS_A_ROW = 3e-7
_SECONDS_A_KEY = 1.5e-6
_SECONDS_AT_THE_START = 1.5
_SECONDS_A_BYTE = 4e-9
_SECONDS_A_VERIFIED_BYTE = 8e-9
_SECONDS_A_CELL = 2e-8  # a joined row of a column that is summed up
_MATCHING_ROUNDS = 9
_COMPARED_BITS = 32
_TAG_BYTES = 9
_KEY_WORDS = 4
_BASE_BYTES = 300 * 2**20
_ROW_BYTES = 600
_VERIFIED_BASE_BYTES = 600 * 2**20  # random products to check others against
_VERIFIED_ROW_BYTES = 8000
