//! OAuth clients, as rows.

use kavachos_core::id::AgentId;
use kavachos_core::principal::Status;
use kavachos_core::revocation::{Handle, Mark};
use kavachos_core::secret::SecretHash;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// One client.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientRow {
    /// By what it is known.
    pub id: String,
    /// Who registered it: `operator`, `itself` or `document`.
    pub source: String,
    /// What it says of itself: a JSON object.
    pub metadata: String,
    /// The hash of its secret.
    pub secret: Option<SecretHash>,
    /// The hash of the credential by which it changes what it says of itself.
    pub manager: Option<SecretHash>,
    /// The agent that it is when it asks for itself.
    pub agent: Option<AgentId>,
    /// `active` or `revoked`.
    pub status: Status,
    /// The handle, at its current generation.
    pub mark: Mark,
    /// Rises with every change; guards them.
    pub version: u64,
    /// When it was registered, or first seen.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "SELECT c.id, c.source, c.metadata, c.secret, c.manager, c.agent, c.status, c.handle, h.generation, \
    c.version, c.created_at FROM oauth_clients c JOIN handles h ON h.handle = c.handle";

type Cells = (
    String,
    String,
    String,
    Option<[u8; 32]>,
    Option<[u8; 32]>,
    Option<AgentId>,
    Status,
    Handle,
    u64,
    u64,
    Timestamp,
);

impl FromRow for ClientRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (
            id,
            source,
            metadata,
            secret,
            manager,
            agent,
            status,
            handle,
            generation,
            version,
            created_at,
        ): Cells = row.decode()?;
        Ok(Self {
            id,
            source,
            metadata,
            secret: secret.map(SecretHash::from_bytes),
            manager: manager.map(SecretHash::from_bytes),
            agent,
            status,
            mark: Mark { handle, generation },
            version,
            created_at,
        })
    }
}

fn bytes(hash: Option<SecretHash>) -> Option<[u8; 32]> {
    hash.map(|hash| *hash.as_bytes())
}

/// Stores a new client; of several at once, one does. The handle is stored apart, with [`crate::handle::born`].
pub fn insert(client: ClientRow) -> Write {
    Write::exactly(
        1,
        "INSERT INTO oauth_clients (id, source, metadata, secret, manager, agent, status, handle, version, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
    )
    .bind(client.id)
    .bind(client.source)
    .bind(client.metadata)
    .bind(bytes(client.secret))
    .bind(bytes(client.manager))
    .bind(client.agent)
    .bind(client.status)
    .bind(client.mark.handle)
    .bind(client.version)
    .bind(client.created_at)
}

/// Replaces what may change of a client that is still as `client.version` says.
pub fn update(client: ClientRow) -> Write {
    Write::exactly(
        1,
        "UPDATE oauth_clients SET metadata = ?3, secret = ?4, manager = ?5, agent = ?6, status = ?7, version = version + 1 \
         WHERE id = ?1 AND version = ?2",
    )
    .bind(client.id)
    .bind(client.version)
    .bind(client.metadata)
    .bind(bytes(client.secret))
    .bind(bytes(client.manager))
    .bind(client.agent)
    .bind(client.status)
}

/// The client with this id.
pub fn by_id(id: String) -> Select<ClientRow> {
    Query::new(1, format!("{COLUMNS} WHERE c.id = ?1"))
        .bind(id)
        .of()
}
