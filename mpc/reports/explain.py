"""EXPLAIN: what a report does, what it costs and what it tells whom, before anything runs."""

from collections.abc import Mapping
from dataclasses import dataclass

from mpc.job import Job
from mpc.reports.compiling import compile_sql
from mpc.reports.estimates import Stage, stages
from mpc.reports.noise import deviations
from mpc.reports.report import SPEC


@dataclass(frozen=True)
class Explanation:
    """`plan` is the plan's digest, hexadecimal; `stages` are those of one party, `reveals` one sentence a party."""

    plan: str
    stages: tuple[Stage, ...]
    reveals: Mapping[str, str]
    suppression: str
    epsilon: str  # what it costs each person, empty where figures are exact
    deviations: Mapping[str, float]  # about how far counts and sums are off, by output
    filters: Mapping[str, int]  # how many conditions each party applies to its own rows


def explain(job: Job, rows: Mapping[str, int], name: str) -> Explanation:
    """What the report `job` is to the party `name`, for datasets of `rows` rows (0: not known).

    Raises `InputError` for a job that is none, or whose text cannot be a report.
    """
    params = SPEC.parse(job)
    plan = compile_sql(params.sql)
    groups = "Groups" if params.noise is None else "By noisy counts, groups"
    people = f"{groups} of fewer than {params.minimum_group} different people"
    if plan.having > 1:
        people += f" or {plan.having} rows"
    text = f"{people} are shown as suppressed, like groups of nobody; nothing of them is opened."
    if plan.limit is not None:
        text += f" So are all but the first {plan.limit}."
    return Explanation(
        plan=plan.digest.hex(),
        stages=tuple(stages(plan, job, params, rows, name)),
        reveals=SPEC.reveals(job, params),
        suppression=text,
        epsilon="" if params.noise is None else params.noise.epsilon,
        deviations=deviations(plan, params),
        filters={party: len(plan.filters.get(party, ())) for party in plan.parties},
    )
