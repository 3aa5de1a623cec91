//! Requests for a human's approval, as rows.
//!
//! INVARIANT: of the requests with one digest at most one is open: not over, and waiting, denied, or approved by someone
//! who was not killed since. Each step (asked, decided, used) is one conditional write.

use std::str::FromStr;

use kavachos_core::id::{AgentId, ApprovalId, ToolServerId, UserId};
use kavachos_core::invalid::Invalid;
use kavachos_core::revocation::{Handle, Mark};
use kavachos_core::time::Timestamp;

use crate::batch::{Param, Write};
use crate::page::{self, Listed};
use crate::row::{Cell, FromCell, FromRow, Malformed, Query, Row, Select};

/// How far a request has come. That it has expired is found out, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has answered.
    Pending,
    /// Somebody said yes, and it has not been used.
    Approved,
    /// Somebody said no.
    Denied,
    /// The call was allowed, this one time.
    Used,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Pending, Self::Approved, Self::Denied, Self::Used];

    /// The stored form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Used => "used",
        }
    }
}

impl FromStr for Stage {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let stage = Self::ALL.into_iter().find(|stage| stage.as_str() == text);
        stage.ok_or_else(|| Invalid::new("must be `pending`, `approved`, `denied` or `used`"))
    }
}

impl From<Stage> for Param {
    fn from(stage: Stage) -> Self {
        Self::from(stage.as_str())
    }
}

impl FromCell for Stage {
    const EXPECTED: &'static str = "a stage of an approval";

    fn from_cell(cell: Cell) -> Option<Self> {
        String::from_cell(cell)?.parse().ok()
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovalRow {
    /// Its id.
    pub id: ApprovalId,
    /// The agent that wants to act.
    pub agent: AgentId,
    /// The human for whom, and who may answer.
    pub subject: UserId,
    /// To do what.
    pub action: String,
    /// To what.
    pub resource: String,
    /// The grants that would permit it, the root's first: a JSON array of ids.
    pub grant_path: String,
    /// What the human reads.
    pub document: String,
    /// SHA-256 of the document.
    pub digest: [u8; 32],
    /// SHA-256 of the canonical arguments, as the ledger has it.
    pub arguments_digest: Option<[u8; 32]>,
    /// How far it has come.
    pub stage: Stage,
    /// Who answered: the id of a human or an operator key, or `system`.
    pub decided_by: Option<String>,
    /// Who answered, as they were then; `None` for `system`.
    pub approver: Option<Mark>,
    /// Whether they were killed since.
    pub approver_killed: bool,
    /// When it was answered.
    pub decided_at: Option<Timestamp>,
    /// When all of it is over: the asking, a yes, and a no.
    pub expires_at: Timestamp,
    /// When it was asked.
    pub created_at: Timestamp,
    /// The tool server whose question it came of, if it came of one's.
    pub server: Option<ToolServerId>,
}

const COLUMNS: &str = "SELECT a.id, a.agent, a.subject, a.action, a.resource, a.grant_path, a.document, a.digest, \
    a.arguments_digest, a.status, a.decided_by, a.approver, a.approver_generation, h.generation, a.decided_at, \
    a.expires_at, a.created_at, a.server FROM approvals a LEFT JOIN handles h ON h.handle = a.approver";

/// What makes a request of the alias `a`, with its approver's handle as `h`, open at a time that is bound elsewhere.
const OPEN: &str = "(a.status IN ('pending', 'denied') OR \
    (a.status = 'approved' AND (a.approver IS NULL OR h.generation = a.approver_generation)))";

type Cells = (
    ApprovalId,
    AgentId,
    UserId,
    String,
    String,
    String,
    String,
    [u8; 32],
    Option<[u8; 32]>,
    Stage,
    Option<String>,
    Option<Handle>,
    Option<u64>,
    Option<u64>,
    Option<Timestamp>,
    Timestamp,
    Timestamp,
    Option<ToolServerId>,
);

impl FromRow for ApprovalRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (
            id,
            agent,
            subject,
            action,
            resource,
            grant_path,
            document,
            digest,
            arguments_digest,
            stage,
            decided_by,
            approver,
            approver_generation,
            current,
            decided_at,
            expires_at,
            created_at,
            server,
        ): Cells = row.decode()?;
        let approver = approver.zip(approver_generation);
        Ok(Self {
            id,
            agent,
            subject,
            action,
            resource,
            grant_path,
            document,
            digest,
            arguments_digest,
            stage,
            decided_by,
            approver: approver.map(|(handle, generation)| Mark { handle, generation }),
            approver_killed: approver.is_some() && current != approver_generation,
            decided_at,
            expires_at,
            created_at,
            server,
        })
    }
}

