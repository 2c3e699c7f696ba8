"""How a job ends, the same way everywhere, and the receipt that all parties sign.

The coordinator decides. A success needs every party's signature, given with its `Done`, so the set of signatures is
itself the permission to release. Any other end is announced with the coordinator's signature; the others add theirs,
and the complete receipt goes round.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from mpc.errors import ProtocolError
from parties.evidence import log, receipt
from parties.identity import peers
from parties.identity.keys import Identity, verify
from parties.jobs.outbox import queue
from parties.jobs.records import JobRecord, coordinated, get, led_by, move
from parties.jobs.states import Event, State, ending, next_state
from protos import control_pb2


def statement(record: JobRecord, outcome: str, attempt: int, reason: str) -> bytes:
    """What every party signs about how the job ended."""
    return receipt.statement(
        job=record.id,
        digest=record.digest,
        outcome=outcome,
        attempt=attempt,
        reason=reason,
        parties={party.name: party.fingerprint for party in record.parties},
        receivers=record.job.receivers,
    )


def success(record: JobRecord, attempt: int) -> bytes:
    """The statement that the job succeeded in `attempt`."""
    return statement(record, State.SUCCEEDED, attempt, "")


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
) -> JobRecord:
    """The coordinator ends the job and tells the others; `results` is where a success releases its own result."""
    outcome = next_state(record.state, event)
    if event is not Event.SUCCEED:
        forget_signatures(db, record)
    words = statement(record, outcome, record.attempt, reason)
    _sign(db, record, me.fingerprint, me.sign(receipt.DOMAIN, words))
    moved = _settle(db, me, record, event, reason, now, detail=detail, hint=hint, results=results)
    message = _announcement(moved)
    for party in moved.others(me.fingerprint):
        queue(db, party.fingerprint, control_pb2.Envelope(end=message))
    return moved


def repeat(db: sqlite3.Connection, me: Identity, record: JobRecord, peer: str) -> None:
    """Tell a party that still works on an ended job how it ended."""
    assert record.initiator == me.fingerprint
    queue(db, peer, control_pb2.Envelope(end=_announcement(record)))


def ended(db: sqlite3.Connection, me: Identity, peer: str, message: control_pb2.End, results: Path, now: float) -> None:
    """The coordinator announced the end of a job: check its signatures, take it over, countersign."""
    record = led_by(db, peer, message.job)
    if record.state == message.outcome and record.party(me.fingerprint).signature:
        return
    try:
        event = ending(message.outcome)
        next_state(record.state, event)
    except ValueError:
        raise ProtocolError(f"announced that a job has {message.outcome[:20]!r} that is {record.state} here") from None
    required = [party.fingerprint for party in record.parties] if event is Event.SUCCEED else [peer]
    if event is Event.SUCCEED and message.attempt != record.attempt:
        raise ProtocolError("announced success of another attempt than the last")
    if event is not Event.SUCCEED:
        forget_signatures(db, record)
    words = statement(record, message.outcome, message.attempt, message.reason)
    _take_signatures(db, me, record, message.signatures, words, required)
    moved = _settle(db, me, record, event, message.reason, now, attempt=message.attempt, results=results)
    _countersign(db, me, moved, message)


def give_up(
    db: sqlite3.Connection, me: Identity, record: JobRecord, event: Event, reason: str, now: float
) -> JobRecord:
    """End a job without its coordinator's word, which a party may do that has not signed that its part is done."""
    return _settle(db, me, record, event, reason, now)


def countersigned(db: sqlite3.Connection, me: Identity, peer: str, message: control_pb2.Countersign) -> None:
    """A party signed how a job ended; once all have, everyone gets all signatures."""
    record = coordinated(db, me.fingerprint, peer, message.job)
    if not record.ended:
        raise ProtocolError("countersigned a job that has not ended here")
    if record.party(peer).signature:
        return
    words = statement(record, record.state, record.attempt, record.reason)
    verify(peers.find(db, peer).certificate_pem, receipt.DOMAIN, words, message.signature)
    _sign(db, record, peer, message.signature)
    signed = get(db, record.id)
    if all(party.signature for party in signed.parties):
        complete = control_pb2.Receipt(job=record.id, signatures=_signatures(signed))
        for party in signed.others(me.fingerprint):
            queue(db, party.fingerprint, control_pb2.Envelope(receipt=complete))


