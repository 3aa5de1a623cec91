//! A server on the loopback with everything that a test wants to own: the clock, the randomness, an operator's key.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kavachos::core::secret::{Secret, SecretKind};
use kavachos::store::sqlite::OpenError;
use kavachos::store::{Clock, Head, Rng};
use kavachos::{BuildError, Builder, Kavach, Loopback, NewKey, Settings};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::client::{Call, Client, Reply};
use crate::clock::ManualClock;
use crate::keeper::{Keeper, Kept};
use crate::postgres::{Cluster, Lent, name_of};
use crate::rng::SeededRng;
use crate::server::Server;

/// Where the randomness of every test begins.
const SEED: u64 = 2_026;
/// How often it is looked whether a lock that somebody holds for a moment is free.
const MAX_LOCKED: usize = 100;
/// How long lies between two looks.
const LOCKED: Duration = Duration::from_millis(20);

/// How a [`TestApp`] is to be set up.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Setup {
    settings: Settings,
    proxies: Vec<String>,
    engine: Engine,
    life: Life,
    without_master_key: bool,
    loopback_refused: bool,
    seed: Option<u64>,
    additions: Vec<Addition>,
}

/// What a test adds to the builder.
#[derive(Clone)]
struct Addition(Arc<dyn Fn(Builder) -> Builder + Send + Sync>);

impl fmt::Debug for Addition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Addition")
    }
}

/// Which database the server works on.
#[derive(Debug, Clone, Copy, Default)]
enum Engine {
    #[default]
    Sqlite,
    Postgres,
}

/// How long the database lives.
#[derive(Debug, Clone, Copy, Default)]
enum Life {
    #[default]
    OneServer,
    ManyServers,
}

/// Where the database is.
pub(crate) enum Home {
    Memory,
    /// Removed with the directory.
    File(TempDir),
    /// In the cluster that the tests share.
    Postgres(Lent),
}

/// A running server, and what a test needs to call it.
pub struct TestApp {
    setup: Setup,
    clock: Arc<ManualClock>,
    rng: Arc<SeededRng>,
    operator: String,
    kavach: Kavach,
    server: Server,
    pub(crate) home: Home,
}

/// An agent that was created, with its key.
#[derive(Debug, Clone)]
pub struct TestAgent {
    /// Its id.
    pub id: String,
    /// Its key.
    pub key: String,
    /// Its root grant.
    pub grant: String,
}

/// A session that was opened, with its token.
#[derive(Debug, Clone)]
pub struct TestSession {
    /// Its id.
    pub id: String,
    /// Its token.
    pub token: String,
}

impl Setup {
    /// With other limits.
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Believing `X-Forwarded-For` of these networks.
    pub fn trusting(mut self, proxies: &[&str]) -> Self {
        self.proxies = proxies.iter().map(|proxy| (*proxy).to_owned()).collect();
        self
    }

    /// With a database that outlives a restart.
    pub fn lasting(mut self) -> Self {
        self.life = Life::ManyServers;
        self
    }

    /// With a database that outlives a restart and that the test itself looks into, which is an SQLite file.
    pub fn in_a_file(mut self) -> Self {
        self.engine = Engine::Sqlite;
        self.lasting()
    }

    /// On PostgreSQL. Where it is not installed this is said aloud, and the test runs on SQLite.
    pub fn on_postgres(mut self) -> Self {
        self.engine = Engine::Postgres;
        self
    }

    /// Without a master key, so without webhooks.
    pub fn without_master_key(mut self) -> Self {
        self.without_master_key = true;
        self
    }

    /// Fetching nothing from this machine, as a server in the open.
    pub fn in_the_open(mut self) -> Self {
        self.loopback_refused = true;
        self
    }

