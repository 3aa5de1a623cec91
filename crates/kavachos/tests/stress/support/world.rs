//! An engine on a store that can be tampered with, served over the loopback, with an operator's key.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use kavachos::engine::actor::{Actor, Caller, Scopes};
use kavachos::engine::fetch::NoFetcher;
use kavachos::engine::{Decision, Directory, Engine, ForwardedCall, NewKey, Parts, Question};
use kavachos::store::sqlite::{Host, Options, SqliteStore};
use kavachos::store::{Query, Store};
use kavachos::{Result, Settings, TokioRuntime};
use kavachos_test::{ManualClock, SeededRng, Server};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::store::{Ear, Off, Tampered};
use kavachos_test::blocking::{Answer, Client};

/// How many records a test may look at.
const MAX_RECORDS: usize = 200_000;

/// How a world is to be made.
#[derive(Default, Clone)]
pub(crate) struct Setup {
    /// The database; in memory without one.
    pub(crate) path: Option<PathBuf>,
    pub(crate) settings: Settings,
    pub(crate) off: &'static [Off],
    /// The largest size of the database.
    pub(crate) max_bytes: Option<u64>,
    /// Believes `X-Forwarded-For` of the loopback.
    pub(crate) proxied: bool,
    /// Where the randomness begins: another one for each opening of the same database.
    pub(crate) seed: u64,
}

/// A server and everything below it.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) engine: Engine,
    pub(crate) store: Arc<Tampered>,
    pub(crate) operator: String,
    server: Server,
}

/// An agent that was created.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) grant: String,
}

/// A record, as far as the tests look at it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) seq: u64,
    pub(crate) kind: String,
    pub(crate) outcome: String,
    pub(crate) agent: String,
    pub(crate) body: Value,
}

impl Record {
    pub(crate) fn is_allow(&self) -> bool {
        self.kind == "decision" && self.outcome == "allowed"
    }
}

impl Setup {
    pub(crate) fn start(self) -> World {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .unwrap();
        let clock = Arc::new(ManualClock::default());
        let (engine, store) = self.engine(&runtime, &clock);
        let new = NewKey {
            name: "tests".to_owned(),
            scopes: Scopes::Every,
            ceiling: None,
            expires_at: None,
        };
        let actor = Actor::local(engine.id());
        let key = runtime.block_on(engine.create_key(&actor, &new)).unwrap();
        let operator = key.token.as_ref().unwrap().reveal().to_owned();
        let server = runtime.block_on(Server::serving(self.routes(&engine)));
        World {
            runtime,
            engine,
            store,
            operator,
            server,
        }
    }

    fn engine(&self, runtime: &Runtime, clock: &Arc<ManualClock>) -> (Engine, Arc<Tampered>) {
        let directory = Arc::new(Directory::new(self.settings.directory_entries));
        let rng = Arc::new(SeededRng::new(self.seed));
        let mut options = Options::memory();
        options.path.clone_from(&self.path);
        options.max_bytes = self.max_bytes;
        let ear = Arc::new(Ear::of(Arc::clone(&directory) as Arc<_>));
        let host = Host {
            clock: Arc::clone(clock) as Arc<_>,
            rng: Arc::clone(&rng) as Arc<_>,
            observer: Arc::clone(&ear) as Arc<_>,
        };
        let store = SqliteStore::open(&options, host).unwrap();
        let store = Arc::new(Tampered::new(store, self.off, ear));
        let _inside = runtime.enter();
        let engine = Engine::new(Parts {
            store: Arc::clone(&store) as Arc<_>,
            directory,
            clock: Arc::clone(clock) as Arc<_>,
            rng,
            runtime: Arc::new(TokioRuntime::current().unwrap()),
            fetcher: Arc::new(NoFetcher),
            rsa: |_, _, _| false,
            master_key: None,
            mail: None,
            checkpoints: None,
            settings: self.settings.clone(),
        });
        (engine, store)
    }

    fn routes(&self, engine: &Engine) -> axum::Router {
        let mut options = kavachos::http::Options::default();
        if self.proxied {
            options.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        }
        let peer = |extensions: &http::Extensions| {
            let address = extensions.get::<axum::extract::ConnectInfo<SocketAddr>>();
            Some(address.unwrap().0)
        };
        let state = kavachos::http::State::new(engine.clone(), options, peer);
        kavachos::http::router(state)
    }
}

