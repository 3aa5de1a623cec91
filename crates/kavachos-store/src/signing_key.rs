//! Keys that sign, as rows: the public half, and what the private half is derived from beside the master key.

use kavachos_core::time::Timestamp;

use crate::batch::{Param, Write};
use crate::row::{Cell, FromCell, FromRow, Malformed, Query, Row, Select};

/// The most keys that one query tells of: those that are published, and the last that were.
pub const MAX_LISTED: usize = 200;

/// What a key is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// It is published, so that everyone knows it before it signs.
    Next,
    /// It signs.
    Current,
    /// It signs no more; it is published as long as something that it signed may live.
    Retired,
}

impl KeyState {
    const ALL: [Self; 3] = [Self::Next, Self::Current, Self::Retired];

    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Current => "current",
            Self::Retired => "retired",
        }
    }
}

impl From<KeyState> for Param {
    fn from(state: KeyState) -> Self {
        Self::from(state.as_str())
    }
}

impl FromCell for KeyState {
    const EXPECTED: &'static str = "the state of a key";

    fn from_cell(cell: Cell) -> Option<Self> {
        let text = String::from_cell(cell)?;
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKeyRow {
    /// Its thumbprint.
    pub kid: String,
    /// `token`, `feed` or `checkpoint`.
    pub purpose: String,
    /// `EdDSA` or `ES256`.
    pub algorithm: String,
    /// The public key, a JSON Web Key.
    pub public: String,
    /// What tells its private key from all others that the master key makes.
    pub salt: [u8; 32],
    /// Tells the master key.
    pub master: [u8; 8],
    /// What it is doing.
    pub state: KeyState,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it signs, or signed.
    pub signs_since: Option<Timestamp>,
    /// Until when it is published; `None` while it is in use.
    pub published_until: Option<Timestamp>,
    /// The document of a root that brought it into use.
    pub document: Option<String>,
}

const COLUMNS: &str = "SELECT k.kid, k.purpose, k.algorithm, k.public, k.salt, k.master, k.state, k.created_at, \
    k.signs_since, k.published_until, k.document FROM signing_keys k";

impl FromRow for SigningKeyRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (kid, purpose, algorithm, public, salt, master, state, made, since, until, document) =
            row.decode()?;
        Ok(Self {
            kid,
            purpose,
            algorithm,
            public,
            salt,
            master,
            state,
            created_at: made,
            signs_since: since,
            published_until: until,
            document,
        })
    }
}

/// Stores a new key. There is at most one `next` and one `current` of each purpose and algorithm.
pub fn insert(key: SigningKeyRow) -> Write {
    Write::exactly(
        1,
        "INSERT INTO signing_keys (kid, purpose, algorithm, public, salt, master, state, created_at, signs_since, \
         published_until, document) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 WHERE NOT EXISTS \
         (SELECT 1 FROM signing_keys k WHERE k.purpose = ?2 AND k.algorithm = ?3 AND k.state = ?7 AND ?7 <> 'retired')",
    )
    .bind(key.kid)
    .bind(key.purpose)
    .bind(key.algorithm)
    .bind(key.public)
    .bind(key.salt)
    .bind(key.master)
    .bind(key.state)
    .bind(key.created_at)
    .bind(key.signs_since)
    .bind(key.published_until)
    .bind(key.document)
}

/// Has the next key sign from now on.
pub fn promote(kid: String, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "UPDATE signing_keys SET state = 'current', signs_since = ?2 WHERE kid = ?1 AND state = 'next'",
    )
    .bind(kid)
    .bind(now)
}

/// Has the next key sign from now on, by a document of a root.
pub fn promote_by(kid: String, now: Timestamp, document: String) -> Write {
    Write::exactly(
        1,
        "UPDATE signing_keys SET state = 'current', signs_since = ?2, document = ?3 WHERE kid = ?1 AND state = 'next'",
    )
    .bind(kid)
    .bind(now)
    .bind(document)
}

/// Takes a key out of use; it is published until then.
pub fn retire(kid: String, until: Timestamp) -> Write {
    Write::exactly(
        1,
        "UPDATE signing_keys SET state = 'retired', published_until = ?2 \
         WHERE kid = ?1 AND (published_until IS NULL OR published_until > ?2)",
    )
    .bind(kid)
    .bind(until)
}

/// Takes every key of these purposes out of use at once: nothing that they signed is to be believed any more.
pub fn withdraw_all(purpose: &'static str, now: Timestamp) -> Write {
    Write::any(
        "UPDATE signing_keys SET state = 'retired', published_until = ?2 \
         WHERE purpose = ?1 AND (published_until IS NULL OR published_until > ?2)",
    )
    .bind(purpose)
    .bind(now)
}

/// Takes every key of this purpose but one out of use at once: nothing that they signed is to be believed any more.
pub fn withdraw_others(purpose: &'static str, kid: String, now: Timestamp) -> Write {
    Write::any(
        "UPDATE signing_keys SET state = 'retired', published_until = ?2 \
         WHERE purpose = ?1 AND kid <> ?3 AND (published_until IS NULL OR published_until > ?2)",
    )
    .bind(purpose)
    .bind(now)
    .bind(kid)
}

/// Takes every key of this purpose out of use; what they signed is believed until then.
pub fn retire_all(purpose: &'static str, until: Timestamp) -> Write {
    Write::any(
        "UPDATE signing_keys SET state = 'retired', published_until = ?2 WHERE purpose = ?1 AND state <> 'retired'",
    )
    .bind(purpose)
    .bind(until)
}

/// The keys that are in use or were published at this time or later: those in use first, then the newest.
pub fn published(since: Timestamp) -> Select<SigningKeyRow> {
    Query::new(
        MAX_LISTED,
        format!(
            "{COLUMNS} WHERE k.state <> 'retired' OR k.published_until > ?1 ORDER BY CASE WHEN k.state = 'retired' THEN 1 ELSE 0 END, k.created_at DESC, k.kid \
             LIMIT {MAX_LISTED}"
        ),
    )
    .bind(since)
    .of()
}

/// The last keys that were made, newest first.
pub fn latest() -> Select<SigningKeyRow> {
    let order = format!("{COLUMNS} ORDER BY k.created_at DESC, k.kid LIMIT {MAX_LISTED}");
    Query::new(MAX_LISTED, order).of()
}
