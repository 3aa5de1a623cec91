//! A tenant with a world in it: written straight into the store, opened as the library opens it.

use std::path::Path;
use std::sync::Arc;

use kavachos::core::id::Id;
use kavachos::core::principal::{Owner, Status};
use kavachos::core::revocation::{Handle, HandleKind, Mark};
use kavachos::engine::actor::Actor;
use kavachos::engine::fetch::NoFetcher;
use kavachos::engine::page::PageOf;
use kavachos::engine::{Directory, Engine, Parts, Settings};
use kavachos::store::agent::{AgentKeyRow, AgentRow};
use kavachos::store::grant::{GrantRow, Quota};
use kavachos::store::postgres::PostgresStore;
use kavachos::store::sqlite::{Host, Options, SqliteStore};
use kavachos::store::user::UserRow;
use kavachos::store::{Batch, Observer, Store, Write, handle, postgres};
use kavachos::{GrantId, SystemClock, SystemRng, Timestamp, TokioRuntime};

use crate::world::{AGENTS_PER_USER, World, bytes};

/// How many agents go into one batch.
const AGENTS_PER_BATCH: u32 = AGENTS_PER_USER;
/// How many agents are loaded at the same time.
const LOADERS: u32 = 16;
/// When everything was created, and when every key ends: the years 2020 and 2100.
const CREATED: Timestamp = Timestamp::from_micros(1_577_836_800_000_000);
const ENDS: Timestamp = Timestamp::from_micros(4_102_444_800_000_000);

/// An open tenant.
pub(crate) struct Tenant {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) engine: Engine,
    pub(crate) directory: Arc<Directory>,
}

impl Tenant {
    pub(crate) fn open(path: &Path, agents: u32) -> Self {
        Self::with(agents, |observer| Arc::new(open(path, observer)))
    }

    pub(crate) fn open_on_postgres(url: &str, agents: u32) -> Self {
        Self::with(agents, |observer| Arc::new(open_on_postgres(url, observer)))
    }

    fn with(agents: u32, open: impl FnOnce(Arc<dyn Observer>) -> Arc<dyn Store>) -> Self {
        // A heavy agent counts as many entries: there is room for a thousand permissions each of a few agents.
        let entries = (agents as usize * 2 + 1_000).max(100_000);
        let directory = Arc::new(Directory::new(entries));
        let store = open(Arc::clone(&directory) as Arc<dyn Observer>);
        let engine = Engine::new(Parts {
            rsa: |_, _, _| false,
            checkpoints: None,
            mail: None,
            store: Arc::clone(&store),
            directory: Arc::clone(&directory),
            clock: Arc::new(SystemClock),
            rng: Arc::new(SystemRng),
            runtime: Arc::new(TokioRuntime::current().expect("a runtime")),
            fetcher: Arc::new(NoFetcher),
            master_key: None,
            settings: Settings::default(),
        });
        Self {
            store,
            engine,
            directory,
        }
    }

    /// Loads agents into the directory.
    pub(crate) async fn warm(&self, agents: std::ops::Range<u32>) {
        let loaders = (0..LOADERS).map(|loader| {
            let engine = self.engine.clone();
            let ours = agents
                .clone()
                .skip(loader as usize)
                .step_by(LOADERS as usize);
            tokio::spawn(async move {
                for agent in ours {
                    let actor = Actor::local(engine.id());
                    let known = engine
                        .authority(&actor, World::agent(agent), PageOf::default())
                        .await;
                    assert_eq!(known.expect("an agent of the world").items.len(), 1);
                }
            })
        });
        for loader in loaders.collect::<Vec<_>>() {
            loader.await.expect("a loader");
        }
    }
}

/// Makes a database with a world in it.
pub(crate) async fn create(path: &Path, world: &World) {
    fill(&open(path, Arc::new(())), world).await;
}

/// The same on PostgreSQL.
pub(crate) async fn create_on_postgres(url: &str, world: &World) {
    fill(&open_on_postgres(url, Arc::new(())), world).await;
}

