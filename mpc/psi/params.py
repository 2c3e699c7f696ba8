"""What the protocols that match keys agree on beside the job itself."""

from dataclasses import dataclass
from typing import Annotated, Literal

from mpc.bounded import Between
from mpc.errors import InputError
from mpc.job import Job
from mpc.normalisation import DEFAULT, profile

MAX_KEYS = 2**26  # distinct keys a party: bounds what a peer's claim can make us prepare for

Minimum = Annotated[int, Between(0, MAX_KEYS)]


@dataclass(frozen=True)
class Params:
    """Parameters of psi.ecdh and psi.ecdh_cardinality.

    `normalisation` names one profile a key column, in order (see `mpc.normalisation`); empty means exact/1 for all.
    `min_result` is the smallest number of common keys that is released.
    """

    normalisation: tuple[str, ...] = ()
    min_result: Minimum = 1


@dataclass(frozen=True)
class VoleParams:
    """Parameters of psi.vole: `normalisation` and `min_result` as in `Params`.

    `release`: "rows", a party's own matching rows in their order; "aligned", the same in an order that both parties'
    results share, so that row i of either belongs to one key, for which keys must not repeat within a table; "count",
    only the number of common keys. `code`: "standard", or "conservative", a denser code at more work (see
    `mpc.primitives.lpn`).
    """

    normalisation: tuple[str, ...] = ()
    min_result: Minimum = 1
    release: Literal["rows", "aligned", "count"] = "rows"
    code: Literal["standard", "conservative"] = "standard"

    @property
    def matching(self) -> Params:
        """The part that all matching protocols share."""
        return Params(self.normalisation, self.min_result)


@dataclass(frozen=True)
class MultiParams:
    """Parameters of psi.multi: `normalisation` and `min_result` as in `Params`, `code` as in `VoleParams`."""

    normalisation: tuple[str, ...] = ()
    min_result: Minimum = 1
    code: Literal["standard", "conservative"] = "standard"

    @property
    def matching(self) -> Params:
        """The part that all matching protocols share."""
        return Params(self.normalisation, self.min_result)


@dataclass(frozen=True)
class DryRunParams:
    """Parameters of psi.dry_run: `normalisation` as in `Params`."""

    normalisation: tuple[str, ...] = ()


def profile_names(job: Job, params: Params | DryRunParams) -> tuple[str, ...]:
    """One profile name a key column."""
    return params.normalisation or (DEFAULT,) * len(next(iter(job.members.values())).columns["key"])


def check_keys(job: Job, params: Params | DryRunParams) -> None:
    """Raises `InputError` unless all members bring as many key columns as there are profiles, and those exist."""
    counts = {len(member.columns["key"]) for member in job.members.values()}
    if len(counts) > 1:
        raise InputError(
            "the members bring different numbers of key columns",
            hint="name the same key columns in the same order for every member",
        )
    names = profile_names(job, params)
    if len(names) not in counts:
        raise InputError(f"{len(names)} normalisation profiles for {counts.pop()} key columns: give one a column")
    for name in names:
        profile(name)


def check_pair(job: Job, params: Params) -> None:
    """`check_keys`, and that the role that finds the intersection is one that receives it."""
    check_keys(job, params)
    receiver = by_role(job, "receiver")
    if receiver not in job.receivers:
        raise InputError(
            f"{receiver} has the role receiver and is not among the job's receivers",
            hint="swap the roles of the two members: the role receiver always learns the result",
        )


def check_aligned(job: Job) -> None:
    """Raises `InputError` unless both parties receive a result, without which there is nothing to align."""
    if len(job.receivers) < 2:
        raise InputError(
            "results can be aligned only if both parties receive one",
            hint="name both as receivers, or let release be rows",
        )


def check_no_repetition(duplicates: int) -> None:
    """Raises `InputError` if rows repeat a key, so that no row of the other party belongs to one of them alone."""
    if duplicates:
        raise InputError(
            f"{duplicates} rows repeat the key of an earlier one, so that rows cannot be aligned",
            hint="keep one row a key, or let release be rows",
        )


def by_role(job: Job, role: str) -> str:
    """The name of the only member in `role`."""
    return next(name for name, member in job.members.items() if member.role == role)
