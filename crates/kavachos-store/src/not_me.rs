//! Links by which a human says that a sign-in was not theirs, as the hashes of their tokens.

use kavachos_core::id::{SessionId, UserId};
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotMeRow {
    /// The hash of its token.
    pub hash: [u8; 32],
    /// Who was told of the sign-in.
    pub user: UserId,
    /// The session that it opened.
    pub session: SessionId,
    /// When it is worth nothing any more.
    pub expires_at: Timestamp,
    /// When the sign-in was.
    pub created_at: Timestamp,
}

impl FromRow for NotMeRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (hash, user, session, expires_at, created_at) = row.decode()?;
        Ok(Self {
            hash,
            user,
            session,
            expires_at,
            created_at,
        })
    }
}

/// Stores one, if the human got fewer than `limit` since this time.
pub fn insert(row: &NotMeRow, (limit, since): (u64, Timestamp)) -> Write {
    Write::exactly(
        1,
        "INSERT INTO not_me_links (hash, user_id, session_id, expires_at, created_at) SELECT ?1, ?2, ?3, ?4, ?5 \
         WHERE (SELECT COUNT(*) FROM not_me_links l WHERE l.user_id = ?2 AND l.created_at > ?6) < ?7",
    )
    .bind(row.hash)
    .bind(row.user)
    .bind(row.session)
    .bind(row.expires_at)
    .bind(row.created_at)
    .bind(since)
    .bind(limit)
}

/// How many a human got since this time.
pub fn since(user: UserId, since: Timestamp) -> Select<(u64,)> {
    Query::new(
        1,
        "SELECT COUNT(*) FROM not_me_links l WHERE l.user_id = ?1 AND l.created_at > ?2",
    )
    .bind(user)
    .bind(since)
    .of()
}

/// The one whose token has this hash, if it is not over.
pub fn by_hash(hash: [u8; 32], now: Timestamp) -> Select<NotMeRow> {
    Query::new(
        1,
        "SELECT l.hash, l.user_id, l.session_id, l.expires_at, l.created_at FROM not_me_links l \
         WHERE l.hash = ?1 AND l.expires_at > ?2",
    )
    .bind(hash)
    .bind(now)
    .of()
}

/// Uses one up that is not over.
pub fn consume(hash: [u8; 32], now: Timestamp) -> Write {
    Write::exactly(
        1,
        "DELETE FROM not_me_links WHERE hash = ?1 AND expires_at > ?2",
    )
    .bind(hash)
    .bind(now)
}

/// Removes those of a human.
pub fn forget_of(user: UserId) -> Write {
    Write::any("DELETE FROM not_me_links WHERE user_id = ?1").bind(user)
}

/// Removes those that are over.
pub fn forget(now: Timestamp) -> Write {
    Write::any("DELETE FROM not_me_links WHERE expires_at <= ?1").bind(now)
}
