"""How a job ends, the same way everywhere, and the receipt that all parties sign.

The coordinator decides. A success needs the signature of every party that was not lost on the way, given with its
`Done`, so the set of signatures is itself the permission to release. Any other end is announced with the
coordinator's signature; the others add theirs, and the complete receipt goes round.
"""

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mpc import registry
from mpc.errors import ProtocolError
from parties import models
from parties.evidence import receipt
from parties.evidence.kinds import MAX_COUNT
from parties.identity import peers
from parties.identity.keys import Identity
from parties.jobs import evidence
from parties.jobs.outbox import queue
from parties.jobs.records import JobRecord, PartyRecord, clean, coordinated, get, led_by, move
from parties.jobs.states import Event, State, ending, next_state
from protos import control_pb2


def success(record: JobRecord, attempt: int, dropped: Sequence[str], counts: Mapping[str, int]) -> receipt.Statement:
    """The statement that the job succeeded in `attempt`, without the parties in `dropped`, all with these `counts`."""
    return _statement(record, State.SUCCEEDED, attempt, record.started_at, dropped, counts)


def counts(record: JobRecord) -> dict[str, int]:
    """What the own part of the job counted that all parties count alike."""
    agreed = registry.get(record.job.protocol).agreed
    return {name: record.facts[name] for name in agreed if name in record.facts}


def end(
    db: sqlite3.Connection,
    me: Identity,
    record: JobRecord,
    event: Event,
    reason: str,
    now: float,
    *,
    detail: str = "",
    hint: str = "",
    results: Path | None = None,
    without: str = "",
) -> JobRecord:
    """The coordinator ends the job and tells the others, except the party `without` that does not have it.

    `results` is where a success releases its own result.
    """
    outcome = next_state(record.state, event)
    reason = clean(reason)  # as the others keep it
    if event is not Event.SUCCEED:
        forget_signatures(db, record)
        sign(db, me, record, _statement(record, outcome, record.attempt, record.started_at, (), {}), now)
    # Parties are done without in a success only.
    dropped = record.dropped if event is Event.SUCCEED else ()
    moved = _settle(db, me, record, event, reason, now, dropped=dropped, detail=detail, hint=hint, results=results)
    message = _announcement(moved)
    for party in moved.others(me.fingerprint):
        if party.fingerprint != without:
            queue(db, party.fingerprint, control_pb2.Envelope(end=message))
    _complete(db, me, moved, now)
    return moved


def repeat(db: sqlite3.Connection, me: Identity, record: JobRecord, peer: str) -> None:
    """Tell a party that still works on an ended job how it ended."""
    assert record.initiator == me.fingerprint
    queue(db, peer, control_pb2.Envelope(end=_announcement(record)))


def ended(db: sqlite3.Connection, me: Identity, peer: str, message: control_pb2.End, results: Path, now: float) -> None:
    """The coordinator announced the end of a job: check its signatures, take it over, countersign."""
    record = led_by(db, peer, message.job)
    if record.forgotten:
        return
    if record.ended and record.party(me.fingerprint).signature:
        if record.state != message.outcome:
            raise ProtocolError("announced another end of a job than before")
        return
    event = _announced(record, me, message)
    required = [peer]
    if event in (Event.SUCCEED, Event.SUCCEED_WITHOUT):
        required = [party.fingerprint for party in record.parties if party.name not in message.dropped]
    forget_signatures(db, record)
    counted = _counts_of(record, message.outcome)
    statement = _statement(record, message.outcome, message.attempt, message.started_at, message.dropped, counted)
    _take_signatures(db, me, record, message.signatures, statement, required)
    moved = _settle(
        db,
        me,
        record,
        event,
        clean(message.reason),
        now,
        attempt=message.attempt,
        started_at=message.started_at,
        dropped=message.dropped,
        results=results,
    )
    if not moved.party(me.fingerprint).signature:
        countersign = control_pb2.Countersign(job=moved.id, signature=sign(db, me, moved, statement, now))
        queue(db, moved.initiator, control_pb2.Envelope(countersign=countersign))
    _complete(db, me, get(db, moved.id), now)


def give_up(
    db: sqlite3.Connection, me: Identity, record: JobRecord, event: Event, reason: str, now: float
) -> JobRecord:
    """End a job without its coordinator's word, which a party may do that has not signed that its part is done."""
    forget_signatures(db, record)
    return _settle(db, me, record, event, reason, now)