impl World {
    /// A world with its database in memory and default limits.
    pub(crate) fn new() -> Self {
        Setup::default().start()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// A caller with this credential.
    pub(crate) fn client(&self, credential: &str) -> Client {
        Client::new(self.address(), Some(credential))
    }

    /// A caller with every scope.
    pub(crate) fn operator(&self) -> Client {
        self.client(&self.operator)
    }

    pub(crate) fn stranger(&self) -> Client {
        Client::new(self.address(), None)
    }

    pub(crate) fn user(&self) -> String {
        let ada = json!({ "name": "Ada" });
        self.operator().post("/api/v1/users", &ada).expect(201).id()
    }

    /// An agent of this human or agent with these permissions.
    pub(crate) fn agent(&self, owner: &str, permissions: Value) -> Agent {
        self.agent_with(owner, permissions, &json!({}))
    }

    /// An agent with more members in the request.
    pub(crate) fn agent_with(&self, owner: &str, permissions: Value, more: &Value) -> Agent {
        let mut body = json!({ "ownerId": owner, "name": "agent", "type": "autonomous" });
        body["permissions"] = permissions;
        let Value::Object(more) = more else {
            panic!("more members are an object")
        };
        body.as_object_mut().unwrap().extend(more.clone());
        let answer = self.operator().post("/api/v1/agents", &body).expect(201);
        Agent {
            id: answer.id(),
            key: answer.text_at("/data/token").to_owned(),
            grant: answer.text_at("/data/grantId").to_owned(),
        }
    }

    /// The operator asks for a decision.
    pub(crate) fn ask(&self, agent: &str, resource: &str) -> Answer {
        ask(&mut self.operator(), agent, resource)
    }

    /// The library is asked for a decision.
    pub(crate) fn decide(&self, agent: &str, resource: &str) -> Result<Decision> {
        let question = Question {
            presented: None,
            shown: None,
            agent: Some(agent.parse().unwrap()),
            on_behalf_of: None,
            request: kavachos::core::decide::Request {
                action: "read".parse().unwrap(),
                resource: resource.parse().unwrap(),
                arguments: None,
                ip: None,
                cost: None,
            },
        };
        let actor = Actor::local(self.engine.id());
        self.runtime
            .block_on(self.engine.authorize(&actor, &question))
    }

    /// The library is asked by a proxy, to which an agent showed its key.
    pub(crate) fn forward(&self, proxy: &str, agent: &str, resource: &str) -> Result<Decision> {
        let request = kavachos::core::decide::Request {
            action: "read".parse().unwrap(),
            resource: resource.parse().unwrap(),
            arguments: None,
            ip: None,
            cost: None,
        };
        self.runtime.block_on(async {
            let mut actor = Actor::local(self.engine.id());
            actor.caller = self.engine.authenticate(proxy).await?;
            let Caller::Agent(key) = self.engine.authenticate(agent).await? else {
                panic!("an agent's key is one")
            };
            let request = Ok(request);
            let call = ForwardedCall {
                key,
                request,
                described: None,
            };
            let told = self.engine.authorize_forwarded(&actor, call).await?;
            Ok(told.decision)
        })
    }

    /// The whole ledger in its order.
    pub(crate) fn records(&self) -> Vec<Record> {
        type Cells = (u64, String, String, Option<String>, String);
        let query = Query::new(
            MAX_RECORDS,
            "SELECT seq, kind, outcome, agent, body FROM ledger ORDER BY seq",
        );
        let store: &dyn Store = self.store.inner();
        let rows: Vec<Cells> = self.runtime.block_on(store.list(query.of())).unwrap();
        let record = |(seq, kind, outcome, agent, body): Cells| Record {
            seq,
            kind,
            outcome,
            agent: agent.unwrap_or_default(),
            body: serde_json::from_str(&body).unwrap(),
        };
        rows.into_iter().map(record).collect()
    }

    /// How many allows are on record for this agent.
    pub(crate) fn allows(&self, agent: &str) -> usize {
        let records = self.records();
        let allows = records.iter().filter(|record| record.is_allow());
        allows.filter(|record| record.agent == agent).count()
    }

    /// Closes the database.
    pub(crate) fn close(self) {
        self.runtime.block_on(self.engine.close());
    }
}

/// Asks whether an agent may read a resource.
pub(crate) fn ask(client: &mut Client, agent: &str, resource: &str) -> Answer {
    let question = json!({ "agentId": agent, "action": "read", "resource": resource });
    client.post("/api/v1/authorize", &question)
}

/// Asks with the agent's own key.
pub(crate) fn ask_own(client: &mut Client, resource: &str) -> Answer {
    let question = json!({ "action": "read", "resource": resource });
    client.post("/api/v1/authorize", &question)
}

/// Permission to read the resources of this pattern.
pub(crate) fn reading(pattern: &str) -> Value {
    reading_under(pattern, &json!({}))
}

/// Permission to read the resources of this pattern under these constraints.
pub(crate) fn reading_under(pattern: &str, constraints: &Value) -> Value {
    json!([{ "resource": pattern, "actions": ["read"], "constraints": constraints }])
}
