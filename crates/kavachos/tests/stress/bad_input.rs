//! Whatever bytes come in, over a real socket: a 4xx with a code, and the member at fault; never a 5xx, a panic, a
//! hang, or a connection that closes without an answer.

mod bytes;
mod mutated;
mod table;

use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::world::{Agent, Setup, World, reading};

/// The longest answer to a request that is wrong: it quotes the start of what is wrong at most.
const MAX_REFUSAL_BYTES: usize = 2_048;

/// A server with something of every kind in it.
struct Site {
    world: World,
    ada: String,
    /// Somebody whose own members may change.
    grace: String,
    agent: Agent,
    giver: Agent,
    delegation: String,
    key: String,
}

impl Site {
    fn new() -> Self {
        let mut settings = kavachos::Settings::default();
        settings.agents_per_owner = 1_000_000;
        settings.children_per_grant = 1_000_000;
        settings.grants_per_agent = 900;
        let setup = Setup {
            settings,
            proxied: true,
            ..Setup::default()
        };
        let world = setup.start();
        let ada = world.user();
        let both = json!([{ "resource": "*", "actions": ["read", "write"] }]);
        let giver = world.agent_with(&ada, both, json!({ "maxDepth": 5 }));
        let agent = world.agent(&ada, reading("mcp:github:*"));
        let body = json!({
            "from": giver.id, "to": agent.id, "permissions": reading("mcp:x"), "reason": "the test",
        });
        let delegation = world.operator().post("/api/v1/delegations", &body);
        let key = json!({ "name": "clerk", "scopes": ["audit:read"] });
        let key = world.operator().post("/api/v1/keys", &key).expect(201).id();
        Self {
            delegation: delegation.expect(201).id(),
            grace: world.user(),
            world,
            ada,
            agent,
            giver,
            key,
        }
    }

    /// After everything: the server decides, is ready, and never answered 5xx.
    fn is_well(&self) {
        let mut stranger = self.world.stranger();
        assert_eq!(stranger.get("/healthz").status, 200);
        assert_eq!(stranger.get("/readyz").status, 200);
        let metrics = stranger.get("/metrics").text;
        assert!(metrics.contains("status=\"200\""), "{metrics}");
        let failures: Vec<&str> = metrics
            .lines()
            .filter(|line| line.contains("status=\"5"))
            .collect();
        assert!(failures.is_empty(), "{failures:?}");
        assert!(self.world.ask(&self.giver.id, "mcp:github:repos").allowed());
    }
}

/// Whether an answer has the form that every answer has; says what is wrong with it.
fn fault(answer: &Answer) -> Option<&'static str> {
    if answer.status >= 500 {
        return Some("a 5xx");
    }
    if answer.status < 300 {
        return answer.at("/data").is_null().then_some("no data");
    }
    // What hyper cannot read as HTTP it refuses itself, and closes.
    if answer.text.is_empty() && [400, 414, 431].contains(&answer.status) {
        return (answer.header("connection") != "close").then_some("no body");
    }
    let error = answer.at("/error");
    let texts = ["code", "message", "requestId"];
    if texts.iter().any(|name| !error[*name].is_string()) {
        return Some("no error with code, message and requestId");
    }
    if answer.text.len() > MAX_REFUSAL_BYTES {
        return Some("an answer as long as what is wrong");
    }
    None
}

#[track_caller]
fn check(answer: &Answer, what: &dyn std::fmt::Debug) {
    if let Some(fault) = fault(answer) {
        panic!("{fault}: {answer}\nto {what:?}");
    }
}

/// A body that is accepted, and where it goes.
struct Valid {
    method: &'static str,
    path: String,
    body: Value,
}

