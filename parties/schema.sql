CREATE TABLE peers (
    fingerprint TEXT PRIMARY KEY,            -- SHA-256 of the identity certificate (DER), hexadecimal
    name        TEXT NOT NULL UNIQUE,        -- the subject of that certificate
    certificate BLOB NOT NULL,               -- PEM
    address     TEXT NOT NULL DEFAULT '',    -- host:port to dial; empty: the peer dials us
    state       TEXT NOT NULL CHECK (state IN ('active', 'removed')),
    added_at    REAL NOT NULL
) STRICT;

CREATE TABLE invitations (
    nonce       TEXT PRIMARY KEY,            -- 32 hexadecimal digits
    expires_at  REAL NOT NULL,
    used_by     TEXT                         -- fingerprint of the peer that answered it
) STRICT;

CREATE TABLE datasets (
    name          TEXT PRIMARY KEY,
    path          TEXT NOT NULL,
    format        TEXT NOT NULL CHECK (format IN ('csv', 'parquet')),
    columns       TEXT NOT NULL,             -- JSON: [[name, type, nullable], ...] in file order
    key           TEXT NOT NULL,             -- JSON: [column, ...] the columns that name a person or a thing
    rows          INTEGER NOT NULL,
    salt          BLOB NOT NULL,             -- 32 bytes, of the commitment; never leaves the node
    commitment    TEXT NOT NULL,             -- HMAC-SHA256 of the file's bytes under the salt, hexadecimal
    registered_at REAL NOT NULL
) STRICT;

CREATE TABLE grants (
    id         TEXT PRIMARY KEY,
    peer       TEXT NOT NULL REFERENCES peers (fingerprint),
    terms      TEXT NOT NULL,                -- JSON of policy.Grant, without id, peer and uses
    uses       INTEGER NOT NULL DEFAULT 0,
    revoked_at REAL,
    created_at REAL NOT NULL
) STRICT;

CREATE TABLE jobs (
    id         TEXT PRIMARY KEY,             -- 32 hexadecimal digits
    digest     TEXT NOT NULL,
    spec       BLOB NOT NULL,                -- canonical bytes, as proposed
    initiator  TEXT NOT NULL,                -- fingerprint of the proposer, who coordinates
    state      TEXT NOT NULL,
    deadline   INTEGER NOT NULL,             -- the spec's, in seconds since 1970
    awaited    INTEGER NOT NULL,             -- how many members have not decided, as far as is known here
    attempt    INTEGER NOT NULL DEFAULT 0,
    retries    INTEGER NOT NULL DEFAULT 0,   -- attempts that were interrupted
    not_before REAL NOT NULL DEFAULT 0,      -- when the coordinator may start the next attempt
    session    BLOB,                         -- 16 bytes, of the current attempt
    started_at INTEGER NOT NULL DEFAULT 0,   -- of the current attempt, in seconds since 1970 by the coordinator's clock
    dropped    TEXT NOT NULL DEFAULT '[]',   -- JSON: names of the parties that were lost in it
    commitment TEXT NOT NULL DEFAULT '',     -- the own dataset's, when it was approved
    grants     TEXT NOT NULL DEFAULT '[]',   -- JSON: ids of the grants debited for it
    reason     TEXT NOT NULL DEFAULT '',     -- why it ended, the same at every party
    detail     TEXT NOT NULL DEFAULT '',     -- what this party alone knows about that
    hint       TEXT NOT NULL DEFAULT '',     -- what to do next
    facts      TEXT NOT NULL DEFAULT '{}',   -- JSON: the counts this party learned
    result     TEXT,                         -- file below results/, once released
    receipt    TEXT,                         -- canonical JSON, once every party has signed how it ended
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
) STRICT;

CREATE INDEX jobs_by_state ON jobs (state, deadline);
CREATE INDEX jobs_by_age ON jobs (created_at, id);
CREATE INDEX jobs_to_start ON jobs (initiator, created_at, id) WHERE state = 'waiting' AND awaited = 0;
CREATE INDEX jobs_with_result ON jobs (result) WHERE result IS NOT NULL;

CREATE TABLE job_parties (
    job         TEXT NOT NULL REFERENCES jobs (id),
    fingerprint TEXT NOT NULL,
    name        TEXT NOT NULL,
    decision    TEXT NOT NULL DEFAULT '' CHECK (decision IN ('', 'approved', 'denied')),
    approval    TEXT NOT NULL DEFAULT '',    -- hexadecimal signature over the digest
    rows        INTEGER,                     -- hint for estimates
    done        INTEGER NOT NULL DEFAULT 0,  -- the last attempt it has finished
    lost        INTEGER NOT NULL DEFAULT 0,  -- the last attempt in which it failed and the others went on
    signature   TEXT NOT NULL DEFAULT '',    -- hexadecimal, over the statement of how the job ended
    PRIMARY KEY (job, fingerprint)
) STRICT;

