//! Hooks: what denies, what is told, and that no door goes around them. Lesson F36.
//!
//! The twin of every refusal is the same call with the hook at rest.

use std::future::pending;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kavachos_engine::hooks::{Decided, Hook, HookedCall, Purpose, Stopped, Verdict, Vetoing};
use kavachos_store::BoxFuture;
use kavachos_test::{TestAgent, TestApp, may, may_under};
use serde_json::{Value, json};

/// How the hook behaves.
#[derive(Clone, Copy)]
enum Mood {
    AtRest,
    Denies,
    Fails,
    Panics,
    Hangs,
}

/// A hook whose behaviour a test changes, and what it heard.
#[derive(Default)]
struct Moody {
    mood: AtomicU8,
    asked: Mutex<Vec<Value>>,
    told: Mutex<Vec<String>>,
}

impl Moody {
    fn set(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    fn asked(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }

    fn hear(&self, text: String) {
        self.told.lock().unwrap().push(text);
    }

    /// What it was told, once it is so much: observers are told beside the answer.
    async fn told(&self, count: usize) -> Vec<String> {
        loop {
            let told = self.told.lock().unwrap().clone();
            if told.len() >= count {
                return told;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// One hook may stand in several servers.
struct Shared(Arc<Moody>);

impl Hook for Shared {
    fn name(&self) -> &'static str {
        "moody"
    }

    fn before_authorize<'a>(&'a self, call: &'a HookedCall<'a>) -> Vetoing<'a> {
        Box::pin(async move {
            self.0.asked.lock().unwrap().push(json!({
                "explains": call.purpose == Purpose::Explain,
                "agent": call.agent, "human": call.human, "chain": call.chain,
                "action": call.action.as_str(), "resource": call.resource.as_str(),
                "arguments": call.arguments, "ip": call.ip,
            }));
            match self.0.mood.load(Ordering::SeqCst) {
                mood if mood == Mood::Denies as u8 => {
                    Ok(Verdict::Deny("the doors are shut".to_owned()))
                }
                mood if mood == Mood::Fails as u8 => Err("the words of an error".into()),
                mood if mood == Mood::Panics as u8 => panic!("the words of a panic"),
                mood if mood == Mood::Hangs as u8 => pending().await,
                _ => Ok(Verdict::Pass),
            }
        })
    }

    fn after_authorize<'a>(&'a self, decided: &'a Decided) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.0.hear(decided.decision.code.to_string()) })
    }

    fn on_denied<'a>(&'a self, decided: &'a Decided) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.0.hear(format!("denied {}", decided.decision.code)) })
    }

    fn on_revoked<'a>(&'a self, stopped: &'a Stopped) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.0.hear(format!("stopped by {}", stopped.kind)) })
    }
}

const REPOS: &str = "mcp:github:repos";

struct World {
    app: TestApp,
    hook: Arc<Moody>,
    user: String,
    agent: TestAgent,
}

impl World {
    async fn new() -> Self {
        Self::with(may(&["read"], "mcp:github:*")).await
    }

    async fn with(permissions: Value) -> Self {
        let hook = Arc::new(Moody::default());
        let shared = Arc::clone(&hook);
        let setup = crate::setup().trusting(&["127.0.0.1/32"]);
        let setup = setup.with(move |builder| {
            builder
                .hook(Shared(Arc::clone(&shared)))
                .hook_time_limit(Duration::from_millis(200))
        });
        let app = setup.start().await;
        let user = app.user().await;
        let agent = app.agent(&user, permissions).await;
        Self {
            app,
            hook,
            user,
            agent,
        }
    }

    async fn decides(&self) -> String {
        let reply = self.app.decide(&self.agent.id, "read", REPOS).await;
        reply.expect(200).text_at("/data/code").to_owned()
    }

    async fn decisions(&self) -> usize {
        self.app.audit("kind=decision").await.len()
    }
}

#[tokio::test]
async fn a_hook_denies_what_would_be_allowed_in_one_record_with_its_reason() {
    let world = World::new().await;
    world.hook.set(Mood::Denies);
    let question = json!({
        "agentId": world.agent.id, "action": "read", "resource": REPOS,
        "arguments": { "path": "/a" }, "context": { "ip": "192.0.2.7" },
    });
    let reply = world.app.ask(question).await.decided("denied_by_hook");
    assert_eq!(
        reply.text_at("/data/reason"),
        "the hook `moody` denies it: the doors are shut"
    );
    let records = world.app.audit("kind=decision").await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["code"], "denied_by_hook");
    assert_eq!(records[0]["details"]["hook"], "moody");
    let asked = world.hook.asked();
    let expected = json!({
        "explains": false, "agent": world.agent.id, "human": world.user, "chain": [],
        "action": "read", "resource": REPOS, "arguments": { "path": "/a" }, "ip": "192.0.2.7",
    });
    assert_eq!(asked, [expected]);
    // The twin: at rest it is allowed, in one record too.
    world.hook.set(Mood::AtRest);
    assert_eq!(world.decides().await, "allowed");
    assert_eq!(world.decisions().await, 2);
}

#[tokio::test]
async fn a_hook_that_fails_panics_or_hangs_denies_and_its_words_stay_here() {
    let world = World::new().await;
    for mood in [Mood::Fails, Mood::Panics, Mood::Hangs] {
        world.hook.set(mood);
        let reply = world.app.decide(&world.agent.id, "read", REPOS).await;
        let reply = reply.decided("denied_by_hook");
        assert!(!reply.text.contains("the words"), "{reply}");
        world.hook.set(Mood::AtRest);
        assert_eq!(world.decides().await, "allowed");
    }
}

