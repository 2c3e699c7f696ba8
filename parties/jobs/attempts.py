"""From everyone's approval to the end: starting attempts, hearing of their outcome, deciding what follows.

Every function changes the database inside the caller's transaction. Workers are not started or ended here: the
server makes them agree with what the database says (`running`, and which attempt).
"""

import json
import math
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mpc import registry
from mpc.errors import InputError, ProtocolError
from mpc.rng import system_rng
from mpc.session import SESSION_BYTES
from parties import budgets
from parties.evidence.kinds import MAX_COUNT
from parties.identity.keys import Identity
from parties.jobs import endings, evidence, records
from parties.jobs.authorise import NoLongerAllowed, check_start
from parties.jobs.failure import Failure, Kind
from parties.jobs.outbox import queue
from parties.jobs.records import JobRecord, clean, coordinated, decide, get, in_states, led_by, move
from parties.jobs.states import OPEN, Event, State
from protos import control_pb2

MAX_RETRIES = 3  # attempts after an interruption; each starts from nothing
_RETRY_AFTER_S = 1.0
_BUSY_AFTER_S = 0.5
_LONGEST_PAUSE_S = 60.0  # no job waits longer for its next attempt: if one seems to, the clock was turned back
#: A party that has not signed gives up on a silent coordinator this long after the deadline.
GRACE_S = 5.0


def running(db: sqlite3.Connection) -> int:
    """How many attempts are under way here."""
    return int(db.execute("SELECT count(*) FROM jobs WHERE state = ?", (State.RUNNING,)).fetchone()[0])


def next_to_start(db: sqlite3.Connection, me: Identity, connected: Collection[str], now: float) -> str | None:
    """The oldest job coordinated here that everyone has approved and that may start now: its id.

    Its other members are all among `connected`.
    """
    row = db.execute(
        "SELECT id FROM jobs WHERE state = 'waiting' AND awaited = 0 AND initiator = ? "
        "AND not_before NOT BETWEEN ? AND ? "
        "AND NOT EXISTS (SELECT 1 FROM job_parties WHERE job = jobs.id AND fingerprint NOT IN "
        "(SELECT value FROM json_each(?))) ORDER BY created_at, id LIMIT 1",
        (
            me.fingerprint,
            math.nextafter(now, math.inf),
            now + _LONGEST_PAUSE_S,
            json.dumps([me.fingerprint, *connected]),
        ),
    ).fetchone()
    return None if row is None else str(row["id"])


def start(db: sqlite3.Connection, me: Identity, job_id: str, now: float) -> None:
    """The coordinator starts the next attempt, or ends the job if its own rules no longer allow it."""
    record = get(db, job_id)
    try:
        check_start(db, me, record, now)
    except NoLongerAllowed as error:
        failure = Failure(Kind.POLICY, error.public, str(error), error.hint)
        fail(db, me, record, me.name, failure, now)
        return
    session = system_rng(SESSION_BYTES)
    moved = _begin(db, me, record, record.attempt + 1, session, int(now), now)
    message = control_pb2.Start(
        job=record.id,
        digest=bytes.fromhex(record.digest),
        attempt=moved.attempt,
        session=session,
        started_at=moved.started_at,
    )
    for party in record.others(me.fingerprint):
        queue(db, party.fingerprint, control_pb2.Envelope(start=message))


def started(
    db: sqlite3.Connection, me: Identity, peer: str, message: control_pb2.Start, has_worker: bool, now: float
) -> None:
    """The coordinator starts an attempt: take part in it if that is still allowed and there is a free worker."""
    record = led_by(db, peer, message.job)
    own = record.party(me.fingerprint)
    if record.ended or own.decision == "denied":
        return  # this party gave up or withdrew; the coordinator hears so, or decides by itself at the deadline
    if message.digest.hex() != record.digest:
        raise ProtocolError("started a job with another digest than the one approved")
    if message.attempt <= record.attempt or len(message.session) != SESSION_BYTES or message.started_at > MAX_COUNT:
        raise ProtocolError("started an attempt that is not a new one")
    if own.decision != "approved":
        raise ProtocolError("started a job that is not approved here")
    try:
        check_start(db, me, record, now)
    except NoLongerAllowed as error:
        moved = move(db, record, Event.START, now, attempt=message.attempt, session=None)
        failure = Failure(Kind.POLICY, error.public, str(error), error.hint)
        stop(db, me, moved.id, moved.attempt, failure, now)
        return
    if not has_worker:
        queue(db, peer, control_pb2.Envelope(busy=control_pb2.Busy(job=record.id, attempt=message.attempt)))
        return
    _begin(db, me, record, message.attempt, message.session, message.started_at, now)