CREATE TABLE models (                        -- own parts of trained models, in results/<job>.model
    job        TEXT PRIMARY KEY REFERENCES jobs (id),  -- the job that trained it
    job_digest TEXT NOT NULL,
    protocol   TEXT NOT NULL,
    digest     TEXT NOT NULL,                -- SHA-256 of the file, hexadecimal
    signature  TEXT NOT NULL,                -- hexadecimal, own, over both digests
    kept_at    REAL NOT NULL
) STRICT;

CREATE TABLE programs (                      -- that the operator has read, and lets jobs run
    name     TEXT PRIMARY KEY,
    digest   TEXT NOT NULL,                  -- SHA-256 of the text, hexadecimal
    source   BLOB NOT NULL,                  -- the text
    added_at REAL NOT NULL
) STRICT;

CREATE TABLE calls (                         -- questions to the running node from other processes of its operator
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT NOT NULL,
    argument TEXT NOT NULL,                  -- JSON
    answer   TEXT,                           -- JSON, once given
    asked_at REAL NOT NULL
) STRICT;

CREATE TABLE progress (                      -- overwritten often; losing it loses nothing
    job            TEXT PRIMARY KEY,
    step           TEXT NOT NULL,
    done           INTEGER NOT NULL,
    total          INTEGER NOT NULL,
    sent_bytes     INTEGER NOT NULL,
    received_bytes INTEGER NOT NULL,
    started_at     REAL NOT NULL,
    updated_at     REAL NOT NULL
) STRICT;

CREATE TABLE outbox (                        -- messages a peer has not confirmed
    peer TEXT NOT NULL,
    id   INTEGER NOT NULL,                   -- 1, 2, 3, ... a peer, without gaps
    body BLOB NOT NULL,
    PRIMARY KEY (peer, id)
) STRICT;

CREATE TABLE outbox_counters (               -- the last id given to a message for each peer
    peer  TEXT PRIMARY KEY,
    epoch BLOB NOT NULL,                     -- 16 bytes: which numbering it counts in
    last  INTEGER NOT NULL
) STRICT;

CREATE TABLE inbox (                         -- the last message of each peer's outbox that took effect here
    peer TEXT PRIMARY KEY,
    epoch BLOB NOT NULL,                     -- which database of the peer's the number belongs to
    last INTEGER NOT NULL
) STRICT;

CREATE TABLE evidence (
    seq       INTEGER PRIMARY KEY,           -- 1, 2, 3, ... without gaps
    body      TEXT NOT NULL,                 -- canonical JSON
    hash      TEXT NOT NULL,                 -- hexadecimal; covers the previous entry's
    signature TEXT NOT NULL
) STRICT;

CREATE TABLE links (                         -- what the running node sees of each peer; rewritten at start
    peer       TEXT PRIMARY KEY,
    state      TEXT NOT NULL,                -- connected, connecting, refused
    detail     TEXT NOT NULL,
    release    TEXT NOT NULL DEFAULT '',     -- what the peer said of itself when the link came up:
    protocols  TEXT NOT NULL DEFAULT '{}',   -- JSON: name -> [lowest, highest version]
    updated_at REAL NOT NULL
) STRICT;

-- Reports.

CREATE TABLE row_sets (                      -- of which own rows a peer was given figures; never leaves the node
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    commitment TEXT NOT NULL,                -- of the dataset, as in datasets
    peer       TEXT NOT NULL,                -- fingerprint of who was given them
    digest     TEXT NOT NULL,                -- SHA-256 of `sets`, hexadecimal
    sets       BLOB NOT NULL,                -- the set of each row, as parties/differencing.py packs it
    job        TEXT NOT NULL,
    noted_at   REAL NOT NULL,
    UNIQUE (commitment, peer, digest)
) STRICT;

CREATE TABLE privacy_debits (                -- what attempts at results with noise cost; see parties/budgets.py
    job        TEXT NOT NULL,
    attempt    INTEGER NOT NULL,
    peer       TEXT NOT NULL,                -- fingerprint of a member that may learn from the result
    dataset    TEXT NOT NULL,                -- by name, whatever was registered under it
    purpose    TEXT NOT NULL,
    millionths INTEGER NOT NULL,             -- of differential privacy's epsilon
    debited_at REAL NOT NULL,
    PRIMARY KEY (job, attempt, peer)
) STRICT;

CREATE INDEX privacy_debits_by_budget ON privacy_debits (dataset, peer, purpose);

CREATE TABLE schedules (                     -- jobs that are proposed again and again
    id         TEXT PRIMARY KEY,
    every      TEXT NOT NULL,                -- as parties/schedules.py reads it
    job        BLOB NOT NULL,                -- canonical bytes of the job that is repeated under new ids
    next_at    REAL NOT NULL,
    last       TEXT NOT NULL DEFAULT '',     -- the job that was proposed last
    problem    TEXT NOT NULL DEFAULT '',     -- why the last could not be proposed
    created_at REAL NOT NULL
) STRICT;
