"""From a proposal to everyone's decision on its exact digest.

Every function changes the database inside the caller's transaction and queues what the peers must hear of it.
`me` is this party's identity, `peer` the fingerprint of the party a message came from.
"""

import sqlite3
from dataclasses import replace

from mpc import registry
from mpc.errors import InputError, ProtocolError
from mpc.job import Job, digest_of
from parties import datasets, policy
from parties.grants import debit
from parties.identity import peers
from parties.identity.keys import Identity, verify
from parties.jobs import endings, evidence
from parties.jobs.authorise import Authority, authorise, name_in
from parties.jobs.outbox import check_room, queue
from parties.jobs.records import JobRecord, clean, coordinated, decide, find, get, move
from parties.jobs.states import OPEN, Event, State
from protos import control_pb2

APPROVAL_DOMAIN = b"sealane/approval/1"
DEFAULT_DEADLINE_S = 24 * 3600
DIGEST_BYTES = 32


def complete(db: sqlite3.Connection, me: Identity, job: Job, now: float) -> Job:
    """`job` with every member's fingerprint and a deadline; raises `InputError` if a member is not a peer."""
    known = {peer.name: peer.fingerprint for peer in peers.read_all(db) if peer.state == "active"} | {
        me.name: me.fingerprint
    }
    unknown = sorted(set(job.members) - set(known))
    if unknown:
        raise InputError(f"{unknown[0]} is not a peer of this node", hint="see them with `sealane peer list`")
    for name, member in job.members.items():
        if member.fingerprint not in ("", known[name]):
            raise InputError(f"the job gives {name} another fingerprint than the one that is pinned here")
    if me.name not in job.members:
        raise InputError(f"{me.name} (this node) takes no part in the job")
    members = {name: replace(member, fingerprint=known[name]) for name, member in job.members.items()}
    return replace(job, members=members, deadline=job.deadline or int(now) + DEFAULT_DEADLINE_S)


def propose(db: sqlite3.Connection, me: Identity, job: Job, now: float) -> JobRecord:
    """Record `job` (see `complete`), approve it here, and ask the other members.

    The same job again is the same job; raises `InputError` when the id is taken by another or too many messages wait
    for a member, `PolicyDenied` when this party's own grants do not allow it.
    """
    known = find(db, job.id)
    if known is not None:
        if known.digest != job.digest:
            raise InputError(f"job {job.id} exists with other contents", hint="propose it under a new id")
        return known
    if job.deadline <= now:
        raise InputError("the job's deadline has passed")
    for name, member in job.members.items():
        check_room(db, member.fingerprint, name)
    authority = authorise(db, me.fingerprint, job, now)
    if isinstance(authority.decision, policy.Refused):
        raise authority.decision.error()
    record = _insert(db, job, me.fingerprint, now)
    evidence.job_proposed(db, me, record, now)
    hints = _rows_to_tell(db, me, job)
    _note_rows(db, record, {me.name: hints[me.name]})
    for party in record.others(me.fingerprint):
        rows = [control_pb2.RowHint(party=me.name, rows=hints[party.name])]
        queue(db, party.fingerprint, control_pb2.Envelope(propose=control_pb2.Propose(job=record.spec, rows=rows)))
    return _approve(db, me, record, authority, now)


def receive(
    db: sqlite3.Connection, me: Identity, peer: str, message: control_pb2.Propose, open_jobs: int, now: float
) -> bool:
    """A peer proposes a job: record it and, if the grants are automatic, approve it; else it waits for a person.

    Gives whether it may still come to anything.

    What cannot be accepted is denied in words that reveal nothing about the data here. At most `open_jobs` of one
    peer are open at a time.
    """
    digest = digest_of(message.job)
    try:
        job = Job.from_bytes(message.job)
        _check_members(db, me, peer, job)
    except InputError as error:
        raise ProtocolError(f"proposed a job that cannot be read: {error}") from None
    known = find(db, job.id)
    if known is not None:
        return _again(db, me, peer, known, digest, now)
    record = _insert(db, job, peer, now)
    evidence.job_received(db, me, record, now)
    _note_rows(db, record, {hint.party: hint.rows for hint in message.rows[: len(job.members)]})
    mine = db.execute(
        f"SELECT count(*) FROM jobs WHERE initiator = ? AND state IN ({','.join('?' * len(OPEN))})",  # noqa: S608
        (peer, *OPEN),
    ).fetchone()[0]
    if mine > open_jobs:
        _deny(db, me, record, "limit", f"RESOURCE_EXHAUSTED: at most {open_jobs} open jobs of one party", now)
        return False
    try:
        authority = authorise(db, me.fingerprint, job, now)
    except InputError as error:
        _deny(db, me, record, "input", _public(job), now, str(error), error.hint)
        return False
    if isinstance(authority.decision, policy.Refused):
        _deny(db, me, record, "policy", policy.TOLD_TO_PEER, now, authority.decision.reason, authority.decision.hint)
        return False
    if authority.decision.automatic:
        _approve(db, me, record, authority, now)
    return True