def finish(
    db: sqlite3.Connection,
    me: Identity,
    job_id: str,
    attempt: int,
    facts: Mapping[str, int],
    dropped: Sequence[str],
    results: Path,
    now: float,
) -> None:
    """The own worker delivered, having lost the parties `dropped`: its result is held until everyone's has."""
    record = get(db, job_id)
    if record.state is not State.RUNNING or record.attempt != attempt:
        return  # the coordinator went on meanwhile
    moved = move(db, record, Event.FINISH, now, facts=facts, dropped=dropped)
    counts = endings.counts(moved)
    signature = endings.sign(db, me, moved, endings.success(moved, attempt, dropped, counts), now)
    _mark(db, moved, me.fingerprint, done=attempt)
    if moved.initiator == me.fingerprint:
        _conclude(db, me, moved.id, results, now)
    else:
        done = control_pb2.Done(job=moved.id, attempt=attempt, signature=signature, dropped=dropped, counts=counts)
        queue(db, moved.initiator, control_pb2.Envelope(done=done))


def stop(db: sqlite3.Connection, me: Identity, job_id: str, attempt: int, failure: Failure, now: float) -> None:
    """The own part of an attempt ended without result."""
    record = get(db, job_id)
    if record.state is not State.RUNNING or record.attempt != attempt:
        return
    if record.initiator == me.fingerprint:
        fail(db, me, record, me.name, failure, now)
        return
    move(db, record, Event.STOP, now, detail=failure.detail, hint=failure.hint)
    _report(db, record, attempt, failure)


def cancel(db: sqlite3.Connection, me: Identity, job_id: str, now: float) -> JobRecord:
    """A person ends the job; whoever coordinates it ends it for everyone."""
    record = get(db, job_id)
    if record.ended:
        raise InputError(f"job {record.id} is {record.state}: there is nothing to cancel")
    reason = f"cancelled by {me.name}"
    evidence.job_cancelled(db, me, record, now)
    if record.initiator == me.fingerprint:
        return endings.end(db, me, record, Event.CANCEL, reason, now)
    if record.state is State.FINISHED:
        raise InputError(
            f"job {record.id}: this party has signed that its part is done; {record.party(record.initiator).name} "
            "ends it"
        )
    # Not even an attempt that the coordinator starts before it hears of this runs here.
    decide(db, record.id, me.fingerprint, None)
    _report(db, record, record.attempt, Failure(Kind.CANCELLED, reason))
    return record if record.state is State.STOPPED else move(db, record, Event.STOP, now)


def done(db: sqlite3.Connection, me: Identity, peer: str, message: control_pb2.Done, results: Path, now: float) -> None:
    """A member has finished its part of an attempt and signed for it."""
    record = coordinated(db, me.fingerprint, peer, message.job)
    if record.ended:
        endings.repeat(db, me, record, peer)
        return
    if message.attempt != record.attempt or record.state is State.WAITING:
        return  # of an attempt that was given up
    statement = endings.success(record, message.attempt, message.dropped, message.counts)
    endings.take(db, me, record, peer, statement, message.signature)
    _mark(db, record, peer, done=message.attempt)
    _conclude(db, me, record.id, results, now)


def failed(db: sqlite3.Connection, me: Identity, peer: str, message: control_pb2.Fail, now: float) -> None:
    """A member's part ended without result."""
    record = coordinated(db, me.fingerprint, peer, message.job)
    if record.ended:
        endings.repeat(db, me, record, peer)
        return
    if message.attempt > record.attempt:
        raise ProtocolError("failed an attempt that was not started")
    if message.kind == Kind.INTERRUPTED and (message.attempt != record.attempt or record.state is State.WAITING):
        return  # of an attempt that was given up
    failure = Failure(message.kind, clean(message.reason))
    if _can_go_on(record, record.party(peer).name, message.kind):
        _mark(db, record, peer, lost=message.attempt)
        return
    fail(db, me, record, record.party(peer).name, failure, now)


def busy(db: sqlite3.Connection, me: Identity, peer: str, message: control_pb2.Busy, now: float) -> None:
    """A member has no free worker: start another attempt a little later."""
    record = coordinated(db, me.fingerprint, peer, message.job)
    if record.state in (State.RUNNING, State.STOPPED, State.FINISHED) and message.attempt == record.attempt:
        # By chance, or two parties that each start jobs with their last worker would refuse each other for ever.
        chance = int.from_bytes(system_rng(2)) / 2**16
        move(db, record, Event.POSTPONE, now, not_before=now + _BUSY_AFTER_S * (0.5 + 2 * chance))


def fail(db: sqlite3.Connection, me: Identity, record: JobRecord, name: str, failure: Failure, now: float) -> None:
    """The coordinator decides what follows from a failure at the party `name`: another attempt, or the end."""
    if failure.kind == Kind.INTERRUPTED and record.retries < MAX_RETRIES and now < record.deadline:
        move(db, record, Event.POSTPONE, now, retries=record.retries + 1, not_before=now + _RETRY_AFTER_S)
        return
    event = Event.CANCEL if failure.kind == Kind.CANCELLED else Event.FAIL
    reason = failure.public if failure.kind == Kind.CANCELLED else f"{name}: {failure.public}"
    endings.end(db, me, record, event, reason, now, detail=failure.detail, hint=failure.hint)


