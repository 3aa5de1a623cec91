//! Sign-ins whose first proof was accepted and that wait for a second one.

use kavachos_core::id::UserId;
use kavachos_core::secret::SecretHash;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInRow {
    /// The hash of the secret that whoever began it was given.
    pub hash: SecretHash,
    /// Who signs in.
    pub user: UserId,
    /// The human's `kills` when it began.
    pub user_kills: u64,
    /// The method of the first proof.
    pub method: String,
    /// How often the second one was tried.
    pub attempts: u64,
    /// The budget of guesses that goes back with the second proof.
    pub guess: Option<[u8; 32]>,
    /// When it is over.
    pub expires_at: Timestamp,
    /// When it began.
    pub created_at: Timestamp,
}

type Cells = (
    [u8; 32],
    UserId,
    u64,
    String,
    u64,
    Option<[u8; 32]>,
    Timestamp,
    Timestamp,
);

impl FromRow for SignInRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (hash, user, user_kills, method, attempts, guess, expires_at, created_at): Cells =
            row.decode()?;
        Ok(Self {
            hash: SecretHash::from_bytes(hash),
            user,
            user_kills,
            method,
            attempts,
            guess,
            expires_at,
            created_at,
        })
    }
}

/// Stores one that begins.
pub fn begin(row: SignInRow) -> Write {
    Write::exactly(
        1,
        "INSERT INTO sign_ins (hash, user_id, user_kills, method, attempts, guess, expires_at, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(*row.hash.as_bytes())
    .bind(row.user)
    .bind(row.user_kills)
    .bind(row.method)
    .bind(row.attempts)
    .bind(row.guess)
    .bind(row.expires_at)
    .bind(row.created_at)
}

/// The one with this hash.
pub fn by_hash(hash: SecretHash) -> Select<SignInRow> {
    Query::new(
        1,
        "SELECT hash, user_id, user_kills, method, attempts, guess, expires_at, created_at FROM sign_ins WHERE hash = ?1",
    )
    .bind(*hash.as_bytes())
    .of()
}

/// Counts one more attempt at the second proof, if there may be one more and it is not over.
pub fn attempt(hash: SecretHash, most: u64, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "UPDATE sign_ins SET attempts = attempts + 1 WHERE hash = ?1 AND attempts < ?2 AND expires_at > ?3",
    )
    .bind(*hash.as_bytes())
    .bind(most)
    .bind(now)
}

/// Uses one up, once, before it is over.
pub fn complete(hash: SecretHash, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "DELETE FROM sign_ins WHERE hash = ?1 AND expires_at > ?2",
    )
    .bind(*hash.as_bytes())
    .bind(now)
}

/// Removes those of a human.
pub fn forget_of(user: UserId) -> Write {
    Write::any("DELETE FROM sign_ins WHERE user_id = ?1").bind(user)
}

/// Removes those that were over before this time.
pub fn forget(before: Timestamp) -> Write {
    Write::any("DELETE FROM sign_ins WHERE expires_at < ?1").bind(before)
}
