//! What clients push before a browser comes with it (RFC 9126), as rows.

use kavachos_core::secret::SecretHash;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// A request that waits for its browser, or for its human.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedRow {
    /// The hash of the name that the client was given for it.
    pub hash: SecretHash,
    /// Whose it is.
    pub client: String,
    /// The network that it came from.
    pub source: String,
    /// The parameters that are known, as a form.
    pub request: String,
    /// When it is over.
    pub expires_at: Timestamp,
}

impl FromRow for PushedRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        type Cells = ([u8; 32], String, String, String, Timestamp);
        let (hash, client, source, request, expires_at): Cells = row.decode()?;
        Ok(Self {
            hash: SecretHash::from_bytes(hash),
            client,
            source,
            request,
            expires_at,
        })
    }
}

/// Stores a request.
pub fn insert(row: PushedRow) -> Write {
    Write::exactly(
        1,
        "INSERT INTO pushed_requests (hash, client, source, request, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(*row.hash.as_bytes())
    .bind(row.client)
    .bind(row.source)
    .bind(row.request)
    .bind(row.expires_at)
}

/// The request with this name that is not over.
pub fn live(hash: SecretHash, now: Timestamp) -> Select<PushedRow> {
    Query::new(
        1,
        "SELECT p.hash, p.client, p.source, p.request, p.expires_at FROM pushed_requests p \
         WHERE p.hash = ?1 AND p.expires_at > ?2",
    )
    .bind(*hash.as_bytes())
    .bind(now)
    .of()
}

/// How many requests of a client wait.
pub fn waiting_of(client: String, now: Timestamp) -> Select<(u64,)> {
    Query::new(
        1,
        "SELECT COUNT(*) FROM pushed_requests p WHERE p.client = ?1 AND p.expires_at > ?2",
    )
    .bind(client)
    .bind(now)
    .of()
}

/// Makes room for one more: one goes of the network that most of them came from, and of those the oldest that no browser came with
/// yet.
pub fn make_room(client: String, now: Timestamp) -> Write {
    Write::any(
        "DELETE FROM pushed_requests WHERE hash = (SELECT w.hash FROM (\
           SELECT p.hash, p.begun_at, p.expires_at, COUNT(*) OVER (PARTITION BY p.source) AS many FROM pushed_requests p \
           WHERE p.client = ?1 AND p.expires_at > ?2) w \
         ORDER BY w.many DESC, CASE WHEN w.begun_at IS NULL THEN 0 ELSE 1 END, w.expires_at, w.hash LIMIT 1)",
    )
    .bind(client)
    .bind(now)
}

/// Gives a request more time whose browser came in time, once.
pub fn begin(hash: SecretHash, now: Timestamp, expires_at: Timestamp) -> Write {
    Write::any(
        "UPDATE pushed_requests SET begun_at = ?2, expires_at = ?3 \
         WHERE hash = ?1 AND begun_at IS NULL AND expires_at > ?2",
    )
    .bind(*hash.as_bytes())
    .bind(now)
    .bind(expires_at)
}

/// Takes a request away for which a code is made: of many at once, one is.
pub fn take(hash: SecretHash, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "DELETE FROM pushed_requests WHERE hash = ?1 AND expires_at > ?2",
    )
    .bind(*hash.as_bytes())
    .bind(now)
}

/// Removes requests that were over before this time.
pub fn forget(before: Timestamp) -> Write {
    Write::any("DELETE FROM pushed_requests WHERE expires_at < ?1").bind(before)
}