def interrupt_all(db: sqlite3.Connection, me: Identity, now: float) -> None:
    """After a restart: no worker survived, so every running attempt is interrupted."""
    for record in in_states(db, {State.RUNNING}):
        stop(db, me, record.id, record.attempt, Failure(Kind.INTERRUPTED, "its node was restarted"), now)


def overdue(db: sqlite3.Connection, me: Identity, now: float) -> bool:
    """Whether `pass_deadlines` would change anything."""
    return bool(records.overdue(db, me.fingerprint, now, GRACE_S))


def pass_deadlines(db: sqlite3.Connection, me: Identity, now: float) -> None:
    """End what is past its deadline: the coordinator for all, a party that has not signed for itself."""
    for record in records.overdue(db, me.fingerprint, now, GRACE_S):
        if record.initiator == me.fingerprint:
            endings.end(db, me, record, Event.EXPIRE, _overdue_reason(record, me), now)
        else:
            coordinator = record.party(record.initiator).name
            reason = f"the deadline passed and {coordinator}, who coordinates the job, did not say how it ended"
            endings.give_up(db, me, record, Event.EXPIRE, reason, now)


def drop_peer(db: sqlite3.Connection, me: Identity, peer: str, now: float) -> None:
    """The operator removed a peer: its open jobs end here, and everywhere if they are coordinated here."""
    for record in in_states(db, OPEN, peer=peer):
        party = record.party(peer)
        reason = f"{me.name} removed {party.name} from its peers"
        if record.initiator == me.fingerprint:
            endings.end(db, me, record, Event.FAIL, reason, now)
        elif record.initiator == peer:
            endings.give_up(db, me, record, Event.FAIL, reason, now)
        else:
            _report(db, record, record.attempt, Failure(Kind.POLICY, f"it removed {party.name} from its peers"))
            if record.state is not State.STOPPED:
                move(db, record, Event.STOP, now)


def _overdue_reason(record: JobRecord, me: Identity) -> str:
    if record.undecided:
        return f"the deadline passed before {', '.join(record.undecided)} decided"
    late = [party.name for party in record.parties if party.done != record.attempt]
    if record.attempt and late:
        return f"the deadline passed before {', '.join(late)} finished attempt {record.attempt}"
    return f"the deadline passed before {me.name} could start it"


def _begin(
    db: sqlite3.Connection, me: Identity, record: JobRecord, attempt: int, session: bytes, started_at: int, now: float
) -> JobRecord:
    endings.forget_signatures(db, record)
    spec = registry.get(record.job.protocol)
    cost = spec.epsilon(spec.parse(record.job))
    budgets.debit(db, record.job, record.party(me.fingerprint).name, attempt, cost, now)
    moved = move(
        db,
        record,
        Event.START,
        now,
        attempt=attempt,
        session=session,
        started_at=started_at,
        dropped=(),
        detail="",
        hint="",
    )
    evidence.job_started(db, me, moved, now)
    return moved


def _conclude(db: sqlite3.Connection, me: Identity, job_id: str, results: Path, now: float) -> None:
    record = get(db, job_id)
    if record.state is not State.FINISHED:
        return
    left = [party for party in record.parties if party.name not in record.dropped]
    for party in left:
        if party.done == record.attempt and not endings.agrees(db, me, record, party):
            failure = Failure(
                Kind.PROTOCOL, f"it says that other parties dropped out, or counts otherwise, than {me.name} says"
            )
            fail(db, me, record, party.name, failure, now)
            return
        if party.lost == record.attempt and party.done != record.attempt:
            failure = Failure(Kind.INTERRUPTED, "it was lost after its part, before it could sign")
            fail(db, me, record, party.name, failure, now)
            return
    if all(party.done == record.attempt for party in left):
        endings.end(db, me, record, Event.SUCCEED, "", now, results=results)


def _mark(db: sqlite3.Connection, record: JobRecord, party: str, **attempt: int) -> None:
    """Note the last attempt that a party has done, or in which it was lost."""
    ((column, number),) = attempt.items()
    db.execute(
        f"UPDATE job_parties SET {column} = ? WHERE job = ? AND fingerprint = ?",  # noqa: S608 (own names)
        (number, record.id, party),
    )


def _can_go_on(record: JobRecord, name: str, kind: int) -> bool:
    """Whether the protocol may do without a party that was lost: then its own word is awaited, not the party's."""
    if kind not in (Kind.INTERRUPTED, Kind.CRASHED) or name in record.job.receivers:
        return False
    if record.state is State.FINISHED and name not in record.dropped:
        return False
    spec = registry.get(record.job.protocol)
    lost = sum(party.lost == record.attempt for party in record.parties if party.name != name)
    return record.state in (State.RUNNING, State.FINISHED) and lost < spec.tolerates(spec.parse(record.job))


def _report(db: sqlite3.Connection, record: JobRecord, attempt: int, failure: Failure) -> None:
    message = control_pb2.Fail(job=record.id, attempt=attempt, kind=failure.kind, reason=failure.public)  # type: ignore[arg-type]
    queue(db, record.initiator, control_pb2.Envelope(fail=message))
