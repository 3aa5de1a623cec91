//! What the cases have in common: a store, a clock that stands still, an observer that writes down, and small batches.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kavachos_core::counter::Rule;
use kavachos_core::id::{AgentId, AuditId};
use kavachos_core::ledger::{Actor, Blinding, Entry, Outcome, Record};
use kavachos_core::revocation::{Handle, HandleKind, Mark};
use kavachos_core::time::Timestamp;

use super::Database;
use crate::answer::{CommitError, Receipt};
use crate::batch::{Batch, Effect, Take, Write};
use crate::contract::{Observer, Store};
use crate::handle;
use crate::host::Clock;
use crate::row::Query;

/// Something that had to succeed did not.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// When the clock of the cases starts.
const START: i64 = 1_800_000_000_000_000;

/// A clock that stands still until it is set.
pub struct ManualClock(Mutex<Timestamp>);

impl Default for ManualClock {
    fn default() -> Self {
        Self(Mutex::new(Timestamp::from_micros(START)))
    }
}

impl ManualClock {
    /// Sets the time to so many seconds after the start, or before it.
    pub fn set_seconds(&self, seconds: i64) {
        let micros = START.saturating_add(seconds.saturating_mul(1_000_000));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Timestamp::from_micros(micros);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

/// An observer that writes down what it is told.
#[derive(Default)]
pub struct Recorder(Mutex<Vec<Effect>>);

impl Recorder {
    /// Everything so far.
    pub fn effects(&self) -> Vec<Effect> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Observer for Recorder {
    fn committed(&self, effects: &[Effect]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(effects);
    }
}

/// A new database, open.
pub struct World {
    /// The store under test.
    pub store: Arc<dyn Store>,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// Its observer.
    pub recorder: Arc<Recorder>,
    database: Arc<dyn Database>,
    ids: AtomicU64,
}

impl World {
    /// Opens the database for the first time.
    pub async fn new(database: Arc<dyn Database>) -> Self {
        let clock = Arc::new(ManualClock::default());
        let recorder = Arc::new(Recorder::default());
        let store = database
            .open(Arc::clone(&clock) as _, Arc::clone(&recorder) as _)
            .await;
        Self {
            store,
            clock,
            recorder,
            database,
            ids: AtomicU64::new(1),
        }
    }

    /// Closes the store and opens the database again; `None` when it does not last.
    pub async fn reopened(mut self) -> Option<Self> {
        self.store.close().await;
        if !self.database.lasts() {
            return None;
        }
        let (clock, recorder) = (Arc::clone(&self.clock), Arc::clone(&self.recorder));
        self.store = self.database.open(clock as _, recorder as _).await;
        Some(self)
    }

    /// A record with an id of its own.
    pub fn entry(&self) -> Result<Entry, Failure> {
        self.entry_with(&[])
    }

    /// A record of an agent with these ancestors.
    pub fn entry_with(&self, chain: &[AgentId]) -> Result<Entry, Failure> {
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        seal(AuditId::from_bits(number.into()), chain)
    }

    /// A batch of one record.
    pub fn recorded(&self) -> Result<Batch, Failure> {
        Ok(Batch {
            entries: vec![self.entry()?],
            ..Batch::default()
        })
    }

    /// A batch of writes and one record.
    pub fn writing(&self, writes: Vec<Write>) -> Result<Batch, Failure> {
        Ok(Batch {
            writes,
            ..self.recorded()?
        })
    }

    /// A batch that takes, and one record.
    pub fn taking(&self, takes: Vec<Take>) -> Result<Batch, Failure> {
        Ok(Batch {
            takes,
            ..self.recorded()?
        })
    }

    /// A batch that relies on marks, and one record.
    pub fn relying(&self, reads: Vec<Mark>) -> Result<Batch, Failure> {
        Ok(Batch {
            reads,
            ..self.recorded()?
        })
    }

    /// A batch that kills, and one record.
    pub fn killing(&self, kills: Vec<Mark>) -> Result<Batch, Failure> {
        Ok(Batch {
            kills,
            ..self.recorded()?
        })
    }

    /// Stores a handle at generation 1.
    pub async fn birth(&self, byte: u8) -> Result<(), Failure> {
        let born = self.writing(vec![handle::born(mark(byte, 1))])?;
        self.store.commit(born).await?;
        Ok(())
    }

    /// Queues all batches before it waits for the first answer.
    pub async fn race(&self, batches: Vec<Batch>) -> Vec<Result<Receipt, CommitError>> {
        let queued: Vec<_> = batches
            .into_iter()
            .map(|batch| self.store.commit(batch))
            .collect();
        let mut answers = Vec::with_capacity(queued.len());
        for answer in queued {
            answers.push(answer.await);
        }
        answers
    }

    /// The value of a probe; `None` when there is none of this name.
    pub async fn probe(&self, name: &'static str) -> Result<Option<i64>, Failure> {
        let query = Query::new(1, "SELECT value FROM probe WHERE name = ?1").bind(name);
        let found = self.store.find(query.of::<(i64,)>()).await?;
        Ok(found.map(|(value,)| value))
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &'static str) -> Result<u64, Failure> {
        let query = Query::new(1, format!("SELECT count(*) FROM {table}"));
        let found = self.store.find(query.of::<(u64,)>()).await?;
        Ok(found.map_or(0, |(count,)| count))
    }
}

/// A record with this id.
pub(super) fn seal(id: AuditId, chain: &[AgentId]) -> Result<Entry, Failure> {
    let actor = Actor::Agent(AgentId::from_bits(7));
    let record = Record {
        agent: Some(AgentId::from_bits(7)),
        chain,
        action: Some("read"),
        resource: Some("mcp:github:repos"),
        ..Record::new(id, "decision", Outcome::Allowed, "allowed", actor)
    };
    let random = Blinding {
        blind: id.bits().to_be_bytes(),
        salt: [3; 16],
    };
    Ok(record.seal(random)?)
}

/// A new probe.
pub(super) fn insert(name: &'static str, value: i64) -> Write {
    Write::exactly(1, "INSERT INTO probe (name, value) VALUES (?1, ?2)")
        .bind(name)
        .bind(value)
}

/// Moves a probe from one value to another: the conditional write of every single-use thing.
pub(super) fn turn(name: &'static str, from: i64, to: i64) -> Write {
    Write::exactly(
        1,
        "UPDATE probe SET value = ?3 WHERE name = ?1 AND value = ?2",
    )
    .bind(name)
    .bind(from)
    .bind(to)
}

/// A mark on an agent's handle made of this byte.
pub(super) fn mark(byte: u8, generation: u64) -> Mark {
    Mark {
        handle: Handle {
            kind: HandleKind::Agent,
            bytes: [byte; 16],
        },
        generation,
    }
}

/// Takes from a counter with a total.
pub(super) fn spend(counter: &[u8], amount: u64, n: u64) -> Take {
    Take {
        counter: counter.into(),
        rule: Rule::Budget { amount },
        n,
    }
}

/// Whether this is a conflict at this write.
pub(super) fn conflicts_at<T>(answer: &Result<T, CommitError>, at: Option<usize>) -> bool {
    matches!(answer, Err(CommitError::Conflict { write }) if *write == at)
}

/// Whether this is a rejection at this write.
pub(super) fn rejected_at<T>(answer: &Result<T, CommitError>, at: Option<usize>) -> bool {
    matches!(answer, Err(CommitError::Rejected { write, .. }) if *write == at)
}
