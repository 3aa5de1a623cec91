//! Agents and their keys, as rows.

use kavachos_core::id::{AgentId, GrantId, SessionId, UserId};
use kavachos_core::ledger::Pseudonym;
use kavachos_core::principal::{Owner, Status};
use kavachos_core::revocation::{Handle, Mark};
use kavachos_core::secret::SecretHash;
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::maker::{self, Ending, Maker};
use crate::page::{self, Listed};
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// One agent.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentRow {
    /// Its id.
    pub id: AgentId,
    /// The human or agent that owns it.
    pub owner: Owner,
    /// The human at the top of its owners.
    pub root: UserId,
    /// For display.
    pub name: String,
    /// `autonomous`, `delegated` or `service`.
    pub kind: String,
    /// As stored; whether it has expired follows from `expires_at`.
    pub status: Status,
    /// When it stops working; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// A JSON object of the caller's own.
    pub metadata: Option<String>,
    /// The grant that was written with it.
    pub root_grant: GrantId,
    /// The handle, at its current generation.
    pub mark: Mark,
    /// What was issued at a lower count is dead for good.
    pub kills: u64,
    /// Rises with every change, rotation included; guards them.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// The key that it proves.
    pub proof_key: Option<ProofKeyRow>,
    /// Who made it, if a human did.
    pub maker: Option<Maker>,
}

/// The key that an agent proves to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofKeyRow {
    /// A JSON Web Key.
    pub jwk: String,
    /// The handle that is made of its thumbprint, at its current generation.
    pub mark: Mark,
}

const COLUMNS: &str = "SELECT a.id, a.owner_user, a.owner_agent, a.root, a.name, a.type, a.status, a.expires_at, \
    a.metadata, a.root_grant, a.handle, h.generation, a.kills, a.version, a.created_at, \
    a.proof_key, a.proof_handle, k.generation, a.made_by, a.made_in \
    FROM agents a JOIN handles h ON h.handle = a.handle LEFT JOIN handles k ON k.handle = a.proof_handle";

type Cells = (
    AgentId,
    Option<UserId>,
    Option<AgentId>,
    UserId,
    String,
    String,
    Status,
    Option<Timestamp>,
    Option<String>,
    GrantId,
    Handle,
    u64,
    u64,
    u64,
    Timestamp,
    Option<String>,
    Option<Handle>,
    Option<u64>,
    Option<UserId>,
    Option<SessionId>,
);

impl FromRow for AgentRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (
            id,
            owner_user,
            owner_agent,
            root,
            name,
            kind,
            status,
            expires_at,
            metadata,
            root_grant,
            handle,
            generation,
            kills,
            version,
            created_at,
            jwk,
            proof_handle,
            proof_generation,
            made_by,
            made_in,
        ): Cells = row.decode()?;
        Ok(Self {
            id,
            owner: owner(owner_user, owner_agent).ok_or(Malformed {
                column: 2,
                expected: "one owner",
            })?,
            root,
            name,
            kind,
            status,
            expires_at,
            metadata,
            root_grant,
            mark: Mark { handle, generation },
            kills,
            version,
            created_at,
            proof_key: proof_key(jwk, proof_handle.zip(proof_generation))?,
            maker: Maker::of(made_by, made_in),
        })
    }
}

fn proof_key(
    jwk: Option<String>,
    mark: Option<(Handle, u64)>,
) -> Result<Option<ProofKeyRow>, Malformed> {
    match (jwk, mark) {
        (None, None) => Ok(None),
        (Some(jwk), Some((handle, generation))) => Ok(Some(ProofKeyRow {
            jwk,
            mark: Mark { handle, generation },
        })),
        _ => Err(Malformed {
            column: 16,
            expected: "a key with its handle",
        }),
    }
}

/// Exactly one of the two columns of an owner (or giver) is set.
pub(crate) fn owner(user: Option<UserId>, agent: Option<AgentId>) -> Option<Owner> {
    match (user, agent) {
        (Some(user), None) => Some(Owner::User(user)),
        (None, Some(agent)) => Some(Owner::Agent(agent)),
        _ => None,
    }
}

/// The two columns of an owner (or giver).
pub(crate) fn owner_columns(owner: Owner) -> (Option<UserId>, Option<AgentId>) {
    match owner {
        Owner::User(user) => (Some(user), None),
        Owner::Agent(agent) => (None, Some(agent)),
    }
}

