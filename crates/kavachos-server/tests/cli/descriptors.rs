//! When strangers take every file and socket that the process may have: it goes on, does not spin, answers again once
//! they are gone, and loses nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use kavachos_test::blocking::{Answer, Client};
use kavachos_test::may;
use serde_json::json;

use crate::support::{Place, Server, eventually};

/// More connections than any of these servers may have.
const FLOOD: usize = 120;
/// An idle time, in seconds, that no test comes to: the flood stays until it is let go.
const LONG: u32 = 3_600;
/// What is logged when the system gives no more descriptors.
const REFUSED: &str = "no connection can be accepted";
/// Over which time it is counted what an exhausted server does.
const WINDOW: Duration = Duration::from_secs(2);
/// How often it may try to accept in that time: ten times, and some of before.
const MAX_TRIES: usize = 30;
/// How long it may compute in that time, in hundredths of a second.
const MAX_COMPUTED: u64 = 100;

/// An agent that was acknowledged.
struct Own {
    id: String,
    key: String,
}

/// A server under a limit, and an operator who has been connected since before the flood.
struct World {
    place: Place,
    server: Server,
    operator: String,
    inside: Client,
    ada: String,
    agents: Vec<Own>,
    allows: Vec<String>,
}

impl World {
    fn limited(files: u32) -> Self {
        let mut place = Place::new();
        let operator = place.init();
        place.set("KAVACH_CONNECTIONS_IDLE_SECONDS", LONG);
        place.limit_files(files);
        let server = place.start("serve");
        let mut inside = server.client(&operator);
        let ada = json!({ "name": "Ada" });
        let ada = inside.post("/api/v1/users", &ada).expect(201).id();
        Self {
            place,
            server,
            operator,
            inside,
            ada,
            agents: Vec::new(),
            allows: Vec::new(),
        }
    }

    /// How many sockets the server has open. Files come and go beside them: a checkpoint is written.
    fn open_sockets(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.server.pid())).unwrap();
        let targets = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        let is_socket = |target: &PathBuf| target.to_string_lossy().starts_with("socket:");
        targets.filter(is_socket).count()
    }

    /// Makes an agent and asks for it, over the connection that was there before; what was answered.
    fn work(&mut self) -> [Answer; 2] {
        let body = json!({
            "ownerId": self.ada, "name": "one", "type": "service",
            "permissions": may(&["read"], "mcp:github:*"),
        });
        let made = self.inside.post("/api/v1/agents", &body);
        if made.status == 201 {
            self.agents.push(Own {
                id: made.id(),
                key: made.text_at("/data/token").to_owned(),
            });
        }
        let agent = self.agents.last().map_or("", |agent| agent.id.as_str());
        let question = json!({ "agentId": agent, "action": "read", "resource": "mcp:github:x" });
        let asked = self.inside.post("/api/v1/authorize", &question);
        if asked.allowed() {
            self.allows.push(asked.text_at("/data/auditId").to_owned());
        }
        [made, asked]
    }

    /// Strangers who connect and say nothing.
    fn flood(&self) -> Vec<TcpStream> {
        let connect = |_| TcpStream::connect(self.server.address()).unwrap();
        (0..FLOOD).map(connect).collect()
    }

    /// A caller who comes now is answered.
    fn answers_again(&self) {
        self.server.stranger().get("/healthz").expect(200);
        self.server
            .client(&self.operator)
            .get("/api/v1/agents")
            .expect(200);
    }

    /// Killed and started again, it has everything that it acknowledged.
    fn lost_nothing(self) {
        let Self {
            mut place,
            server,
            operator,
            agents,
            allows,
            ..
        } = self;
        server.killed();
        place.launcher.clear();
        let server = place.start("serve");
        for agent in &agents {
            let question = json!({ "action": "read", "resource": "mcp:github:x" });
            let answer = server
                .client(&agent.key)
                .post("/api/v1/authorize", &question);
            assert!(answer.allowed(), "{}: {answer}", agent.id);
        }
        let mut operator = server.client(&operator);
        for audit in &allows {
            let record = operator.get(&format!("/api/v1/audit/{audit}")).expect(200);
            assert_eq!(record.text_at("/data/outcome"), "allowed", "{record}");
        }
        assert!(!agents.is_empty() && !allows.is_empty());
    }

    /// Who comes now has to wait; the server waits too, but for looking from time to time.
    fn does_not_spin(&self) {
        self.server.log();
        let computed = self.computed();
        let mut late = TcpStream::connect(self.server.address()).unwrap();
        late.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        late.set_read_timeout(Some(WINDOW)).unwrap();
        assert!(late.read(&mut [0]).is_err(), "it was answered");
        let computed = self.computed() - computed;
        let log = self.server.log();
        let tries = log.iter().filter(|line| line.contains(REFUSED)).count();
        assert!((1..MAX_TRIES).contains(&tries), "{tries} tries: {log:?}");
        assert!(computed < MAX_COMPUTED, "it computed {computed} hundredths");
    }

    /// How long the server has computed, in hundredths of a second.
    fn computed(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.server.pid())).unwrap();
        // After the name, which stands in parentheses: user and system time are fields 14 and 15 of all.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let times = fields.split(' ').skip(11).take(2);
        times.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }
}

#[test]
fn strangers_who_take_every_connection_leave_the_database_its_files() {
    let mut world = World::limited(64);
    world.server.logged("at most 32 connections");
    let before = world.open_sockets();
    let flood = world.flood();
    // The operator's connection is the first of the 32.
    eventually("every connection is taken", || {
        world.open_sockets() >= before + 31
    });
    for _ in 0..20 {
        let [made, asked] = world.work();
        made.expect(201);
        assert!(asked.allowed(), "{asked}");
    }
    drop(flood);
    world.answers_again();
    let log = world.server.log();
    assert!(!log.iter().any(|line| line.contains(REFUSED)), "{log:?}");
    world.lost_nothing();
}

/// The twin: a limit that is too low to keep the database its share.
#[test]
fn without_a_descriptor_left_the_server_waits_and_goes_on_when_there_are_some() {
    let mut world = World::limited(30);
    let [made, asked] = world.work();
    made.expect(201);
    assert!(asked.allowed(), "{asked}");
    let flood = world.flood();
    world.server.logged(REFUSED);
    for _ in 0..20 {
        let [made, asked] = world.work();
        assert!(made.status == 201 || is_unavailable(&made), "{made}");
        assert!(asked.allowed() || is_unavailable(&asked), "{asked}");
    }
    world.does_not_spin();
    drop(flood);
    world.answers_again();
    let [made, asked] = world.work();
    made.expect(201);
    assert!(asked.allowed(), "{asked}");
    world.lost_nothing();
}

fn is_unavailable(answer: &Answer) -> bool {
    answer.status == 503 && answer.code() == "ledger_unavailable"
}