def countersigned(
    db: sqlite3.Connection, me: Identity, peer: str, message: control_pb2.Countersign, now: float
) -> None:
    """A party signed how a job ended; once all have, everyone gets all signatures."""
    record = coordinated(db, me.fingerprint, peer, message.job)
    if not record.ended:
        raise ProtocolError("countersigned a job that has not ended here")
    if record.forgotten or record.party(peer).signature:
        return
    statement = final_statement(record)
    signature = message.signature.hex()
    receipt.check_signature(statement, peers.find(db, peer).certificate_pem, signature)
    _keep(db, record, peer, signature)
    signed = get(db, record.id)
    if all(party.signature for party in signed.parties):
        complete = control_pb2.Receipt(job=record.id, signatures=_signatures(signed))
        for party in signed.others(me.fingerprint):
            queue(db, party.fingerprint, control_pb2.Envelope(receipt=complete))
    _complete(db, me, signed, now)


def completed(db: sqlite3.Connection, me: Identity, peer: str, message: control_pb2.Receipt, now: float) -> None:
    """The coordinator sent everyone's signatures under an ended job."""
    record = led_by(db, peer, message.job)
    if not record.ended:
        raise ProtocolError("sent a receipt of a job that has not ended here")
    if record.forgotten:
        return
    everyone = [party.fingerprint for party in record.parties]
    _take_signatures(db, me, record, message.signatures, final_statement(record), everyone)
    _complete(db, me, get(db, record.id), now)


def final_statement(record: JobRecord) -> receipt.Statement:
    """What the parties of an ended job sign."""
    counted = _counts_of(record, record.state)
    return _statement(record, record.state, record.attempt, record.started_at, record.dropped, counted)


def take(
    db: sqlite3.Connection, me: Identity, record: JobRecord, peer: str, statement: receipt.Statement, signature: bytes
) -> None:
    """Keep another party's signature; raises `ProtocolError` unless it is right."""
    _take_signatures(db, me, record, [control_pb2.Signature(fingerprint=peer, signature=signature)], statement, [peer])


def agrees(db: sqlite3.Connection, me: Identity, record: JobRecord, party: PartyRecord) -> bool:
    """Whether the signature that `party` gave with its `Done` is on what this party says of the success."""
    own = party.fingerprint == me.fingerprint
    certificate = me.certificate_pem if own else peers.find(db, party.fingerprint).certificate_pem
    try:
        statement = success(record, record.attempt, record.dropped, counts(record))
        receipt.check_signature(statement, certificate, party.signature)
    except ProtocolError:
        return False
    return True


def sign(db: sqlite3.Connection, me: Identity, record: JobRecord, statement: receipt.Statement, now: float) -> bytes:
    """This party's signature on how the job ended, on the record before it leaves the node."""
    evidence.receipt_signed(db, me, record, statement.hash, now)
    signature = receipt.sign(me, statement.to_bytes())
    _keep(db, record, me.fingerprint, signature)
    return bytes.fromhex(signature)


def forget_signatures(db: sqlite3.Connection, record: JobRecord) -> None:
    """Drop what was signed for an attempt that does not count any more."""
    db.execute("UPDATE job_parties SET signature = '' WHERE job = ?", (record.id,))


def held_result(results: Path, job_id: str) -> Path:
    """Where a finished party keeps its result until the job ends; `models.held` is the same for its part of a model."""
    return results / f".{job_id}.held"


def _announced(record: JobRecord, me: Identity, message: control_pb2.End) -> Event:
    """The event that the coordinator's announcement is here; raises `ProtocolError` if the job cannot end so."""
    lost = record.party(me.fingerprint).name in message.dropped
    try:
        event = ending(message.outcome)
        event = Event.SUCCEED_WITHOUT if event is Event.SUCCEED and lost else event
        next_state(record.state, event)
    except ValueError:
        raise ProtocolError("announced an end that the job cannot have here") from None
    if message.attempt < record.attempt or message.started_at > MAX_COUNT:
        raise ProtocolError("announced the end of an attempt that is not the last")
    if event is Event.SUCCEED and message.attempt != record.attempt:
        raise ProtocolError("announced success of another attempt than the last")
    most = 0
    if message.outcome == State.SUCCEEDED:  # others may end in releases that lack the job's protocol
        spec = registry.get(record.job.protocol)
        most = spec.tolerates(spec.parse(record.job))
    expendable = {party.name for party in record.parties} - set(record.job.receivers)
    if len(message.dropped) > most or not set(message.dropped) <= expendable:
        raise ProtocolError("announced that parties dropped out that cannot")
    return event


