//! Registered tool servers, as rows.

use kavachos_core::id::ToolServerId;
use kavachos_core::principal::Status;
use kavachos_core::revocation::{Handle, Mark};
use kavachos_core::secret::SecretHash;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::page::{self, Listed};
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// One tool server.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolServerRow {
    /// Its id.
    pub id: ToolServerId,
    /// The hash of its key.
    pub hash: SecretHash,
    /// The first characters of the key.
    pub shown: String,
    /// Whom its tokens are for; one that is not revoked has it alone.
    pub audience: String,
    /// For display.
    pub name: String,
    /// A JSON array of registered scopes.
    pub scopes: String,
    /// A JSON object, the token policy.
    pub policy: String,
    /// `active` or `revoked`.
    pub status: Status,
    /// The handle of its key, at its current generation.
    pub mark: Mark,
    /// Rises with every change; guards them.
    pub version: u64,
    /// When it was registered.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "SELECT r.id, r.hash, r.shown, r.audience, r.name, r.scopes, r.policy, r.status, r.handle, \
    h.generation, r.version, r.created_at FROM tool_servers r JOIN handles h ON h.handle = r.handle";

type Cells = (
    ToolServerId,
    [u8; 32],
    String,
    String,
    String,
    String,
    String,
    Status,
    Handle,
    u64,
    u64,
    Timestamp,
);

impl FromRow for ToolServerRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (
            id,
            hash,
            shown,
            audience,
            name,
            scopes,
            policy,
            status,
            handle,
            generation,
            version,
            created_at,
        ): Cells = row.decode()?;
        Ok(Self {
            id,
            hash: SecretHash::from_bytes(hash),
            shown,
            audience,
            name,
            scopes,
            policy,
            status,
            mark: Mark { handle, generation },
            version,
            created_at,
        })
    }
}

/// Stores a new tool server. The handle is stored apart, with [`crate::handle::born`].
pub fn insert(server: ToolServerRow) -> Write {
    Write::exactly(
        1,
        "INSERT INTO tool_servers (id, hash, shown, audience, name, scopes, policy, status, handle, version, created_at) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 \
         WHERE NOT EXISTS (SELECT 1 FROM tool_servers r WHERE r.audience = ?4 AND r.status <> 'revoked')",
    )
    .bind(server.id)
    .bind(*server.hash.as_bytes())
    .bind(server.shown)
    .bind(server.audience)
    .bind(server.name)
    .bind(server.scopes)
    .bind(server.policy)
    .bind(server.status)
    .bind(server.mark.handle)
    .bind(server.version)
    .bind(server.created_at)
}

/// Replaces what may change of a tool server that is still as `server.version` says and not revoked.
pub fn update(server: ToolServerRow) -> Write {
    Write::exactly(
        1,
        "UPDATE tool_servers SET name = ?3, scopes = ?4, policy = ?5, status = ?6, version = version + 1 \
         WHERE id = ?1 AND version = ?2 AND status <> 'revoked'",
    )
    .bind(server.id)
    .bind(server.version)
    .bind(server.name)
    .bind(server.scopes)
    .bind(server.policy)
    .bind(server.status)
}

/// The tool server whose key has this hash.
pub fn by_hash(hash: SecretHash) -> Select<ToolServerRow> {
    Query::new(1, format!("{COLUMNS} WHERE r.hash = ?1"))
        .bind(*hash.as_bytes())
        .of()
}

/// The tool server with this id.
pub fn by_id(id: ToolServerId) -> Select<ToolServerRow> {
    Query::new(1, format!("{COLUMNS} WHERE r.id = ?1"))
        .bind(id)
        .of()
}

/// The tool server with this audience that is not revoked.
pub fn by_audience(audience: String) -> Select<ToolServerRow> {
    Query::new(
        1,
        format!("{COLUMNS} WHERE r.audience = ?1 AND r.status <> 'revoked'"),
    )
    .bind(audience)
    .of()
}

/// The audiences of tool servers that are not revoked: two at most, to see whether there is one alone.
pub fn first_two() -> Select<(String,)> {
    Query::new(
        2,
        "SELECT r.audience FROM tool_servers r WHERE r.status <> 'revoked' LIMIT 2",
    )
    .of()
}

/// A page of at most `limit` tool servers, newest first, older than `before`.
pub fn page(before: Option<ToolServerId>, limit: usize) -> Select<Listed<ToolServerRow>> {
    let candidates = "SELECT r.id, OCTET_LENGTH(r.scopes) FROM tool_servers r \
         WHERE (CAST(?2 AS TEXT) IS NULL OR r.id < ?2)";
    page::of(candidates, COLUMNS, limit).bind(before).of()
}
