//! A server that is killed under load loses nothing that it answered, and nothing that was revoked lives.
//!
//! The server is this test binary, run again by itself; its callers are threads that write down each answer. The short
//! form runs with the other tests; the long one by
//! `cargo test --release -p kavachos --test stress crash::a_thousand_kills -- --ignored --exact --nocapture`.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use kavachos::store::Clock;
use kavachos::{Kavach, NewKey, Request, SystemClock};
use kavachos_test::{Server, damage};
use rusqlite::{Connection, params};
use serde_json::json;

use crate::support::client::Client;
use crate::support::world::{ask, ask_own, reading, reading_under};

/// How many callers there are.
const CALLERS: usize = 8;
/// After how many answers the server is killed, at the least and at the most.
const ANSWERS: std::ops::Range<usize> = 30..250;
/// How many calls each budget allows.
const BUDGET: usize = 40;
/// The name of the database, by which the server finds its path among its arguments.
const DATABASE: &str = "killed.db";

/// The server, when it is run by [`Victim::start`]. It ends with the test: its input is closed then.
#[test]
#[ignore = "the server that the tests below kill"]
fn server() {
    let Some(path) = std::env::args().find(|argument| argument.ends_with(DATABASE)) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_kavach, _server) = runtime.block_on(async {
        let kavach = Kavach::builder().sqlite(path).build().await.unwrap();
        let key = kavach.keys().create(NewKey::new("tests", &["*"])).await;
        let key = key.unwrap();
        let server = Server::of(&kavach).await;
        let line = format!(
            "\nserving {} {}\n",
            server.address(),
            key.token.as_ref().unwrap().reveal()
        );
        let mut out = std::io::stdout();
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
        (kavach, server)
    });
    let mut input = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut input);
}

/// A running server.
struct Victim {
    child: Child,
    address: SocketAddr,
    operator: String,
}

