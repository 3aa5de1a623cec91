//! Lines of refresh tokens and the codes that they begin with, as rows. A line is a key of its agent.

use kavachos_core::id::AgentId;
use kavachos_core::revocation::Handle;
use kavachos_core::secret::SecretHash;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// A line of refresh tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineRow {
    /// The hash of the agent's key that it is.
    pub id: SecretHash,
    /// Whose it is.
    pub agent: AgentId,
    /// The client that may use it.
    pub client: String,
    /// For which tool servers with which scopes: a JSON array.
    pub targets: String,
    /// The thumbprint of the key that each use proves.
    pub proof_key: Option<[u8; 32]>,
    /// The number of the token that is good; 0 while there is none.
    pub number: u64,
    /// Since when.
    pub since: Timestamp,
    /// How often it was given again.
    pub repeats: u8,
    /// When it ends unless it is used.
    pub idle_ends_at: Timestamp,
    /// When it began.
    pub created_at: Timestamp,
}

const COLUMNS: &str = "l.id, l.agent, l.client, l.targets, l.proof_key, l.number, l.since, l.repeats, l.idle_ends_at, \
    l.created_at";

type Cells = (
    [u8; 32],
    AgentId,
    String,
    String,
    Option<[u8; 32]>,
    u64,
    Timestamp,
    u8,
    Timestamp,
    Timestamp,
);

fn line(cells: Cells) -> LineRow {
    let (id, agent, client, targets, proof_key, number, since, repeats, idle_ends_at, created_at) =
        cells;
    LineRow {
        id: SecretHash::from_bytes(id),
        agent,
        client,
        targets,
        proof_key,
        number,
        since,
        repeats,
        idle_ends_at,
        created_at,
    }
}

impl FromRow for LineRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        row.decode().map(line)
    }
}

/// Stores a line that begins. Its key is stored before it, with [`crate::agent::insert_key`].
pub fn insert(row: LineRow) -> Write {
    Write::exactly(
        1,
        "INSERT INTO refresh_lines (id, agent, client, targets, proof_key, number, since, repeats, idle_ends_at, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )
    .bind(*row.id.as_bytes())
    .bind(row.agent)
    .bind(row.client)
    .bind(row.targets)
    .bind(row.proof_key)
    .bind(row.number)
    .bind(row.since)
    .bind(row.repeats)
    .bind(row.idle_ends_at)
    .bind(row.created_at)
}

/// Has the next token take the place of the one with this number: of many at once, one does.
pub fn advance(id: SecretHash, number: u64, (now, idle_ends_at): (Timestamp, Timestamp)) -> Write {
    Write::exactly(
        1,
        "UPDATE refresh_lines SET number = number + 1, since = ?3, repeats = 0, idle_ends_at = ?4 \
         WHERE id = ?1 AND number = ?2 AND idle_ends_at > ?3",
    )
    .bind(*id.as_bytes())
    .bind(number)
    .bind(now)
    .bind(idle_ends_at)
}

/// Notes the key that each use proves from now on, of a line that has none.
pub fn bind(id: SecretHash, print: [u8; 32]) -> Write {
    Write::exactly(
        1,
        "UPDATE refresh_lines SET proof_key = ?2 WHERE id = ?1 AND proof_key IS NULL",
    )
    .bind(*id.as_bytes())
    .bind(print)
}

/// Has a line end at this time, whose client gets no refresh tokens.
pub fn end_by(id: SecretHash, ends_at: Timestamp) -> Write {
    Write::exactly(
        1,
        "UPDATE refresh_lines SET idle_ends_at = ?2 WHERE id = ?1",
    )
    .bind(*id.as_bytes())
    .bind(ends_at)
}

/// Notes that the token with this number was given once more.
pub fn repeat(id: SecretHash, number: u64, repeats: u8) -> Write {
    Write::exactly(
        1,
        "UPDATE refresh_lines SET repeats = repeats + 1 WHERE id = ?1 AND number = ?2 AND repeats = ?3",
    )
    .bind(*id.as_bytes())
    .bind(number)
    .bind(repeats)
}

/// Stores a token of a line.
pub fn token(hash: SecretHash, line: SecretHash, number: u64) -> Write {
    Write::exactly(
        1,
        "INSERT INTO refresh_tokens (hash, line, number) VALUES (?1, ?2, ?3)",
    )
    .bind(*hash.as_bytes())
    .bind(*line.as_bytes())
    .bind(number)
}

/// A token that was shown, and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownRow {
    /// The line.
    pub line: LineRow,
    /// Which token of it was shown.
    pub number: u64,
}

impl FromRow for ShownRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        type Both = (
            [u8; 32],
            AgentId,
            String,
            String,
            Option<[u8; 32]>,
            u64,
            Timestamp,
            u8,
            Timestamp,
            Timestamp,
            u64,
        );
        let (id, agent, client, targets, key, number, since, repeats, idle, created, shown): Both =
            row.decode()?;
        let cells = (
            id, agent, client, targets, key, number, since, repeats, idle, created,
        );
        Ok(Self {
            line: line(cells),
            number: shown,
        })
    }
}