def completed(db: sqlite3.Connection, me: Identity, peer: str, message: control_pb2.Receipt) -> None:
    """The coordinator sent everyone's signatures under an ended job."""
    record = led_by(db, peer, message.job)
    if not record.ended:
        raise ProtocolError("sent a receipt of a job that has not ended here")
    words = statement(record, record.state, record.attempt, record.reason)
    _take_signatures(db, me, record, message.signatures, words, [party.fingerprint for party in record.parties])


def forget_signatures(db: sqlite3.Connection, record: JobRecord) -> None:
    """Drop what was signed for an attempt that does not count any more."""
    db.execute("UPDATE job_parties SET signature = '' WHERE job = ?", (record.id,))


def held_result(results: Path, job_id: str) -> Path:
    """Where a finished party keeps its result until the job ends."""
    return results / f".{job_id}.held"


def _settle(
    db: sqlite3.Connection,
    me: Identity,
    record: JobRecord,
    event: Event,
    reason: str,
    now: float,
    *,
    attempt: int | None = None,
    detail: str = "",
    hint: str = "",
    results: Path | None = None,
) -> JobRecord:
    result = None
    if event is Event.SUCCEED and results is not None:
        result = _release(results, record, me)
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
    )
    log.append(
        db,
        me,
        "job_ended",
        {"job": record.id, "digest": record.digest, "outcome": moved.state, "attempt": moved.attempt},
        now,
    )
    if result is not None:
        log.append(db, me, "result_released", {"job": record.id}, now)
    return moved


def _release(results: Path, record: JobRecord, me: Identity) -> str | None:
    """Move the held result to its place. Safe to repeat: a crash before the commit leaves it moved, not released."""
    if record.party(me.fingerprint).name not in record.job.receivers:
        return None
    final = results / f"{record.id}.parquet"
    held = held_result(results, record.id)
    if held.exists():
        held.replace(final)
    elif not final.exists():
        raise FileNotFoundError(f"the held result of job {record.id} is gone")
    return final.name


def _announcement(record: JobRecord) -> control_pb2.End:
    return control_pb2.End(
        job=record.id,
        attempt=record.attempt,
        outcome=record.state,
        reason=record.reason,
        signatures=_signatures(record),
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
    words: bytes,
    required: list[str],
) -> None:
    given = {signature.fingerprint: signature.signature for signature in signatures}
    for fingerprint in required:
        if fingerprint not in given:
            raise ProtocolError(f"left out the signature of {record.party(fingerprint).name}")
        certificate = (
            me.certificate_pem if fingerprint == me.fingerprint else peers.find(db, fingerprint).certificate_pem
        )
        verify(certificate, receipt.DOMAIN, words, given[fingerprint])
        _sign(db, record, fingerprint, given[fingerprint])


def _countersign(db: sqlite3.Connection, me: Identity, record: JobRecord, message: control_pb2.End) -> None:
    if record.state is State.SUCCEEDED:
        return
    words = statement(record, message.outcome, message.attempt, message.reason)
    signature = me.sign(receipt.DOMAIN, words)
    _sign(db, record, me.fingerprint, signature)
    countersign = control_pb2.Countersign(job=record.id, signature=signature)
    queue(db, record.initiator, control_pb2.Envelope(countersign=countersign))


def _sign(db: sqlite3.Connection, record: JobRecord, fingerprint: str, signature: bytes) -> None:
    db.execute(
        "UPDATE job_parties SET signature = ? WHERE job = ? AND fingerprint = ?",
        (signature.hex(), record.id, fingerprint),
    )
