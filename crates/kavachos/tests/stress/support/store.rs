//! A store around SQLite in which one control can be switched off, and in which a call can be held at a gate.
//!
//! It delays and it leaves out; it never makes anything up. Held calls are queued when they are let go, as if they had
//! come later.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use kavachos::store::sqlite::SqliteStore;
use kavachos::store::{
    Batch, BoxFuture, CommitError, Effect, Head, Health, Observer, Query, ReadError, Receipt, Row,
    Rows, Store,
};
use tokio::sync::{Barrier, oneshot};

use kavachos_test::blocking::LONGEST_WAIT;

/// A control that a twin switches off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Off {
    /// The writer does not check what a decision relied on.
    Reads,
    /// The writer takes from no counter.
    Takes,
    /// The writer does not insist on a human's quota of agents.
    Quota,
    /// The directory is not told what changed.
    Effects,
    /// The directory is not told which agents changed: the receivers of grants among them.
    AgentEffects,
    /// The directory is not told which grants changed.
    GrantEffects,
}

/// Where a call can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// An allow, decided and not yet queued at the writer.
    Decision,
    /// The grants of an agent, read from the database and not yet looked at.
    Facts,
    /// A new agent or delegation, planned and not yet queued at the writer.
    Creation,
    /// A credential, read from the database and not yet looked at.
    Key,
}

/// A store that can be tampered with.
pub(crate) struct Tampered {
    inner: Arc<SqliteStore>,
    off: &'static [Off],
    ear: Arc<Ear>,
    reads: AtomicU64,
    gate: Mutex<Option<Gate>>,
    gathering: Mutex<Option<Gathering>>,
}

struct Gate {
    point: Point,
    arrived: Sender<()>,
    let_go: oneshot::Receiver<()>,
}

struct Gathering {
    kind: &'static str,
    missing: usize,
    barrier: Arc<Barrier>,
}

/// The other side of a gate.
pub(crate) struct Held {
    arrived: Receiver<()>,
    let_go: oneshot::Sender<()>,
}

impl Held {
    /// Waits until a call stands at the gate.
    pub(crate) fn wait(&self) {
        let arrived = self.arrived.recv_timeout(LONGEST_WAIT);
        arrived.unwrap_or_else(|_| panic!("no call came to the gate"));
    }

    pub(crate) fn let_go(self) {
        self.let_go.send(()).unwrap();
    }
}

impl Tampered {
    pub(crate) fn new(inner: SqliteStore, off: &'static [Off], ear: Arc<Ear>) -> Self {
        Self {
            inner: Arc::new(inner),
            off,
            ear,
            reads: AtomicU64::new(0),
            gate: Mutex::default(),
            gathering: Mutex::default(),
        }
    }

    /// The store itself, past all tampering.
    pub(crate) fn inner(&self) -> &SqliteStore {
        &self.inner
    }

