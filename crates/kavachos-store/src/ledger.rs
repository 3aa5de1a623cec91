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

const MEMBERS: &str = "SELECT l.seq, l.time, l.resource, l.body, l.personal";
/// The kind of most records.
const DECISION: &str = "decision";

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

/// How many records one look goes through for those that the filters leave. They may lie far apart: then each costs some
/// two microseconds, whatever the size of the ledger.
pub const LOOK: usize = 400;

/// One look for at most `limit` records of this span of numbers, newest first; and how far it goes.
///
/// It goes through at most [`LOOK`] records, however rare those are that the filters leave: the newest in the one index
/// that leaves the fewest, or of all where none helps. So what it costs does not grow with the ledger.
pub fn look(
    filter: &LedgerFilter,
    numbers: Range<u64>,
    limit: usize,
) -> (Select<LedgerRow>, Select<Looked>) {
    let mut given = Conditions::default();
    let newest = given.newest(filter, &numbers);
    let went = format!("SELECT COUNT(*), COALESCE(MIN(n.seq), 0) FROM ({newest}) n");
    let mut went = Query::new(1, went);
    went.params.clone_from(&given.params);
    given.texts.push("l.seq = n.seq".to_owned());
    given.add_all(filter);
    // A join that SQLite does not turn around: the few numbers come first, then their records.
    let from = format!("FROM ({newest}) n CROSS JOIN ledger l");
    (given.select(&from, "DESC", limit), went.of())
}

/// How far a look goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    /// How many records it goes through; fewer than [`LOOK`] means that there are no more.
    pub records: u64,
    /// The lowest number among them.
    pub lowest: u64,
}

impl FromRow for Looked {
    fn from_row(row: Row) -> Result<Self, Malformed> {
        let (records, lowest) = row.decode()?;
        Ok(Self { records, lowest })
    }
}

/// When the record of this number was committed. No record is older than the one before it.
pub fn time_of(seq: u64) -> Select<(Timestamp,)> {
    Query::new(1, "SELECT l.time FROM ledger l WHERE l.seq = ?1")
        .bind(seq)
        .of()
}

/// At most `limit` records of this span of numbers, oldest first.
pub fn span(filter: &LedgerFilter, numbers: Range<u64>, limit: usize) -> Select<LedgerRow> {
    let mut conditions = Conditions::default();
    conditions.add_all(filter);
    conditions.add("l.seq >= ?", Some(numbers.start.into()));
    conditions.add("l.seq < ?", Some(numbers.end.into()));
    conditions.select("FROM ledger l", "ASC", limit)
}

/// The conditions of a statement, with their values.
#[derive(Default)]
struct Conditions {
    texts: Vec<String>,
    params: Vec<Param>,
}

impl Conditions {
    /// The numbers of the newest records in the index that leaves the fewest.
    fn newest(&mut self, filter: &LedgerFilter, numbers: &Range<u64>) -> String {
        let slot = |params: &mut Vec<Param>, value: Param| {
            params.push(value);
            format!("?{}", params.len())
        };
        let start = slot(&mut self.params, numbers.start.into());
        let end = slot(&mut self.params, numbers.end.into());
        let mut among = |table: &str, condition: &str, value: Option<Param>| {
            let value = value.map(|value| slot(&mut self.params, value));
            let condition = condition.replace('?', &value.unwrap_or_default());
            format!(
                "SELECT c.seq FROM {table} c WHERE {condition} c.seq >= {start} AND c.seq < {end} \
                 ORDER BY c.seq DESC LIMIT {LOOK}"
            )
        };
        if let Some(request) = filter.request {
            return among("ledger", "c.request_id = ? AND", Some(request.into()));
        }
        if let Some(agent) = filter.agent {
            return among("ledger", "c.agent = ? AND", Some(agent.into()));
        }
        if let Some(subject) = filter.subject {
            return among("ledger", "c.subject = ? AND", Some(subject.into()));
        }
        if let Some(member) = filter.member {
            let itself = among("ledger", "c.agent = ? AND", Some(member.into()));
            let above = among("ledger_member", "c.member = ? AND", Some(member.into()));
            return format!(
                "SELECT b.seq FROM (SELECT i.seq FROM ({itself}) i UNION SELECT a.seq FROM ({above}) a) b \
                 ORDER BY b.seq DESC LIMIT {LOOK}"
            );
        }
        // These two indexes are partial, so what they leave out is said in so many words.
        match &filter.kind {
            Some(kind) if kind != DECISION => {
                let condition = "c.kind = ? AND c.kind <> 'decision' AND";
                return among("ledger", condition, Some(kind.clone().into()));
            }
            _ => {}
        }
        if filter.outcome == Some(Outcome::Denied) {
            return among("ledger", "c.outcome = 'denied' AND", None);
        }
        among("ledger", "", None)
    }

    fn add_all(&mut self, filter: &LedgerFilter) {
        let given = self;
        given.add("l.agent = ?", filter.agent.map(Into::into));
        given.add("l.subject = ?", filter.subject.map(Into::into));
        given.add(
            "(l.agent = ? OR EXISTS (SELECT 1 FROM ledger_member m WHERE m.member = ? AND m.seq = l.seq))",
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
    }

    /// Adds a condition if its value is given; every `?` in it stands for that value.
    fn add(&mut self, condition: &str, value: Option<Param>) {
        if let Some(value) = value {
            self.params.push(value);
            let number = format!("?{}", self.params.len());
            self.texts.push(condition.replace('?', &number));
        }
    }

    fn select(mut self, from: &str, order: &str, limit: usize) -> Select<LedgerRow> {
        let rows = u32::try_from(limit).unwrap_or(u32::MAX);
        let last = format!("1 = 1 ORDER BY l.seq {order} LIMIT ?");
        self.add(&last, Some(rows.into()));
        let mut query = Query::new(
            limit,
            format!("{MEMBERS} {from} WHERE {}", self.texts.join(" AND ")),
        );
        query.params = self.params;
        query.of()
    }
}

/// The record with this id.
pub fn by_id(id: AuditId) -> Select<LedgerRow> {
    Query::new(1, format!("{MEMBERS} FROM ledger l WHERE l.id = ?1"))
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
