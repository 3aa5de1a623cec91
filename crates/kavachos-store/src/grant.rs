//! Grants, as rows: root grants of agents and delegations.

use kavachos_core::id::{AgentId, GrantId, SessionId, UserId};
use kavachos_core::ledger::Pseudonym;
use kavachos_core::principal::{Owner, Status};
use kavachos_core::revocation::{Handle, Mark};
use kavachos_core::time::Timestamp;

use crate::agent::{owner, owner_columns};
use crate::batch::Write;
use crate::maker::{self, Ending, Maker};
use crate::page::{self, Listed};
use crate::row::{FromRow, Malformed, Query, Row, Select};

/// One grant.
#[derive(Debug, Clone, PartialEq)]
pub struct GrantRow {
    /// Its id.
    pub id: GrantId,
    /// The grant that it was derived from; `None` when it comes from a human.
    pub parent: Option<GrantId>,
    /// Who gave it.
    pub giver: Owner,
    /// The agent that has it.
    pub receiver: AgentId,
    /// The human at the top of its path.
    pub root: UserId,
    /// A JSON array of permissions.
    pub permissions: String,
    /// A JSON object of constraints on everything in it.
    pub guards: Option<String>,
    /// How many delegations lie above it.
    pub depth: u8,
    /// How deep delegations below may go.
    pub max_depth: u8,
    /// When it ends; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// Why it was given.
    pub reason: Option<String>,
    /// `active` or `revoked`.
    pub status: Status,
    /// The handle, at its current generation.
    pub mark: Mark,
    /// Rises with every change; guards them.
    pub version: u64,
    /// When it was written.
    pub created_at: Timestamp,
    /// What its tokens may be used for beside being shown: a JSON object, `None` for nothing.
    pub uses: Option<String>,
    /// The audience of the tool server for whose token alone it is; `None` for a grant that is good for all it permits.
    pub reserved_for: Option<String>,
    /// Who made it, if a human did.
    pub maker: Option<Maker>,
}

const COLUMNS: &str = "SELECT g.id, g.parent, g.giver_user, g.giver_agent, g.receiver, g.root, g.permissions, \
    g.guards, g.depth, g.max_depth, g.expires_at, g.reason, g.status, g.handle, h.generation, g.version, g.created_at, g.uses, \
    g.reserved_for, g.made_by, g.made_in \
    FROM grants g JOIN handles h ON h.handle = g.handle";

type Cells = (
    GrantId,
    Option<GrantId>,
    Option<UserId>,
    Option<AgentId>,
    AgentId,
    UserId,
    String,
    Option<String>,
    u8,
    u8,
    Option<Timestamp>,
    Option<String>,
    Status,
    Handle,
    u64,
    u64,
    Timestamp,
    Option<String>,
    Option<String>,
    Option<UserId>,
    Option<SessionId>,
);

impl FromRow for GrantRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (
            id,
            parent,
            giver_user,
            giver_agent,
            receiver,
            root,
            permissions,
            guards,
            depth,
            max_depth,
            expires_at,
            reason,
            status,
            handle,
            generation,
            version,
            created_at,
            uses,
            reserved_for,
            made_by,
            made_in,
        ): Cells = row.decode()?;
        Ok(Self {
            id,
            parent,
            giver: owner(giver_user, giver_agent).ok_or(Malformed {
                column: 3,
                expected: "one giver",
            })?,
            receiver,
            root,
            permissions,
            guards,
            depth,
            max_depth,
            expires_at,
            reason,
            status,
            mark: Mark { handle, generation },
            version,
            created_at,
            uses,
            reserved_for,
            maker: Maker::of(made_by, made_in),
        })
    }
}

/// How many grants may hang on one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Live children of one grant.
    pub children: u64,
    /// Live grants that one agent holds.
    pub received: u64,
}

/// Stores a new grant if its parent and its receiver are within their quotas at `grant.created_at`.
/// The handle is stored apart, with [`crate::handle::born`].
pub fn insert(grant: GrantRow, quota: Quota) -> Write {
    let (giver_user, giver_agent) = owner_columns(grant.giver);
    let (made_by, made_in) = maker::columns(grant.maker);
    let (children, received) = (live("c.parent = ?2", "?16"), live("c.receiver = ?5", "?16"));
    let sql = format!(
        "INSERT INTO grants (id, parent, giver_user, giver_agent, receiver, root, permissions, guards, depth, \
         max_depth, expires_at, reason, status, handle, version, created_at, uses, reserved_for, made_by, made_in) \
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?19, ?20, ?21, ?22 \
         WHERE {children} < ?17 AND {received} < ?18"
    );
    Write::exactly(1, sql)
        .bind(grant.id)
        .bind(grant.parent)
        .bind(giver_user)
        .bind(giver_agent)
        .bind(grant.receiver)
        .bind(grant.root)
        .bind(grant.permissions)
        .bind(grant.guards)
        .bind(grant.depth)
        .bind(grant.max_depth)
        .bind(grant.expires_at)
        .bind(grant.reason)
        .bind(grant.status)
        .bind(grant.mark.handle)
        .bind(grant.version)
        .bind(grant.created_at)
        .bind(quota.children)
        .bind(quota.received)
        .bind(grant.uses)
        .bind(grant.reserved_for)
        .bind(made_by)
        .bind(made_in)
}