    /// How often the database was read.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::SeqCst)
    }

    /// Holds the next call that comes to this point. From here on the directory is deaf, if that is switched off.
    pub(crate) fn hold(&self, point: Point) -> Held {
        self.deafen();
        let (arrive, arrived) = channel();
        let (let_go, wait) = oneshot::channel();
        *self.gate.lock().unwrap() = Some(Gate {
            point,
            arrived: arrive,
            let_go: wait,
        });
        Held { arrived, let_go }
    }

    /// From here on the directory is not told what is switched off.
    pub(crate) fn deafen(&self) {
        let unheard = self.off.iter().map(|off| match off {
            Off::Effects => u16::MAX,
            Off::AgentEffects => kind_bit(AGENT),
            Off::GrantEffects => kind_bit(GRANT),
            Off::Reads | Off::Takes | Off::Quota => 0,
        });
        let unheard = unheard.fold(0, |all, kinds| all | kinds);
        self.ear.unheard.store(unheard, Ordering::SeqCst);
    }

    /// Lets the first so many commits of this kind of record go only when all of them have come.
    pub(crate) fn gather(&self, kind: &'static str, count: usize) {
        *self.gathering.lock().unwrap() = Some(Gathering {
            kind,
            missing: count,
            barrier: Arc::new(Barrier::new(count)),
        });
    }

    fn is_off(&self, control: Off) -> bool {
        self.off.contains(&control)
    }

    fn tamper(&self, batch: &mut Batch) {
        if self.is_off(Off::Reads) {
            batch.reads.clear();
        }
        if self.is_off(Off::Takes) {
            batch.takes.clear();
        }
        if self.is_off(Off::Quota) {
            let counts = |sql: &str| sql.starts_with("UPDATE users SET agents");
            let writes = batch.writes.iter_mut();
            writes
                .filter(|write| counts(&write.sql))
                .for_each(|write| write.rows = Rows::Any);
        }
    }

    /// The gate for a call at this point, if one is set up.
    fn gate_at(&self, point: Option<Point>) -> Option<Gate> {
        let mut gate = self.gate.lock().unwrap();
        let here = gate.as_ref().is_some_and(|gate| Some(gate.point) == point);
        if here { gate.take() } else { None }
    }

    fn gathering_of(&self, batch: &Batch) -> Option<Arc<Barrier>> {
        let mut gathering = self.gathering.lock().unwrap();
        let gathering = gathering.as_mut().filter(|gathering| {
            let mut entries = batch.entries.iter();
            entries.any(|entry| entry.projections().kind == gathering.kind) && gathering.missing > 0
        })?;
        gathering.missing -= 1;
        Some(Arc::clone(&gathering.barrier))
    }
}

impl Gate {
    async fn pass(self) {
        self.arrived.send(()).unwrap();
        self.let_go.await.unwrap();
    }
}

fn point_of_commit(batch: &Batch) -> Option<Point> {
    let columns = batch.entries.first()?.projections();
    match (columns.kind, columns.outcome) {
        ("decision", "allowed") => Some(Point::Decision),
        ("agent.created" | "delegation.created", "allowed") => Some(Point::Creation),
        _ => None,
    }
}

fn point_of_read(queries: &[Query]) -> Option<Point> {
    let asks = |part: &str| queries.iter().any(|query| query.sql.contains(part));
    if asks("g.receiver = ?1") {
        Some(Point::Facts)
    } else {
        let key = asks("k.hash = ?1") || asks("r.hash = ?1");
        key.then_some(Point::Key)
    }
}

impl Store for Tampered {
    fn commit(&self, mut batch: Batch) -> BoxFuture<'static, Result<Receipt, CommitError>> {
        self.tamper(&mut batch);
        let gate = self.gate_at(point_of_commit(&batch));
        let gathering = self.gathering_of(&batch);
        if gate.is_none() && gathering.is_none() {
            return self.inner.commit(batch);
        }
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            if let Some(gate) = gate {
                gate.pass().await;
            }
            if let Some(barrier) = gathering {
                barrier.wait().await;
            }
            inner.commit(batch).await
        })
    }

    fn read(&self, queries: Vec<Query>) -> BoxFuture<'static, Result<Vec<Vec<Row>>, ReadError>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let gate = self.gate_at(point_of_read(&queries));
        let rows = self.inner.read(queries);
        Box::pin(async move {
            let rows = rows.await;
            if let Some(gate) = gate {
                gate.pass().await;
            }
            rows
        })
    }

    fn head(&self) -> Head {
        self.inner.head()
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.inner.close()
    }
}

/// The numbers of the engine for what changed.
const AGENT: u8 = 2;
const GRANT: u8 = 3;

const fn kind_bit(kind: u8) -> u16 {
    1 << kind
}

/// Tells the directory what changed, until that is switched off.
pub(crate) struct Ear {
    directory: Arc<dyn Observer>,
    /// A bit for each kind of effect that it is not told of.
    unheard: AtomicU16,
}

impl Ear {
    pub(crate) fn of(directory: Arc<dyn Observer>) -> Self {
        Self {
            directory,
            unheard: AtomicU16::new(0),
        }
    }
}

impl Observer for Ear {
    fn committed(&self, effects: &[Effect]) {
        let unheard = self.unheard.load(Ordering::SeqCst);
        let heard = effects
            .iter()
            .filter(|effect| unheard & kind_bit(effect.kind) == 0);
        self.directory
            .committed(&heard.copied().collect::<Vec<_>>());
    }
}