#[tokio::test]
async fn a_hook_cannot_allow_and_is_not_asked_about_what_is_denied_anyway() {
    let world = World::new().await;
    let reply = world.app.decide(&world.agent.id, "write", REPOS).await;
    reply.decided("permission_denied");
    assert!(world.hook.asked().is_empty());
    world.decides().await;
    assert_eq!(world.hook.asked().len(), 1);
}

#[tokio::test]
async fn f36_every_door_leads_past_the_hook() {
    let world = World::new().await;
    let operator = world.app.operator();
    let server = json!({
        "audience": "https://api.example.com", "name": "proxy",
        "scopes": [{ "name": "http:api.example.com:*", "description": "the API" }],
    });
    let server = operator.post("/api/v1/resources", server).await.expect(201);
    let permissions = may(&["get"], "http:api.example.com:*");
    let caller = world.app.agent(&world.user, permissions).await;
    let forwarded = world
        .app
        .call(&caller.key)
        .header("kavach-proxy-key", server.text_at("/data/token"))
        .header("x-forwarded-method", "GET")
        .header("x-forwarded-host", "api.example.com")
        .header("x-forwarded-uri", "/a")
        .header("x-forwarded-for", "192.0.2.7");
    let question = json!({ "agentId": world.agent.id, "action": "read", "resource": REPOS });
    let itself = json!({ "action": "read", "resource": REPOS });
    let evaluation = json!({
        "subject": { "type": "agent", "id": world.agent.id },
        "action": { "name": "read" }, "resource": { "type": "mcp:github", "id": "repos" },
    });
    for (mood, code) in [(Mood::Denies, "denied_by_hook"), (Mood::AtRest, "allowed")] {
        world.hook.set(mood);
        let before = world.decisions().await;
        world.app.ask(question.clone()).await.decided(code);
        let agent = world.app.call(&world.agent.key);
        agent
            .post("/api/v1/authorize", itself.clone())
            .await
            .decided(code);
        let batch = json!({ "requests": [question, question] });
        let batch = operator
            .post("/api/v1/authorize/batch", batch)
            .await
            .expect(200);
        assert_eq!(batch.text_at("/data/0/code"), code, "{batch}");
        assert_eq!(batch.text_at("/data/1/code"), code);
        let one = operator
            .post("/access/v1/evaluation", evaluation.clone())
            .await;
        assert_eq!(one.text_at("/context/code"), code);
        let many = json!({ "evaluations": [evaluation] });
        let many = operator.post("/access/v1/evaluations", many).await;
        assert_eq!(many.text_at("/evaluations/0/context/code"), code, "{many}");
        let proxied = forwarded.get("/api/v1/forward-auth").await;
        let (status, verdict) = if code == "allowed" {
            (200, "allow")
        } else {
            (403, "deny")
        };
        assert_eq!(proxied.status, status, "{proxied}");
        assert_eq!(proxied.header("kavach-decision"), verdict);
        assert_eq!(world.decisions().await - before, 7);
        let explained = operator.post("/api/v1/explain", question.clone()).await;
        assert_eq!(explained.text_at("/data/code"), code);
        assert_eq!(world.hook.asked().last().unwrap()["explains"], true);
    }
}

#[tokio::test]
async fn what_a_hook_denies_takes_from_no_counter() {
    let limit = json!({ "rate": { "limit": 1, "per": 60 } });
    let world = World::with(may_under(&["read"], "mcp:github:*", limit)).await;
    world.hook.set(Mood::Denies);
    for _ in 0..3 {
        assert_eq!(world.decides().await, "denied_by_hook");
    }
    world.hook.set(Mood::AtRest);
    assert_eq!(world.decides().await, "allowed");
    // The twin: what was allowed took.
    assert_eq!(world.decides().await, "rate_limited");
}

#[tokio::test]
async fn what_a_hook_denies_uses_no_approval_up() {
    let asks = may_under(
        &["read"],
        "mcp:github:*",
        json!({ "requireApproval": true }),
    );
    let world = World::with(asks).await;
    let asked = world.app.decide(&world.agent.id, "read", REPOS).await;
    let id = asked
        .decided("approval_required")
        .text_at("/data/approvalId")
        .to_owned();
    let path = format!("/api/v1/approvals/{id}");
    let operator = world.app.operator();
    let digest = operator.get(&path).await.text_at("/data/digest").to_owned();
    let approve = format!("{path}/approve");
    let body = json!({ "digest": digest });
    operator.post(&approve, body).await.expect(200);
    world.hook.set(Mood::Denies);
    assert_eq!(world.decides().await, "denied_by_hook");
    world.hook.set(Mood::AtRest);
    assert_eq!(world.decides().await, "allowed");
    // The twin: what was allowed used it up.
    assert_eq!(world.decides().await, "approval_required");
}

#[tokio::test]
async fn observers_are_told_in_order_of_decisions_denials_and_stops() {
    let world = World::new().await;
    world.decides().await;
    world.app.decide(&world.agent.id, "write", REPOS).await;
    let path = format!("/api/v1/agents/{}", world.agent.id);
    world.app.operator().delete(&path).await.expect(200);
    let told = world.hook.told(4).await;
    assert_eq!(
        told,
        [
            "allowed",
            "permission_denied",
            "denied permission_denied",
            "stopped by agent.revoked",
        ]
    );
}