/// Stores a new agent. The handle is stored apart, with [`crate::handle::born`].
pub fn insert(agent: AgentRow) -> Write {
    let (owner_user, owner_agent) = owner_columns(agent.owner);
    let (jwk, proof_handle) = proof_columns(agent.proof_key);
    let (made_by, made_in) = maker::columns(agent.maker);
    Write::exactly(
        1,
        "INSERT INTO agents (id, owner_user, owner_agent, root, name, type, status, expires_at, metadata, root_grant, \
         handle, kills, version, created_at, proof_key, proof_handle, made_by, made_in) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    )
    .bind(agent.id)
    .bind(owner_user)
    .bind(owner_agent)
    .bind(agent.root)
    .bind(agent.name)
    .bind(agent.kind)
    .bind(agent.status)
    .bind(agent.expires_at)
    .bind(agent.metadata)
    .bind(agent.root_grant)
    .bind(agent.mark.handle)
    .bind(agent.kills)
    .bind(agent.version)
    .bind(agent.created_at)
    .bind(jwk)
    .bind(proof_handle)
    .bind(made_by)
    .bind(made_in)
}

/// The two columns of a proof key.
fn proof_columns(key: Option<ProofKeyRow>) -> (Option<String>, Option<Handle>) {
    key.map(|key| (key.jwk, key.mark.handle)).unzip()
}

/// Replaces what may change of an agent that is still as `agent.version` says.
pub fn update(agent: AgentRow) -> Write {
    let (jwk, proof_handle) = proof_columns(agent.proof_key);
    Write::exactly(
        1,
        "UPDATE agents SET name = ?3, status = ?4, expires_at = ?5, metadata = ?6, kills = ?7, proof_key = ?8, proof_handle = ?9, \
         version = version + 1 \
         WHERE id = ?1 AND version = ?2",
    )
    .bind(agent.id)
    .bind(agent.version)
    .bind(agent.name)
    .bind(agent.status)
    .bind(agent.expires_at)
    .bind(agent.metadata)
    .bind(agent.kills)
    .bind(jwk)
    .bind(proof_handle)
}

/// Takes an agent that is revoked off its human's count, if nothing above it was revoked before.
///
/// Belongs before the write that revokes it. What lies below stays counted until the count comes to its limit
/// ([`crate::user::recount_agents`]), so that a kill costs the same whatever lies below.
pub fn uncount(agent: AgentId, root: UserId) -> Write {
    Write::exactly(
        1,
        "UPDATE users SET agents = agents - (WITH RECURSIVE up (id) AS (\
           SELECT a.owner_agent FROM agents a WHERE a.id = ?1 \
           UNION SELECT a.owner_agent FROM agents a JOIN up u ON a.id = u.id) \
         SELECT COUNT(*) FROM agents a WHERE a.id = ?1 AND a.status <> 'revoked' \
           AND NOT EXISTS (SELECT 1 FROM agents o JOIN up u ON o.id = u.id WHERE o.status = 'revoked')) WHERE id = ?2",
    )
    .bind(agent)
    .bind(root)
}

/// The agent with this id.
pub fn by_id(id: AgentId) -> Select<AgentRow> {
    Query::new(1, format!("{COLUMNS} WHERE a.id = ?1"))
        .bind(id)
        .of()
}

/// The agent whose proof key has this handle, unless it was revoked.
pub fn by_proof_key(handle: Handle) -> Select<AgentRow> {
    Query::new(
        1,
        format!("{COLUMNS} WHERE a.proof_handle = ?1 AND a.status <> 'revoked'"),
    )
    .bind(handle)
    .of()
}

/// The oldest active agent with this name that its owner has for tokens alone: it has no key.
pub fn delegate_of(owner: Owner, root: UserId, name: &'static str) -> Select<AgentRow> {
    let (user, agent) = match owner {
        Owner::User(id) => (Some(id), None),
        Owner::Agent(id) => (None, Some(id)),
    };
    Query::new(
        1,
        format!(
            "{COLUMNS} WHERE a.root = ?4 AND (a.owner_user = ?1 OR a.owner_agent = ?2) AND a.name = ?3 AND a.type = 'delegated' \
             AND a.status = 'active' AND a.expires_at IS NULL AND a.proof_key IS NULL \
             AND NOT EXISTS (SELECT 1 FROM agent_keys k WHERE k.agent = a.id) ORDER BY a.id LIMIT 1"
        ),
    )
    .bind(user)
    .bind(agent)
    .bind(name)
    .bind(root)
    .of()
}

/// Which agents a list shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentFilter {
    /// Of this human, sub-agents included.
    pub root: Option<UserId>,
    /// Owned by this human or agent directly.
    pub owner: Option<Owner>,
    /// With this stored status.
    pub status: Option<Status>,
    /// Of this type.
    pub kind: Option<String>,
}

