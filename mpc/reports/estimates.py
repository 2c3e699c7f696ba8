"""What a report will cost, stage by stage: the same numbers for a job's estimate and for EXPLAIN."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mpc.job import Job
from mpc.psi.params import VoleParams
from mpc.psi.vole_steps import wire_bytes
from mpc.reports import ranks
from mpc.reports.groups import group_count
from mpc.reports.measures import needed
from mpc.reports.params import Params
from mpc.reports.plan import EXTREMES, Plan
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


def stages(plan: Plan, job: Job, params: Params, rows: Mapping[str, int], name: str) -> list[Stage]:
    """The steps in their order, for datasets of `rows` rows with one row a key, as the party `name` pays for them."""
    asker = next(party for party, member in job.members.items() if member.role == "asker")
    other = next(party for party in job.members if party != asker)
    by_asker, by_other = wire_bytes(VoleParams(), rows[asker], rows[other])
    common = min(rows.values()) if params.join == "J0" else rows[other]
    groups = {party: group_count(plan, params, party) or UNKNOWN_GROUPS for party in plan.parties}
    cells = math.prod(groups.values())
    found = [Stage("filter and group own rows", "each party", 0, 0, 0, _SECONDS_A_ROW * rows[name])]
    sent, received = (by_asker, by_other) if name == asker else (by_other, by_asker)
    seconds = _SECONDS_AT_THE_START + _SECONDS_A_KEY * (rows[asker] + rows[other])
    found.append(Stage(f"join, {params.join}", "both", _JOIN_ROUNDS, sent, received, seconds))

    def shared(what: str, rounds: int, count: int, size: int, seconds: float) -> Stage:
        return Stage(what, "both, on shares", rounds, count * size, count * size, count * seconds)

    if plan.comparisons:
        compared = len(plan.comparisons) * common
        found.append(shared("compare columns of both", _COMPARE_ROUNDS, compared, _COMPARE_BYTES, _SECONDS_TO_COMPARE))
    found += _sums(plan, common, groups, asker, other, name)
    checked = cells * (1 + (plan.having > 1))
    found.append(shared("compare with the minimum", _COMPARE_ROUNDS, checked, _COMPARE_BYTES, _SECONDS_TO_COMPARE))
    if plan.limit is not None:
        pairs = cells * (cells - 1) // 2
        found.append(shared("find the top groups", _COMPARE_ROUNDS, pairs, _COMPARE_BYTES, _SECONDS_TO_COMPARE))
    for aggregate in (each for each in plan.aggregates if each.function in EXTREMES):
        low, high = ranks.interval(params, aggregate)
        steps = (high - low).bit_length()
        size = _PICK_BYTES * _bits(groups[asker]) + 8 * cells
        rounds = steps * (2 + _COMPARE_ROUNDS)
        found.append(
            shared(f"{aggregate.function} by bisection", rounds, steps * common, size, cells * _SECONDS_TO_PICK)
        )
    receivers = len([each for each in job.receivers if each != name])
    size = 8 * cells * (len(needed(plan)) + 1)
    incoming = size if name in job.receivers else 0
    found.append(Stage("open released groups", "to the receivers", 1, size * receivers, incoming, 0.0))
    return found


def _sums(plan: Plan, common: int, groups: Mapping[str, int], asker: str, other: str, name: str) -> list[Stage]:
    """The sums of all measures over the common rows, whose groups the asker knows."""
    place = {party: plan.parties.index(party) for party in plan.parties}
    measures = needed(plan)
    products = sum(not measure[place[asker]].is_one for measure in measures) * groups[other]
    columns = len(measures) * groups[other]
    by_asker = common * _CHOICE_BYTES * _bits(groups[asker])
    by_other = common * (_PICK_BYTES * _bits(groups[asker]) + 8 * columns)
    sent, received = (by_asker, by_other) if name == asker else (by_other, by_asker)
    found = []
    if products:
        size, seconds = common * products * _PRODUCT_BYTES, common * products * _SECONDS_A_PRODUCT
        found.append(Stage("multiply columns of both", "both, on shares", 2, size, size, seconds))
    found.append(Stage("sum by group", "both, on shares", 3, sent, received, common * columns * _SECONDS_TO_PICK))
    return found


def _bits(groups: int) -> int:
    return max((groups - 1).bit_length(), 1)


def total(plan: Plan, job: Job, params: Params, rows: Mapping[str, int], name: str) -> Estimate:
    """The sum of all stages."""
    parts = stages(plan, job, params, rows, name)
    return Estimate(
        seconds=sum(part.seconds for part in parts),
        sent_bytes=sum(part.sent_bytes for part in parts),
        received_bytes=sum(part.received_bytes for part in parts),
        peak_bytes=_BASE_BYTES + _ROW_BYTES * rows[name],
    )


_SECONDS_A_ROW = 3e-7
_SECONDS_A_KEY = 1.5e-6
_SECONDS_AT_THE_START = 1.5
_SECONDS_A_PRODUCT = 4e-5
_SECONDS_TO_COMPARE = 2e-5
_SECONDS_TO_PICK = 1e-6
_JOIN_ROUNDS = 9
_COMPARE_ROUNDS = 8
_COMPARE_BYTES = 200
_PRODUCT_BYTES = 1700  # 64 transfers each way
_PICK_BYTES = 30  # a row and bit of a group's number
_CHOICE_BYTES = 10
_BASE_BYTES = 300 * 2**20
_ROW_BYTES = 600
