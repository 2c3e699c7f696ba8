"""What people are told before they approve a report: what each party learns, and on whom the figures rest."""

from collections.abc import Mapping, Sequence

from mpc.job import Job
from mpc.reports.members import asker_of, computes_of, computing, listed
from mpc.reports.params import Params
from mpc.reports.plan import EXTREMES, Plan


def reveals(job: Job, params: Params, plan: Plan) -> Mapping[str, str]:
    """One sentence a party: all that it learns."""
    asker = asker_of(job)
    texts = {}
    for name in plan.parties:
        others = listed([each for each in plan.parties if each != name])
        several = len(plan.parties) > 2
        has, its = ("have", "their") if several else ("has", "its")
        have = f"{others} all have" if several else f"{others} also has"
        learned = [f"how many different keys and groups {others} {has} after {its} own conditions, and rows of one key"]
        if params.noise is not None:
            learned = [f"how many different keys {others} {has}, whatever {its} conditions"]
        if params.join == "J0":
            learned.append(f"which of its keys {have}")
        if params.join == "J1" and name == asker:
            learned.append(f"which of its keys {have}, to its node while it computes")
        if params.join == "J2":
            learned.append(f"how many keys {have}")
        own = [each for each in plan.aggregates if each.function in EXTREMES and each.argument is not None]
        if any(name in each.argument.parties for each in own if each.argument is not None):
            learned.append("the minima, maxima and quantiles of its own columns in released groups")
        if plan.limit is not None:
            learned.append("the order of all groups that are large enough")
        learned += _pooled(name, computing(plan, asker, computes_of(job)))
        figures = f"the report: figures of each group of at least {params.minimum_group} people, the others suppressed"
        if params.noise is not None:
            figures = f"the report: figures with noise (epsilon {params.noise.epsilon}) of each group of about " + (
                f"{params.minimum_group} people or more, the others suppressed"
            )
        first = figures if name in job.receivers else "which groups are released, and no figures"
        texts[name] = "; ".join([first, *learned])
    third = computes_of(job)
    if third:
        texts[third] = "; ".join(_learned_by_third(plan, params, computing(plan, asker, third)))
    return texts


def _pooled(name: str, together: Sequence[str]) -> list[str]:
    """What a computing party would learn with another one."""
    if len(together) < 3 or name not in together:
        return []
    pair = listed([each for each in together if each != name], "or")
    return [f"and if it pooled what it holds with {pair}, what the others brought to the join"]


def _learned_by_third(plan: Plan, params: Params, together: Sequence[str]) -> list[str]:
    """What the party learns that computes and has no table."""
    parties = listed(plan.parties)
    learned = [
        "which groups are released, and no figures",
        f"how many different keys and groups {parties} have after their own conditions, and rows of one key",
    ]
    if params.join in ("J0", "J2"):
        learned.append(f"how many keys {parties} both have")
    if any(each.function in EXTREMES for each in plan.aggregates):
        learned.append("how many values there are in released groups")
    if plan.limit is not None:
        learned.append("the order of all groups that are large enough")
    return [*learned, *_pooled(together[-1], together)]


def integrity(parties: Sequence[str], job: Job, *, verified: bool) -> str:
    """On whose following the protocol the figures of a report rest, in words."""
    if verified:
        return (
            f"The figures hold even if one of {listed(sorted(job.members))} departs from the protocol: it can bring "
            "other rows of its own, or end the report."
        )
    noticed = (
        "Noticed are messages that are not due or come again, counts that contradict each other, and figures that no "
        "data can have."
    )
    rest = f"The figures rest on {'both ' if len(parties) == 2 else ''}{listed(parties)}"
    if len(parties) == 2:
        return (
            f"{rest} following the protocol: each could falsify them unnoticed. {noticed} A third party without a "
            "table could compute with them (computes), and the report be verified."
        )
    return f"{rest} all following the protocol: each could falsify them unnoticed. {noticed}"
