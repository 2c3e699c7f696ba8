"""Whether this party takes part in a job: its own rules, its own data, its own grants."""

import sqlite3
from dataclasses import dataclass

from mpc import registry
from mpc.errors import InputError, PolicyDenied, ProtocolError
from mpc.job import Job
from mpc.spec import Slot
from parties import budgets, datasets, grants, models, policy, programs
from parties.datasets import Dataset
from parties.identity import peers
from parties.identity.keys import Identity
from parties.jobs.records import JobRecord, find, own_part


class NoLongerAllowed(PolicyDenied):
    """What allowed a job when it was approved no longer holds. `public` says which, in words for the other parties."""

    def __init__(self, public: str, detail: str = "", *, hint: str = "propose the job again") -> None:
        super().__init__(detail or public, hint=hint)
        self.public = public


@dataclass(frozen=True)
class Authority:
    """What lets this party take part: its decision, and the state of its data when it was taken."""

    decision: policy.Allowed | policy.Refused
    commitment: str


def authorise(db: sqlite3.Connection, me: str, job: Job, now: float) -> Authority:
    """Decide about `job` by the grants there are now. `me` is the own fingerprint.

    Raises `InputError` when the job does not fit a protocol of this release or the own data.
    """
    spec = registry.get(job.protocol)
    params = spec.parse(job)
    name = name_in(job, me)
    member = job.members[name]
    dataset = datasets.find(db, member.dataset) if member.dataset else None
    columns = tuple(dict.fromkeys(column for names in member.columns.values() for column in names))
    decision = policy.decide(
        policy.Request(
            peers=tuple(other.fingerprint for label, other in job.members.items() if label != name),
            names={other.fingerprint: label for label, other in job.members.items()},
            protocol=job.protocol,
            dataset=member.dataset,
            columns=columns,
            available=None if dataset is None else dataset.column_names,
            purpose=job.purpose,
            receivers=tuple(job.members[receiver].fingerprint for receiver in job.receivers),
            minimum_result=spec.minimum_result(params),
            uses=spec.uses(job, params, name) if spec.uses is not None else {},
            epsilon=spec.epsilon(params),
            spent=budgets.spent_by_peer(db, job, name) if spec.epsilon(params) else {},
        ),
        grants.read(db),
        now,
    )
    if isinstance(decision, policy.Allowed) and spec.model(params):
        _check_model(db, job, spec.model(params))
    if isinstance(decision, policy.Allowed):
        _check_program(db, spec.program(job, params, name))
    if isinstance(decision, policy.Allowed) and dataset is not None:
        for slot_name, slot in spec.roles[member.role].slots.items():
            for column in member.columns.get(slot_name, ()):
                _check_kind(dataset, column, slot_name, slot)
    return Authority(decision, "" if dataset is None else dataset.commitment)


def check_start(db: sqlite3.Connection, me: Identity, record: JobRecord, now: float) -> None:
    """Raise `NoLongerAllowed`, saying which, if what allowed the job when it was approved no longer holds."""
    name, member = own_part(record, me.fingerprint)
    try:
        spec = registry.get(record.job.protocol)
        params = spec.parse(record.job)
    except InputError as error:  # the node was upgraded since
        raise NoLongerAllowed(
            "its release does not run the job as it was approved",
            str(error),
            hint=error.hint or "propose the job again",
        ) from None
    if now >= record.deadline:
        raise NoLongerAllowed("the job's deadline has passed")
    known = {peer.fingerprint: peer for peer in peers.read_all(db) if peer.state == "active"}
    for party in record.others(me.fingerprint):
        if party.fingerprint not in known:
            raise NoLongerAllowed(f"{party.name} is no longer its peer")
    _check_grants(db, record, member.dataset, spec.epsilon(params), now)
    _check_kept(db, me, spec.model(params))
    program = spec.program(record.job, params, name)
    if program and programs.find(db, program) is None:
        raise NoLongerAllowed(
            "its operator removed the program after it approved the job",
            hint="register it again, then propose the job again",
        )
    if not member.dataset:
        return
    dataset = datasets.find(db, member.dataset)
    if dataset is None or dataset.commitment != record.commitment:
        what = "removed" if dataset is None else "registered anew"
        raise NoLongerAllowed(
            f"its dataset {member.dataset} was {what} after it approved the job",
            hint="propose the job again, so that it is approved for the data there is now",
        )


