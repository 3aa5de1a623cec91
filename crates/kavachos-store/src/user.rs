//! Humans, as rows.

use kavachos_core::id::{Id, Named, UserId};
use kavachos_core::ledger::Pseudonym;
use kavachos_core::principal::{Status, human_status};
use kavachos_core::revocation::{Handle, Mark};
use kavachos_core::time::Timestamp;

use crate::batch::Write;
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// One human.
#[derive(Debug, Clone, PartialEq)]
pub struct UserRow {
    /// Their id.
    pub id: UserId,
    /// `revoked` means deleted: the row stays as a tombstone, without e-mail and name.
    pub status: Status,
    /// Unique among those not deleted, in lower case.
    pub email: Option<String>,
    /// For display.
    pub name: Option<String>,
    /// The outside identity provider and its name for the human; unique as a pair, for ever.
    pub external: Option<(String, String)>,
    /// A JSON array of permissions; `None` for `*`.
    pub permissions: Option<String>,
    /// The handle, at its current generation.
    pub mark: Mark,
    /// What was issued at a lower count is dead for good.
    pub kills: u64,
    /// The name in the ledger.
    pub pseudonym: Pseudonym,
    /// How many agents of theirs, at any level, are not revoked.
    pub agents: u64,
    /// Rises with every change; guards them.
    pub version: u64,
    /// When they were created.
    pub created_at: Timestamp,
    /// Since when it is known that they read mail sent to the address.
    pub email_verified_at: Option<Timestamp>,
    /// `admin` or `owner`; `None` for a member.
    pub role: Option<String>,
    /// When a ban ends by itself.
    pub banned_until: Option<Timestamp>,
}

pub(crate) const COLUMNS: &str = "SELECT u.id, u.status, u.email, u.name, u.provider, u.external_id, u.permissions, u.handle, \
    h.generation, u.kills, u.pseudonym, u.agents, u.version, u.created_at, u.email_verified_at, u.role, \
    u.banned_until FROM users u JOIN handles h ON h.handle = u.handle";

type Cells = (
    UserId,
    Status,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Handle,
    u64,
    u64,
    Pseudonym,
    u64,
    u64,
    Timestamp,
    Option<Timestamp>,
    Option<String>,
    Option<Timestamp>,
);

impl UserRow {
    /// What the status comes to at `now`: a ban may be over.
    pub fn status_at(&self, now: Timestamp) -> Status {
        human_status(self.status, self.banned_until, now)
    }
}

impl FromRow for UserRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (
            id,
            status,
            email,
            name,
            provider,
            external_id,
            permissions,
            handle,
            generation,
            kills,
            pseudonym,
            agents,
            version,
            created_at,
            email_verified_at,
            role,
            banned_until,
        ): Cells = row.decode()?;
        Ok(Self {
            id,
            status,
            email,
            name,
            external: provider.zip(external_id),
            permissions,
            mark: Mark { handle, generation },
            kills,
            pseudonym,
            agents,
            version,
            created_at,
            email_verified_at,
            role,
            banned_until,
        })
    }
}

/// Stores a new human, if nobody has the e-mail address or the outside identity.
/// The handle is stored apart, with [`crate::handle::born`].
pub fn insert(user: UserRow) -> Write {
    let (provider, external_id) = user.external.unzip();
    Write::exactly(
        1,
        "INSERT INTO users (id, status, email, name, provider, external_id, permissions, handle, kills, pseudonym, \
         agents, version, created_at, email_verified_at, role, banned_until) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) \
         ON CONFLICT DO NOTHING",
    )
    .bind(user.id)
    .bind(user.status)
    .bind(user.email)
    .bind(user.name)
    .bind(provider)
    .bind(external_id)
    .bind(user.permissions)
    .bind(user.mark.handle)
    .bind(user.kills)
    .bind(user.pseudonym)
    .bind(user.agents)
    .bind(user.version)
    .bind(user.created_at)
    .bind(user.email_verified_at)
    .bind(user.role)
    .bind(user.banned_until)
}

