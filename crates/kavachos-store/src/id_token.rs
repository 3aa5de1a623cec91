//! Identity tokens of outside providers that were used, by the hash of what was signed.

use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::restoration;
use crate::row::{Query, Select};

/// Uses a token, if nobody has.
pub fn use_once(token: [u8; 32], ends_at: Timestamp) -> Write {
    Write::exactly(
        1,
        "INSERT INTO used_id_tokens (token, ends_at) SELECT ?1, ?2 \
         WHERE NOT EXISTS (SELECT 1 FROM used_id_tokens t WHERE t.token = ?1)",
    )
    .bind(token)
    .bind(ends_at)
}

/// When a token that was used ends; or when the database was restored, for one that was made before: it may have been
/// used then.
pub fn used(token: [u8; 32], made_at: Timestamp, now: Timestamp) -> Select<(Timestamp,)> {
    Query::new(
        1,
        "SELECT t.ends_at FROM used_id_tokens t WHERE t.token = ?1 \
         UNION ALL SELECT r.restored_at FROM restoration r WHERE r.restored_at > ?2 AND r.restored_at < ?3 LIMIT 1",
    )
    .bind(token)
    .bind(made_at)
    .bind(now.plus(restoration::LONGEST_AHEAD))
    .of()
}

/// Forgets tokens that have ended by this time, which nobody takes any more.
pub fn forget(before: Timestamp) -> Write {
    Write::any("DELETE FROM used_id_tokens WHERE ends_at < ?1").bind(before)
}
