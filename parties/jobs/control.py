"""What a control message from a peer does: one transaction each, applied once, refused by name."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import structlog
from google.protobuf.message import DecodeError

from mpc.errors import InputError, ProtocolError
from parties.home import Settings
from parties.identity import peers
from parties.identity.keys import Identity
from parties.jobs import attempts, endings, evidence, outbox, proposals
from parties.jobs.states import IllegalTransition
from parties.store import Store
from protos import control_pb2

_LOG = structlog.get_logger()


class Applied(NamedTuple):
    """A message as read, and whether all it led to was a record: of a misdeed, a conflict, a job denied at once."""

    envelope: control_pb2.Envelope
    fruitless: bool


@dataclass(frozen=True)
class Desk:
    """What messages are applied to: this party's database, identity, folder of results and limits."""

    store: Store
    identity: Identity
    results: Path
    settings: Settings

    def apply(self, peer: str, data: bytes, takes_work: bool, now: float) -> Applied:
        """Apply a message of `peer`; gives it as read, and whether it led to nothing but a record of it here.

        A durable message takes effect once; one that the protocol does not allow is recorded instead and takes
        none. Raises `ProtocolError`, recorded too, if it cannot be read or its number is not the next, `StoreError`
        if nothing could be committed.
        """
        try:
            envelope = control_pb2.Envelope.FromString(data)
        except DecodeError:
            error = ProtocolError("sent a control message that cannot be read")
            self._record(peer, control_pb2.Envelope(), error, now)
            raise error from None
        fruitless = False
        try:
            with self.store.transaction() as db:
                if envelope.HasField("confirm"):
                    outbox.confirmed(db, peer, envelope.confirm)
                elif envelope.HasField("heard"):
                    if outbox.resume(db, peer, envelope.heard):
                        _LOG.warning("a database was restored or made anew, here or at the peer", peer=peer)
                elif envelope.id and outbox.is_new(db, peer, envelope):
                    fruitless = not self._dispatch(peer, envelope, takes_work, now)
        except (ProtocolError, InputError, IllegalTransition) as error:
            if not self._record(peer, envelope, error, now):
                raise ProtocolError(str(error)) from None
            fruitless = True
        return Applied(envelope, fruitless)

    def _dispatch(self, peer: str, envelope: control_pb2.Envelope, takes_work: bool, now: float) -> bool:
        """Whether it came to anything."""
        db, me = self.store.connection(), self.identity
        match envelope.WhichOneof("body"):
            case "propose":
                return proposals.receive(db, me, peer, envelope.propose, self.settings.max_open_jobs, now)
            case "decide":
                proposals.decided(db, me, peer, envelope.decide, now)
            case "conflict":
                proposals.conflicting(db, me, peer, envelope.conflict, now)
                return False
            case "start":
                has_worker = takes_work and attempts.running(db) < self.settings.max_running_jobs
                attempts.started(db, me, peer, envelope.start, has_worker, now)
            case "busy":
                attempts.busy(db, me, peer, envelope.busy, now)
            case "done":
                attempts.done(db, me, peer, envelope.done, self.results, now)
            case "fail":
                attempts.failed(db, me, peer, envelope.fail, now)
            case "end":
                endings.ended(db, me, peer, envelope.end, self.results, now)
            case "countersign":
                endings.countersigned(db, me, peer, envelope.countersign, now)
            case "receipt":
                endings.completed(db, me, peer, envelope.receipt, now)
            case _:
                raise ProtocolError("sent a control message of a kind that is not known here")
        return True

    def too_fast(self, peer: str, now: float) -> None:
        """Put it in the evidence that the peer is heard more slowly from now on."""
        with self.store.transaction() as db:
            evidence.peer_misbehaved(db, self.identity, peer, "rate", now)
        _LOG.warning("peer is heard more slowly", peer=peer, what="RESOURCE_EXHAUSTED: too much that leads to nothing")

    def _record(self, peer: str, envelope: control_pb2.Envelope, error: Exception, now: float) -> bool:
        """Put it in the evidence and count the message as dealt with; False if its number does not allow that."""
        countable = True
        with self.store.transaction() as db:
            name = peers.find(db, peer).name
            try:
                if envelope.id:
                    outbox.is_new(db, peer, envelope)
            except ProtocolError:
                countable = False
            evidence.peer_misbehaved(db, self.identity, peer, envelope.WhichOneof("body") or "message", now)
        _LOG.warning("peer misbehaved", peer=name, what=str(error))
        return countable