/// Replaces what may change of a human who is still as `user.version` says, if nobody else has the e-mail address or the
/// outside identity.
pub fn update(user: UserRow) -> Write {
    let (provider, external_id) = user.external.unzip();
    Write::exactly(
        1,
        "UPDATE users SET status = ?3, email = ?4, name = ?5, permissions = ?6, kills = ?7, \
         email_verified_at = ?8, role = ?9, banned_until = ?10, provider = ?11, external_id = ?12, \
         version = version + 1 \
         WHERE id = ?1 AND version = ?2 AND NOT EXISTS (SELECT 1 FROM users WHERE email = ?4 AND id <> ?1) \
         AND NOT EXISTS (SELECT 1 FROM users WHERE provider = ?11 AND external_id = ?12 AND id <> ?1)",
    )
    .bind(user.id)
    .bind(user.version)
    .bind(user.status)
    .bind(user.email)
    .bind(user.name)
    .bind(user.permissions)
    .bind(user.kills)
    .bind(user.email_verified_at)
    .bind(user.role)
    .bind(user.banned_until)
    .bind(provider)
    .bind(external_id)
}

/// How many agents of a human are neither revoked nor below one that is.
const LIVE_AGENTS: &str = "WITH RECURSIVE live (id) AS (\
      SELECT a.id FROM agents a WHERE a.root = ?1 AND a.owner_user = ?1 AND a.status <> 'revoked' \
      UNION SELECT a.id FROM agents a JOIN live l ON a.owner_agent = l.id WHERE a.status <> 'revoked') \
    SELECT COUNT(*) FROM live";

/// How many agents of a human are neither revoked nor below one that is: all of them are looked at.
pub fn live_agents(id: UserId) -> Select<(u64,)> {
    Query::new(1, LIVE_AGENTS).bind(id).of()
}

/// Counts the agents of a human anew, if the count has come to the limit: what lies below a revoked agent is still in it.
pub fn recount_agents(id: UserId, limit: u64) -> Write {
    Write::any(format!(
        "UPDATE users SET agents = ({LIVE_AGENTS}) WHERE id = ?1 AND agents >= ?2"
    ))
    .bind(id)
    .bind(limit)
}

/// Counts one more agent of a human, if that stays within the limit.
pub fn count_agent(id: UserId, limit: u64) -> Write {
    Write::exactly(
        1,
        "UPDATE users SET agents = agents + 1 WHERE id = ?1 AND agents < ?2",
    )
    .bind(id)
    .bind(limit)
}

/// The human with this id.
pub fn by_id(id: UserId) -> Select<UserRow> {
    Query::new(1, format!("{COLUMNS} WHERE u.id = ?1"))
        .bind(id)
        .of()
}

/// The human with this e-mail address, given in lower case.
pub fn by_email(email: String) -> Select<UserRow> {
    Query::new(1, format!("{COLUMNS} WHERE u.email = ?1"))
        .bind(email)
        .of()
}

/// The human whom an outside provider knows by this id.
pub fn by_external(provider: String, external_id: String) -> Select<UserRow> {
    Query::new(
        1,
        format!("{COLUMNS} WHERE u.provider = ?1 AND u.external_id = ?2"),
    )
    .bind(provider)
    .bind(external_id)
    .of()
}

/// The humans whom the ledger calls these.
pub fn by_pseudonyms(pseudonyms: &[Pseudonym]) -> Select<UserRow> {
    among("u.pseudonym", pseudonyms)
}

/// The humans with these ids.
pub fn by_ids(ids: &[UserId]) -> Select<UserRow> {
    among("u.id", ids)
}

/// Those of whom this holds, of the alias `u` and with this parameter.
pub(crate) fn among_all(most: usize, condition: &str, parameter: String) -> Select<UserRow> {
    Query::new(most, format!("{COLUMNS} WHERE {condition}"))
        .bind(parameter)
        .of()
}

fn among<K: Named>(column: &str, ids: &[Id<K>]) -> Select<UserRow> {
    let slots: Vec<String> = (1..=ids.len()).map(|slot| format!("?{slot}")).collect();
    let sql = format!("{COLUMNS} WHERE {column} IN ({})", slots.join(", "));
    let query = Query::new(ids.len(), sql);
    ids.iter().fold(query, |query, id| query.bind(*id)).of()
}