def approve(db: sqlite3.Connection, me: Identity, job_id: str, digest: str, now: float) -> JobRecord:
    """A person approves the job with exactly `digest`; raises `InputError` or `PolicyDenied` if that cannot be."""
    record = get(db, job_id)
    if record.state is not State.PROPOSED:
        raise InputError(f"job {record.id} is {record.state}: there is nothing to approve")
    if record.digest != digest:
        raise InputError(
            f"job {record.id} has another digest than the one approved",
            hint="look at it again with `sealane job show`",
        )
    authority = authorise(db, me.fingerprint, record.job, now)
    if isinstance(authority.decision, policy.Refused):
        raise authority.decision.error()
    return _approve(db, me, record, authority, now)


def deny(db: sqlite3.Connection, me: Identity, job_id: str, reason: str, now: float) -> JobRecord:
    """A person denies the job; the others hear `reason`."""
    record = get(db, job_id)
    if record.state is not State.PROPOSED:
        what = "there is nothing to deny" if record.ended else "it can be cancelled, not denied"
        raise InputError(f"job {record.id} is {record.state}: {what}")
    return _deny(db, me, record, "operator", clean(reason) or "denied by its operator", now)


def decided(db: sqlite3.Connection, me: Identity, peer: str, message: control_pb2.Decide, now: float) -> None:
    """A member told its decision to this coordinator."""
    record = coordinated(db, me.fingerprint, peer, message.job)
    if record.ended:
        endings.repeat(db, me, record, peer)
        return
    party = record.party(peer)
    if message.digest.hex() != record.digest:
        raise ProtocolError(f"{party.name} decided on another digest than the one proposed")
    if not message.approved:
        decide(db, record.id, peer, None)
        reason = f"{party.name}: {clean(message.reason)}"
        endings.end(db, me, record, Event.DENY, reason, now)
        return
    certificate = peers.find(db, peer).certificate_pem
    verify(certificate, APPROVAL_DOMAIN, bytes.fromhex(record.digest), message.signature)
    decide(db, record.id, peer, message.signature.hex())
    evidence.approved_by(db, me, record, peer, now)


def conflicting(db: sqlite3.Connection, me: Identity, peer: str, message: control_pb2.Conflict, now: float) -> None:
    """A member has another job under the id of one proposed here: record both digests and end ours."""
    record = coordinated(db, me.fingerprint, peer, message.job)
    if len(message.held) != DIGEST_BYTES:
        raise ProtocolError("told of a conflict without the other digest")
    evidence.job_conflict(db, me, record, peer, message.held.hex(), now)
    if not record.ended:
        reason = f"{record.party(peer).name}: a job of this id with other contents exists"
        endings.end(db, me, record, Event.FAIL, reason, now, without=peer)


def _check_members(db: sqlite3.Connection, me: Identity, peer: str, job: Job) -> None:
    if name_in(job, me.fingerprint) != me.name:
        raise InputError("it gives this party another name")
    name_in(job, peer)
    pinned = {known.fingerprint: known.name for known in peers.read_all(db) if known.state == "active"}
    for name, member in job.members.items():
        if pinned.get(member.fingerprint, name) != name:
            raise InputError("it gives a peer another name than its certificate does")
    fingerprints = [member.fingerprint for member in job.members.values()]
    if len(set(fingerprints)) != len(fingerprints):
        raise InputError("it names a party twice")
    if not job.deadline:
        raise InputError("it has no deadline")


