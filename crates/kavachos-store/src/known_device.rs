//! Browsers in which a human signed in before, by the hash of a random cookie.

use kavachos_core::id::UserId;
use kavachos_core::secret::SecretHash;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{Query, Select};

/// How many are listed; fewer are kept of one human.
const MAX_LISTED: usize = 100;

/// Stores one.
pub fn learn(hash: SecretHash, user: UserId, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "INSERT INTO known_devices (hash, user_id, seen_at, created_at) VALUES (?1, ?2, ?3, ?3)",
    )
    .bind(*hash.as_bytes())
    .bind(user)
    .bind(now)
}

/// Notes that one was seen again.
pub fn seen(hash: SecretHash, user: UserId, now: Timestamp) -> Write {
    Write::any("UPDATE known_devices SET seen_at = ?3 WHERE hash = ?1 AND user_id = ?2")
        .bind(*hash.as_bytes())
        .bind(user)
        .bind(now)
}

/// Whose it is.
pub fn owner(hash: SecretHash) -> Select<(UserId,)> {
    Query::new(1, "SELECT user_id FROM known_devices WHERE hash = ?1")
        .bind(*hash.as_bytes())
        .of()
}

/// When those of a human were seen last, and first; the last ones first.
pub fn of(user: UserId) -> Select<(Timestamp, Timestamp)> {
    Query::new(
        MAX_LISTED,
        "SELECT d.seen_at, d.created_at FROM known_devices d WHERE d.user_id = ?1 ORDER BY d.seen_at DESC, d.hash LIMIT 100",
    )
    .bind(user)
    .of()
}

/// Removes the one that was not seen for the longest time, if a human has this many.
pub fn make_room(user: UserId, most: u64) -> Write {
    Write::any(
        "DELETE FROM known_devices WHERE user_id = ?1 \
         AND (SELECT COUNT(*) FROM known_devices d WHERE d.user_id = ?1) >= ?2 \
         AND hash = (SELECT d.hash FROM known_devices d WHERE d.user_id = ?1 ORDER BY d.seen_at, d.hash LIMIT 1)",
    )
    .bind(user)
    .bind(most)
}

/// Removes those of a human.
pub fn forget_of(user: UserId) -> Write {
    Write::any("DELETE FROM known_devices WHERE user_id = ?1").bind(user)
}

/// Removes those that were not seen since this time.
pub fn forget(before: Timestamp) -> Write {
    Write::any("DELETE FROM known_devices WHERE seen_at < ?1").bind(before)
}