/// How many grants with this are live: those without an end, and those that end later. Two walks of an index by end, which
/// see none of those that are over, however many there are.
fn live(with: &str, now: &str) -> String {
    format!(
        "((SELECT COUNT(*) FROM grants c WHERE {with} AND c.expires_at IS NULL AND c.status = 'active') \
         + (SELECT COUNT(*) FROM grants c WHERE {with} AND c.expires_at > {now} AND c.status = 'active'))"
    )
}

/// How many live grants hang on a parent, and how many a receiver holds, at `now`.
pub fn counts(parent: Option<GrantId>, receiver: AgentId, now: Timestamp) -> Select<(u64, u64)> {
    Query::new(
        1,
        format!(
            "SELECT CAST({} AS BIGINT), CAST({} AS BIGINT)",
            live("c.parent = ?1", "?3"),
            live("c.receiver = ?2", "?3")
        ),
    )
    .bind(parent)
    .bind(receiver)
    .bind(now)
    .of()
}

/// Replaces what may change of a grant that is active and still as `grant.version` says.
pub fn update(grant: GrantRow) -> Write {
    Write::exactly(
        1,
        "UPDATE grants SET permissions = ?3, guards = ?4, max_depth = ?5, expires_at = ?6, status = ?7, \
         uses = ?8, version = version + 1 WHERE id = ?1 AND version = ?2 AND status = 'active'",
    )
    .bind(grant.id)
    .bind(grant.version)
    .bind(grant.permissions)
    .bind(grant.guards)
    .bind(grant.max_depth)
    .bind(grant.expires_at)
    .bind(grant.status)
    .bind(grant.uses)
}

/// The grant with this id.
pub fn by_id(id: GrantId) -> Select<GrantRow> {
    Query::new(1, format!("{COLUMNS} WHERE g.id = ?1"))
        .bind(id)
        .of()
}

/// The grants with these ids.
pub fn by_ids(ids: &[GrantId]) -> Select<GrantRow> {
    let slots: Vec<String> = (1..=ids.len()).map(|slot| format!("?{slot}")).collect();
    let query = Query::new(
        ids.len(),
        format!("{COLUMNS} WHERE g.id IN ({})", slots.join(", ")),
    );
    ids.iter().fold(query, |query, id| query.bind(*id)).of()
}

/// The grants that an agent holds at `now`: all live ones in any order, and the newest that ended, so that a denial can say
/// that there was one.
pub fn received(agent: AgentId, now: Timestamp) -> [Select<GrantRow>; 2] {
    const LIVE: &str = "g.status = 'active' AND (g.expires_at IS NULL OR g.expires_at > ?2)";
    const MAX_LIVE: usize = 1_024;
    const ENDED_SHOWN: usize = 16;
    let held = |end: &str| {
        format!("{COLUMNS} WHERE g.receiver = ?1 AND g.status = 'active' AND g.expires_at {end}")
    };
    let live = format!("{} UNION ALL {}", held("IS NULL"), held("> ?2"));
    let ended = format!(
        "{COLUMNS} WHERE g.receiver = ?1 AND NOT ({LIVE}) ORDER BY g.id DESC LIMIT {ENDED_SHOWN}"
    );
    [
        Query::new(MAX_LIVE, live).bind(agent).bind(now).of(),
        Query::new(ENDED_SHOWN, ended).bind(agent).bind(now).of(),
    ]
}

/// Which of the live grants are meant that a human gave themselves: the roots of everything that is done for them.
const GIVEN_BY: &str = "g.giver_user = ?1 AND g.parent IS NULL AND g.status = 'active' \
    AND (g.expires_at IS NULL OR g.expires_at > ?2)";

/// A live grant that a human gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenGrant {
    /// Its id.
    pub id: GrantId,
    /// The agent that has it.
    pub receiver: AgentId,
    /// The handle, at its current generation.
    pub mark: Mark,
}

impl FromRow for GivenGrant {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (id, receiver, handle, generation) = row.decode()?;
        Ok(Self {
            id,
            receiver,
            mark: Mark { handle, generation },
        })
    }
}