async fn fill(store: &dyn Store, world: &World) {
    let mut waiting = Vec::new();
    for first in (0..world.agents).step_by(AGENTS_PER_BATCH as usize) {
        let last = (first + AGENTS_PER_BATCH).min(world.agents);
        let mut writes = user(first);
        writes.extend((first..last).flat_map(|agent| agent_writes(world, agent)));
        let batch = Batch {
            writes,
            ..Batch::default()
        };
        waiting.push(store.commit(batch));
        if waiting.len() == 64 {
            for commit in waiting.drain(..) {
                commit.await.expect("a commit");
            }
        }
    }
    for commit in waiting {
        commit.await.expect("a commit");
    }
    store.close().await;
}

fn open(path: &Path, observer: Arc<dyn Observer>) -> SqliteStore {
    SqliteStore::open(&Options::file(path), host(observer)).expect("a database")
}

pub(crate) fn open_on_postgres(url: &str, observer: Arc<dyn Observer>) -> PostgresStore {
    PostgresStore::open(&postgres::Options::url(url), host(observer)).expect("a database")
}

fn host(observer: Arc<dyn Observer>) -> Host {
    Host {
        clock: Arc::new(SystemClock),
        rng: Arc::new(SystemRng),
        observer,
    }
}

fn mark(kind: HandleKind, index: u32) -> Mark {
    Mark {
        handle: Handle {
            kind,
            bytes: bytes(kind as u64 + 10, index),
        },
        generation: 1,
    }
}

fn user(agent: u32) -> Vec<Write> {
    let mark = mark(HandleKind::User, agent);
    let row = UserRow {
        id: World::user(agent),
        status: Status::Active,
        email: None,
        name: None,
        external: None,
        permissions: None,
        mark,
        kills: 0,
        pseudonym: Id::from_bits(World::user(agent).bits() ^ 1),
        agents: AGENTS_PER_USER.into(),
        version: 1,
        created_at: CREATED,
        email_verified_at: None,
        role: None,
        banned_until: None,
    };
    vec![handle::born(mark), kavachos::store::user::insert(row)]
}

fn agent_writes(world: &World, index: u32) -> Vec<Write> {
    let (id, root) = (World::agent(index), World::user(index));
    let grant = GrantId::from_bits(id.bits() ^ 1);
    let marks =
        [HandleKind::Agent, HandleKind::Grant, HandleKind::Key].map(|kind| mark(kind, index));
    let [agent_mark, grant_mark, key_mark] = marks;
    let agent = AgentRow {
        id,
        owner: Owner::User(root),
        root,
        name: format!("agent-{index}"),
        kind: "autonomous".to_owned(),
        status: Status::Active,
        expires_at: None,
        metadata: None,
        root_grant: grant,
        mark: agent_mark,
        kills: 0,
        version: 1,
        created_at: CREATED,
        proof_key: None,
        maker: None,
    };
    let grant = GrantRow {
        id: grant,
        parent: None,
        giver: Owner::User(root),
        receiver: id,
        root,
        permissions: world.permissions_json(index),
        guards: None,
        depth: 0,
        max_depth: 3,
        expires_at: None,
        reason: None,
        status: Status::Active,
        mark: grant_mark,
        version: 1,
        created_at: CREATED,
        uses: None,
        reserved_for: None,
        maker: None,
    };
    let secret = World::key(index);
    let key = AgentKeyRow {
        hash: secret.hash(),
        agent: id,
        shown: secret.display_prefix().to_owned(),
        status: Status::Active,
        expires_at: ENDS,
        agent_kills: 0,
        user_kills: 0,
        mark: key_mark,
        ended_at: None,
        created_at: CREATED,
    };
    let quota = Quota {
        children: 1,
        received: 1,
    };
    let mut writes: Vec<Write> = marks.into_iter().map(handle::born).collect();
    writes.extend([
        kavachos::store::agent::insert(agent),
        kavachos::store::grant::insert(grant, quota),
        kavachos::store::agent::insert_key(key),
    ]);
    writes
}
