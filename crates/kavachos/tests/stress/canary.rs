//! R10: no credential stands in clear text anywhere but in the one answer that hands it out.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::support::world::{Setup, World, ask_own, reading};
use kavachos_test::blocking::{Answer, Request};

/// Writes down every event and span of this process, at every level.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<String>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Line(&mut self.0.lock().unwrap()));
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Line(&mut self.0.lock().unwrap()));
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut Line(&mut self.0.lock().unwrap()));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The credentials that were handed out, and everything else that was answered.
#[derive(Default)]
struct Seen {
    secrets: Vec<String>,
    answers: Vec<String>,
}

impl Seen {
    /// Notes an answer; the token that it hands out is taken from it.
    fn note(&mut self, answer: &Answer) {
        let mut text = format!("{:?} {}", answer.headers, answer.text);
        if let Some(token) = answer.at("/data/token").as_str() {
            text = text.replacen(token, "", 1);
            self.secrets.push(token.to_owned());
        }
        self.answers.push(text);
    }
}

/// Does with credentials whatever can be done with them, and some of what should not be.
fn flow(world: &World, seen: &mut Seen) {
    let ada = world.user();
    let new = json!({
        "ownerId": ada, "name": "one", "type": "service", "permissions": reading("mcp:github:*"),
    });
    let agent = world.operator().post("/api/v1/agents", &new).expect(201);
    let key = agent.text_at("/data/token").to_owned();
    seen.note(&agent);
    let path = format!("/api/v1/agents/{}", agent.id());
    let own = |seen: &mut Seen, key: &str| {
        for resource in ["mcp:github:repos", "mcp:slack:send"] {
            seen.note(&ask_own(&mut world.client(key), resource));
        }
        seen.note(&world.client(key).get(&path));
        seen.note(&world.client(key).get("/api/v1/audit"));
    };
    own(seen, &key);
    let rotated = world.operator().post(&format!("{path}/rotate"), &json!({}));
    seen.note(&rotated);
    own(seen, &key);
    own(seen, rotated.text_at("/data/token"));
    let clerk = json!({ "name": "clerk", "scopes": ["audit:read"], "ceiling": reading("mcp:*") });
    let clerk = world.operator().post("/api/v1/keys", &clerk);
    seen.note(&clerk);
    own(seen, clerk.text_at("/data/token"));
    for secret in seen.secrets.clone() {
        malformed(world, seen, &secret);
        misplaced(world, seen, &secret, &path);
    }
    let clerk = format!("/api/v1/keys/{}", clerk.id());
    for path in [path.as_str(), &clerk] {
        seen.note(&world.operator().get(path));
        seen.note(&world.operator().delete(path));
        seen.note(&world.operator().get(path));
    }
    for path in [
        "/api/v1/agents",
        "/api/v1/keys",
        "/api/v1/audit?limit=1000",
        "/metrics",
        "/nowhere",
    ] {
        seen.note(&world.operator().get(path));
    }
}

/// Credentials with a character too many, too few, or changed; and under another scheme.
fn malformed(world: &World, seen: &mut Seen, secret: &str) {
    let cut = &secret[..secret.len() - 1];
    for header in [
        format!("Bearer {secret}x"),
        format!("Bearer {cut}"),
        format!("Bearer {cut}!"),
        format!("Basic {secret}"),
        secret.to_owned(),
        format!("Bearer {secret} {secret}"),
    ] {
        let request = Request {
            method: "GET",
            target: b"/api/v1/agents",
            headers: &[("Authorization", header.as_bytes())],
            body: b"",
        };
        seen.note(&world.operator().send(&request).unwrap());
    }
}

/// Credentials where an id, a parameter or a member belongs.
fn misplaced(world: &World, seen: &mut Seen, secret: &str, agent: &str) {
    let mut operator = world.operator();
    for path in [
        format!("/api/v1/agents/{secret}"),
        format!("/api/v1/keys/{secret}"),
        format!("/api/v1/audit?agentId={secret}"),
        format!("/api/v1/agents?cursor={secret}"),
        format!("/api/v1/agents?{secret}=1"),
        format!("/{secret}"),
    ] {
        seen.note(&operator.get(&path));
    }
    let question = json!({ "agentId": secret, "action": "read", "resource": "mcp:x" });
    seen.note(&operator.post("/api/v1/authorize", &question));
    let question = json!({ "action": "read", "resource": "mcp:x", "token": secret });
    seen.note(&operator.post("/api/v1/authorize", &question));
    let question = json!({ "action": "read", "resource": "mcp:x", secret: 1 });
    seen.note(&operator.post("/api/v1/authorize", &question));
    let change =
        json!({ "permissions": [{ "resource": "mcp:x", "actions": ["read"], secret: 1 }] });
    seen.note(&operator.patch(agent, &change));
    let change = json!({ "expiresAt": secret });
    seen.note(&operator.patch(agent, &change));
}

fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(directory).unwrap();
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.display().to_string(), std::fs::read(path).unwrap())
    };
    entries.map(file).collect()
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle.as_bytes())
}

#[test]
fn no_credential_is_found_in_the_database_the_log_the_metrics_or_any_other_answer() {
    let listener = Listener::default();
    tracing::subscriber::set_global_default(listener.clone()).unwrap();
    tracing::info!(canary = "the listener listens");
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup {
        path: Some(directory.path().join("kavach.db")),
        ..Setup::default()
    };
    let world = setup.start();
    let mut seen = Seen::default();
    flow(&world, &mut seen);
    seen.secrets.push(world.operator.clone());
    assert_eq!(seen.secrets.len(), 4);

    // With the write-ahead log as it is, and after everything is in one file.
    let mut haystacks = files(directory.path());
    world.close();
    haystacks.extend(files(directory.path()));
    haystacks.push(("log".to_owned(), listener.0.lock().unwrap().clone().into()));
    for (number, answer) in seen.answers.iter().enumerate() {
        haystacks.push((format!("answer {number}"), answer.clone().into()));
    }
    for secret in &seen.secrets {
        // The part after the prefix and the characters that may be shown.
        let telling = &secret[16..secret.len() - 1];
        for (place, haystack) in &haystacks {
            assert!(
                !contains(haystack, telling),
                "a credential stands in {place}"
            );
        }
    }
    let listened = listener.0.lock().unwrap();
    assert!(listened.contains("the listener listens"));
    let shown = seen.secrets[0][..12].to_owned();
    let database = |(place, bytes): &&(String, Vec<u8>)| {
        place.ends_with("kavach.db") && contains(bytes, &shown)
    };
    assert!(
        haystacks.iter().any(|file| database(&file)),
        "the search finds what is there"
    );
}
