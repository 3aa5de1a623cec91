//! P6 (in process): durable decisions and durable batches a second against what bare SQLite can group-commit.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use kavachos::core::id::AuditId;
use kavachos::core::ledger::{self, Blinding, Entry, Outcome, Record};
use kavachos::engine::Question;
use kavachos::engine::actor::Actor;
use kavachos::store::{Batch, Store};

use crate::Length;
use crate::report::{Bound, Figure, Rounds};
use crate::rows::{Bare, Look};
use crate::tenant::{self, Tenant};
use crate::world::{Ask, World, bytes};

const WORLD: World = World {
    agents: 1_000,
    permissions: 20,
    pool: 10_000,
};
/// How many callers wait for an answer at the same time.
const CALLERS: u32 = 1_024;

pub(crate) fn run(length: Length) -> Vec<Figure> {
    let (rounds, requests) = length.pick((3, 40_000), (9, 100_000));
    let runtime = crate::runtime();
    runtime.block_on(async {
        let mut place = Place::new().await;
        let (mut decisions, mut batches) = (Line::default(), Line::default());
        for round in 0..rounds {
            let asks = Arc::new(WORLD.asks(requests, 100 + round));
            place.decisions(&asks, &mut decisions).await;
            place.batches(&asks, &mut batches).await;
        }
        place.tenant.engine.close().await;
        vec![
            decisions.figure("P6", "durable decisions in process"),
            batches.figure("P6s", "durable batches of one record at the store alone"),
        ]
    })
}

struct Place {
    _directory: tempfile::TempDir,
    path: PathBuf,
    tenant: Tenant,
    bare: Bare,
}

/// One figure as it is measured.
#[derive(Default)]
struct Line {
    ours: Rounds,
    bare: Rounds,
    group: Rounds,
}

impl Place {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("kavach.db");
        tenant::create(&path, &WORLD).await;
        let tenant = Tenant::open(&path, WORLD.agents);
        tenant.warm(0..WORLD.agents).await;
        let bare = Bare::create(&directory.path().join("bare.db")).await;
        Self {
            _directory: directory,
            path,
            tenant,
            bare,
        }
    }

    async fn decisions(&mut self, asks: &Arc<Vec<Ask>>, line: &mut Line) {
        let engine = self.tenant.engine.clone();
        self.round(asks, line, move |ask| {
            let engine = engine.clone();
            let question = Question {
                presented: None,
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
        let look = Look::at(&self.path);
        let (commits, records) = look.counts();
        let begun = Instant::now();
        race(asks, ask).await;
        let took = begun.elapsed().as_secs_f64();
        let (commits, rows) = (look.counts().0 - commits, look.rows(records));
        assert_eq!(rows.len(), asks.len(), "a record for each request");
        let group = rows.len() as f64 / commits as f64;
        let bare = self.bare.insert(&rows, group.round() as usize);
        line.ours.0.push(rows.len() as f64 / took);
        line.bare.0.push(rows.len() as f64 / bare.wall);
        line.group.0.push(group);
    }
}

impl Line {
    fn figure(self, id: &'static str, what: &str) -> Figure {
        let bound = |must| {
            if id == "P6" {
                Bound::AtLeast(must)
            } else {
                Bound::None
            }
        };
        Figure {
            id,
            what: format!("{what}, {CALLERS} callers"),
            ours: format!("{:.0}/s", self.ours.median()),
            reference: format!(
                "{:.0}/s by bare SQLite, {:.0} rows a commit",
                self.bare.median(),
                self.group.median()
            ),
            ratio: self.ours.by(&self.bare),
            must: bound(0.7),
            aim: bound(0.85),
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
