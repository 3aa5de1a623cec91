//! Reading the ledger. Only the writer writes it.

use kavachos_core::id::{AgentId, AuditId, RequestId};
use kavachos_core::ledger::{Outcome, Pseudonym};
use kavachos_core::time::Timestamp;

use crate::row::{FromRow, Malformed, Query, Row, Select};

/// One record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// Its number.
    pub seq: u64,
    /// When it was committed.
    pub time: Timestamp,
    /// The resource, for patterns.
    pub resource: Option<String>,
    /// The body, canonical JSON.
    pub body: String,
    /// The personal fields, canonical JSON; `None` once they are erased.
    pub personal: Option<String>,
}

const COLUMNS: &str = "SELECT l.seq, l.time, l.resource, l.body, l.personal FROM ledger l";

impl FromRow for LedgerRow {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (seq, time, resource, body, personal) = row.decode()?;
        Ok(Self {
            seq,
            time,
            resource,
            body,
            personal,
        })
    }
}

/// Which records. All given filters must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LedgerFilter {
    /// The agent that acted or was acted upon.
    pub agent: Option<AgentId>,
    /// The human for whom.
    pub subject: Option<Pseudonym>,
    /// The agent itself, or an agent above it.
    pub member: Option<AgentId>,
    /// The action.
    pub action: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// The code.
    pub code: Option<String>,
    /// The kind.
    pub kind: Option<String>,
    /// The request.
    pub request: Option<RequestId>,
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// At most `limit` records, newest first, numbered below `before`.
///
/// Only given filters become part of the statement, so that the index of an agent, a human or a request is used.
pub fn page(filter: &LedgerFilter, before: Option<u64>, limit: usize) -> Select<LedgerRow> {
    let mut query = Query::new(limit, COLUMNS);
    let mut conditions = Vec::new();
    let mut add = |condition: &str, value: Option<crate::Param>| {
        if let Some(value) = value {
            query.params.push(value);
            conditions.push(condition.replace('?', &format!("?{}", query.params.len())));
        }
    };
    add("l.agent = ?", filter.agent.map(Into::into));
    add("l.subject = ?", filter.subject.map(Into::into));
    add(
        "(l.agent = ? OR l.seq IN (SELECT m.seq FROM ledger_member m WHERE m.member = ?))",
        filter.member.map(Into::into),
    );
    add("l.action = ?", filter.action.clone().map(Into::into));
    add(
        "l.outcome = ?",
        filter.outcome.map(|outcome| outcome.as_str().into()),
    );
    add("l.code = ?", filter.code.clone().map(Into::into));
    add("l.kind = ?", filter.kind.clone().map(Into::into));
    add("l.request_id = ?", filter.request.map(Into::into));
    add("l.time >= ?", filter.since.map(Into::into));
    add("l.time < ?", filter.until.map(Into::into));
    add("l.seq < ?", before.map(Into::into));
    add(
        "1 = 1 ORDER BY l.seq DESC LIMIT ?",
        Some(u32::try_from(limit).unwrap_or(u32::MAX).into()),
    );
    query.sql = format!("{COLUMNS} WHERE {}", conditions.join(" AND ")).into();
    query.of()
}

/// The record with this id.
pub fn by_id(id: AuditId) -> Select<LedgerRow> {
    Query::new(1, format!("{COLUMNS} WHERE l.id = ?1"))
        .bind(id)
        .of()
}
