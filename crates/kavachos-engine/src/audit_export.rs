//! The ledger handed out whole: every record that the filters leave, oldest first, without a cap.
//!
//! Promises: that it was handed out is itself on record before the first record is given; what is given ends with the
//! records that were there when it began; memory is bounded by one step, whatever the size; between two steps nothing of
//! the database is held, so a slow reader holds up nobody. Whoever does not take a step in time, and whose credential
//! dies, gets no more of it.

use std::time::Duration;

use kavachos_core::ledger::{MAX_RECORD_BYTES, Outcome};
use kavachos_core::resource::ResourcePattern;
use kavachos_core::time::Timestamp;
use kavachos_store::Batch;
use kavachos_store::ledger::{self, LedgerFilter};
use serde_json::{Map, Value, json};

use crate::act::Act;
use crate::actor::{Actor, Scope};
use crate::audit::{AuditFilter, AuditRecord, matches};
use crate::engine::{Engine, Plan};
use crate::error::{Error, Result};
use crate::seats::{Bounds, Holder, Seat};

/// How many exports of any kind run at the same time.
pub(crate) const EXPORTS: Bounds = Bounds { all: 4, each: 2 };
/// How many records one step gives.
const STEP: usize = 250;
/// Over how many numbers one query looks for those that the filters leave: so long it takes at most, however rare they
/// are.
const SPAN: u64 = 5_000;
/// How many queries without a find one step makes before it gives an empty step, so that a reader is seen to be alive.
const QUERIES_PER_STEP: usize = 64;
// What one export holds in memory is bounded in bytes too.
const _: () = assert!(STEP * MAX_RECORD_BYTES <= 1 << 20);
/// How long a reader may take for one step.
const PATIENCE: Duration = Duration::from_secs(60);

/// In which form records are written down. The engine records it; who writes them is the caller's matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditFormat {
    /// One JSON array.
    Json,
    /// One JSON object in each line.
    JsonLines,
    /// Comma-separated values (RFC 4180).
    Csv,
}

impl AuditFormat {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Json, Self::JsonLines, Self::Csv];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
        }
    }
}

/// Reads the ledger from its first record to the last that was there when it began.
pub struct AuditExport {
    engine: Engine,
    actor: Actor,
    /// `None` when it is about a human whom the ledger does not know.
    filter: Option<LedgerFilter>,
    resource: Option<ResourcePattern>,
    /// The number of the next record to look at.
    next: u64,
    /// The number after the last record.
    end: u64,
    given_at: Option<Timestamp>,
    _seat: Seat,
}

impl Engine {
    /// Begins to hand out the ledger; that it does is on record when this returns.
    ///
    /// # Errors
    /// `forbidden`, a filter that cannot be, too many exports at once, and those of the store.
    pub async fn export_audit(
        &self,
        actor: &Actor,
        filter: &AuditFilter,
        format: AuditFormat,
    ) -> Result<AuditExport> {
        filter.check()?;
        let seat = self.exports().take(Holder::of(actor))?;
        let act = Act::new("audit.exported");
        let stored = self
            .change(actor, act, || self.plan_export(actor, filter, format))
            .await?;
        let numbers = self.numbers(filter, None).await?;
        Ok(AuditExport {
            engine: self.clone(),
            actor: actor.clone(),
            filter: stored,
            resource: filter.resource.clone(),
            next: numbers.start,
            end: numbers.end,
            given_at: None,
            _seat: seat,
        })
    }

    async fn plan_export(
        &self,
        actor: &Actor,
        filter: &AuditFilter,
        format: AuditFormat,
    ) -> Result<Plan<Option<LedgerFilter>>> {
        actor.require(Scope::AuditExport)?;
        let stored = self.stored_filter(filter, None).await?;
        let details = json!({
            "format": format.as_str(),
            "filter": told(stored.as_ref(), filter.resource.as_ref()),
        });
        let origin = actor.origin();
        let mut record = origin.record(self.id(), "audit.exported", Outcome::Allowed, "done");
        record.details = Some(&details);
        let batch = Batch {
            reads: actor.reads(),
            entries: vec![self.seal(&record)?],
            ..Batch::default()
        };
        Ok(Plan::commit(batch, stored))
    }
}

/// The filters, as the record tells them: a human under the name that the ledger has for them.
fn told(filter: Option<&LedgerFilter>, resource: Option<&ResourcePattern>) -> Value {
    let Some(filter) = filter else {
        return json!({ "subject": "unknown" });
    };
    let members = [
        ("agent", filter.agent.map(|id| id.to_string())),
        ("subject", filter.subject.map(|id| id.to_string())),
        ("member", filter.member.map(|id| id.to_string())),
        ("action", filter.action.clone()),
        ("resource", resource.map(ToString::to_string)),
        ("outcome", filter.outcome.map(|one| one.as_str().to_owned())),
        ("code", filter.code.clone()),
        ("kind", filter.kind.clone()),
        ("requestId", filter.request.map(|id| id.to_string())),
        ("since", filter.since.map(|time| time.to_string())),
        ("until", filter.until.map(|time| time.to_string())),
    ];
    let given = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
    Value::Object(given.collect::<Map<_, _>>())
}

impl AuditExport {
    /// The next records, oldest first; none at all while it is still looking, `None` after the last. To call it says that
    /// what was given before was taken.
    ///
    /// # Errors
    /// The reader took too long, its credential is dead, the server ends, or the ledger cannot be read. What was given is
    /// then not all, and whoever writes it down must not end it as if it were.
    pub async fn step(&mut self) -> Result<Option<Vec<AuditRecord>>> {
        let now = self.engine.now();
        let late = |at: Timestamp| now.since(at) > PATIENCE;
        if self.given_at.take().is_some_and(late) {
            return Err(Error::WrongState(
                "the export was taken too slowly; begin again".to_owned(),
            ));
        }
        self.require_live().await?;
        let found = self.look().await?;
        self.given_at = Some(self.engine.now());
        Ok(found)
    }

    async fn look(&mut self) -> Result<Option<Vec<AuditRecord>>> {
        let Some(filter) = &self.filter else {
            return Ok(None);
        };
        for _ in 0..QUERIES_PER_STEP {
            if self.next >= self.end {
                return Ok(None);
            }
            let end = self.next.saturating_add(SPAN).min(self.end);
            let span = ledger::span(filter, self.next..end, STEP);
            let mut rows = self.engine.store().list(span).await?;
            self.next = match rows.last() {
                Some(last) if rows.len() == STEP => last.seq.saturating_add(1),
                _ => end,
            };
            rows.retain(|row| matches(self.resource.as_ref(), row));
            if !rows.is_empty() {
                return self.engine.shown(&rows, None).await.map(Some);
            }
        }
        Ok(Some(Vec::new()))
    }

    async fn require_live(&self) -> Result<()> {
        if self.engine.listeners().is_ending() {
            return Err(Error::Busy);
        }
        let caller = self.engine.renewed(&self.actor.caller).await?;
        if caller.mark() == self.actor.caller.mark() {
            return Ok(());
        }
        Err(Error::Unauthenticated("the key was changed"))
    }
}
