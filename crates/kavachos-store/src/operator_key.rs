//! Operators' API keys, as rows.

use kavachos_core::id::KeyId;
use kavachos_core::principal::Status;
use kavachos_core::revocation::{Handle, Mark};
use kavachos_core::secret::SecretHash;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::page::{self, Listed};
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// One operator key.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorKeyRow {
    /// Its id.
    pub id: KeyId,
    /// The hash of the key.
    pub hash: SecretHash,
    /// The first characters.
    pub shown: String,
    /// For display.
    pub name: String,
    /// `created` (through the API), `init` or `env` (from the configuration).
    pub origin: String,
    /// A JSON array of scopes.
    pub scopes: String,
    /// A JSON array of permissions that bounds everything; `None` for no bound.
    pub ceiling: Option<String>,
    /// `active`, `suspended` (its variable is gone from the configuration) or `revoked`.
    pub status: Status,
    /// When it stops working; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// The handle, at its current generation.
    pub mark: Mark,
    /// Rises with every change; guards them.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "SELECT k.id, k.hash, k.shown, k.name, k.origin, k.scopes, k.ceiling, k.status, k.expires_at, \
    k.handle, h.generation, k.version, k.created_at FROM operator_keys k JOIN handles h ON h.handle = k.handle";

type Cells = (
    KeyId,
    [u8; 32],
    String,
    String,
    String,
    String,
    Option<String>,
    Status,
    Option<Timestamp>,
    Handle,
    u64,
    u64,
    Timestamp,
);

impl FromRow for OperatorKeyRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (
            id,
            hash,
            shown,
            name,
            origin,
            scopes,
            ceiling,
            status,
            expires_at,
            handle,
            generation,
            version,
            created_at,
        ): Cells = row.decode()?;
        Ok(Self {
            id,
            hash: SecretHash::from_bytes(hash),
            shown,
            name,
            origin,
            scopes,
            ceiling,
            status,
            expires_at,
            mark: Mark { handle, generation },
            version,
            created_at,
        })
    }
}

/// Stores a new key. The handle is stored apart, with [`crate::handle::born`].
pub fn insert(key: OperatorKeyRow) -> Write {
    Write::exactly(
        1,
        "INSERT INTO operator_keys (id, hash, shown, name, origin, scopes, ceiling, status, expires_at, handle, \
         version, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )
    .bind(key.id)
    .bind(*key.hash.as_bytes())
    .bind(key.shown)
    .bind(key.name)
    .bind(key.origin)
    .bind(key.scopes)
    .bind(key.ceiling)
    .bind(key.status)
    .bind(key.expires_at)
    .bind(key.mark.handle)
    .bind(key.version)
    .bind(key.created_at)
}

/// Replaces what may change of a key that is still as `key.version` says and not revoked.
pub fn update(key: OperatorKeyRow) -> Write {
    Write::exactly(
        1,
        "UPDATE operator_keys SET name = ?3, scopes = ?4, ceiling = ?5, status = ?6, expires_at = ?7, \
         version = version + 1 WHERE id = ?1 AND version = ?2 AND status <> 'revoked'",
    )
    .bind(key.id)
    .bind(key.version)
    .bind(key.name)
    .bind(key.scopes)
    .bind(key.ceiling)
    .bind(key.status)
    .bind(key.expires_at)
}

/// The key with this hash.
pub fn by_hash(hash: SecretHash) -> Select<OperatorKeyRow> {
    Query::new(1, format!("{COLUMNS} WHERE k.hash = ?1"))
        .bind(*hash.as_bytes())
        .of()
}

/// The key with this id.
pub fn by_id(id: KeyId) -> Select<OperatorKeyRow> {
    Query::new(1, format!("{COLUMNS} WHERE k.id = ?1"))
        .bind(id)
        .of()
}

/// The keys that came from the configuration and are active.
pub fn active_of_origin(origin: &'static str) -> Select<OperatorKeyRow> {
    Query::new(
        64,
        format!("{COLUMNS} WHERE k.origin = ?1 AND k.status = 'active'"),
    )
    .bind(origin)
    .of()
}

/// A page of at most `limit` keys, newest first, older than `before`.
pub fn page(before: Option<KeyId>, limit: usize) -> Select<Listed<OperatorKeyRow>> {
    let candidates = "SELECT k.id, COALESCE(OCTET_LENGTH(k.ceiling), 0) FROM operator_keys k \
         WHERE (CAST(?2 AS TEXT) IS NULL OR k.id < ?2)";
    page::of(candidates, COLUMNS, limit).bind(before).of()
}