/// One of every constraint.
fn every_constraint() -> Value {
    json!({
        "rate": { "limit": 1000, "per": 60 },
        "timeWindow": { "start": "00:00", "end": "23:59", "days": ["mon", "sat"], "timezone": "Europe/Berlin" },
        "ipAllowlist": ["192.0.2.0/24", "2001:db8::/32"],
        "requireApproval": { "ttlSeconds": 60 },
        "args": {
            "/path": { "prefix": "/srv/data" }, "/n": { "range": { "min": 1, "max": 2 } },
            "/s": { "maxLength": 5, "matches": ["^[a-z]+$"] }, "/e": { "eq": 1 }, "/o": { "oneOf": [1, "a"] },
        },
        "allowedArgPatterns": ["^a"],
        "budget": { "amount": 1000, "unit": "calls" },
        "notBefore": "2026-01-01T00:00:00Z",
        "expiresAt": "2027-01-01T00:00:00Z",
    })
}

/// The accepted bodies of every route that takes one.
fn valid_bodies(site: &Site) -> Vec<Valid> {
    let Site {
        ada,
        grace,
        agent,
        giver,
        key,
        ..
    } = site;
    let valid = |method, path: &str, body| Valid {
        method,
        path: format!("/api/v1/{path}"),
        body,
    };
    let constrained = json!([
        { "resource": "mcp:github:*", "actions": ["read", "write"], "constraints": every_constraint() },
    ]);
    let guards = json!({ "maxCallsPerHour": 1000 });
    vec![
        valid(
            "POST",
            "agents",
            json!({
                "ownerId": ada, "name": "one", "type": "autonomous", "permissions": constrained,
                "guards": guards, "maxDepth": 2, "expiresAt": "2027-01-01T00:00:00Z",
                "keyTtlSeconds": 60, "metadata": { "team": { "name": ["x"] } },
            }),
        ),
        valid(
            "POST",
            "agents",
            json!({
                "owner": { "provider": "clerk", "externalId": "u1" }, "name": "one", "type": "service",
                "permissions": reading("mcp:github:*"),
            }),
        ),
        valid(
            "PATCH",
            &format!("agents/{}", agent.id),
            json!({
                "name": "two", "permissions": constrained, "guards": guards, "maxDepth": 1,
                "expiresAt": "2027-01-01T00:00:00Z", "metadata": { "a": 1 },
            }),
        ),
        valid(
            "POST",
            &format!("agents/{}/rotate", agent.id),
            json!({ "keyTtlSeconds": 60 }),
        ),
        valid(
            "POST",
            "authorize",
            json!({
                "agentId": giver.id, "for": ada, "action": "read", "resource": "mcp:github:repos",
                "arguments": { "path": "/srv", "list": [1, { "deep": true }] },
                "cost": { "amount": 1, "unit": "tokens" },
                "context": { "ip": "192.0.2.1", "userAgent": "test" },
            }),
        ),
        valid(
            "POST",
            "delegations",
            json!({
                "from": giver.id, "to": agent.id, "permissions": constrained, "ttlSeconds": 60, "maxDepth": 3,
                "guards": guards, "parent": giver.grant, "reason": "the test",
            }),
        ),
        valid(
            "POST",
            "delegations",
            json!({
                "from": giver.id, "to": agent.id, "permissions": reading("mcp:x"),
                "expiresAt": "2026-11-21T11:00:00Z", "reason": "the test",
            }),
        ),
        valid(
            "POST",
            "users",
            json!({
                "email": "grace@example.com", "name": "Grace",
                "external": { "provider": "clerk", "externalId": "u2" }, "permissions": constrained,
            }),
        ),
        valid(
            "PATCH",
            &format!("users/{grace}"),
            json!({
                "email": "hopper@example.com", "name": "Grace", "permissions": reading("*"),
            }),
        ),
        valid(
            "POST",
            "keys",
            json!({
                "name": "clerk", "scopes": ["agents:read", "audit:read"], "ceiling": constrained,
                "expiresAt": "2027-01-01T00:00:00Z",
            }),
        ),
        valid(
            "PATCH",
            &format!("keys/{key}"),
            json!({
                "name": "clerk", "scopes": ["agents:read"], "ceiling": reading("mcp:*"),
                "expiresAt": "2027-01-01T00:00:00Z",
            }),
        ),
    ]
}