def _check_kept(db: sqlite3.Connection, me: Identity, model: str) -> None:
    """Raise `NoLongerAllowed` unless the own part of the model, if there is to be one, is here as it was signed."""
    if not model:
        return
    part = models.find(db, model)
    if part is None:
        raise NoLongerAllowed("its part of the model was removed after it approved the job", hint="train it again")
    try:
        models.check(me.certificate_pem, part)
    except ProtocolError as error:
        raise NoLongerAllowed(
            "its part of the model is not the one that it signed",
            str(error),
            hint="restore its database, or train again",
        ) from None


def _check_grants(db: sqlite3.Connection, record: JobRecord, dataset: str, epsilon: int, now: float) -> None:
    """Raise `NoLongerAllowed` unless the grants debited for the job still hold, with room for another `epsilon`."""
    for grant in (grant for grant in grants.read(db) if grant.id in record.grants):
        if grant.revoked:
            raise NoLongerAllowed(
                "its grant was revoked after it approved the job",
                f"grant {grant.id} was revoked after the job was approved",
            )
        if grant.expires_at is not None and now >= grant.expires_at:
            raise NoLongerAllowed(
                "its grant expired after it approved the job", f"grant {grant.id} expired after the job was approved"
            )
        spent = budgets.spent(db, dataset, grant.peer, record.job.purpose)
        reason = policy.over_budget(grant, spent, epsilon)
        if reason:
            raise NoLongerAllowed(
                "its privacy budget does not allow the job any more",
                f"grant {grant.id} {reason}",
                hint="propose it with a smaller epsilon, or add a grant with a larger budget",
            )


def name_in(job: Job, fingerprint: str) -> str:
    """The name under which a party takes part; raises `InputError` if it does not."""
    for name, member in job.members.items():
        if member.fingerprint == fingerprint:
            return name
    raise InputError("the job does not name this party's fingerprint")


def _check_model(db: sqlite3.Connection, job: Job, trained_by: str) -> None:
    """Raise `InputError` unless this party has a part of the model, and the others have the other parts."""
    record = find(db, trained_by)
    if record is None or models.find(db, trained_by) is None:
        raise InputError(
            f"this party has no part of a model that job {trained_by} trained",
            hint="see them with `sealane model list`",
        )
    if {member.fingerprint for member in job.members.values()} != {party.fingerprint for party in record.parties}:
        names = ", ".join(party.name for party in record.parties)
        raise InputError(f"the model of job {trained_by} is used by those who trained it: {names}")


def _check_program(db: sqlite3.Connection, digest: str) -> None:
    """Raise `InputError` if a program is to run here that the operator has not registered."""
    if digest and programs.find(db, digest) is None:
        raise InputError(
            f"the program {digest} is not registered here",
            hint="get the file from who wrote it, read it, and register it with `sealane program add NAME FILE`; "
            "then the job can be proposed again",
        )


_NUMBERS = ("integer", "decimal", "float")


def _check_kind(dataset: Dataset, column: str, slot_name: str, slot: Slot) -> None:
    kind = next(known.type for known in dataset.columns if known.name == column).partition("(")[0]
    numbers = {"number": _NUMBERS, "number or boolean": (*_NUMBERS, "boolean")}.get(slot.kind)
    other = "name another column, or register the dataset again with values that all are of the right kind"
    if numbers is not None and kind not in numbers:
        raise InputError(f"dataset {dataset.name}: {slot_name} column {column!r} is {kind}, not a number", hint=other)
    if slot.kind == "key" and kind in ("decimal", "float"):
        raise InputError(
            f"dataset {dataset.name}: {slot_name} column {column!r} is {kind}, which cannot be matched", hint=other
        )
