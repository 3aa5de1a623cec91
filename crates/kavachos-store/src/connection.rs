//! What humans let OAuth clients be: agents of theirs, with the scopes of each tool server that they said yes to.

use kavachos_core::id::{AgentId, ToolServerId, UserId};
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// The most tool servers of one connection that are read at once.
const MAX_CONSENTS: usize = 1_000;
/// The most connections of one human that are read at once.
const MAX_CONNECTIONS: usize = 1_000;

/// An agent that a client is for a human.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRow {
    /// The agent.
    pub agent: AgentId,
    /// The client.
    pub client: String,
    /// The human.
    pub user: UserId,
    /// Since when.
    pub created_at: Timestamp,
}

impl FromRow for ConnectionRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (agent, client, user, created_at) = row.decode()?;
        Ok(Self {
            agent,
            client,
            user,
            created_at,
        })
    }
}

/// What a human said yes to, for one tool server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentRow {
    /// The agent that the client is.
    pub agent: AgentId,
    /// The tool server.
    pub server: ToolServerId,
    /// The names of its scopes, with blanks between them.
    pub scopes: String,
    /// What the client said of itself then.
    pub fingerprint: [u8; 32],
    /// When.
    pub given_at: Timestamp,
}

impl FromRow for ConsentRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (agent, server, scopes, fingerprint, given_at) = row.decode()?;
        Ok(Self {
            agent,
            server,
            scopes,
            fingerprint,
            given_at,
        })
    }
}

const LIVE: &str = "SELECT c.agent, c.client, c.user_id, c.created_at FROM connections c \
    JOIN agents a ON a.id = c.agent WHERE a.status <> 'revoked'";

/// Stores that an agent is a client's, if the client is no other live agent of this human.
pub fn insert(row: &ConnectionRow) -> Write {
    Write::exactly(
        1,
        "INSERT INTO connections (agent, client, user_id, created_at) SELECT ?1, ?2, ?3, ?4 \
         WHERE NOT EXISTS (SELECT 1 FROM connections o JOIN agents a ON a.id = o.agent \
           WHERE o.user_id = ?3 AND o.client = ?2 AND a.status <> 'revoked')",
    )
    .bind(row.agent)
    .bind(row.client.clone())
    .bind(row.user)
    .bind(row.created_at)
}

/// The agent that a client is for a human, unless it was revoked.
pub fn between(user: UserId, client: String) -> Select<ConnectionRow> {
    Query::new(1, format!("{LIVE} AND c.user_id = ?1 AND c.client = ?2"))
        .bind(user)
        .bind(client)
        .of()
}

/// What a human's clients are that were not revoked, newest first: a thousand at most.
pub fn of(user: UserId) -> Select<ConnectionRow> {
    Query::new(
        MAX_CONNECTIONS,
        format!("{LIVE} AND c.user_id = ?1 ORDER BY c.agent DESC LIMIT {MAX_CONNECTIONS}"),
    )
    .bind(user)
    .of()
}

/// Stores what a human said yes to; what they said before of the same tool server is over.
pub fn consent(row: &ConsentRow) -> Write {
    Write::exactly(
        1,
        "INSERT INTO consents (agent, server, scopes, fingerprint, given_at) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (agent, server) DO UPDATE SET scopes = excluded.scopes, fingerprint = excluded.fingerprint, \
         given_at = excluded.given_at",
    )
    .bind(row.agent)
    .bind(row.server)
    .bind(row.scopes.clone())
    .bind(row.fingerprint)
    .bind(row.given_at)
}

/// What a human said yes to for an agent.
pub fn consents_of(agent: AgentId) -> Select<ConsentRow> {
    Query::new(
        MAX_CONSENTS,
        "SELECT s.agent, s.server, s.scopes, s.fingerprint, s.given_at FROM consents s WHERE s.agent = ?1 \
         ORDER BY s.server LIMIT 1000",
    )
    .bind(agent)
    .of()
}
