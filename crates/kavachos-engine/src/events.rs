//! Records as they come: a reader stands at a number of the ledger and is given what lies beyond it, in order.
//!
//! Promises: there is no second source, so whoever resumes at the last number that it saw has missed nothing; the writer
//! knows nothing of readers, and nothing is kept for them: one that is slow is only further behind, and one that does not
//! take what it was given in time is told that it ends. A reader ends too when its credential does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kavachos_core::invalid::Invalid;
use kavachos_core::ledger::MAX_RECORD_BYTES;
use kavachos_core::resource::ResourcePattern;
use kavachos_core::time::Timestamp;
use kavachos_store::ledger::{self, LedgerFilter};

use crate::actor::{Actor, Scope};
use crate::audit::{AuditFilter, AuditRecord, matches};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::seats::{Bounds, Holder, Seat, Seats};

/// How many readers there may be.
const READERS: Bounds = Bounds { all: 64, each: 8 };
/// How many records a reader is given at once.
const MAX_GIVEN: usize = 100;
/// How many records are looked through at once for those that the filters leave.
const MAX_LOOKED_THROUGH: u64 = 2_000;
// What one reader holds in memory is bounded in bytes too.
const _: () = assert!(MAX_GIVEN * MAX_RECORD_BYTES <= 1 << 20);
/// How often it is looked whether the ledger has grown; that is in memory.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After how many looks without a record a reader is told that it is still heard: 15 seconds.
const LOOKS_IN_SILENCE: u32 = 150;
/// How long a reader may take for what it was given.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all readers share.
#[derive(Debug)]
pub(crate) struct Listeners {
    seats: Seats,
    ending: AtomicBool,
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            seats: Seats::new(READERS),
            ending: AtomicBool::default(),
        }
    }
}

impl Listeners {
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }
}

/// What a reader hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// New records, oldest first, at least one.
    Records(Vec<AuditRecord>),
    /// Nothing happened for 15 seconds.
    Silence,
    /// There will be no more.
    End(StreamEnd),
}

/// Why a stream ends. A reader may begin again at the number of the last record that it saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The reader did not take what it was given in time.
    TooSlow,
    /// The credential is dead or changed.
    Unauthenticated,
    /// The server ends.
    Closing,
    /// The ledger cannot be read now.
    Unavailable,
}

impl StreamEnd {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooSlow => "too_slow",
            Self::Unauthenticated => "unauthenticated",
            Self::Closing => "closing",
            Self::Unavailable => "ledger_unavailable",
        }
    }
}

/// Reads the ledger as it grows.
pub struct EventReader {
    engine: Engine,
    actor: Actor,
    filter: LedgerFilter,
    resource: Option<ResourcePattern>,
    /// The number of the next record to look at.
    next: u64,
    /// When records were given that may not have been taken yet.
    given_at: Option<Timestamp>,
    _seat: Seat,
}

impl Engine {
    /// Begins to read: after the record with this number, or with whatever comes next.
    ///
    /// # Errors
    /// `forbidden`, a filter that cannot be, a number that no record has yet, or too many readers.
    pub async fn listen(
        &self,
        actor: &Actor,
        filter: &AuditFilter,
        after: Option<u64>,
    ) -> Result<EventReader> {
        actor.require(Scope::AuditRead)?;
        filter.check()?;
        let size = self.head().size;
        let next = after.map_or(size, |seq| seq.saturating_add(1));
        if next > size {
            return Err(Invalid::at(
                "Last-Event-ID",
                format!("there are only {size} records, numbered from 0; begin without it"),
            )
            .into());
        }
        let stored = self.stored_filter(filter, None).await?;
        Ok(EventReader {
            engine: self.clone(),
            actor: actor.clone(),
            filter: stored.ok_or(Error::NotFound("user"))?,
            resource: filter.resource.clone(),
            next,
            given_at: None,
            _seat: self.listeners().seats.take(Holder::of(actor))?,
        })
    }
}

impl EventReader {
    /// What comes next. To call it says that everything before was taken.
    pub async fn hear(&mut self) -> Heard {
        let now = self.engine.now();
        let slow = |at: Timestamp| now.since(at) > PATIENCE;
        if self.given_at.take().is_some_and(slow) {
            return Heard::End(StreamEnd::TooSlow);
        }
        for _ in 0..LOOKS_IN_SILENCE {
            if self.engine.listeners().is_ending() {
                return Heard::End(StreamEnd::Closing);
            }
            match self.look().await {
                Ok(records) if records.is_empty() => {}
                Ok(records) => {
                    self.given_at = Some(self.engine.now());
                    return Heard::Records(records);
                }
                Err(Error::Unauthenticated(_)) => return Heard::End(StreamEnd::Unauthenticated),
                Err(error) => {
                    tracing::warn!(%error, "a stream of events ends");
                    return Heard::End(StreamEnd::Unavailable);
                }
            }
            if self.next >= self.engine.head().size {
                self.engine.sleep(LOOK_EVERY).await;
            }
        }
        Heard::Silence
    }

    /// The next records that the filters leave, and a step forward.
    async fn look(&mut self) -> Result<Vec<AuditRecord>> {
        self.require_live().await?;
        let end = self.next.saturating_add(MAX_LOOKED_THROUGH);
        let end = end.min(self.engine.head().size);
        if self.next >= end {
            return Ok(Vec::new());
        }
        let span = ledger::span(&self.filter, self.next..end, MAX_GIVEN);
        let mut rows = self.engine.store().list(span).await?;
        self.next = match rows.last() {
            Some(last) if rows.len() == MAX_GIVEN => last.seq.saturating_add(1),
            _ => end,
        };
        rows.retain(|row| matches(self.resource.as_ref(), row));
        self.engine.shown(&rows, None).await
    }

    /// A key that was revoked, or may read no longer, reads nothing more.
    async fn require_live(&self) -> Result<()> {
        let caller = self.engine.renewed(&self.actor.caller).await?;
        if caller.mark() == self.actor.caller.mark() {
            return Ok(());
        }
        Err(Error::Unauthenticated("the key was changed"))
    }
}