def _again(db: sqlite3.Connection, me: Identity, peer: str, known: JobRecord, digest: str, now: float) -> bool:
    """An id that is known here was proposed again: whether with the same contents and by the same party, as it must."""
    if known.digest == digest and known.initiator == peer:
        return True
    evidence.job_conflict(db, me, known, peer, digest, now)
    message = control_pb2.Conflict(job=known.id, held=bytes.fromhex(known.digest), offered=bytes.fromhex(digest))
    queue(db, peer, control_pb2.Envelope(conflict=message))
    return False


def _insert(db: sqlite3.Connection, job: Job, initiator: str, now: float) -> JobRecord:
    db.execute(
        "INSERT INTO jobs (id, digest, spec, initiator, state, deadline, awaited, created_at, updated_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (job.id, job.digest, job.to_bytes(), initiator, State.PROPOSED, job.deadline, len(job.members), now, now),
    )
    db.executemany(
        "INSERT INTO job_parties (job, fingerprint, name) VALUES (?, ?, ?)",
        [(job.id, member.fingerprint, name) for name, member in job.members.items()],
    )
    return get(db, job.id)


def _approve(db: sqlite3.Connection, me: Identity, record: JobRecord, authority: Authority, now: float) -> JobRecord:
    assert isinstance(authority.decision, policy.Allowed)
    spent = [grant.id for grant in authority.decision.grants]
    debit(db, spent, now)
    signature = me.sign(APPROVAL_DOMAIN, bytes.fromhex(record.digest))
    decide(db, record.id, me.fingerprint, signature.hex())
    moved = move(db, record, Event.APPROVE, now, commitment=authority.commitment, grants=spent)
    evidence.job_approved(db, me, moved, record.job.members[me.name].dataset, now)
    if record.initiator != me.fingerprint:
        digest = bytes.fromhex(record.digest)
        message = control_pb2.Decide(job=record.id, digest=digest, approved=True, signature=signature)
        queue(db, record.initiator, control_pb2.Envelope(decide=message))
    return moved


def _deny(
    db: sqlite3.Connection,
    me: Identity,
    record: JobRecord,
    rule: str,
    public: str,
    now: float,
    detail: str = "",
    hint: str = "",
) -> JobRecord:
    """Deny by `rule` of the evidence log: `public` is for everyone, `detail` and `hint` for this party's operator."""
    decide(db, record.id, me.fingerprint, None)
    evidence.job_denied(db, me, record, rule, now)
    reason = f"{me.name}: {public}"
    moved = move(db, record, Event.DENY, now, reason=reason, detail=detail, hint=hint)
    message = control_pb2.Decide(job=record.id, digest=bytes.fromhex(record.digest), approved=False, reason=public)
    queue(db, record.initiator, control_pb2.Envelope(decide=message))
    return moved


def _public(job: Job) -> str:
    """What a peer may hear of a job that does not fit: what its own proposal shows, nothing about the data here."""
    try:
        registry.get(job.protocol).parse(job)
    except InputError as own:
        return str(own)
    return policy.TOLD_TO_PEER


def _rows_to_tell(db: sqlite3.Connection, me: Identity, job: Job) -> dict[str, int]:
    """Rows of the own dataset by member, rounded up to a power of two; 0 for whom they do not change an estimate.

    A protocol whose costs show a party another's size declares that; one whose costs do not may hide it.
    """
    name = job.members[me.name].dataset
    dataset = datasets.find(db, name) if name else None
    unknown = dict.fromkeys(job.members, 0)
    if dataset is None:
        return unknown
    spec = registry.get(job.protocol)
    params = spec.parse(job)
    rounded = 1 << (dataset.rows - 1).bit_length()
    told = unknown | {me.name: rounded}
    return {
        other: rounded
        if other == me.name or spec.estimate(job, params, told, other) != spec.estimate(job, params, unknown, other)
        else 0
        for other in job.members
    }


def _note_rows(db: sqlite3.Connection, record: JobRecord, rows: dict[str, int]) -> None:
    for name, count in rows.items():
        db.execute("UPDATE job_parties SET rows = ? WHERE job = ? AND name = ?", (min(count, 2**48), record.id, name))
