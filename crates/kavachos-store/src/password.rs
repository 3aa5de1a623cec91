//! Humans' passwords, as hashes.

use kavachos_core::id::UserId;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// What is stored of a password. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordRow {
    /// Whose it is.
    pub user: UserId,
    /// The string of the Password Hashing Competition.
    pub phc: String,
    /// It opens nothing until it was reset.
    pub must_reset: bool,
    /// When it was set.
    pub set_at: Timestamp,
}

impl std::fmt::Debug for PasswordRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the password of {} since {}", self.user, self.set_at)
    }
}

impl FromRow for PasswordRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (user, phc, must_reset, set_at) = row.decode()?;
        Ok(Self {
            user,
            phc,
            must_reset,
            set_at,
        })
    }
}

/// The password of a human.
pub fn of(user: UserId) -> Select<PasswordRow> {
    Query::new(
        1,
        "SELECT user_id, phc, must_reset, set_at FROM passwords WHERE user_id = ?1",
    )
    .bind(user)
    .of()
}

/// Sets the password of a human, in the place of any other.
pub fn set(user: UserId, phc: String, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "INSERT INTO passwords (user_id, phc, must_reset, set_at) VALUES (?1, ?2, 0, ?3) \
         ON CONFLICT (user_id) DO UPDATE SET phc = ?2, must_reset = 0, set_at = ?3",
    )
    .bind(user)
    .bind(phc)
    .bind(now)
}

/// Stores the same password as another hash, if it is still the one that was compared.
pub fn rehash(user: UserId, old: String, new: String) -> Write {
    Write::any("UPDATE passwords SET phc = ?3 WHERE user_id = ?1 AND phc = ?2")
        .bind(user)
        .bind(old)
        .bind(new)
}

/// Holds only while this is the password, and one that opens something: it changes nothing, and is a conflict otherwise.
pub fn still(user: UserId, phc: String) -> Write {
    Write::exactly(
        1,
        "UPDATE passwords SET set_at = set_at WHERE user_id = ?1 AND phc = ?2 AND must_reset = 0",
    )
    .bind(user)
    .bind(phc)
}

/// From now on it opens nothing until it was reset.
pub fn require_reset(user: UserId) -> Write {
    Write::any("UPDATE passwords SET must_reset = 1 WHERE user_id = ?1").bind(user)
}

/// Removes the password of a human.
pub fn forget_of(user: UserId) -> Write {
    Write::any("DELETE FROM passwords WHERE user_id = ?1").bind(user)
}
