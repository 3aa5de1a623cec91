//! P6 (in process): durable decisions and durable batches a second against what the bare database can group-commit,
//! SQLite or PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use kavachos::core::id::AuditId;
use kavachos::core::ledger::{self, Blinding, Entry, Outcome, Record};
use kavachos::engine::Question;
use kavachos::engine::actor::Actor;
use kavachos::store::Batch;
use kavachos_test::postgres::Cluster;

use crate::report::{Bound, Figure, Rounds};
use crate::rows::{Bare, Beside, BesideFile, Look};
use crate::tenant::{self, Tenant};
use crate::world::{Ask, World, bytes};
use crate::{Length, postgres};

const WORLD: World = World {
    agents: 1_000,
    permissions: 20,
    pool: 10_000,
};
/// How many callers wait for an answer at the same time.
const CALLERS: u32 = 1_024;

/// A must and an aim of P6.
const DECISIONS: (Bound, Bound) = (Bound::AtLeast(0.7), Bound::AtLeast(0.85));
/// What is told beside it.
const BATCHES: (Bound, Bound) = (Bound::None, Bound::None);

pub(crate) fn run(length: Length) -> Vec<Figure> {
    crate::runtime().block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("kavach.db");
        tenant::create(&path, &WORLD).await;
        let tenant = Tenant::open(&path, WORLD.agents);
        let bare = Bare::create(&directory.path().join("bare.db")).await;
        let bare = BesideFile::new(Look::at(&path), bare);
        Place::new(tenant, bare)
            .await
            .measure(["P6", "P6s"], length)
            .await
    })
}

/// The same on a PostgreSQL server of its own, where one is installed.
pub(crate) fn run_on_postgres(length: Length) -> Vec<Figure> {
    let Some(cluster) = Cluster::start() else {
        return Vec::new();
    };
    crate::runtime().block_on(async {
        let url = cluster.database();
        tenant::create_on_postgres(&url, &WORLD).await;
        let tenant = Tenant::open_on_postgres(&url, WORLD.agents);
        let bare = postgres::Bare::create(&cluster, &url).await;
        Place::new(tenant, bare)
            .await
            .measure(["P6p", "P6ps"], length)
            .await
    })
}

/// A tenant, and a bare database of the same kind.
struct Place<B> {
    tenant: Tenant,
    bare: B,
}

/// One figure as it is measured.
#[derive(Default)]
struct Line {
    ours: Rounds,
    bare: Rounds,
    group: Rounds,
}

impl<B: Beside> Place<B> {
    async fn new(tenant: Tenant, bare: B) -> Self {
        tenant.warm(0..WORLD.agents).await;
        Self { tenant, bare }
    }

    async fn measure(mut self, ids: [&'static str; 2], length: Length) -> Vec<Figure> {
        let (rounds, requests) = length.pick((3, 40_000), (9, 100_000));
        let (mut decisions, mut batches) = (Line::default(), Line::default());
        for round in 0..rounds {
            let asks = Arc::new(WORLD.asks(requests, 100 + round));
            self.decisions(&asks, &mut decisions).await;
            self.batches(&asks, &mut batches).await;
        }
        self.tenant.engine.close().await;
        let [of_decisions, of_batches] = ids;
        let what = "durable decisions in process";
        let decisions = decisions.figure::<B>(of_decisions, what, DECISIONS);
        let what = "durable batches of one record at the store alone";
        vec![decisions, batches.figure::<B>(of_batches, what, BATCHES)]
    }

    async fn decisions(&mut self, asks: &Arc<Vec<Ask>>, line: &mut Line) {
        let engine = self.tenant.engine.clone();
        self.round(asks, line, move |ask| {
            let engine = engine.clone();
            let question = Question {
                presented: None,
                shown: None,
                agent: Some(ask.agent),
                on_behalf_of: None,
                request: ask.request.clone(),
            };
            async move {
                let actor = Actor::local(engine.id());
                engine
                    .authorize(&actor, &question)
                    .await
                    .expect("a decision")
                    .allowed
            }
        })
        .await;
    }

    async fn batches(&mut self, asks: &Arc<Vec<Ask>>, line: &mut Line) {
        let store = Arc::clone(&self.tenant.store);
        let engine = self.tenant.engine.clone();
        self.round(asks, line, move |ask| {
            let entry = entry(engine.id(), ask);
            let commit = store.commit(Batch {
                entries: vec![entry],
                ..Batch::default()
            });
            async move { commit.await.is_ok() }
        })
        .await;
    }

    /// All requests by ours, then the rows that this made by the bare database, as many at a time.
    async fn round<F, R>(&mut self, asks: &Arc<Vec<Ask>>, line: &mut Line, ask: F)
    where
        F: Fn(&Ask) -> R + Send + Sync + 'static,
        R: Future<Output = bool> + Send,
    {
        let (commits, records) = self.bare.counts().await;
        let begun = Instant::now();
        race(asks, ask).await;
        let took = begun.elapsed().as_secs_f64();
        let commits = self.bare.counts().await.0 - commits;
        let count = asks.len() as f64;
        let group = count / commits as f64;
        let again = self.bare.again(records, group.round() as usize).await;
        assert_eq!(again.rows, asks.len(), "a record for each request");
        line.ours.0.push(count / took);
        line.bare.0.push(count / again.wall);
        line.group.0.push(group);
    }
}

impl Line {
    fn figure<B: Beside>(self, id: &'static str, what: &str, bounds: (Bound, Bound)) -> Figure {
        let (must, aim) = bounds;
        Figure {
            id,
            what: format!("{what}, {CALLERS} callers"),
            ours: format!("{:.0}/s", self.ours.median()),
            reference: format!(
                "{:.0}/s by bare {}, {:.0} rows a commit",
                self.bare.median(),
                B::NAME,
                self.group.median()
            ),
            ratio: self.ours.by(&self.bare),
            must,
            aim,
        }
    }
}

/// Asks everything, with [`CALLERS`] callers that each wait for their answer.
async fn race<F, R>(asks: &Arc<Vec<Ask>>, ask: F)
where
    F: Fn(&Ask) -> R + Send + Sync + 'static,
    R: Future<Output = bool> + Send,
{
    let (next, ask) = (Arc::new(AtomicU32::new(0)), Arc::new(ask));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (asks, next, ask) = (Arc::clone(asks), Arc::clone(&next), Arc::clone(&ask));
            tokio::spawn(async move {
                while let Some(one) = asks.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    std::hint::black_box(ask(one).await);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("a caller");
    }
}

/// A record like that of a decision.
fn entry(id: AuditId, ask: &Ask) -> Entry {
    let mut record = Record::new(
        id,
        "decision",
        Outcome::Allowed,
        "allowed",
        ledger::Actor::Agent(ask.agent),
    );
    record.agent = Some(ask.agent);
    record.agent_proof = Some("server");
    record.action = Some(&ask.action);
    record.resource = Some(&ask.resource);
    record.reason = Some("a permission of the agent allows it");
    let random = Blinding {
        blind: bytes(20, ask.index),
        salt: bytes(21, ask.index),
    };
    record.seal(random).expect("a record")
}
