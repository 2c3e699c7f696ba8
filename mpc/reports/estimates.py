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

    def shared(what: str, elements: int, rounds: int, element_bytes: int) -> Stage:
        size = elements * element_bytes
        return Stage(what, "both, on shares", rounds, size, size, elements * _SECONDS_AN_ELEMENT)

    if plan.comparisons:
        count = len(plan.comparisons) * common
        found.append(shared("compare columns of both", count, _COMPARE_ROUNDS, _COMPARE_BYTES))
    sums = (len(needed(plan)) + 1) * common * cells
    found.append(shared("sum by group", sums, 2 * len(needed(plan)), _PRODUCT_BYTES))
    found.append(shared("compare with the minimum", cells * (1 + (plan.having > 1)), _COMPARE_ROUNDS, _COMPARE_BYTES))
    if plan.limit is not None:
        found.append(shared("find the top groups", cells * (cells - 1) // 2, _COMPARE_ROUNDS, _COMPARE_BYTES))
    for aggregate in (each for each in plan.aggregates if each.function in EXTREMES):
        low, high = ranks.interval(params, aggregate)
        steps = (high - low).bit_length()
        work = steps * common * cells * math.prod(groups.values())
        found.append(shared(f"{aggregate.function} by bisection", work, steps * (2 + _COMPARE_ROUNDS), _PRODUCT_BYTES))
    receivers = len([each for each in job.receivers if each != name])
    size = 8 * cells * (len(needed(plan)) + 1)
    incoming = size if name in job.receivers else 0
    found.append(Stage("open released groups", "to the receivers", 1, size * receivers, incoming, 0.0))
    return found


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
_SECONDS_AN_ELEMENT = 2e-6
_JOIN_ROUNDS = 9
_COMPARE_ROUNDS = 8
_COMPARE_BYTES = 200
_PRODUCT_BYTES = 1100
_BASE_BYTES = 300 * 2**20
_ROW_BYTES = 600
