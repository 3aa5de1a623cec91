//! Outside identities that were taken from an account.
//!
//! A human who is let go by a provider's identity, or lets it go, must not come back by it as somebody new who may more than
//! before. So it is remembered, and makes nobody on first mention.

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{Query, Select};

/// Remembers that a human had this identity until now.
pub fn remember(human: UserId, (provider, external_id): (String, String), at: Timestamp) -> Write {
    Write::exactly(
        1,
        "INSERT INTO former_identities (provider, external_id, user_id, ended_at) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (provider, external_id) DO UPDATE SET user_id = excluded.user_id, ended_at = excluded.ended_at",
    )
    .bind(provider)
    .bind(external_id)
    .bind(human)
    .bind(at)
}

/// Whose this identity was last, if it was taken from somebody.
pub fn of((provider, external_id): (String, String)) -> Select<(UserId,)> {
    Query::new(
        1,
        "SELECT f.user_id FROM former_identities f WHERE f.provider = ?1 AND f.external_id = ?2",
    )
    .bind(provider)
    .bind(external_id)
    .of()
}

/// Whether a human had an identity that is theirs no more.
pub fn any_of(human: UserId) -> Select<(UserId,)> {
    Query::new(
        1,
        "SELECT f.user_id FROM former_identities f WHERE f.user_id = ?1 LIMIT 1",
    )
    .bind(human)
    .of()
}

/// Holds only while the identity of a human was never taken from anybody: it changes nothing, and is a conflict if it was.
pub fn still_new(human: UserId, (provider, external_id): (String, String)) -> Write {
    Write::exactly(
        1,
        "UPDATE users SET version = version WHERE id = ?1 AND NOT EXISTS \
         (SELECT 1 FROM former_identities f WHERE f.provider = ?2 AND f.external_id = ?3)",
    )
    .bind(human)
    .bind(provider)
    .bind(external_id)
}
