-- The ledger, the live set, the revocation log and the counters: the tables that belong to the writer.

-- The one row that every group of batches moves: where the log stands.
CREATE TABLE log (
    -- Quoted: the word means something in PostgreSQL.
    "only" {int} PRIMARY KEY CHECK ("only" = 1),
    log {bytes} NOT NULL CHECK (length(log) = 16),
    epoch {int} NOT NULL CHECK (epoch >= 1),
    -- How many groups were committed: after a lost answer to COMMIT this tells whether it was done.
    commits {int} NOT NULL,
    frontier {bytes} NOT NULL,
    last_time {int} NOT NULL,
    rseq {int} NOT NULL,
    rhash {bytes} NOT NULL CHECK (length(rhash) = 32)
) {rows};

CREATE TABLE ledger (
    seq {int} PRIMARY KEY,
    time {int} NOT NULL,
    id {text} NOT NULL,
    kind {text} NOT NULL,
    outcome {text} NOT NULL,
    code {text} NOT NULL,
    actor {text} NOT NULL,
    subject {text},
    agent {text},
    action {text},
    resource {text},
    request_id {text},
    body {text} NOT NULL,
    salt {bytes},
    personal {text},
    leaf {bytes} NOT NULL CHECK (length(leaf) = 32)
) {rows};

-- Every index costs each decision a write. Filters by time, kind, code, outcome, action and resource go through the
-- records in order instead.
CREATE UNIQUE INDEX ledger_id ON ledger (id);
CREATE INDEX ledger_agent ON ledger (agent, seq) WHERE agent IS NOT NULL;
CREATE INDEX ledger_subject ON ledger (subject, seq) WHERE subject IS NOT NULL;
CREATE INDEX ledger_request ON ledger (request_id) WHERE request_id IS NOT NULL;

-- The ancestors of a delegated agent, by whom its records can be found too.
CREATE TABLE ledger_member (
    member {text} NOT NULL,
    seq {int} NOT NULL,
    PRIMARY KEY (member, seq)
) {keyed};

-- The live set. A handle is its kind and 16 random bytes.
CREATE TABLE handles (
    handle {bytes} PRIMARY KEY CHECK (length(handle) = 17),
    generation {int} NOT NULL CHECK (generation >= 0)
) {keyed};

CREATE TABLE revocation_log (
    rseq {int} PRIMARY KEY,
    handle {bytes} NOT NULL CHECK (length(handle) = 17),
    generation {int} NOT NULL,
    rhash {bytes} NOT NULL CHECK (length(rhash) = 32)
) {rows};

CREATE TABLE counters (
    counter {bytes} PRIMARY KEY,
    state {bytes} NOT NULL,
    -- When it last gave, so that counters which can no longer matter can be removed.
    time {int} NOT NULL
) {keyed};
