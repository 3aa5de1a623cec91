//! What a restoration left to be remembered: when it was, and whether humans may be made on first mention.
//!
//! Promises: a hold that stands is lifted by an operator's word alone, not by a further restoration. Its other half,
//! that what is good once and was made before the restoration is good no more, is asked for where uses are looked up
//! ([`crate::proof::used`], [`crate::id_token::used`]).

use std::time::Duration;

use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{Query, Select};

/// Whether humans are made on first mention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstMentions {
    /// They are.
    LetIn,
    /// They wait for an operator: somebody may be missing here who was banned, deleted, or allowed less.
    Held,
}

/// A restoration that lies further ahead than this was made by a clock that was wrong: what is made now is of after it.
pub(crate) const LONGEST_AHEAD: Duration = Duration::from_secs(60);

/// Remembers that the database was restored, or filled: what was made before this time may have been used.
pub fn remember(at: Timestamp, mentions: FirstMentions) -> Write {
    Write::exactly(
        1,
        "INSERT INTO restoration (\"only\", restored_at, held) VALUES (1, ?1, ?2) ON CONFLICT (\"only\") \
         DO UPDATE SET restored_at = excluded.restored_at, \
         held = CASE WHEN restoration.held = 1 THEN 1 ELSE excluded.held END",
    )
    .bind(at)
    .bind(mentions == FirstMentions::Held)
}

/// When the database was restored, where humans on first mention wait since.
pub fn hold() -> Select<(Timestamp,)> {
    Query::new(
        1,
        "SELECT r.restored_at FROM restoration r WHERE r.held = 1",
    )
    .of()
}

/// Lifts the hold, if there is one.
pub fn lift() -> Write {
    Write::any("UPDATE restoration SET held = 0 WHERE held = 1")
}

/// The kind and the body of the last record by which a hold was set or lifted: what a tenant that moves says of it.
pub fn last_word() -> Select<(String, String)> {
    Query::new(
        1,
        // That they are no decisions lets SQLite see that the index of acts has them all.
        "SELECT l.kind, l.body FROM ledger l WHERE l.kind IN ('tenant.restored', 'tenant.admitted') \
         AND l.kind <> 'decision' AND l.outcome = 'allowed' ORDER BY l.seq DESC LIMIT 1",
    )
    .of()
}
