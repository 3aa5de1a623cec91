//! The writer's own statements that every database reads alike. Those that PostgreSQL has in a form of its own, for
//! many rows at once, are SQLite's.

/// The head.
pub(crate) const LOAD: &str =
    "SELECT log, epoch, commits, frontier, last_time, rseq, rhash FROM log";
/// The one row of a new log.
pub(crate) const CREATE: &str = "INSERT INTO log (\"only\", log, epoch, commits, frontier, last_time, rseq, rhash) \
    VALUES (1, ?1, 1, 0, ?2, 0, 0, ?3) ON CONFLICT (\"only\") DO NOTHING";
/// Raises a generation, unless it is as high.
pub(crate) const RAISE: &str = "INSERT INTO handles (handle, generation) VALUES (?1, ?2) ON CONFLICT (handle) \
    DO UPDATE SET generation = excluded.generation WHERE handles.generation < excluded.generation";
/// One record of the revocation log.
pub(crate) const INSERT_KILL: &str =
    "INSERT INTO revocation_log (rseq, handle, generation, rhash) VALUES (?1, ?2, ?3, ?4)";
/// One migration that was applied.
pub(crate) const INSERT_MIGRATION: &str = "INSERT INTO migration (owner, number, name, checksum, min_binary, time) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
/// The migrations that were applied.
pub(crate) const APPLIED: &str =
    "SELECT owner, number, checksum, min_binary, name, time FROM migration";
/// What the database says it is.
pub(crate) const APPLICATION: &str = "SELECT value FROM meta WHERE name = 'application'";
/// Says what it is.
pub(crate) const INSERT_APPLICATION: &str =
    "INSERT INTO meta (name, value) VALUES ('application', 'kavachos')";
/// One record of the ledger.
#[cfg(feature = "sqlite")]
pub(crate) const INSERT_ENTRY: &str = "INSERT INTO ledger (seq, time, id, kind, outcome, code, actor, subject, agent, action, \
    resource, request_id, body, salt, personal, leaf) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
/// One ancestor of the agent of a record.
#[cfg(feature = "sqlite")]
pub(crate) const INSERT_MEMBER: &str = "INSERT INTO ledger_member (member, seq) VALUES (?1, ?2) \
    ON CONFLICT (member, seq) DO NOTHING";
/// The state of a counter.
#[cfg(feature = "sqlite")]
pub(crate) const STORE_COUNTER: &str = "INSERT INTO counters (counter, state, time) VALUES (?1, ?2, ?3) \
    ON CONFLICT (counter) DO UPDATE SET state = excluded.state, time = excluded.time";
/// Moves the head one commit further, unless somebody else did.
#[cfg(feature = "sqlite")]
pub(crate) const SAVE: &str = "UPDATE log SET commits = ?1, frontier = ?2, last_time = ?3, rseq = ?4, rhash = ?5 \
    WHERE \"only\" = 1 AND commits = ?6";
