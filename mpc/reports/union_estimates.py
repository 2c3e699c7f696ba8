"""What a report on a union will cost, stage by stage: the same numbers for a job's estimate and for EXPLAIN."""

from collections.abc import Mapping

from mpc.job import Job
from mpc.reports.compiling_unions import UnionPlan
from mpc.reports.estimates import Stage
from mpc.reports.groups import group_count
from mpc.reports.legality import within
from mpc.reports.measures import needed
from mpc.reports.members import computes_of
from mpc.reports.plan import EXTREMES
from mpc.reports.pricing import Bill, bits, blank_engine
from mpc.reports.ranks import interval
from mpc.reports.union import computing_of
from mpc.reports.union_legality import claims_of
from mpc.reports.union_params import UnionParams
from mpc.reports.union_totals import Layout
from mpc.sharing.values import INT64_MAX, INT64_MIN, Secret
from mpc.spec import Estimate


def stages(union: UnionPlan, job: Job, params: UnionParams, rows: Mapping[str, int], name: str) -> list[Stage]:
    """The steps in their order, for datasets of `rows` rows, as the party `name` pays for them."""
    layout = Layout(union, params.report, len(union.parties))
    cells = group_count(union.plan, params.report, union.alias) or 1
    together = computing_of(union, computes_of(job))
    bill, computing = Bill(name, together, verified=params.verified), " and ".join(together)
    found = [Stage("filter and add up own rows", "each party", 0, 0, 0, _SECONDS_A_ROW * rows[name])]

    def stage(what: str, who: str, before: tuple[int, int, int], agreed: int = 0) -> None:
        rounds, sent, received = (now - then for now, then in zip(bill.spent, before, strict=True))
        sent, received = sent + agreed, received + agreed
        seconds = _SECONDS_AT_THE_START * bool(agreed) + (sent + received) * _SECONDS_A_BYTE
        found.append(Stage(what, who, rounds + bool(agreed), sent, received, seconds))

    limbs = sum(layout.limbs(measure) for measure in needed(union.plan))
    before = bill.spent
    length = (limbs + params.separate_people) * cells
    for party in union.parties:
        bill.share(party, length)
    stage("add up all parties' totals", computing, before, _AGREEMENT_BYTES * (len(union.parties) - 1))
    before = bill.spent
    if params.verified:
        blank = Secret(blank_engine(union.parties), (), (length,), INT64_MIN, INT64_MAX)
        for party in union.parties:
            bill.check(claims_of(blank.engine, party, layout, blank, people=params.separate_people))
        stage("check what was brought", computing, before)
    before = bill.spent
    _decide(bill, union, job, params, cells)
    stage("compare with the minimum", computing, before)
    if union.plan.limit is not None:
        before, pairs = bill.spent, cells * (cells - 1) // 2
        bill.prices.sign(pairs, 64)
        bill.open(bits(pairs), union.parties)
        stage("find the top groups", computing, before)
    before = bill.spent
    for receiver in job.receivers:
        bill.open(cells * (1 + limbs), (receiver,))
    stage("open released groups", "to the receivers", before)
    for aggregate in (each for each in union.plan.aggregates if each.function in EXTREMES):
        before = bill.spent
        low, high = interval(params.report, aggregate)
        for party in union.parties:
            bill.share(party, cells)
            _check_within(bill, union, cells)
        for _ in range(len(union.parties) - 1):
            bill.prices.sign(cells, (high - low).bit_length() + 1)
            bill.prices.select(cells)
        for receiver in job.receivers:
            bill.open(2 * cells, (receiver,))
        stage(f"{aggregate.function} of all parties'", computing, before)
    return found


def _decide(bill: Bill, union: UnionPlan, job: Job, params: UnionParams, cells: int) -> None:
    counted = job.receivers if params.separate_people else union.parties
    for party in counted:
        bill.share(party, cells)
        _check_within(bill, union, cells)
    if not params.separate_people:
        bill.prices.sign(cells * len(counted), _COMPARED_BITS)
        bill.prices.integers(cells * len(counted))
    for _ in job.receivers:
        bill.prices.sign(cells, _COMPARED_BITS if params.separate_people else len(counted).bit_length() + 1)
    for _ in job.receivers[1:]:
        bill.prices.conjoin(cells)
    if union.plan.having > 1:
        bill.prices.sign(cells, _COMPARED_BITS)
        bill.prices.conjoin(cells)
    bill.open(bits(cells), union.parties)


def _check_within(bill: Bill, union: UnionPlan, cells: int) -> None:
    """That what a party brought is within bounds, if it is checked."""
    if bill.verified is not None:
        blank = Secret(blank_engine(union.parties), (), (cells,), 0, 1)
        bill.check(within(blank.engine, union.parties[0], blank, 0, 1))


def total(union: UnionPlan, job: Job, params: UnionParams, rows: Mapping[str, int], name: str) -> Estimate:
    """The sum of all stages."""
    parts = stages(union, job, params, rows, name)
    return Estimate(
        seconds=sum(part.seconds for part in parts),
        sent_bytes=sum(part.sent_bytes for part in parts),
        received_bytes=sum(part.received_bytes for part in parts),
        peak_bytes=_BASE_BYTES + _ROW_BYTES * rows[name],
    )


_SECONDS_A_ROW = 5e-7
_SECONDS_AT_THE_START = 1.0
_SECONDS_A_BYTE = 4e-9
_COMPARED_BITS = 33
_AGREEMENT_BYTES = 250  # keys, digests and seeds, with each other party
_BASE_BYTES = 250 * 2**20
_ROW_BYTES = 200
