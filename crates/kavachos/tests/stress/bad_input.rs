//! Whatever bytes come in, over a real socket: a 4xx with a code, and the member at fault; never a 5xx, a panic, a
//! hang, or a connection that closes without an answer.

mod bytes;
mod mutated;
mod table;
mod valid;

use serde_json::json;

use crate::support::world::{Agent, Setup, World, reading};
use kavachos_test::blocking::Answer;

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
        let giver = world.agent_with(&ada, both, &json!({ "maxDepth": 5 }));
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