    /// With randomness of its own, for a second server that must not be like the first.
    pub fn seeded(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// With what else the builder takes, for example a hook.
    pub fn with(mut self, add: impl Fn(Builder) -> Builder + Send + Sync + 'static) -> Self {
        self.additions.push(Addition(Arc::new(add)));
        self
    }

    /// With somebody between the server and its database.
    pub fn kept_by(self, keeper: Arc<dyn Keeper>) -> Self {
        self.with(move |builder| {
            let keeper = Arc::clone(&keeper);
            builder.store_through(move |store| Arc::new(Kept { keeper, store }))
        })
    }

    fn home(&self) -> Home {
        let cluster = match self.engine {
            Engine::Sqlite => None,
            Engine::Postgres => Cluster::shared(),
        };
        match (cluster, self.life) {
            (Some(cluster), _) => Home::Postgres(cluster.lend()),
            (None, Life::OneServer) => Home::Memory,
            (None, Life::ManyServers) => {
                Home::File(TempDir::new().expect("there is room for a directory"))
            }
        }
    }

    /// Starts the server and makes an operator's key with every scope.
    pub async fn start(self) -> TestApp {
        let home = self.home();
        let clock = Arc::new(ManualClock::default());
        let rng = Arc::new(SeededRng::new(self.seed.unwrap_or(SEED)));
        let host = (Arc::clone(&clock), Arc::clone(&rng));
        let kavach = self.open(&home, host).await;
        let key = kavach.keys().create(NewKey::new("tests", &["*"])).await;
        let key = key.expect("the first key can be made");
        let operator = key.token.as_ref().expect("a new key is shown").reveal();
        TestApp {
            operator: operator.to_owned(),
            server: Server::of(&kavach).await,
            kavach,
            setup: self,
            clock,
            rng,
            home,
        }
    }

    async fn open(&self, home: &Home, (clock, rng): (Arc<ManualClock>, Arc<SeededRng>)) -> Kavach {
        // A test beside this one that starts a program holds a copy of every open file for a moment, of the lock too.
        for _ in 0..MAX_LOCKED {
            match self
                .build(home, (Arc::clone(&clock), Arc::clone(&rng)))
                .await
            {
                Err(BuildError::Store(OpenError::Held { .. })) => sleep(LOCKED).await,
                built => return built.expect("the database can be opened"),
            }
        }
        panic!("the database is held by somebody else")
    }

    async fn build(
        &self,
        home: &Home,
        (clock, rng): (Arc<ManualClock>, Arc<SeededRng>),
    ) -> Result<Kavach, BuildError> {
        let proxy = |text: &String| text.parse().expect("a test names networks");
        let builder = Kavach::builder()
            .settings(self.settings.clone())
            .trusted_proxies(self.proxies.iter().map(proxy).collect())
            .master_key((!self.without_master_key).then(master_key))
            .fetching_from_loopback(if self.loopback_refused {
                Loopback::Refused
            } else {
                Loopback::Allowed
            })
            .clock(clock as Arc<dyn Clock>)
            .rng(rng as Arc<dyn Rng>);
        let builder = match home {
            Home::Memory => builder.sqlite_in_memory(),
            Home::File(directory) => builder.sqlite(file(directory)),
            Home::Postgres(lent) => builder.postgres(lent.url()),
        };
        let additions = self.additions.iter();
        let builder = additions.fold(builder, |builder, Addition(add)| add(builder));
        builder.build().await
    }
}

/// The master key of every test.
fn master_key() -> Secret {
    Secret::new(SecretKind::Master, [7; 32])
}

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("kavach.db")
}

impl TestApp {
    /// A server with default settings and its database in memory.
    pub async fn start() -> Self {
        Setup::default().start().await
    }

    /// The client of this server. What plugins answer is not in the document of the server alone.
    pub fn client(&self) -> Client {
        if !self.kavach.engine().plugin_routes().is_empty() {
            return Client::new(self.server.address());
        }
        Client::under_contract(self.server.address())
    }

    /// A caller without a credential.
    pub fn anonymous(&self) -> Call {
        self.client().anonymous()
    }

    /// A caller with this credential.
    pub fn call(&self, credential: &str) -> Call {
        self.client().call(credential)
    }

    /// An operator with every scope and no ceiling.
    pub fn operator(&self) -> Call {
        self.call(&self.operator)
    }

    /// The operator's key itself.
    pub fn operator_key(&self) -> &str {
        &self.operator
    }

    /// What is being served, to look behind HTTP.
    pub fn kavach(&self) -> &Kavach {
        &self.kavach
    }

    /// The server's clock.
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Moves the server's clock forward.
    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The id of a new human.
    pub async fn user(&self) -> String {
        let ada = json!({ "name": "Ada" });
        let reply = self.operator().post("/api/v1/users", ada).await.expect(201);
        reply.id().to_owned()
    }

    /// A new agent of this human or agent, which may do this.
    pub async fn agent(&self, owner: &str, permissions: Value) -> TestAgent {
        self.agent_with(owner, permissions, json!({})).await
    }

