//! Reading the ledger. Only the writer writes it.

use std::ops::Range;

use kavachos_core::id::{AgentId, AuditId, RequestId};
use kavachos_core::ledger::{Outcome, Pseudonym};
use kavachos_core::time::Timestamp;

use crate::batch::Param;
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
    let mut conditions = Conditions::of(filter);
    conditions.add("l.seq < ?", before.map(Into::into));
    conditions.select("DESC", limit)
}

/// At most `limit` records of this span of numbers, oldest first.
pub fn span(filter: &LedgerFilter, numbers: Range<u64>, limit: usize) -> Select<LedgerRow> {
    let mut conditions = Conditions::of(filter);
    conditions.add("l.seq >= ?", Some(numbers.start.into()));
    conditions.add("l.seq < ?", Some(numbers.end.into()));
    conditions.select("ASC", limit)
}

/// The conditions of a statement, with their values.
#[derive(Default)]
struct Conditions {
    texts: Vec<String>,
    params: Vec<Param>,
}

impl Conditions {
    fn of(filter: &LedgerFilter) -> Self {
        let mut given = Self::default();
        given.add("l.agent = ?", filter.agent.map(Into::into));
        given.add("l.subject = ?", filter.subject.map(Into::into));
        given.add(
            "(l.agent = ? OR l.seq IN (SELECT m.seq FROM ledger_member m WHERE m.member = ?))",
            filter.member.map(Into::into),
        );
        given.add("l.action = ?", filter.action.clone().map(Into::into));
        let outcome = filter.outcome.map(|outcome| outcome.as_str().into());
        given.add("l.outcome = ?", outcome);
        given.add("l.code = ?", filter.code.clone().map(Into::into));
        given.add("l.kind = ?", filter.kind.clone().map(Into::into));
        given.add("l.request_id = ?", filter.request.map(Into::into));
        given.add("l.time >= ?", filter.since.map(Into::into));
        given.add("l.time < ?", filter.until.map(Into::into));
        given
    }

    /// Adds a condition if its value is given; every `?` in it stands for that value.
    fn add(&mut self, condition: &str, value: Option<Param>) {
        if let Some(value) = value {
            self.params.push(value);
            let number = format!("?{}", self.params.len());
            self.texts.push(condition.replace('?', &number));
        }
    }

    fn select(mut self, order: &str, limit: usize) -> Select<LedgerRow> {
        let rows = u32::try_from(limit).unwrap_or(u32::MAX);
        let last = format!("1 = 1 ORDER BY l.seq {order} LIMIT ?");
        self.add(&last, Some(rows.into()));
        let mut query = Query::new(
            limit,
            format!("{COLUMNS} WHERE {}", self.texts.join(" AND ")),
        );
        query.params = self.params;
        query.of()
    }
}

/// The record with this id.
pub fn by_id(id: AuditId) -> Select<LedgerRow> {
    Query::new(1, format!("{COLUMNS} WHERE l.id = ?1"))
        .bind(id)
        .of()
}

/// What of a record decides who is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headline {
    /// Its number.
    pub seq: u64,
    /// Its id.
    pub id: AuditId,
    /// Its kind.
    pub kind: String,
    /// `allowed` or `denied`.
    pub outcome: String,
    /// Who called.
    pub actor: String,
}

impl FromRow for Headline {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (seq, id, kind, outcome, actor) = row.decode()?;
        Ok(Self {
            seq,
            id,
            kind,
            outcome,
            actor,
        })
    }
}

/// The headlines of at most `limit` records from this number on, in their order.
pub fn headlines(from: u64, limit: usize) -> Select<Headline> {
    Query::new(
        limit,
        "SELECT l.seq, l.id, l.kind, l.outcome, l.actor FROM ledger l WHERE l.seq >= ?1 ORDER BY l.seq LIMIT ?2",
    )
    .bind(from)
    .bind(u32::try_from(limit).unwrap_or(u32::MAX))
    .of()
}

/// The headline of the record with this id.
pub fn headline(id: AuditId) -> Select<Headline> {
    Query::new(
        1,
        "SELECT l.seq, l.id, l.kind, l.outcome, l.actor FROM ledger l WHERE l.id = ?1",
    )
    .bind(id)
    .of()
}