/// The line of the token with this hash.
pub fn of_token(hash: SecretHash) -> Select<ShownRow> {
    Query::new(
        1,
        format!(
            "SELECT {COLUMNS}, t.number FROM refresh_tokens t JOIN refresh_lines l ON l.id = t.line WHERE t.hash = ?1"
        ),
    )
    .bind(*hash.as_bytes())
    .of()
}

/// The line that is the key with this handle.
pub fn by_key(handle: Handle) -> Select<LineRow> {
    Query::new(
        1,
        format!(
            "SELECT {COLUMNS} FROM agent_keys k JOIN refresh_lines l ON l.id = k.hash WHERE k.handle = ?1"
        ),
    )
    .bind(handle)
    .of()
}

/// An agent's line whose id begins so.
pub fn of_agent(agent: AgentId, begins: [u8; 16]) -> Select<LineRow> {
    Query::new(
        1,
        format!("SELECT {COLUMNS} FROM refresh_lines l WHERE l.agent = ?1 AND substr(l.id, 1, 16) = ?2 LIMIT 1"),
    )
    .bind(agent)
    .bind(begins)
    .of()
}

/// The line by which a client is this agent, if it is live: one without targets, since it is let in nowhere.
pub fn of_itself(client: String, agent: AgentId, now: Timestamp) -> Select<LineRow> {
    Query::new(
        1,
        format!(
            "SELECT {COLUMNS} FROM refresh_lines l JOIN agent_keys k ON k.hash = l.id \
             WHERE l.client = ?1 AND l.agent = ?2 AND l.targets = '[]' AND k.status = 'active' AND k.expires_at > ?3 \
             ORDER BY l.created_at DESC LIMIT 1"
        ),
    )
    .bind(client)
    .bind(agent)
    .bind(now)
    .of()
}

/// The line with this id.
pub fn by_id(id: SecretHash) -> Select<LineRow> {
    Query::new(
        1,
        format!("SELECT {COLUMNS} FROM refresh_lines l WHERE l.id = ?1"),
    )
    .bind(*id.as_bytes())
    .of()
}

/// An agent's lines that are live and whose codes were redeemed, oldest first: at most so many.
pub fn used_of(agent: AgentId, now: Timestamp, limit: usize) -> Select<LineRow> {
    Query::new(
        limit,
        format!(
            "SELECT {COLUMNS} FROM refresh_lines l JOIN agent_keys k ON k.hash = l.id \
             WHERE l.agent = ?1 AND k.status = 'active' AND k.expires_at > ?2 AND l.idle_ends_at > ?2 \
             AND NOT EXISTS (SELECT 1 FROM authorization_codes c WHERE c.line = l.id AND c.redeemed_at IS NULL) \
             ORDER BY l.created_at, l.id LIMIT ?3"
        ),
    )
    .bind(agent)
    .bind(now)
    .bind(u32::try_from(limit).unwrap_or(u32::MAX))
    .of()
}

/// An agent's lines whose codes nobody redeemed, oldest first: at most so many.
pub fn waiting_of(agent: AgentId, limit: usize) -> Select<([u8; 32],)> {
    Query::new(
        limit,
        "SELECT l.id FROM refresh_lines l JOIN agent_keys k ON k.hash = l.id JOIN authorization_codes c ON c.line = l.id \
         WHERE l.agent = ?1 AND k.status = 'active' AND c.redeemed_at IS NULL ORDER BY l.created_at, l.id LIMIT ?2",
    )
    .bind(agent)
    .bind(u32::try_from(limit).unwrap_or(u32::MAX))
    .of()
}

/// What is told of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldLine {
    /// Its id: the hash of its key.
    pub id: SecretHash,
    /// For which tool servers with which scopes: a JSON array.
    pub targets: String,
    /// The thumbprint of the key that each use proves.
    pub proof_key: Option<[u8; 32]>,
    /// The number of the token that is good; 0 while there is none.
    pub number: u64,
    /// When it began.
    pub created_at: Timestamp,
    /// Since when the token is good.
    pub since: Timestamp,
    /// When its code is worth nothing any more; `None` once that is forgotten.
    pub code_expires_at: Option<Timestamp>,
    /// When its code was redeemed.
    pub redeemed_at: Option<Timestamp>,
    /// When it ends unless it is used.
    pub idle_ends_at: Timestamp,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The agent's `kills` when it began.
    pub agent_kills: u64,
    /// The human's `kills` when it began.
    pub user_kills: u64,
}

impl FromRow for ToldLine {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (
            id,
            targets,
            proof_key,
            number,
            created_at,
            since,
            code_expires_at,
            redeemed_at,
            idle_ends_at,
            expires_at,
            ended_at,
            agent_kills,
            user_kills,
        ) = row.decode()?;
        Ok(Self {
            id: SecretHash::from_bytes(id),
            targets,
            proof_key,
            number,
            created_at,
            since,
            code_expires_at,
            redeemed_at,
            idle_ends_at,
            expires_at,
            ended_at,
            agent_kills,
            user_kills,
        })
    }
}