/// The grants that a human gave and that are live at `now`: at most `limit` after this one, in the order of their ids.
pub fn given_after(
    user: UserId,
    after: String,
    now: Timestamp,
    limit: usize,
) -> Select<GivenGrant> {
    let rows = format!(
        "SELECT g.id, g.receiver, g.handle, h.generation FROM grants g JOIN handles h ON h.handle = g.handle \
         WHERE {GIVEN_BY} AND g.id > ?3 ORDER BY g.id LIMIT ?4"
    );
    Query::new(limit, rows)
        .bind(user)
        .bind(now)
        .bind(after)
        .bind(u32::try_from(limit).unwrap_or(u32::MAX))
        .of()
}

/// A live grant, with what its end must name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandingGrant {
    /// Its id.
    pub id: GrantId,
    /// The agent that has it.
    pub receiver: AgentId,
    /// What the ledger calls the human at the top of its path.
    pub subject: Pseudonym,
    /// The handle, at its current generation.
    pub mark: Mark,
}

impl FromRow for StandingGrant {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (id, receiver, subject, handle, generation) = row.decode()?;
        Ok(Self {
            id,
            receiver,
            subject,
            mark: Mark { handle, generation },
        })
    }
}

/// At most `limit` live grants of these that are held by other agents than those that end with them, in the order of their
/// ids.
pub fn ending(ending: Ending, now: Timestamp, limit: usize) -> Select<StandingGrant> {
    let rows = format!(
        "SELECT g.id, g.receiver, u.pseudonym, g.handle, h.generation FROM grants g \
         JOIN handles h ON h.handle = g.handle JOIN users u ON u.id = g.root JOIN agents r ON r.id = g.receiver \
         WHERE {} AND g.status = 'active' AND (g.expires_at IS NULL OR g.expires_at > ?3) AND {} \
         AND r.status <> 'revoked' AND {} ORDER BY g.id LIMIT ?4",
        ending.grants(),
        ending.in_time("g"),
        ending.other_agents("r")
    );
    Query::new(limit, rows)
        .bind(ending.human)
        .bind(ending.until)
        .bind(now)
        .bind(u32::try_from(limit).unwrap_or(u32::MAX))
        .of()
}

/// Revokes an active grant, whatever else was changed of it.
pub fn revoke(id: GrantId) -> Write {
    Write::exactly(
        1,
        "UPDATE grants SET status = 'revoked', version = version + 1 WHERE id = ?1 AND status = 'active'",
    )
    .bind(id)
}

/// The grants with these ids and every grant above them.
pub fn with_parents(ids: &[GrantId]) -> Select<GrantRow> {
    const MAX_ABOVE: usize = 4_096;
    let slots: Vec<String> = (1..=ids.len()).map(|slot| format!("?{slot}")).collect();
    let sql = format!(
        "WITH RECURSIVE up (id) AS (SELECT x.id FROM grants x WHERE x.id IN ({}) \
           UNION SELECT x.parent FROM grants x JOIN up ON x.id = up.id WHERE x.parent IS NOT NULL) \
         {COLUMNS} JOIN up ON up.id = g.id",
        slots.join(", ")
    );
    ids.iter()
        .fold(Query::new(MAX_ABOVE, sql), |query, id| query.bind(*id))
        .of()
}

/// Which delegations a list shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GrantFilter {
    /// Of this human's authority.
    pub root: Option<UserId>,
    /// Given by this human or agent.
    pub giver: Option<Owner>,
    /// Held by this agent.
    pub receiver: Option<AgentId>,
}

/// A page of at most `limit` grants, newest first, older than `before`.
pub fn page(
    filter: &GrantFilter,
    before: Option<GrantId>,
    limit: usize,
) -> Select<Listed<GrantRow>> {
    let (giver_user, giver_agent) = filter.giver.map(owner_columns).unwrap_or_default();
    let candidates = "SELECT g.id, OCTET_LENGTH(g.permissions) + COALESCE(OCTET_LENGTH(g.guards), 0) FROM grants g \
         WHERE (CAST(?2 AS TEXT) IS NULL OR g.giver_user = ?2) AND (CAST(?3 AS TEXT) IS NULL OR g.giver_agent = ?3) \
         AND (CAST(?4 AS TEXT) IS NULL OR g.receiver = ?4) AND (CAST(?5 AS TEXT) IS NULL OR g.id < ?5) AND (CAST(?6 AS TEXT) IS NULL OR g.root = ?6)";
    page::of(candidates, COLUMNS, limit)
        .bind(giver_user)
        .bind(giver_agent)
        .bind(filter.receiver)
        .bind(before)
        .bind(filter.root)
        .of()
}

/// The grants above those of this depth whose ids lie from `first` to `last`, each once: at most `limit`.
pub fn above(depth: u8, (first, last): (GrantId, GrantId), limit: usize) -> Select<GrantRow> {
    Query::new(
        limit,
        format!(
            "{COLUMNS} WHERE g.id IN \
             (SELECT c.parent FROM grants c WHERE c.depth = ?1 AND c.id >= ?2 AND c.id <= ?3)"
        ),
    )
    .bind(depth)
    .bind(first)
    .bind(last)
    .of()
}