/// Stores a request, if none with this digest is open and fewer than `limit` of the agent's wait for an answer.
pub fn ask(request: ApprovalRow, limit: u64) -> Write {
    Write::exactly(
        1,
        format!(
            "INSERT INTO approvals (id, agent, subject, action, resource, grant_path, document, digest, \
             arguments_digest, status, expires_at, created_at, server) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 'pending', ?10, ?11, ?13 \
             WHERE NOT EXISTS (SELECT 1 FROM approvals a LEFT JOIN handles h ON h.handle = a.approver \
               WHERE a.digest = ?8 AND a.expires_at > ?11 AND {OPEN}) \
             AND (SELECT COUNT(*) FROM approvals a WHERE a.agent = ?2 AND a.status = 'pending' \
               AND a.expires_at > ?11) < ?12"
        ),
    )
    .bind(request.id)
    .bind(request.agent)
    .bind(request.subject)
    .bind(request.action)
    .bind(request.resource)
    .bind(request.grant_path)
    .bind(request.document)
    .bind(request.digest)
    .bind(request.arguments_digest)
    .bind(request.expires_at)
    .bind(request.created_at)
    .bind(limit)
    .bind(request.server)
}

/// Who answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approver {
    /// The id of a human or an operator key, or `system`.
    pub name: String,
    /// What a kill of them raises; `None` for `system`.
    pub mark: Option<Mark>,
}

/// Answers a request that waits and is not over: whoever comes second changes nothing.
pub fn decide(id: ApprovalId, stage: Stage, by: Approver, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "UPDATE approvals SET status = ?2, decided_by = ?3, approver = ?4, approver_generation = ?5, decided_at = ?6 \
         WHERE id = ?1 AND status = 'pending' AND expires_at > ?6",
    )
    .bind(id)
    .bind(stage)
    .bind(by.name)
    .bind(by.mark.map(|mark| mark.handle))
    .bind(by.mark.map(|mark| mark.generation))
    .bind(now)
}

/// Uses an approval, this one time; belongs into the batch of the decision that it allows.
pub fn consume(id: ApprovalId, now: Timestamp) -> Write {
    Write::exactly(
        1,
        "UPDATE approvals SET status = 'used' WHERE id = ?1 AND status = 'approved' AND expires_at > ?2",
    )
    .bind(id)
    .bind(now)
}

/// The open requests with these digests.
pub fn open(digests: &[[u8; 32]], now: Timestamp) -> Select<ApprovalRow> {
    let slots: Vec<String> = (2..=digests.len() + 1)
        .map(|slot| format!("?{slot}"))
        .collect();
    let sql = format!(
        "{COLUMNS} WHERE a.expires_at > ?1 AND a.digest IN ({}) AND {OPEN}",
        slots.join(", ")
    );
    let query = Query::new(digests.len(), sql).bind(now);
    digests
        .iter()
        .fold(query, |query, digest| query.bind(*digest))
        .of()
}

/// How many requests of an agent wait for an answer.
pub fn waiting(agent: AgentId, now: Timestamp) -> Select<(u64,)> {
    Query::new(
        1,
        "SELECT COUNT(*) FROM approvals a WHERE a.agent = ?1 AND a.status = 'pending' AND a.expires_at > ?2",
    )
    .bind(agent)
    .bind(now)
    .of()
}

/// The request with this id.
pub fn by_id(id: ApprovalId) -> Select<ApprovalRow> {
    Query::new(1, format!("{COLUMNS} WHERE a.id = ?1"))
        .bind(id)
        .of()
}

/// Which requests. All given filters must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApprovalFilter {
    /// Of this agent.
    pub agent: Option<AgentId>,
    /// For this human.
    pub subject: Option<UserId>,
    /// Which came so far; what waits or was approved must not be over.
    pub stage: Option<Stage>,
}

/// A page of at most `limit` requests, newest first, older than `before`.
pub fn page(
    filter: &ApprovalFilter,
    before: Option<ApprovalId>,
    now: Timestamp,
    limit: usize,
) -> Select<Listed<ApprovalRow>> {
    let candidates = "SELECT a.id, OCTET_LENGTH(a.document) FROM approvals a \
         WHERE (CAST(?2 AS TEXT) IS NULL OR a.agent = ?2) AND (CAST(?3 AS TEXT) IS NULL OR a.subject = ?3) \
         AND (CAST(?4 AS TEXT) IS NULL OR (a.status = ?4 AND (a.status IN ('denied', 'used') OR a.expires_at > ?5))) \
         AND (CAST(?6 AS TEXT) IS NULL OR a.id < ?6)";
    page::of(candidates, COLUMNS, limit)
        .bind(filter.agent)
        .bind(filter.subject)
        .bind(filter.stage)
        .bind(now)
        .bind(before)
        .of()
}

/// Removes requests that were over before this time.
pub fn forget(before: Timestamp) -> Write {
    Write::any("DELETE FROM approvals WHERE expires_at < ?1").bind(before)
}
