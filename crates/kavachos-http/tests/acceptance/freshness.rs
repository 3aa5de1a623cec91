//! What asks for a session whose human proved lately who they are, and what does not: whoever found an open session gives
//! nothing out with it, and whoever is in danger stops what they can.

use http::Method;
use kavachos_test::{Reply, TestApp, may, may_under};
use serde_json::{Value, json};

use crate::roles::Human;
use crate::routes::{self, Route, Session, World};
use crate::tokens::{DELEGATE, TOOLS, register};

/// The scopes by which nothing is changed or given out.
const READS: [&str; 3] = ["agents:read", "audit:read", "users:read"];
const STALE: &str = "no longer fresh";

/// Whether a role does this in a fresh session alone.
fn asks(route: &Route) -> bool {
    let own_list = route.session == Session::ForItsHuman && !route.path.contains('{');
    !READS.contains(&route.scope) && !own_list
}

#[tokio::test]
async fn a_role_changes_and_takes_out_nothing_in_a_session_that_is_not_fresh() {
    let app = crate::start().await;
    let owner = Human::with_role(&app, "owner").await;
    app.advance(600);
    let world = World::new(&app).await;
    let stale = app.call(&owner.token);
    for route in routes::routes() {
        let reply = route.call(&stale, &world).await;
        let name = route.name();
        if asks(&route) {
            assert_eq!(reply.status, 403, "{name}: {reply}");
            assert!(reply.text.contains(STALE), "{name}: {reply}");
        } else {
            assert!(reply.status < 300, "{name}: {reply}");
        }
    }
    // The twin: signed in a moment ago. What one call changes may be in the way of another, which is no matter here.
    let fresh = Human::signed_in(&app, &owner.id).await;
    let fresh = app.call(&fresh.token);
    for route in routes::routes() {
        let reply = route.call(&fresh, &world).await;
        // An export holds what was refused before.
        let let_through = reply.status < 300 || !reply.text.contains(STALE);
        assert!(let_through, "{}: {reply}", route.name());
    }
}

/// A member with an agent that may do something, and something else if they say yes.
struct Member {
    app: TestApp,
    token: String,
    other_session: String,
    agent: String,
    given: String,
    id: String,
}

impl Member {
    async fn after(seconds: u64) -> Self {
        let app = crate::start().await;
        register(&app, json!({})).await;
        let human = Human::with_role(&app, "member").await;
        app.advance(seconds);
        let mut permissions = may(&["*"], "tools:call:*");
        let asks = may_under(&["run"], "mcp:deploy:*", json!({ "requireApproval": true }));
        if let Some((all, more)) = permissions.as_array_mut().zip(asks.as_array()) {
            all.extend(more.clone());
        }
        let agent = app.agent(&human.id, permissions).await;
        let other = app.agent(&human.id, may(&["read"], "mcp:x")).await;
        let given = app.delegate(&agent.id, &other.id, may(&["call"], "tools:call:search"));
        Self {
            given: given.await.expect(201).id().to_owned(),
            other_session: app.session(&human.id).await.id,
            agent: agent.id,
            token: human.token,
            id: human.id,
            app,
        }
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.app.call(&self.token).post(path, body).await
    }

    /// The path and the digest of a request for the human's approval.
    async fn asked(&self, branch: &str) -> (String, Value) {
        let resource = format!("mcp:deploy:{branch}");
        let asked = self.app.decide(&self.agent, "run", &resource).await;
        let path = format!("/api/v1/approvals/{}", asked.text_at("/data/approvalId"));
        let shown = self.app.operator().get(&path).await.expect(200);
        (path, json!({ "digest": shown.at("/data/digest") }))
    }

    async fn own(&self, method: Method, path: &str) -> Reply {
        self.app.call(&self.token).send(method, path, None).await
    }
}

/// What a member gives out or takes away for good, in an order in which one is not in the way of the next.
async fn given_out(member: &Member) -> Vec<(&'static str, Reply)> {
    let agent = json!({
        "ownerId": member.id, "name": "mine", "type": "autonomous", "permissions": may(&["read"], "mcp:*"),
    });
    let token = json!({ "audience": TOOLS, "scopes": ["tools:call:search"], "reason": "find" });
    let (request, digest) = member.asked("main").await;
    vec![
        ("an agent", member.post("/api/v1/agents", agent).await),
        ("a root grant", member.post(DELEGATE, token).await),
        (
            "an approval",
            member.post(&format!("{request}/approve"), digest).await,
        ),
        (
            "an export",
            member.own(Method::GET, "/api/auth/export").await,
        ),
        (
            "the account",
            member.post("/api/auth/delete-account", json!({})).await,
        ),
    ]
}

/// What a member stops, and what is given within what was given before.
async fn stopped(member: &Member) -> Vec<(&'static str, Reply)> {
    let token = json!({
        "audience": TOOLS, "scopes": ["tools:call:search"], "agent": member.agent, "reason": "find",
    });
    let (request, _) = member.asked("other").await;
    let agent = format!("/api/v1/agents/{}", member.agent);
    let given = format!("/api/v1/delegations/{}", member.given);
    let session = format!("/api/auth/sessions/{}", member.other_session);
    vec![
        ("a token", member.post(DELEGATE, token).await),
        (
            "a no",
            member.post(&format!("{request}/deny"), json!({})).await,
        ),
        ("a delegation", member.own(Method::DELETE, &given).await),
        (
            "an agent for a while",
            member.post(&format!("{agent}/suspend"), json!({})).await,
        ),
        ("an agent", member.own(Method::DELETE, &agent).await),
        ("a session", member.own(Method::DELETE, &session).await),
        (
            "the session",
            member.post("/api/auth/sign-out", json!({})).await,
        ),
    ]
}

#[tokio::test]
async fn what_is_ones_own_and_matters_asks_for_a_fresh_session() {
    for seconds in [599, 600] {
        let member = Member::after(seconds).await;
        for (what, reply) in given_out(&member).await {
            if seconds < 600 {
                assert!(reply.status < 300, "{what}: {reply}");
            } else {
                assert_eq!((reply.status, reply.code()), (403, "forbidden"), "{what}");
                let told = reply.text.contains("more than 600 seconds ago");
                assert!(told, "{what}: {reply}");
            }
        }
    }
}

#[tokio::test]
async fn what_stops_something_is_never_kept_waiting() {
    for seconds in [0, 3_600] {
        let member = Member::after(seconds).await;
        for (what, reply) in stopped(&member).await {
            assert!(reply.status < 300, "{what}: {reply}");
        }
    }
}
