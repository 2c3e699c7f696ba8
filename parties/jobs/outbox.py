"""Messages to peers that must arrive: kept in the database until confirmed, applied once by the receiver.

A message is queued in the same transaction as the change it tells of. It is sent when the peer is connected, and
again after every reconnection, in order, until the peer confirms it. The receiver records the number in the same
transaction as the message's effect. So a message takes effect exactly once, whichever process dies when.

When a link comes up each side first tells what it has heard. If that cannot be, one of the two databases was restored
from a backup or made anew; the sender then numbers what it still has from 1, in a new epoch, so that nothing it says
from now on is taken for a repetition.
"""

import sqlite3

from mpc.errors import InputError, ProtocolError
from mpc.rng import system_rng
from protos import control_pb2

EPOCH_BYTES = 16
#: Unconfirmed messages for one peer beyond which no new job with it is proposed; what open jobs need is still queued.
MAX_WAITING = 5000


def queue(db: sqlite3.Connection, peer: str, body: control_pb2.Envelope) -> None:
    """Add a message for `peer` (its fingerprint); call it inside the transaction that makes it true."""
    row = db.execute("SELECT epoch, last FROM outbox_counters WHERE peer = ?", (peer,)).fetchone()
    body.epoch, body.id = (system_rng(EPOCH_BYTES), 1) if row is None else (row["epoch"], int(row["last"]) + 1)
    _count(db, peer, body.epoch, body.id)
    db.execute("INSERT INTO outbox (peer, id, body) VALUES (?, ?, ?)", (peer, body.id, body.SerializeToString()))


def check_room(db: sqlite3.Connection, peer: str, name: str) -> None:
    """Raises `InputError` naming the peer if too many messages wait to be confirmed by it for another job."""
    waiting = int(db.execute("SELECT count(*) FROM outbox WHERE peer = ?", (peer,)).fetchone()[0])
    if waiting >= MAX_WAITING:
        raise InputError(
            f"{waiting} messages for {name} wait to be confirmed by it: no new job with it is proposed",
            hint=f"see `sealane peer diagnose {name}`, and propose the job once {name} is connected again",
        )


def pending(db: sqlite3.Connection, peer: str, after: int, limit: int = 100) -> list[tuple[int, bytes]]:
    """The next unconfirmed messages for `peer` with an id above `after`, in order."""
    rows = db.execute("SELECT id, body FROM outbox WHERE peer = ? AND id > ? ORDER BY id LIMIT ?", (peer, after, limit))
    return [(int(row["id"]), bytes(row["body"])) for row in rows]


def confirmed(db: sqlite3.Connection, peer: str, confirm: control_pb2.Confirm) -> None:
    """The peer has applied all messages up to `confirm.id`: forget them.

    Raises `ProtocolError` when it confirms one that was never queued.
    """
    row = db.execute("SELECT epoch, last FROM outbox_counters WHERE peer = ?", (peer,)).fetchone()
    if row is None or row["epoch"] != confirm.epoch:
        return
    if confirm.id > int(row["last"]):
        raise ProtocolError("confirmed a message that was never sent")
    db.execute("DELETE FROM outbox WHERE peer = ? AND id <= ?", (peer, confirm.id))


def heard(db: sqlite3.Connection, peer: str) -> control_pb2.Heard:
    """What to tell `peer` when a link comes up: the last message of its that took effect here, if any did."""
    row = db.execute("SELECT epoch, last FROM inbox WHERE peer = ?", (peer,)).fetchone()
    return control_pb2.Heard() if row is None else control_pb2.Heard(epoch=row["epoch"], id=row["last"])


def resume(db: sqlite3.Connection, peer: str, told: control_pb2.Heard) -> bool:
    """Forget what the peer says it has heard; if that cannot be, number the rest anew and give True."""
    row = db.execute("SELECT epoch, last FROM outbox_counters WHERE peer = ?", (peer,)).fetchone()
    if row is None:
        return False
    last = int(row["last"])
    first = db.execute("SELECT min(id) AS id FROM outbox WHERE peer = ?", (peer,)).fetchone()["id"]
    forgotten = last if first is None else int(first) - 1
    known = told.id if told.epoch == row["epoch"] else 0
    if forgotten <= known <= last:
        db.execute("DELETE FROM outbox WHERE peer = ? AND id <= ?", (peer, known))
        return False
    bodies = [control_pb2.Envelope.FromString(body) for _, body in pending(db, peer, 0, limit=last)]
    db.execute("DELETE FROM outbox WHERE peer = ?", (peer,))
    _count(db, peer, system_rng(EPOCH_BYTES), 0)
    for body in bodies:
        queue(db, peer, body)
    return True


def is_new(db: sqlite3.Connection, peer: str, envelope: control_pb2.Envelope) -> bool:
    """Whether this durable message still has to take effect; records that it does.

    Raises `ProtocolError` when the peer left one out.
    """
    if len(envelope.epoch) != EPOCH_BYTES:
        raise ProtocolError("a durable message without its epoch")
    row = db.execute("SELECT epoch, last FROM inbox WHERE peer = ?", (peer,)).fetchone()
    last = int(row["last"]) if row is not None and bytes(row["epoch"]) == envelope.epoch else 0
    if envelope.id <= last:
        return False
    if envelope.id != last + 1:
        raise ProtocolError(f"message {envelope.id} came after message {last}")
    db.execute(
        "INSERT INTO inbox (peer, epoch, last) VALUES (?, ?, ?) "
        "ON CONFLICT (peer) DO UPDATE SET epoch = excluded.epoch, last = excluded.last",
        (peer, envelope.epoch, envelope.id),
    )
    return True


def _count(db: sqlite3.Connection, peer: str, epoch: bytes, last: int) -> None:
    db.execute(
        "INSERT OR REPLACE INTO outbox_counters (peer, epoch, last) VALUES (?, ?, ?)",
        (peer, epoch, last),
    )