/// A page of at most `limit` agents, newest first, older than `before`. It is bounded in bytes with their root grants,
/// which are read apart.
pub fn page(
    filter: AgentFilter,
    before: Option<AgentId>,
    limit: usize,
) -> Select<Listed<AgentRow>> {
    let (owner_user, owner_agent) = filter.owner.map(owner_columns).unwrap_or_default();
    let candidates = "SELECT a.id, OCTET_LENGTH(g.permissions) + COALESCE(OCTET_LENGTH(g.guards), 0) \
           + COALESCE(OCTET_LENGTH(a.metadata), 0) \
         FROM agents a LEFT JOIN grants g ON g.id = a.root_grant \
         WHERE (CAST(?2 AS TEXT) IS NULL OR a.owner_user = ?2) AND (CAST(?3 AS TEXT) IS NULL OR a.owner_agent = ?3) \
         AND (CAST(?4 AS TEXT) IS NULL OR a.status = ?4) AND (CAST(?5 AS TEXT) IS NULL OR a.type = ?5) AND (CAST(?6 AS TEXT) IS NULL OR a.id < ?6) \
         AND (CAST(?7 AS TEXT) IS NULL OR a.root = ?7)";
    page::of(candidates, COLUMNS, limit)
        .bind(owner_user)
        .bind(owner_agent)
        .bind(filter.status)
        .bind(filter.kind)
        .bind(before)
        .bind(filter.root)
        .of()
}

/// An agent that is not revoked, with what its end must name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandingAgent {
    /// Its id.
    pub id: AgentId,
    /// The human at the top of its owners.
    pub root: UserId,
    /// What the ledger calls them.
    pub subject: Pseudonym,
    /// The handle, at its current generation.
    pub mark: Mark,
}

impl FromRow for StandingAgent {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (id, root, subject, handle, generation) = row.decode()?;
        Ok(Self {
            id,
            root,
            subject,
            mark: Mark { handle, generation },
        })
    }
}

/// At most `limit` agents of these that are not revoked, in the order of their ids.
pub fn ending(ending: Ending, limit: usize) -> Select<StandingAgent> {
    let rows = format!(
        "SELECT a.id, a.root, u.pseudonym, a.handle, h.generation FROM agents a JOIN handles h ON h.handle = a.handle \
         JOIN users u ON u.id = a.root WHERE {} AND a.status <> 'revoked' AND {} ORDER BY a.id LIMIT ?3",
        ending.agents("a"),
        ending.in_time("a")
    );
    Query::new(limit, rows)
        .bind(ending.human)
        .bind(ending.until)
        .bind(u32::try_from(limit).unwrap_or(u32::MAX))
        .of()
}

/// Revokes an agent that is not revoked, whatever else was changed of it.
pub fn revoke(id: AgentId) -> Write {
    Write::exactly(
        1,
        "UPDATE agents SET status = 'revoked', kills = kills + 1, version = version + 1 \
         WHERE id = ?1 AND status <> 'revoked'",
    )
    .bind(id)
}

/// The agents with these ids and everyone who owns them, at every level.
///
/// Owners are followed at most `MAX_OWNERS` rows far; an agent has at most eight levels above it.
pub fn with_owners(ids: &[AgentId]) -> Select<AgentRow> {
    const MAX_OWNERS: usize = 4_096;
    let slots: Vec<String> = (1..=ids.len()).map(|slot| format!("?{slot}")).collect();
    let sql = format!(
        "WITH RECURSIVE up (id) AS (SELECT x.id FROM agents x WHERE x.id IN ({}) \
           UNION SELECT x.owner_agent FROM agents x JOIN up ON x.id = up.id WHERE x.owner_agent IS NOT NULL) \
         {COLUMNS} JOIN up ON up.id = a.id",
        slots.join(", ")
    );
    ids.iter()
        .fold(Query::new(MAX_OWNERS, sql), |query, id| query.bind(*id))
        .of()
}