/// An agent's lines: those that go on before those that ended, newest first; at most so many.
pub fn told_of(agent: AgentId, limit: usize) -> Select<ToldLine> {
    Query::new(
        limit,
        "SELECT l.id, l.targets, l.proof_key, l.number, l.created_at, l.since, c.expires_at, c.redeemed_at, \
         l.idle_ends_at, k.expires_at, k.ended_at, k.agent_kills, k.user_kills FROM refresh_lines l \
         JOIN agent_keys k ON k.hash = l.id LEFT JOIN authorization_codes c ON c.line = l.id WHERE l.agent = ?1 \
         ORDER BY CASE k.status WHEN 'active' THEN 0 ELSE 1 END, l.created_at DESC, l.id DESC LIMIT ?2",
    )
    .bind(agent)
    .bind(u32::try_from(limit).unwrap_or(u32::MAX))
    .of()
}

/// A code that a browser brings back, or that a device polls with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeRow {
    /// Its hash.
    pub hash: SecretHash,
    /// The line that begins with it.
    pub line: SecretHash,
    /// Where a browser was sent with it.
    pub redirect_uri: Option<String>,
    /// What its redeemer proves to know, where a browser brings it: a SHA-256.
    pub challenge: Option<[u8; 32]>,
    /// When it is worth nothing any more.
    pub expires_at: Timestamp,
    /// When it was redeemed.
    pub redeemed_at: Option<Timestamp>,
}

impl FromRow for CodeRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        type Cells = (
            [u8; 32],
            [u8; 32],
            Option<String>,
            Option<[u8; 32]>,
            Timestamp,
            Option<Timestamp>,
        );
        let cells: Cells = row.decode()?;
        let (hash, line, redirect_uri, challenge, expires_at, redeemed_at) = cells;
        Ok(Self {
            hash: SecretHash::from_bytes(hash),
            line: SecretHash::from_bytes(line),
            redirect_uri,
            challenge,
            expires_at,
            redeemed_at,
        })
    }
}

/// Stores a code.
pub fn insert_code(row: CodeRow) -> Write {
    Write::exactly(
        1,
        "INSERT INTO authorization_codes (hash, line, redirect_uri, challenge, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(*row.hash.as_bytes())
    .bind(*row.line.as_bytes())
    .bind(row.redirect_uri)
    .bind(row.challenge)
    .bind(row.expires_at)
}

/// The code with this hash.
pub fn code(hash: SecretHash) -> Select<CodeRow> {
    Query::new(
        1,
        "SELECT c.hash, c.line, c.redirect_uri, c.challenge, c.expires_at, c.redeemed_at FROM authorization_codes c \
         WHERE c.hash = ?1",
    )
    .bind(*hash.as_bytes())
    .of()
}

/// Redeems a code that is good: of many at once, one does.
pub fn redeem(hash: SecretHash, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "UPDATE authorization_codes SET redeemed_at = ?2 WHERE hash = ?1 AND redeemed_at IS NULL AND expires_at > ?2",
    )
    .bind(*hash.as_bytes())
    .bind(now)
}

/// Removes the code of a line that nobody redeemed: of this and of redeeming it at once, one is done.
pub fn drop_code(line: SecretHash) -> Write {
    Write::exactly(
        1,
        "DELETE FROM authorization_codes WHERE line = ?1 AND redeemed_at IS NULL",
    )
    .bind(*line.as_bytes())
}

/// Ends the lines of codes that were over before this time and that nobody redeemed: nothing was made of them.
pub fn end_unredeemed(before: Timestamp) -> Write {
    Write::any(
        "UPDATE agent_keys SET status = 'revoked', ended_at = ?1 WHERE status = 'active' AND hash IN (\
           SELECT c.line FROM authorization_codes c WHERE c.redeemed_at IS NULL AND c.expires_at < ?1)",
    )
    .bind(before)
}

/// Ends lines that nobody used for too long: what was made of them is over since.
pub fn end_idle(now: Timestamp) -> Write {
    Write::any(
        "UPDATE agent_keys SET status = 'revoked', ended_at = ?1 WHERE status = 'active' AND hash IN (\
           SELECT l.id FROM refresh_lines l WHERE l.idle_ends_at <= ?1)",
    )
    .bind(now)
}

/// Removes codes that were over before the first time, and lines whose keys were over before the second one. Belongs before
/// [`crate::agent::forget_keys`].
pub fn forget(codes: Timestamp, lines: Timestamp) -> [Write; 4] {
    const OVER: &str = "SELECT l.id FROM refresh_lines l JOIN agent_keys k ON k.hash = l.id \
        WHERE k.expires_at < ?1 OR k.ended_at < ?1";
    [
        Write::any("DELETE FROM authorization_codes WHERE expires_at < ?1").bind(codes),
        Write::any(format!(
            "DELETE FROM authorization_codes WHERE line IN ({OVER})"
        ))
        .bind(lines),
        Write::any(format!("DELETE FROM refresh_tokens WHERE line IN ({OVER})")).bind(lines),
        Write::any(format!("DELETE FROM refresh_lines WHERE id IN ({OVER})")).bind(lines),
    ]
}
