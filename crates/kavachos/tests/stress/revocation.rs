//! No allow starts after an acknowledged kill: not from a decision that was under way, not from a directory that was
//! being filled. Each race is forced by a gate in the store, for every kind of kill, and has twins that break.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;

use kavachos::{Code, Decision, Settings};
use serde_json::{Value, json};

use crate::support::store::{Off, Point};
use crate::support::world::{Agent, Record, Setup, World, ask, ask_own, reading};
use kavachos_test::blocking::Answer;

const RESOURCE: &str = "mcp:github:repos";

/// Who is there: Ada owns the parent, which owns the giver, which delegates to the agent that asks.
struct Cast {
    ada: String,
    parent: Agent,
    giver: Agent,
    agent: Agent,
    delegation: String,
    /// An operator's key beside the tests' own, with its id.
    clerk: (String, String),
    /// A tool server's key, with its id.
    server: (String, String),
}

/// How the call is made that meets the kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Operator,
    Clerk,
    ToolServer,
    AgentItself,
}

/// What is done, as a request of the operator.
struct Kill {
    name: &'static str,
    caller: Caller,
    request: fn(&Cast) -> (&'static str, String, Value),
}

const fn kill(
    name: &'static str,
    caller: Caller,
    request: fn(&Cast) -> (&'static str, String, Value),
) -> Kill {
    Kill {
        name,
        caller,
        request,
    }
}

fn agent_path(agent: &Agent, rest: &str) -> String {
    format!("/api/v1/agents/{}{rest}", agent.id)
}

const KILLS: &[Kill] = &[
    kill("revoke the agent", Caller::Operator, |cast| {
        ("DELETE", agent_path(&cast.agent, ""), Value::Null)
    }),
    kill("suspend the agent", Caller::AgentItself, |cast| {
        ("POST", agent_path(&cast.agent, "/suspend"), Value::Null)
    }),
    kill("end the agent", Caller::Operator, |cast| {
        let end = json!({ "expiresAt": "2026-11-21T10:00:00Z" });
        ("PATCH", agent_path(&cast.agent, ""), end)
    }),
    kill("revoke the giver", Caller::Operator, |cast| {
        ("DELETE", agent_path(&cast.giver, ""), Value::Null)
    }),
    kill("revoke the giver's owner", Caller::AgentItself, |cast| {
        ("DELETE", agent_path(&cast.parent, ""), Value::Null)
    }),
    kill("suspend the giver's owner", Caller::Operator, |cast| {
        ("POST", agent_path(&cast.parent, "/suspend"), Value::Null)
    }),
    kill("revoke the delegation", Caller::AgentItself, |cast| {
        let path = format!("/api/v1/delegations/{}", cast.delegation);
        ("DELETE", path, Value::Null)
    }),
    kill("ban the human", Caller::Operator, |cast| {
        (
            "POST",
            format!("/api/v1/users/{}/ban", cast.ada),
            Value::Null,
        )
    }),
    kill("delete the human", Caller::AgentItself, |cast| {
        ("DELETE", format!("/api/v1/users/{}", cast.ada), Value::Null)
    }),
    kill("narrow the human", Caller::Operator, |cast| {
        let less = json!({ "permissions": reading("mcp:slack:*") });
        ("PATCH", format!("/api/v1/users/{}", cast.ada), less)
    }),
    kill("narrow an ancestor", Caller::Operator, |cast| {
        let less = json!({ "permissions": reading("mcp:slack:*") });
        ("PATCH", agent_path(&cast.parent, ""), less)
    }),
    kill("guard an ancestor", Caller::AgentItself, |cast| {
        let guards = json!({ "guards": { "ipAllowlist": ["192.0.2.0/24"] } });
        ("PATCH", agent_path(&cast.parent, ""), guards)
    }),
    kill("rotate the agent's key", Caller::AgentItself, |cast| {
        ("POST", agent_path(&cast.agent, "/rotate"), json!({}))
    }),
    kill("revoke the operator's key", Caller::Clerk, |cast| {
        (
            "DELETE",
            format!("/api/v1/keys/{}", cast.clerk.0),
            Value::Null,
        )
    }),
    kill("narrow the operator's key", Caller::Clerk, |cast| {
        let less = json!({ "scopes": ["audit:read"] });
        ("PATCH", format!("/api/v1/keys/{}", cast.clerk.0), less)
    }),
    kill("revoke the tool server", Caller::ToolServer, |cast| {
        let path = format!("/api/v1/resources/{}", cast.server.0);
        ("DELETE", path, Value::Null)
    }),
    kill("narrow the tool server", Caller::ToolServer, |cast| {
        let less = json!({ "scopes": [{ "name": "mcp:slack:*", "description": "less" }] });
        let path = format!("/api/v1/resources/{}", cast.server.0);
        ("PATCH", path, less)
    }),
];

fn setup(directory_entries: usize, off: &'static [Off]) -> Setup {
    let mut settings = Settings::default();
    settings.directory_entries = directory_entries;
    Setup {
        settings,
        off,
        ..Setup::default()
    }
}

impl Cast {
    fn of(world: &World) -> Self {
        let ada = world.user();
        let parent = world.agent(&ada, reading("mcp:github:*"));
        let giver = world.agent(&parent.id, reading("mcp:github:*"));
        let agent = world.agent(&ada, reading("mcp:nothing"));
        let delegation = json!({
            "from": giver.id, "to": agent.id, "permissions": reading(RESOURCE), "reason": "the test",
        });
        let delegation = world.operator().post("/api/v1/delegations", &delegation);
        let clerk = json!({ "name": "clerk", "scopes": ["authorize:any", "audit:read"] });
        let clerk = world.operator().post("/api/v1/keys", &clerk).expect(201);
        let server = json!({
            "audience": format!("https://tools.example.com/{ada}"), "name": "tools",
            "scopes": [{ "name": "mcp:github:*", "description": "the test" }],
        });
        let server = world.operator().post("/api/v1/resources", &server);
        let server = server.expect(201);
        Self {
            server: (server.id(), server.text_at("/data/token").to_owned()),
            ada,
            parent,
            giver,
            agent,
            delegation: delegation.expect(201).id(),
            clerk: (clerk.id(), clerk.text_at("/data/token").to_owned()),
        }
    }

    fn ask(&self, world: &World, caller: Caller) -> Answer {
        match caller {
            Caller::Operator => world.ask(&self.agent.id, RESOURCE),
            Caller::Clerk => ask(&mut world.client(&self.clerk.1), &self.agent.id, RESOURCE),
            Caller::ToolServer => ask(&mut world.client(&self.server.1), &self.agent.id, RESOURCE),
            Caller::AgentItself => ask_own(&mut world.client(&self.agent.key), RESOURCE),
        }
    }
}

impl Kill {
    fn run(&self, world: &World, cast: &Cast) {
        let (method, path, body) = (self.request)(cast);
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let answer = world.operator().call(method, &path, body.as_bytes());
        assert!(answer.status < 300, "{}: {answer}", self.name);
    }
}

/// What a race came to.
struct Race {
    /// The answer of the call that was under way during the kill.
    under_way: Answer,
    /// The answer of a call that began after it.
    after: Answer,
    /// Allows with a higher number than the kill.
    stale: usize,
}

/// Holds a call at a point, kills, lets the call go on, and asks again.
fn race(world: &World, kill: &Kill, point: Point) -> Race {
    let cast = Cast::of(world);
    if point == Point::Decision {
        assert!(cast.ask(world, kill.caller).allowed(), "{}", kill.name);
    }
    let held = world.store.hold(point);
    let (under_way, before) = thread::scope(|scope| {
        let call = scope.spawn(|| cast.ask(world, kill.caller));
        held.wait();
        kill.run(world, &cast);
        let before = world.records().len();
        held.let_go();
        (call.join().unwrap(), before)
    });
    let after = cast.ask(world, kill.caller);
    let records = world.records();
    let stale = records[before..].iter().filter(|record| record.is_allow());
    Race {
        under_way,
        after,
        stale: stale.count(),
    }
}

/// A refusal that says what is wrong: a decision, or that the caller is no longer known.
fn is_clear_denial(answer: &Answer) -> bool {
    let decided = answer.status == 200 && answer.header("kavach-decision") == "deny";
    decided || [401, 403].contains(&answer.status)
}

fn no_stale_allow(point: Point, entries: usize) {
    for kill in KILLS {
        let world = setup(entries, &[]).start();
        let race = race(&world, kill, point);
        let name = kill.name;
        assert!(
            is_clear_denial(&race.under_way),
            "{name}: {}",
            race.under_way
        );
        assert!(is_clear_denial(&race.after), "{name}: {}", race.after);
        assert_eq!(race.stale, 0, "{name}");
    }
}

#[test]
fn a_decision_under_way_is_not_an_allow_once_the_kill_is_acknowledged() {
    no_stale_allow(Point::Decision, 1_000);
}

#[test]
fn a_directory_that_was_being_filled_does_not_bring_back_what_was_killed() {
    for entries in [1, 2, 4, 1_000] {
        no_stale_allow(Point::Facts, entries);
    }
}

#[test]
fn a_key_that_was_being_looked_up_does_not_come_back() {
    for kill in KILLS.iter().filter(|kill| kill.caller != Caller::Operator) {
        let world = setup(1_000, &[]).start();
        let race = race(&world, kill, Point::Key);
        assert!(
            is_clear_denial(&race.after),
            "{}: {}",
            kill.name,
            race.after
        );
        assert_eq!(race.stale, 0, "{}", kill.name);
    }
}

#[test]
fn without_the_reads_a_decision_under_way_is_allowed_after_the_kill() {
    for kill in KILLS {
        let world = setup(1_000, &[Off::Reads]).start();
        let race = race(&world, kill, Point::Decision);
        assert!(
            race.under_way.allowed(),
            "{}: {}",
            kill.name,
            race.under_way
        );
        assert_eq!(race.stale, 1, "{}", kill.name);
        // The directory was told, so the next call is denied all the same.
        assert!(
            is_clear_denial(&race.after),
            "{}: {}",
            kill.name,
            race.after
        );
    }
}

#[test]
fn without_the_reads_the_directory_alone_keeps_the_next_call_from_the_old_picture() {
    for kill in KILLS {
        let world = setup(1_000, &[Off::Reads]).start();
        let race = race(&world, kill, Point::Facts);
        assert!(
            is_clear_denial(&race.after),
            "{}: {}",
            kill.name,
            race.after
        );
    }
}

#[test]
fn without_the_reads_and_deaf_the_directory_allows_what_was_killed() {
    for kill in KILLS {
        let world = setup(1_000, &[Off::Reads, Off::Effects]).start();
        let race = race(&world, kill, Point::Decision);
        assert!(race.after.allowed(), "{}: {}", kill.name, race.after);
        assert_eq!(race.stale, 2, "{}", kill.name);
    }
}

#[test]
fn a_deaf_directory_alone_never_allows_what_was_killed() {
    for kill in KILLS {
        let world = setup(1_000, &[Off::Effects]).start();
        let race = race(&world, kill, Point::Decision);
        assert!(!race.under_way.allowed(), "{}", kill.name);
        assert!(!race.after.allowed(), "{}", kill.name);
        assert_eq!(race.stale, 0, "{}", kill.name);
    }
}

/// Asks as a proxy, rotates the key that the agent showed while the decision is under way, and lets it go on.
fn rotated_at_a_proxy(off: &'static [Off]) -> (Decision, Decision) {
    let world = setup(1_000, off).start();
    let cast = Cast::of(&world);
    let ask = || {
        let decision = world.forward(&cast.server.1, &cast.agent.key, RESOURCE);
        decision.unwrap()
    };
    assert!(ask().allowed);
    let held = world.store.hold(Point::Decision);
    let under_way = thread::scope(|scope| {
        let call = scope.spawn(ask);
        held.wait();
        let rotate = agent_path(&cast.agent, "/rotate");
        world.operator().post(&rotate, &json!({})).expect(201);
        held.let_go();
        call.join().unwrap()
    });
    (under_way, ask())
}

#[test]
fn a_key_that_was_shown_to_a_proxy_and_rotated_meanwhile_lets_nothing_through() {
    let (under_way, after) = rotated_at_a_proxy(&[]);
    assert_eq!(under_way.code, Code::KeyRevoked);
    assert_eq!(after.code, Code::KeyRevoked);
}

#[test]
fn without_the_reads_a_key_that_was_shown_to_a_proxy_lets_one_more_call_through() {
    let (under_way, after) = rotated_at_a_proxy(&[Off::Reads]);
    assert!(under_way.allowed);
    assert_eq!(after.code, Code::KeyRevoked);
}

/// What a record says that it relied on, or was about.
fn mentions(record: &Record, id: &str) -> bool {
    let listed = |name: &str| {
        let list = record.body[name].as_array();
        list.is_some_and(|ids| ids.iter().any(|known| known == id))
    };
    record.agent == id || listed("chain") || listed("grantPath")
}

#[test]
fn in_a_storm_no_call_is_allowed_that_begins_after_the_kill_was_acknowledged() {
    const AGENTS: usize = 12;
    const ASKERS: usize = 16;
    const ASKS: usize = 60;
    for entries in [1, 4, 1_000] {
        let world = setup(entries, &[]).start();
        let ada = world.user();
        let agents: Vec<Agent> = (0..AGENTS)
            .map(|_| world.agent(&ada, reading("mcp:github:*")))
            .collect();
        let dead: Vec<AtomicBool> = (0..AGENTS).map(|_| AtomicBool::new(false)).collect();
        let (asked, asks) = channel();
        thread::scope(|scope| {
            for asker in 0..ASKERS {
                let (world, agents, dead, asked) = (&world, &agents, &dead, asked.clone());
                scope.spawn(move || {
                    let mut client = world.operator();
                    for round in 0..ASKS {
                        let number = (asker * 7 + round * 5) % AGENTS;
                        let killed = dead[number].load(Ordering::SeqCst);
                        let answer = ask(&mut client, &agents[number].id, RESOURCE);
                        assert_eq!(answer.status, 200, "{answer}");
                        assert!(!(killed && answer.allowed()), "{answer}");
                        asked.send(()).unwrap();
                    }
                });
            }
            drop(asked);
            for (agent, dead) in agents.iter().zip(&dead) {
                // The kills are spread over the storm.
                asks.iter()
                    .take(ASKERS * ASKS / (AGENTS + 2))
                    .for_each(drop);
                let answer = world.operator().delete(&agent_path(agent, ""));
                assert_eq!(answer.status, 200, "{answer}");
                dead.store(true, Ordering::SeqCst);
            }
            asks.iter().for_each(drop);
        });
        let records = world.records();
        for agent in &agents {
            let killed =
                |record: &&Record| record.kind == "agent.revoked" && mentions(record, &agent.id);
            let kill = records.iter().find(killed).unwrap();
            let after = records.iter().filter(|record| record.seq > kill.seq);
            let stale = after.filter(|record| record.is_allow() && mentions(record, &agent.id));
            assert_eq!(
                stale.count(),
                0,
                "the ledger's order is the order of decisions"
            );
        }
    }
}

/// Creates below the giver while the giver's owner is revoked; the answer of the creation.
fn create_during_a_kill(world: &World, path: &str, body: fn(&Cast) -> Value) -> Answer {
    let cast = Cast::of(world);
    let body = body(&cast);
    let held = world.store.hold(Point::Creation);
    thread::scope(|scope| {
        let call = scope.spawn(|| world.operator().post(path, &body));
        held.wait();
        let answer = world.operator().delete(&agent_path(&cast.parent, ""));
        assert_eq!(answer.status, 200, "{answer}");
        held.let_go();
        call.join().unwrap()
    })
}

fn sub_agent(cast: &Cast) -> Value {
    json!({
        "ownerId": cast.giver.id, "name": "sub", "type": "service", "permissions": reading(RESOURCE),
    })
}

fn delegation(cast: &Cast) -> Value {
    json!({
        "from": cast.giver.id, "to": cast.agent.id, "permissions": reading(RESOURCE), "reason": "late",
    })
}

#[test]
fn nothing_is_made_below_what_was_killed_meanwhile() {
    let world = World::new();
    let answer = create_during_a_kill(&world, "/api/v1/agents", sub_agent);
    assert_eq!(
        (answer.status, answer.code()),
        (409, "conflict"),
        "{answer}"
    );
    let answer = create_during_a_kill(&world, "/api/v1/delegations", delegation);
    assert_eq!(
        (answer.status, answer.code()),
        (409, "conflict"),
        "{answer}"
    );
}

#[test]
fn without_the_reads_it_would_be_made() {
    let world = setup(1_000, &[Off::Reads]).start();
    for (path, body) in [
        ("/api/v1/agents", sub_agent as fn(&Cast) -> Value),
        ("/api/v1/delegations", delegation),
    ] {
        let answer = create_during_a_kill(&world, path, body);
        assert_eq!(answer.status, 201, "{answer}");
    }
}
