//! What humans let OAuth clients be: agents of theirs, with the scopes of each tool server that they said yes to.

use kavachos_core::id::{AgentId, ToolServerId, UserId};
use kavachos_core::principal::Status;
use kavachos_core::revocation::Mark;
use kavachos_core::time::Timestamp;

use crate::agent::StandingAgent;
use crate::batch::Write;
use crate::page::{self, Listed};
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// The most tool servers of one connection that are read at once.
const MAX_CONSENTS: usize = 1_000;

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
    Query::new(
        1,
        "SELECT c.agent, c.client, c.user_id, c.created_at FROM connections c JOIN agents a ON a.id = c.agent \
         WHERE a.status <> 'revoked' AND c.user_id = ?1 AND c.client = ?2",
    )
    .bind(user)
    .bind(client)
    .of()
}

/// What a client is that was let in as this agent, revoked or not.
pub fn by_agent(agent: AgentId) -> Select<ConnectionRow> {
    Query::new(
        1,
        "SELECT c.agent, c.client, c.user_id, c.created_at FROM connections c WHERE c.agent = ?1",
    )
    .bind(agent)
    .of()
}

/// A page of at most `limit` of what humans' clients are, those that were revoked among them, newest first, after this one: of
/// one human, or of all.
pub fn page(
    user: Option<UserId>,
    after: Option<AgentId>,
    limit: usize,
) -> Select<Listed<ConnectionRow>> {
    let candidates = "SELECT c.agent, 0 FROM connections c WHERE (CAST(?2 AS TEXT) IS NULL OR c.user_id = ?2) \
         AND (CAST(?3 AS TEXT) IS NULL OR c.agent < ?3)";
    let columns = "SELECT c.agent AS id, c.client, c.user_id, c.created_at FROM connections c";
    page::of(candidates, columns, limit)
        .bind(user)
        .bind(after)
        .of()
}

/// A connection that has no key any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverConnection {
    /// What it was.
    pub agent: StandingAgent,
    /// Whether that is revoked.
    pub status: Status,
}

impl FromRow for OverConnection {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (id, root, subject, handle, generation, status) = row.decode()?;
        Ok(Self {
            agent: StandingAgent {
                id,
                root,
                subject,
                mark: Mark { handle, generation },
            },
            status,
        })
    }
}

/// Connections from before this time whose agents are active or revoked, and have no key that is known: at most so many. One
/// that was stopped for a while, or that proves a key of its own, is let be.
pub fn over(before: Timestamp, limit: usize) -> Select<OverConnection> {
    Query::new(
        limit,
        "SELECT a.id, a.root, u.pseudonym, a.handle, h.generation, a.status FROM connections c \
         JOIN agents a ON a.id = c.agent JOIN handles h ON h.handle = a.handle JOIN users u ON u.id = a.root \
         WHERE c.created_at < ?1 AND (a.status = 'revoked' OR (a.status = 'active' AND a.proof_key IS NULL)) \
         AND NOT EXISTS (SELECT 1 FROM agent_keys k WHERE k.agent = c.agent) ORDER BY a.id LIMIT ?2",
    )
    .bind(before)
    .bind(u32::try_from(limit).unwrap_or(u32::MAX))
    .of()
}

/// Forgets that an agent was a client, and what was said yes to, unless it has a key: of this and of letting it in at once,
/// one is done.
pub fn forget(agent: AgentId) -> [Write; 2] {
    [
        Write::any("DELETE FROM consents WHERE agent = ?1").bind(agent),
        Write::exactly(
            1,
            "DELETE FROM connections WHERE agent = ?1 AND NOT EXISTS (SELECT 1 FROM agent_keys k WHERE k.agent = ?1)",
        )
        .bind(agent),
    ]
}

/// Forgets all that a human let in, with its lines.
pub fn forget_of(user: UserId) -> [Write; 5] {
    const AGENTS: &str = "SELECT c.agent FROM connections c WHERE c.user_id = ?1";
    const LINES: &str = "SELECT l.id FROM refresh_lines l JOIN connections c ON c.agent = l.agent WHERE c.user_id = ?1";
    [
        format!("DELETE FROM authorization_codes WHERE line IN ({LINES})"),
        format!("DELETE FROM refresh_tokens WHERE line IN ({LINES})"),
        format!("DELETE FROM refresh_lines WHERE agent IN ({AGENTS})"),
        format!("DELETE FROM consents WHERE agent IN ({AGENTS})"),
        "DELETE FROM connections WHERE user_id = ?1".to_owned(),
    ]
    .map(|sql| Write::any(sql).bind(user))
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

/// Makes sure that what is said yes to is still remembered, of one tool server.
pub fn is_consented(agent: AgentId, server: ToolServerId) -> Write {
    Write::exactly(
        1,
        "UPDATE consents SET given_at = given_at WHERE agent = ?1 AND server = ?2",
    )
    .bind(agent)
    .bind(server)
}

/// Forgets what a human said yes to, for one tool server.
pub fn withdraw(agent: AgentId, server: ToolServerId) -> Write {
    Write::exactly(1, "DELETE FROM consents WHERE agent = ?1 AND server = ?2")
        .bind(agent)
        .bind(server)
}

/// What a human said yes to for an agent.
pub fn consents_of(agent: AgentId) -> Select<ConsentRow> {
    Query::new(
        MAX_CONSENTS,
        format!(
            "SELECT s.agent, s.server, s.scopes, s.fingerprint, s.given_at FROM consents s WHERE s.agent = ?1 \
             ORDER BY s.server LIMIT {MAX_CONSENTS}"
        ),
    )
    .bind(agent)
    .of()
}