    /// A new agent with more members in the request, for example `{"maxDepth": 1}`.
    pub async fn agent_with(&self, owner: &str, permissions: Value, more: Value) -> TestAgent {
        let mut body = json!({
            "ownerId": owner, "name": "agent", "type": "autonomous", "permissions": permissions,
        });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        let reply = self.operator().post("/api/v1/agents", body).await;
        TestAgent::of(&reply.expect(201))
    }

    /// A new session of this human.
    pub async fn session(&self, user: &str) -> TestSession {
        let path = format!("/api/v1/users/{user}/sessions");
        let reply = self.operator().post(&path, json!({})).await.expect(201);
        TestSession {
            id: reply.id().to_owned(),
            token: reply.text_at("/data/token").to_owned(),
        }
    }

    /// The operator writes a delegation between agents.
    pub async fn delegate(&self, from: &str, to: &str, permissions: Value) -> Reply {
        let body =
            json!({ "from": from, "to": to, "permissions": permissions, "reason": "the test" });
        self.operator().post("/api/v1/delegations", body).await
    }

    /// The operator asks whether an agent may do this now.
    pub async fn decide(&self, agent: &str, action: &str, resource: &str) -> Reply {
        self.ask(json!({ "agentId": agent, "action": action, "resource": resource }))
            .await
    }

    /// The operator asks for a decision in its own words.
    pub async fn ask(&self, question: Value) -> Reply {
        self.operator().post("/api/v1/authorize", question).await
    }

    /// The operator makes a key, and gets the key itself.
    pub async fn key(&self, body: Value) -> String {
        let reply = self.operator().post("/api/v1/keys", body).await.expect(201);
        reply.text_at("/data/token").to_owned()
    }

    /// The records that these filters leave, newest first.
    pub async fn audit(&self, filters: &str) -> Vec<Value> {
        let path = format!("/api/v1/audit?{filters}");
        let reply = self.operator().get(&path).await.expect(200);
        assert!(reply.at("/nextCursor").is_null(), "one page is enough");
        reply.rows().to_vec()
    }

    /// The head of the ledger.
    pub fn head(&self) -> Head {
        self.kavach.engine().head()
    }

    /// Closes the database and opens it again. The keys and the address of the caller stay; the port is another one.
    pub async fn restart(&mut self) {
        self.kavach.close().await;
        self.reopen().await;
    }

    /// Closes the database, hands it to the caller, and opens it again.
    pub async fn restart_after<T>(&mut self, between: impl FnOnce(&Connection) -> T) -> T {
        let Home::File(directory) = &self.home else {
            panic!("only a database in a file can be looked into");
        };
        let file = file(directory);
        self.kavach.close().await;
        let connection = Connection::open(&file).expect("the file can be opened once it is closed");
        let answer = between(&connection);
        connection.close().expect("the file can be closed");
        self.reopen().await;
        answer
    }

    /// Another process on the same database, which took it over while this one was away. `None` on SQLite, where the
    /// system keeps a second process out.
    pub async fn overtaken(&self) -> Option<Kavach> {
        const END_WRITER: &str = "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database d ON d.oid = database \
            WHERE locktype = 'advisory' AND granted AND d.datname = current_database()";
        let (Home::Postgres(lent), Some(cluster)) = (&self.home, Cluster::shared()) else {
            return None;
        };
        cluster.psql(name_of(lent.url()), END_WRITER);
        let rng = Arc::new(SeededRng::new(SEED + 1));
        let host = (Arc::clone(&self.clock), rng);
        let mut setup = self.setup.clone();
        // What a test has put before its own database is not before this one.
        setup.additions.clear();
        Some(setup.open(&self.home, host).await)
    }

    async fn reopen(&mut self) {
        let lasts = !matches!(self.home, Home::Memory);
        assert!(lasts, "a database in memory is gone once it is closed");
        let host = (Arc::clone(&self.clock), Arc::clone(&self.rng));
        self.kavach = self.setup.open(&self.home, host).await;
        self.server = Server::of(&self.kavach).await;
    }
}

impl TestAgent {
    /// The agent of a 201.
    pub fn of(reply: &Reply) -> Self {
        Self {
            id: reply.id().to_owned(),
            key: reply.text_at("/data/token").to_owned(),
            grant: reply.text_at("/data/grantId").to_owned(),
        }
    }
}
