//! Since when the word of an outside provider about a human counts: from the last time that the human was stopped; and for
//! how long: while they have that identity, and no second factor that the provider does not prove.
//!
//! A provider's token has no handle, so what was made before a ban is told from what came after by its time.

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::restoration;
use crate::row::{Query, Select};

/// Has nothing count that a provider says of a human by this time.
pub fn stop(human: UserId, at: Timestamp) -> Write {
    Write::exactly(
        1,
        "INSERT INTO stopped_humans (user_id, stopped_at) VALUES (?1, ?2) ON CONFLICT (user_id) \
         DO UPDATE SET stopped_at = excluded.stopped_at",
    )
    .bind(human)
    .bind(at)
}

/// When the human was stopped, if that was not before a token was made `surely`; or when the database was restored, if
/// that was after it was `made`.
pub fn before(
    human: UserId,
    (surely, made): (Timestamp, Timestamp),
    now: Timestamp,
) -> Select<(Timestamp,)> {
    Query::new(
        1,
        "SELECT s.stopped_at FROM stopped_humans s WHERE s.user_id = ?1 AND s.stopped_at >= ?2 \
         UNION ALL SELECT r.restored_at FROM restoration r WHERE r.restored_at > ?3 AND r.restored_at < ?4 LIMIT 1",
    )
    .bind(human)
    .bind(surely)
    .bind(made)
    .bind(now.plus(restoration::LONGEST_AHEAD))
    .of()
}

/// Holds only while a human has this outside identity and no second factor: it changes nothing, and is a conflict if that
/// changed. Belongs before what the batch does to the human.
pub fn still(human: UserId, (provider, external_id): (String, String)) -> Write {
    Write::exactly(
        1,
        "UPDATE users SET version = version WHERE id = ?1 AND provider = ?2 AND external_id = ?3 \
         AND NOT EXISTS (SELECT 1 FROM second_factors f WHERE f.user_id = ?1)",
    )
    .bind(human)
    .bind(provider)
    .bind(external_id)
}
