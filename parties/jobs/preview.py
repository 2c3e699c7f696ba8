"""What an approver is shown of a job before it runs."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from mpc import registry
from mpc.errors import InputError, PolicyDenied
from mpc.job import Job
from mpc.spec import Estimate
from parties import datasets, grants, policy
from parties.grants import Budget
from parties.jobs.authorise import authorise


@dataclass(frozen=True)
class Preview:
    """What each party learns, what its part costs, and what the own policy says.

    `estimates` are for datasets of `rows`, which is 0 where it is not known. `epsilon` is what each attempt costs the
    people of a dataset, in millionths, and `budgets` how those that it is debited to stand here before it.
    """

    digest: str
    reveals: Mapping[str, str]
    rows: Mapping[str, int]
    estimates: Mapping[str, Estimate]
    minimum_result: int
    refusal: PolicyDenied | InputError | None
    epsilon: int = 0
    budgets: tuple[Budget, ...] = ()


def preview(db: sqlite3.Connection, me: str, name: str, job: Job, known_rows: Mapping[str, int], now: float) -> Preview:
    """The preview of `job` for the member `name`, whose fingerprint is `me`; `known_rows` are what others have said."""
    spec = registry.get(job.protocol)
    params = spec.parse(job)
    rows = {**dict.fromkeys(job.members, 0), **known_rows}
    own = job.members[name].dataset
    refusal: PolicyDenied | InputError | None = None
    try:
        if own:
            rows[name] = datasets.get(db, own).rows
        decision = authorise(db, me, job, now).decision
        if isinstance(decision, policy.Refused):
            refusal = decision.error()
    except InputError as error:
        refusal = error
    epsilon = spec.epsilon(params)
    return Preview(
        digest=job.digest,
        reveals=spec.reveals(job, params),
        rows=rows,
        estimates={member: spec.estimate(job, params, rows, member) for member in job.members},
        minimum_result=spec.minimum_result(params),
        refusal=refusal,
        epsilon=epsilon,
        budgets=_budgets(db, name, job, now) if epsilon and own else (),
    )


def _budgets(db: sqlite3.Connection, name: str, job: Job, now: float) -> tuple[Budget, ...]:
    """The budgets of `name` that an attempt at the job is debited to."""
    known = {(each.dataset, each.peer, each.purpose): each for each in grants.budgets_of(db, now)}
    own = job.members[name].dataset
    keys = [(own, member.fingerprint, job.purpose) for other, member in job.members.items() if other != name]
    return tuple(known.get(key, Budget(*key, spent=0, limit=None)) for key in keys)
