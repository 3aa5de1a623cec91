//! Addresses that humans gave up for another one, and the links by which they are taken back, as the hashes of their tokens.

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// The most of one human that are read at once.
const MAX_OF: usize = 100;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerAddressRow {
    /// The hash of its token.
    pub hash: [u8; 32],
    /// Whose address it was.
    pub user: UserId,
    /// The address.
    pub email: String,
    /// When its link is worth nothing any more.
    pub expires_at: Timestamp,
    /// When it was given up.
    pub created_at: Timestamp,
}

impl FromRow for FormerAddressRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (hash, user, email, expires_at, created_at) = row.decode()?;
        Ok(Self {
            hash,
            user,
            email,
            expires_at,
            created_at,
        })
    }
}

/// Stores one, behind those of before.
pub fn insert(row: &FormerAddressRow) -> Write {
    Write::exactly(
        1,
        "INSERT INTO former_addresses (hash, user_id, email, place, expires_at, created_at) SELECT ?1, ?2, ?3, \
         (SELECT COALESCE(MAX(f.place), 0) + 1 FROM former_addresses f WHERE f.user_id = ?2), ?4, ?5",
    )
    .bind(row.hash)
    .bind(row.user)
    .bind(row.email.clone())
    .bind(row.expires_at)
    .bind(row.created_at)
}

/// The one whose token has this hash, if it is not over.
pub fn by_hash(hash: [u8; 32], now: Timestamp) -> Select<FormerAddressRow> {
    Query::new(
        1,
        "SELECT f.hash, f.user_id, f.email, f.expires_at, f.created_at FROM former_addresses f \
         WHERE f.hash = ?1 AND f.expires_at > ?2",
    )
    .bind(hash)
    .bind(now)
    .of()
}

/// The addresses that a human can still take back, and until when: the newest hundred.
pub fn of(user: UserId, now: Timestamp) -> Select<(String, Timestamp)> {
    Query::new(
        MAX_OF,
        "SELECT f.email, f.expires_at FROM former_addresses f WHERE f.user_id = ?1 AND f.expires_at > ?2 \
         ORDER BY f.place DESC LIMIT 100",
    )
    .bind(user)
    .bind(now)
    .of()
}

/// Removes those of this human that were given up after this one: whoever had the account first goes before whoever had it
/// since.
pub fn forget_later(user: UserId, hash: [u8; 32]) -> Write {
    Write::any(
        "DELETE FROM former_addresses WHERE user_id = ?1 AND place > \
         (SELECT f.place FROM former_addresses f WHERE f.hash = ?2 AND f.user_id = ?1)",
    )
    .bind(user)
    .bind(hash)
}

/// Uses one up that is not over.
pub fn consume(hash: [u8; 32], now: Timestamp) -> Write {
    Write::exactly(
        1,
        "DELETE FROM former_addresses WHERE hash = ?1 AND expires_at > ?2",
    )
    .bind(hash)
    .bind(now)
}

/// Removes those of a human.
pub fn forget_of(user: UserId) -> Write {
    Write::any("DELETE FROM former_addresses WHERE user_id = ?1").bind(user)
}

/// Removes those that are over.
pub fn forget(now: Timestamp) -> Write {
    Write::any("DELETE FROM former_addresses WHERE expires_at <= ?1").bind(now)
}
