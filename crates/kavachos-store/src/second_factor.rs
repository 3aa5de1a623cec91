//! Which methods are a second factor of a human.

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{Query, Select};

/// The most methods that may be a second factor.
const MAX_METHODS: usize = 64;

/// Makes a method a second factor of a human, if it is none.
pub fn arm(user: UserId, method: &'static str, now: Timestamp) -> Write {
    Write::any(
        "INSERT INTO second_factors (user_id, method, armed_at) SELECT ?1, ?2, ?3 \
         WHERE NOT EXISTS (SELECT 1 FROM second_factors f WHERE f.user_id = ?1 AND f.method = ?2)",
    )
    .bind(user)
    .bind(method)
    .bind(now)
}

/// Makes a method no second factor of a human any more.
pub fn disarm(user: UserId, method: &'static str) -> Write {
    Write::any("DELETE FROM second_factors WHERE user_id = ?1 AND method = ?2")
        .bind(user)
        .bind(method)
}

/// The methods that are a second factor of a human.
pub fn of(user: UserId) -> Select<(String,)> {
    Query::new(
        MAX_METHODS,
        "SELECT method FROM second_factors WHERE user_id = ?1 ORDER BY method",
    )
    .bind(user)
    .of()
}

/// Holds only while a human has no second factor: it changes nothing, and is a conflict if there is one by now.
pub fn still_none(user: UserId) -> Write {
    Write::exactly(
        1,
        "UPDATE users SET version = version WHERE id = ?1 \
         AND NOT EXISTS (SELECT 1 FROM second_factors f WHERE f.user_id = ?1)",
    )
    .bind(user)
}

/// Removes those of a human.
pub fn forget_of(user: UserId) -> Write {
    Write::any("DELETE FROM second_factors WHERE user_id = ?1").bind(user)
}

/// Removes those of a human that are one since this time or later.
pub fn forget_since(user: UserId, since: Timestamp) -> Write {
    Write::any("DELETE FROM second_factors WHERE user_id = ?1 AND armed_at >= ?2")
        .bind(user)
        .bind(since)
}
