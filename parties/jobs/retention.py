"""What is removed of old jobs on their operator's word, and what stays.

Removed is what was asked and found: the proposal with its columns, conditions and purpose, why it ended, the counts
learned. What others can hold this party to stays: the job's id and digest, who took part and decided what, how it
ended, the receipt. So the evidence verifies as before, the same id is not taken for a new job, and what a peer says of
the job late is understood. Privacy budgets and sets of rows stay too, in tables of their own: who was given figures
keeps them.
"""

import sqlite3

from parties.evidence import log
from parties.identity.keys import Identity
from parties.jobs.evidence import moment
from parties.jobs.states import ENDED

_MARKS = ",".join("?" * len(ENDED))
#: A job is left as it is while its result or model is here, or somebody who can may still have to sign how it ended.
_OLD = f"""state IN ({_MARKS}) AND updated_at < ? AND length(spec) > 0 AND result IS NULL
    AND NOT EXISTS (SELECT 1 FROM models WHERE job = jobs.id)
    AND (receipt IS NOT NULL OR NOT EXISTS (
        SELECT 1 FROM job_parties JOIN peers USING (fingerprint)
        WHERE job = jobs.id AND signature = '' AND peers.state = 'active'))"""  # noqa: S608 (only question marks)


def old(db: sqlite3.Connection, before: float) -> int:
    """How many jobs `forget` would forget."""
    row = db.execute(f"SELECT count(*) FROM jobs WHERE {_OLD}", (*ENDED, before)).fetchone()  # noqa: S608 (own words)
    return int(row[0])


def forget(db: sqlite3.Connection, me: Identity, before: float, now: float) -> int:
    """Forget the jobs that ended before `before`, in the caller's transaction; gives how many, which goes on record."""
    assert db.in_transaction
    removed = "spec = x'', reason = '', detail = '', hint = '', facts = '{}'"
    found = db.execute(f"UPDATE jobs SET {removed} WHERE {_OLD} RETURNING id", (*ENDED, before))  # noqa: S608 (as above)
    ids = [(row["id"],) for row in found.fetchall()]
    db.executemany("UPDATE job_parties SET rows = NULL WHERE job = ?", ids)
    db.executemany("DELETE FROM progress WHERE job = ?", ids)
    if ids:
        log.append(db, me, "jobs_forgotten", {"jobs": len(ids), "before": int(before)}, moment(now))
    return len(ids)
