"""Messages to peers that must arrive: kept in the database until confirmed, applied once by the receiver.

A message is queued in the same transaction as the change it tells of. It is sent when the peer is connected, and
again after every reconnection, in order, until the peer confirms it. The receiver records the number in the same
transaction as the message's effect. So a message takes effect exactly once, whichever process dies when.
"""

import sqlite3

from mpc.errors import ProtocolError
from mpc.rng import system_rng
from protos import control_pb2

EPOCH_BYTES = 16


def epoch(db: sqlite3.Connection) -> bytes:
    """Which database this is: 16 random bytes, made on first use."""
    row = db.execute("SELECT value FROM facts WHERE name = 'epoch'").fetchone()
    if row is None:
        db.execute("INSERT INTO facts (name, value) VALUES ('epoch', ?)", (system_rng(EPOCH_BYTES),))
        return epoch(db)
    return bytes(row["value"])


def queue(db: sqlite3.Connection, peer: str, body: control_pb2.Envelope) -> None:
    """Add a message for `peer` (its fingerprint); call it inside the transaction that makes it true."""
    body.epoch = epoch(db)
    last = db.execute("SELECT last FROM outbox_counters WHERE peer = ?", (peer,)).fetchone()
    body.id = 1 if last is None else int(last["last"]) + 1
    db.execute(
        "INSERT INTO outbox_counters (peer, last) VALUES (?, ?) ON CONFLICT (peer) DO UPDATE SET last = excluded.last",
        (peer, body.id),
    )
    db.execute("INSERT INTO outbox (peer, id, body) VALUES (?, ?, ?)", (peer, body.id, body.SerializeToString()))


def pending(db: sqlite3.Connection, peer: str, after: int, limit: int = 100) -> list[tuple[int, bytes]]:
    """The next unconfirmed messages for `peer` with an id above `after`, in order."""
    rows = db.execute("SELECT id, body FROM outbox WHERE peer = ? AND id > ? ORDER BY id LIMIT ?", (peer, after, limit))
    return [(int(row["id"]), bytes(row["body"])) for row in rows]


def confirmed(db: sqlite3.Connection, peer: str, confirm: control_pb2.Confirm) -> None:
    """The peer has applied all messages up to `confirm.id`: forget them.

    Raises `ProtocolError` when it confirms one that was never queued.
    """
    if confirm.epoch == epoch(db):
        row = db.execute("SELECT last FROM outbox_counters WHERE peer = ?", (peer,)).fetchone()
        if confirm.id > (0 if row is None else int(row["last"])):
            raise ProtocolError("confirmed a message that was never sent")
        db.execute("DELETE FROM outbox WHERE peer = ? AND id <= ?", (peer, confirm.id))


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
    # A peer that lost its database starts a new epoch at 1; one restored from a backup keeps the epoch and is refused.
    if envelope.id != last + 1:
        raise ProtocolError(f"message {envelope.id} came after message {last}")
    db.execute(
        "INSERT INTO inbox (peer, epoch, last) VALUES (?, ?, ?) "
        "ON CONFLICT (peer) DO UPDATE SET epoch = excluded.epoch, last = excluded.last",
        (peer, envelope.epoch, envelope.id),
    )
    return True
