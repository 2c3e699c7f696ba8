"""EXPLAIN: what a report does, what it costs and what it tells whom, before anything runs."""

from collections.abc import Mapping
from dataclasses import dataclass

from mpc.job import Job
from mpc.reports import union_estimates
from mpc.reports.compiling import compile_sql
from mpc.reports.compiling_unions import compile_union
from mpc.reports.disclosure import integrity
from mpc.reports.estimates import Stage, stages
from mpc.reports.noise import deviations
from mpc.reports.report import SPEC
from mpc.reports.union import SPEC as UNION


@dataclass(frozen=True)
class Explanation:
    """`plan` is the plan's digest, hexadecimal; `stages` are those of one party, `reveals` one sentence a party."""

    plan: str
    stages: tuple[Stage, ...]
    reveals: Mapping[str, str]
    suppression: str
    integrity: str  # on whose following the protocol the figures rest
    epsilon: str  # what it costs each person, empty where figures are exact
    deviations: Mapping[str, float]  # about how far counts and sums are off, by output
    filters: Mapping[str, int]  # how many conditions each party applies to its own rows


def explain(job: Job, rows: Mapping[str, int], name: str) -> Explanation:
    """What the report `job` is to the party `name`, for datasets of `rows` rows (0: not known).

    Raises `InputError` for a job that is none, or whose text cannot be a report.
    """
    if job.protocol == UNION.name:
        return _explain_union(job, rows, name)
    params = SPEC.parse(job)
    plan = compile_sql(params.sql)
    groups = "Groups" if params.noise is None else "By noisy counts, groups"
    people = f"{groups} of fewer than {params.minimum_group} different people"
    if plan.having > 1:
        people += f" or {plan.having} rows"
    return Explanation(
        plan=plan.digest.hex(),
        stages=tuple(stages(plan, job, params, rows, name)),
        reveals=SPEC.reveals(job, params),
        suppression=_suppressed(people, plan.limit),
        integrity=integrity(plan.parties, job, verified=params.verified),
        epsilon="" if params.noise is None else params.noise.epsilon,
        deviations=deviations(plan, params),
        filters={party: len(plan.filters.get(party, ())) for party in plan.parties},
    )


def _explain_union(job: Job, rows: Mapping[str, int], name: str) -> Explanation:
    params = UNION.parse(job)
    union = compile_union(params.sql)
    counted = "in total" if params.separate_people else "at one party"
    people = f"Groups of fewer than {params.minimum_group} different people {counted}, less any one receiver's own,"
    if union.plan.having > 1:
        people += f" or of fewer than {union.plan.having} rows,"
    return Explanation(
        plan=union.digest.hex(),
        stages=tuple(union_estimates.stages(union, job, params, rows, name)),
        reveals=UNION.reveals(job, params),
        suppression=_suppressed(people, union.plan.limit),
        integrity=integrity(union.parties, job, verified=params.verified),
        epsilon="",
        deviations={},
        filters={source.party: len(source.conditions) for source in union.sources},
    )


def _suppressed(people: str, limit: int | None) -> str:
    text = f"{people} are shown as suppressed, like groups of nobody; nothing of them is opened."
    return text if limit is None else f"{text} So are all but the first {limit}."