/// Those of which this holds, of the alias `a` and with this parameter.
pub(crate) fn among_all(most: usize, condition: &str, parameter: String) -> Select<AgentRow> {
    Query::new(most, format!("{COLUMNS} WHERE {condition}"))
        .bind(parameter)
        .of()
}

/// One key of an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentKeyRow {
    /// The hash of the key.
    pub hash: SecretHash,
    /// Whose it is.
    pub agent: AgentId,
    /// The first characters.
    pub shown: String,
    /// `active` or `revoked`.
    pub status: Status,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// The agent's `kills` when it was issued.
    pub agent_kills: u64,
    /// The root human's `kills` when it was issued.
    pub user_kills: u64,
    /// The handle, at its current generation.
    pub mark: Mark,
    /// When it was revoked.
    pub ended_at: Option<Timestamp>,
    /// When it was issued.
    pub created_at: Timestamp,
}

const KEY_COLUMNS: &str = "SELECT k.hash, k.agent, k.shown, k.status, k.expires_at, k.agent_kills, k.user_kills, \
    k.handle, h.generation, k.ended_at, k.created_at FROM agent_keys k JOIN handles h ON h.handle = k.handle";

type KeyCells = (
    [u8; 32],
    AgentId,
    String,
    Status,
    Timestamp,
    u64,
    u64,
    Handle,
    u64,
    Option<Timestamp>,
    Timestamp,
);

impl FromRow for AgentKeyRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (
            hash,
            agent,
            shown,
            status,
            expires_at,
            agent_kills,
            user_kills,
            handle,
            generation,
            ended_at,
            created_at,
        ): KeyCells = row.decode()?;
        Ok(Self {
            hash: SecretHash::from_bytes(hash),
            agent,
            shown,
            status,
            expires_at,
            agent_kills,
            user_kills,
            mark: Mark { handle, generation },
            ended_at,
            created_at,
        })
    }
}

/// Stores a new key. The handle is stored apart, with [`crate::handle::born`].
pub fn insert_key(key: AgentKeyRow) -> Write {
    Write::exactly(
        1,
        "INSERT INTO agent_keys (hash, agent, shown, status, expires_at, agent_kills, user_kills, handle, ended_at, \
         created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )
    .bind(*key.hash.as_bytes())
    .bind(key.agent)
    .bind(key.shown)
    .bind(key.status)
    .bind(key.expires_at)
    .bind(key.agent_kills)
    .bind(key.user_kills)
    .bind(key.mark.handle)
    .bind(key.ended_at)
    .bind(key.created_at)
}

/// Revokes one key that is still active.
pub fn end_key(hash: SecretHash, now: Timestamp) -> Write {
    Write::exactly(1, "UPDATE agent_keys SET status = 'revoked', ended_at = ?2 WHERE hash = ?1 AND status = 'active'")
        .bind(*hash.as_bytes())
        .bind(now)
}

/// Removes keys that have been dead since before a time; their handles stay in the live set.
pub fn forget_keys(before: Timestamp) -> Write {
    Write::any("DELETE FROM agent_keys WHERE expires_at < ?1 OR ended_at < ?1").bind(before)
}

/// The key with this hash.
pub fn key_by_hash(hash: SecretHash) -> Select<AgentKeyRow> {
    Query::new(1, format!("{KEY_COLUMNS} WHERE k.hash = ?1"))
        .bind(*hash.as_bytes())
        .of()
}

/// Gives a key another handle: what was made under the one before ends, and the key goes on.
pub fn renew_handle(hash: SecretHash, (old, new): (Handle, Handle)) -> Write {
    Write::exactly(
        1,
        "UPDATE agent_keys SET handle = ?3 WHERE hash = ?1 AND handle = ?2 AND status = 'active'",
    )
    .bind(*hash.as_bytes())
    .bind(old)
    .bind(new)
}

/// The most keys of one agent at a time: its own, ten that clients act by, and lines of a client: ten that are used, five that wait,
/// and as many again that are over and that upkeep did not come to yet.
const MAX_ACTIVE_KEYS: usize = 64;

/// The keys of an agent that nobody has revoked, newest first. Rotation keeps it at one.
pub fn active_keys(agent: AgentId) -> Select<AgentKeyRow> {
    Query::new(
        MAX_ACTIVE_KEYS,
        format!(
            "{KEY_COLUMNS} WHERE k.agent = ?1 AND k.status = 'active' ORDER BY k.created_at DESC"
        ),
    )
    .bind(agent)
    .of()
}