def _statement(
    record: JobRecord,
    outcome: str,
    attempt: int,
    started_at: int,
    dropped: Sequence[str],
    counts: Mapping[str, int],
) -> receipt.Statement:
    return receipt.Statement(
        job=record.id,
        digest=record.digest,
        outcome=outcome,
        attempt=attempt,
        parties={party.name: party.fingerprint for party in record.parties},
        receivers=record.job.receivers,
        dropped=tuple(dropped),
        started_at=started_at,
        counts=dict(counts),
    )


def _counts_of(record: JobRecord, outcome: str) -> dict[str, int]:
    """What the statement of such an end says that all parties counted: nothing unless they have finished."""
    return counts(record) if outcome == State.SUCCEEDED else {}


def _settle(
    db: sqlite3.Connection,
    me: Identity,
    record: JobRecord,
    event: Event,
    reason: str,
    now: float,
    *,
    attempt: int | None = None,
    started_at: int | None = None,
    dropped: Sequence[str] = (),
    detail: str = "",
    hint: str = "",
    results: Path | None = None,
) -> JobRecord:
    result, model = None, None
    if event is Event.SUCCEED and results is not None:
        result = _release(results, record, me)
        model = models.keep(db, me, record.id, record.digest, record.job.protocol, results, now)
    moved = move(
        db,
        record,
        event,
        now,
        reason=reason,
        # What this party knows of its own failure outlives the public words about it.
        detail=detail or record.detail,
        hint=hint or record.hint,
        result=result,
        attempt=record.attempt if attempt is None else attempt,
        started_at=record.started_at if started_at is None else started_at,
        dropped=tuple(dropped),
    )
    evidence.job_ended(db, me, moved, now)
    if result is not None:
        evidence.result_released(db, me, moved, now)
    if model is not None:
        evidence.model_kept(db, me, moved, model, now)
    return moved


def _release(results: Path, record: JobRecord, me: Identity) -> str | None:
    """Move the held result to its place. Safe to repeat: a crash before the commit leaves it moved, not released."""
    if record.party(me.fingerprint).name not in record.job.receivers:
        return None
    final = results / f"{record.id}.parquet"
    held = held_result(results, record.id)
    if os.path.lexists(held):  # it may stand for a file in memory that a restart of the machine has taken
        held.replace(final)
    elif not os.path.lexists(final):
        raise FileNotFoundError(f"the held result of job {record.id} is gone")
    return final.name


def _announcement(record: JobRecord) -> control_pb2.End:
    return control_pb2.End(
        job=record.id,
        attempt=record.attempt,
        outcome=record.state,
        reason=record.reason,
        signatures=_signatures(record),
        dropped=record.dropped,
        started_at=record.started_at,
    )


def _signatures(record: JobRecord) -> list[control_pb2.Signature]:
    return [
        control_pb2.Signature(fingerprint=party.fingerprint, signature=bytes.fromhex(party.signature))
        for party in record.parties
        if party.signature
    ]


def _take_signatures(
    db: sqlite3.Connection,
    me: Identity,
    record: JobRecord,
    signatures: Iterable[control_pb2.Signature],
    statement: receipt.Statement,
    required: list[str],
) -> None:
    given = {signature.fingerprint: signature.signature.hex() for signature in signatures}
    for fingerprint in required:
        if fingerprint not in given:
            raise ProtocolError(f"left out the signature of {record.party(fingerprint).name}")
        own = fingerprint == me.fingerprint
        certificate = me.certificate_pem if own else peers.find(db, fingerprint).certificate_pem
        receipt.check_signature(statement, certificate, given[fingerprint])
        _keep(db, record, fingerprint, given[fingerprint])


def _complete(db: sqlite3.Connection, me: Identity, record: JobRecord, now: float) -> None:
    """Keep the receipt once every party that was not lost has signed it."""
    if record.receipt is not None:
        return
    if any(not party.signature for party in record.parties if party.name not in record.dropped):
        return
    statement = final_statement(record)
    signatures = {party.fingerprint: party.signature for party in record.parties if party.signature}
    data = receipt.Receipt(statement, signatures).to_bytes().decode()
    db.execute("UPDATE jobs SET receipt = ? WHERE id = ?", (data, record.id))
    evidence.receipt_completed(db, me, record, statement.hash, now)


def _keep(db: sqlite3.Connection, record: JobRecord, fingerprint: str, signature: str) -> None:
    db.execute(
        "UPDATE job_parties SET signature = ? WHERE job = ? AND fingerprint = ?",
        (signature, record.id, fingerprint),
    )