impl Victim {
    fn start(path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::server", "--exact", "--ignored", "--nocapture"])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.find_map(|line| Some(line.ok()?.strip_prefix("serving ")?.to_owned()));
        let line = line.unwrap();
        let (address, operator) = line.split_once(' ').unwrap();
        Self {
            child,
            address: address.parse().unwrap(),
            operator: operator.to_owned(),
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What callers were told, over all kills of one database.
#[derive(Default)]
struct Told {
    agents: Vec<String>,
    /// Agents with a budget of [`BUDGET`] calls.
    budgets: Vec<String>,
    /// The audit ids of decisions, and whether they allowed.
    decisions: Vec<(String, bool)>,
    revoked_agents: Vec<String>,
    /// What was lent by a grant that was revoked, and to whom.
    revoked_grants: Vec<(String, String)>,
    loans: usize,
    banned: Vec<String>,
    /// Keys that were rotated away.
    dead_keys: Vec<String>,
}

impl Told {
    /// A resource that nobody was given yet.
    fn next_loan(&mut self) -> String {
        self.loans += 1;
        format!("mcp:lent:{}", self.loans)
    }
}

/// A small generator, so that a run can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// One caller. Every step returns `None` when the server does not answer any more.
struct Caller<'a> {
    client: Client,
    address: SocketAddr,
    told: &'a Mutex<Told>,
    ada: String,
    agents: Vec<(String, String)>,
    budget: String,
}

impl<'a> Caller<'a> {
    fn begin(victim: &Victim, told: &'a Mutex<Told>) -> Option<Self> {
        let mut caller = Self {
            client: Client::new(victim.address, Some(&victim.operator)),
            address: victim.address,
            told,
            ada: String::new(),
            agents: Vec::new(),
            budget: String::new(),
        };
        let ada = json!({ "name": "Ada" });
        caller.ada = caller.made("/api/v1/users", &ada)?.0;
        let budget = json!({ "budget": { "amount": BUDGET, "unit": "calls" } });
        let body = json!({
            "ownerId": caller.ada, "name": "spender", "type": "service",
            "permissions": reading_under("mcp:*", &budget),
        });
        caller.budget = caller.made("/api/v1/agents", &body)?.0;
        told.lock().unwrap().budgets.push(caller.budget.clone());
        caller.create()?;
        Some(caller)
    }

    /// The id and the credential of what was made.
    fn made(&mut self, path: &str, body: &serde_json::Value) -> Option<(String, String)> {
        let answer = self
            .client
            .try_call("POST", path, body.to_string().as_bytes())?;
        assert_eq!(answer.status, 201, "{answer}");
        Some((answer.id(), answer.text_at("/data/token").to_owned()))
    }

    fn create(&mut self) -> Option<()> {
        let owner = self.agents.first().map_or(&self.ada, |(id, _)| id);
        let body = json!({
            "ownerId": owner, "name": "one", "type": "service", "permissions": reading("mcp:github:*"),
        });
        let agent = self.made("/api/v1/agents", &body)?;
        self.told.lock().unwrap().agents.push(agent.0.clone());
        self.agents.push(agent);
        Some(())
    }

    fn decide(&mut self, agent: &str) -> Option<()> {
        let question = json!({ "agentId": agent, "action": "read", "resource": "mcp:github:x" });
        let question = question.to_string();
        let answer = self
            .client
            .try_call("POST", "/api/v1/authorize", question.as_bytes())?;
        assert_eq!(answer.status, 200, "{answer}");
        let audit = answer.text_at("/data/auditId").to_owned();
        let mut told = self.told.lock().unwrap();
        told.decisions.push((audit, answer.allowed()));
        Some(())
    }

    fn stop(&mut self, method: &str, path: &str) -> Option<()> {
        let answer = self.client.try_call(method, path, b"")?;
        assert_eq!(answer.status, 200, "{answer}");
        Some(())
    }

    fn revoke_agent(&mut self, (id, _): &(String, String)) -> Option<()> {
        self.stop("DELETE", &format!("/api/v1/agents/{id}"))?;
        self.agents.retain(|(known, _)| known != id);
        self.told.lock().unwrap().revoked_agents.push(id.clone());
        Some(())
    }

    fn delegate_and_revoke(&mut self, (to, _): &(String, String)) -> Option<()> {
        let resource = self.told.lock().unwrap().next_loan();
        let body = json!({
            "from": self.ada, "to": to, "permissions": reading(&resource), "reason": "for a moment",
        });
        let grant = self.made("/api/v1/delegations", &body)?.0;
        self.stop("DELETE", &format!("/api/v1/delegations/{grant}"))?;
        let revoked = (resource, to.clone());
        self.told.lock().unwrap().revoked_grants.push(revoked);
        Some(())
    }

    fn rotate(&mut self, (id, key): &(String, String)) -> Option<()> {
        let (_, new) = self.made(&format!("/api/v1/agents/{id}/rotate"), &json!({}))?;
        let own = self.agents.iter_mut().find(|(known, _)| known == id)?;
        own.1.clone_from(&new);
        self.told.lock().unwrap().dead_keys.push(key.clone());
        // The answer of a dead key must never be an allow, also while the load goes on.
        let question = json!({ "action": "read", "resource": "mcp:github:x" }).to_string();
        let answer = Client::new(self.address, Some(key)).try_call(
            "POST",
            "/api/v1/authorize",
            question.as_bytes(),
        )?;
        assert!(!answer.allowed(), "{answer}");
        Some(())
    }

    /// A human who is banned with everything below.
    fn ban(&mut self) -> Option<()> {
        let grace = self.made("/api/v1/users", &json!({ "name": "Grace" }))?.0;
        let body = json!({
            "ownerId": grace, "name": "one", "type": "service", "permissions": reading("mcp:github:*"),
        });
        let agent = self.made("/api/v1/agents", &body)?.0;
        self.stop("POST", &format!("/api/v1/users/{grace}/ban"))?;
        self.told.lock().unwrap().banned.push(agent);
        Some(())
    }

    fn step(&mut self, dice: &mut Dice) -> Option<()> {
        let some = self.agents[dice.roll(self.agents.len())].clone();
        match dice.roll(10) {
            0 | 1 => self.create(),
            // The first owns the others; it stays.
            2 if self.agents.len() > 2 => self.revoke_agent(&self.agents[1].clone()),
            3 => self.delegate_and_revoke(&some),
            4 => self.rotate(&some),
            5 => self.ban(),
            6 | 7 => self.decide(&self.budget.clone()),
            _ => self.decide(&some.0),
        }
    }
}

/// Serves, loads, and kills after so many steps.
fn kill_one(path: &Path, told: &Mutex<Told>, dice: &mut Dice) {
    let mut victim = Victim::start(path);
    let limit = ANSWERS.start + dice.roll(ANSWERS.len());
    let steps = AtomicUsize::new(0);
    let seeds: Vec<u64> = (0..CALLERS)
        .map(|_| u64::try_from(dice.roll(1 << 20)).unwrap())
        .collect();
    let pid = Arc::new(Mutex::new(None));
    thread::scope(|scope| {
        for seed in seeds {
            let (victim, steps, pid) = (&victim, &steps, Arc::clone(&pid));
            scope.spawn(move || {
                let mut dice = Dice(seed);
                let Some(mut caller) = Caller::begin(victim, told) else {
                    return;
                };
                while caller.step(&mut dice).is_some() {
                    if steps.fetch_add(1, Ordering::SeqCst) == limit {
                        *pid.lock().unwrap() = Some(());
                        kill(victim.child.id());
                    }
                }
            });
        }
    });
    assert!(
        pid.lock().unwrap().is_some(),
        "the server ended before it was killed"
    );
    assert!(!victim.child.wait().unwrap().success());
}

/// `SIGKILL` for this one process.
fn kill(pid: u32) {
    let status = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// Opens the database again and compares it with what was told.
fn check(path: &Path, told: &Told) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kavach = runtime.block_on(async { Kavach::builder().sqlite(path).build().await.unwrap() });
    let now = SystemClock.now();
    let decide = |agent: &str, resource: &str| {
        let agent = agent.parse().unwrap();
        let decision = kavach.authorize(&agent, Request::new("read", resource));
        runtime.block_on(decision).unwrap().allowed
    };
    for agent in told.revoked_agents.iter().chain(&told.banned) {
        assert!(!decide(agent, "mcp:github:x"), "{agent} lives again");
    }
    for (resource, agent) in &told.revoked_grants {
        assert!(
            !decide(agent, resource),
            "the grant of {resource} lives again"
        );
    }
    for key in &told.dead_keys {
        let caller = runtime.block_on(kavach.engine().authenticate(key)).unwrap();
        let kavachos::engine::actor::Caller::Agent(key) = caller else {
            panic!("an agent's key is an agent's");
        };
        assert_eq!(key.status.as_str(), "revoked", "at {now}");
    }
    let head = kavach.engine().head();
    runtime.block_on(kavach.close());
    check_records(path, told);
    assert_eq!(damage(&Connection::open(path).unwrap(), &head), None);
}

/// Every answer has its record and its row, and every counter is what its records say.
fn check_records(path: &Path, told: &Told) {
    let database = Connection::open(path).unwrap();
    let names = |sql: &str| -> HashSet<String> {
        let mut statement = database.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let allows = names("SELECT id FROM ledger WHERE kind = 'decision' AND outcome = 'allowed'");
    let denials = names("SELECT id FROM ledger WHERE kind = 'decision' AND outcome = 'denied'");
    for (audit, allowed) in &told.decisions {
        let records = if *allowed { &allows } else { &denials };
        assert!(records.contains(audit), "the record of {audit} is lost");
    }
    let agents = names("SELECT id FROM agents");
    let made =
        names("SELECT agent FROM ledger WHERE kind = 'agent.created' AND outcome = 'allowed'");
    assert_eq!(
        agents, made,
        "no agent without its record, no record without its agent"
    );
    for agent in told
        .agents
        .iter()
        .chain(&told.budgets)
        .chain(&told.revoked_agents)
    {
        assert!(agents.contains(agent), "{agent} is lost");
    }
    let quota: i64 = database
        .query_row(
            "SELECT count(*) FROM users u WHERE u.agents <> \
             (SELECT count(*) FROM agents a WHERE a.root = u.id AND a.status <> 'revoked')",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(quota, 0, "the count of agents is not how many there are");
}

/// Spends what is left of every budget: with what is on record it comes to exactly the budget.
fn check_budgets(path: &Path, told: &Told) {
    let victim = Victim::start(path);
    let mut client = Client::new(victim.address, Some(&victim.operator));
    for agent in &told.budgets {
        while ask(&mut client, agent, "mcp:github:x").allowed() {}
    }
    for key in &told.dead_keys {
        let answer = ask_own(&mut Client::new(victim.address, Some(key)), "mcp:github:x");
        assert!(!answer.allowed(), "{answer}");
    }
    drop(victim);
    let database = Connection::open(path).unwrap();
    for agent in &told.budgets {
        let spent: i64 = database
            .query_row(
                "SELECT count(*) FROM ledger WHERE kind = 'decision' AND outcome = 'allowed' AND agent = ?1",
                params![agent],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(usize::try_from(spent).unwrap(), BUDGET, "{agent}");
    }
}

fn kills(databases: usize, kills_of_each: usize) {
    let mut dice = Dice(2_026);
    for _ in 0..databases {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(DATABASE);
        let told = Mutex::new(Told::default());
        for _ in 0..kills_of_each {
            kill_one(&path, &told, &mut dice);
            check(&path, &told.lock().unwrap());
        }
        check_budgets(&path, &told.lock().unwrap());
    }
}

#[test]
fn a_server_that_is_killed_under_load_loses_nothing_that_it_answered() {
    kills(2, 5);
}

#[test]
#[ignore = "takes about half an hour; the command is at the top of this file"]
fn a_thousand_kills() {
    kills(100, 10);
}
