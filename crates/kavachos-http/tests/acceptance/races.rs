//! Kills against what runs beside them: whoever comes between the look and the commit of another finds that nothing is
//! won by it. Each race is held at the very place where it is decided, and stands beside the same one with a kill that
//! has nothing to do with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::Method;
use kavachos::store::{Batch, BoxFuture, CommitError};
use kavachos_core::token::Code;
use kavachos_test::kavachos;
use kavachos_test::{Call, Keeper, Reply, Setup, TestAgent, TestApp, may, may_under};
use serde_json::{Value, json};

use crate::exchange::{Ask, refused};
use crate::roots::{ROOT, prove};
use crate::tokens::{DELEGATE, TOOLS, judged, opened, register};

/// What they do to whom: a method, a path and a body.
pub(crate) type Act = (Method, String, Value);

/// Lets somebody come first, once: at the next commit, or at the next one with such a write.
#[derive(Default)]
pub(crate) struct First {
    /// How the write begins.
    at: &'static str,
    act: Mutex<Option<(Call, Act)>>,
    came: AtomicBool,
}

impl Keeper for First {
    fn before(&self, batch: &mut Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        let is_such = batch
            .writes
            .iter()
            .any(|write| write.sql.starts_with(self.at));
        let act = (self.act.lock().unwrap()).take_if(|_| is_such || self.at.is_empty());
        let Some((call, (method, path, body))) = act else {
            return Box::pin(async { Ok(()) });
        };
        self.came.store(true, Ordering::SeqCst);
        Box::pin(async move {
            let body = (method != Method::DELETE).then(|| body.to_string().into_bytes());
            let reply = call.send(method, &path, body).await;
            assert!(reply.status < 300, "{path}: {reply}");
            Ok(())
        })
    }
}

impl First {
    pub(crate) fn at(write: &'static str) -> Arc<Self> {
        Arc::new(Self {
            at: write,
            ..Self::default()
        })
    }

    pub(crate) fn setup(self: &Arc<Self>) -> Setup {
        crate::setup().kept_by(Arc::clone(self) as Arc<dyn Keeper>)
    }

    pub(crate) fn comes_with(&self, call: Call, act: Act) {
        *self.act.lock().unwrap() = Some((call, act));
        self.came.store(false, Ordering::SeqCst);
    }

    pub(crate) fn came(&self) -> bool {
        self.came.load(Ordering::SeqCst)
    }
}

/// A server at whose next commit the operator comes first.
async fn held() -> (TestApp, Arc<First>) {
    let first = First::at("");
    (first.setup().start().await, first)
}

pub(crate) async fn ban_of_a_stranger(app: &TestApp) -> Act {
    let path = format!("/api/v1/users/{}/ban", app.user().await);
    (Method::POST, path, json!({}))
}

fn search(agent: &TestAgent) -> Value {
    json!({ "audience": TOOLS, "scopes": ["tools:call:search"], "reason": "r", "agent": agent.id })
}

async fn ask(app: &TestApp, key: &str, agent: &TestAgent) -> Reply {
    app.call(key).post(DELEGATE, search(agent)).await
}

#[tokio::test]
async fn a_kill_that_comes_before_the_commit_of_a_token_leaves_no_token() {
    for kill in [
        "stranger",
        "human",
        "narrowed human",
        "agent",
        "grant",
        "key",
        "session",
        "tool server",
    ] {
        let (app, first) = held().await;
        register(&app, json!({})).await;
        let server = app.operator().get("/api/v1/resources").await.rows()[0]["id"].clone();
        let user = app.user().await;
        let agent = app.agent(&user, may(&["*"], "tools:call:*")).await;
        let session = app.session(&user).await;
        let caller = if kill == "session" {
            &session.token
        } else {
            &agent.key
        };
        // The keys are made by the first token.
        ask(&app, caller, &agent).await.expect(200);
        let (people, agents) = (
            format!("/api/v1/users/{user}"),
            format!("/api/v1/agents/{}", agent.id),
        );
        let less = json!({ "permissions": may(&["*"], "tools:call:fetch") });
        first.comes_with(
            app.operator(),
            match kill {
                "human" => (Method::POST, format!("{people}/ban"), json!({})),
                "narrowed human" => (Method::PATCH, people, less),
                "agent" => (Method::POST, format!("{agents}/suspend"), json!({})),
                "grant" => (Method::PATCH, agents, less),
                "key" => (Method::POST, format!("{agents}/rotate"), json!({})),
                "session" => (
                    Method::DELETE,
                    format!("/api/v1/sessions/{}", session.id),
                    json!({}),
                ),
                "tool server" => {
                    let path = format!("/api/v1/resources/{}", server.as_str().unwrap());
                    (Method::DELETE, path, json!({}))
                }
                _ => ban_of_a_stranger(&app).await,
            },
        );
        let raced = ask(&app, caller, &agent).await;
        assert!(first.came(), "{kill}");
        assert_eq!(raced.status == 200, kill == "stranger", "{kill}: {raced}");
        let made = app.audit("kind=token.issued&outcome=allowed").await.len();
        assert_eq!(made, if kill == "stranger" { 2 } else { 1 }, "{kill}");
        if kill == "stranger" {
            judged(&app, raced.text_at("/data/token")).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_kill_that_comes_before_the_commit_of_an_exchange_leaves_no_token_and_the_try_is_on_record()
 {
    for kill in ["stranger", "human", "agent"] {
        let (app, first) = held().await;
        register(&app, json!({})).await;
        let user = app.user().await;
        let uses = json!({ "offline": true });
        let agent = app.agent_with(&user, may(&["*"], "tools:call:*"), uses);
        let agent = agent.await;
        let for_root = Ask::agent(&agent).with("requested_token_type", ROOT);
        let root = prove(&app, 7, &for_root).await.expect(200);
        let root = root.text_at("/access_token").to_owned();
        first.comes_with(
            app.operator(),
            match kill {
                "human" => (Method::POST, format!("/api/v1/users/{user}/ban"), json!({})),
                "agent" => {
                    let path = format!("/api/v1/agents/{}/suspend", agent.id);
                    (Method::POST, path, json!({}))
                }
                _ => ban_of_a_stranger(&app).await,
            },
        );
        let raced = prove(&app, 7, &Ask::of(ROOT, &root)).await;
        assert!(first.came(), "{kill}");
        let denied = app.audit("kind=token.issued&outcome=denied").await;
        if kill == "stranger" {
            raced.expect(200);
            assert_eq!(denied.len(), 0);
        } else {
            refused(&raced, "invalid_grant");
            assert_eq!(denied.len(), 1, "{kill}");
            assert_eq!(denied[0]["agent"], agent.id.as_str());
        }
    }
}

#[tokio::test]
async fn a_kill_that_comes_before_the_commit_of_an_approval_leaves_none() {
    for kill in ["stranger", "human", "agent", "session"] {
        let (app, first) = held().await;
        let user = app.user().await;
        let approved = may_under(&["read"], "mcp:x", json!({ "requireApproval": true }));
        let agent = app.agent(&user, approved).await;
        let session = app.session(&user).await;
        let question = json!({ "action": "read", "resource": "mcp:x" });
        let agents = app.call(&agent.key);
        let asked = agents.post("/api/v1/authorize", question.clone()).await;
        let path = format!("/api/v1/approvals/{}", asked.text_at("/data/approvalId"));
        let human = app.call(&session.token);
        let shown = human.get(&path).await.expect(200);
        let digest = json!({ "digest": shown.text_at("/data/digest") });
        first.comes_with(
            app.operator(),
            match kill {
                "human" => (Method::POST, format!("/api/v1/users/{user}/ban"), json!({})),
                "agent" => (
                    Method::POST,
                    format!("/api/v1/agents/{}/suspend", agent.id),
                    json!({}),
                ),
                "session" => (
                    Method::DELETE,
                    format!("/api/v1/sessions/{}", session.id),
                    json!({}),
                ),
                _ => ban_of_a_stranger(&app).await,
            },
        );
        let raced = human.post(&format!("{path}/approve"), digest).await;
        assert!(first.came(), "{kill}");
        assert_eq!(raced.status == 200, kill == "stranger", "{kill}: {raced}");
        let given = app.audit("kind=approval.approved&outcome=allowed").await;
        assert_eq!(given.len(), usize::from(kill == "stranger"), "{kill}");
        let used = agents.post("/api/v1/authorize", question).await;
        assert_eq!(
            used.code() == "allowed",
            kill == "stranger",
            "{kill}: {used}"
        );
    }
}

/// What was given by the one who is stopped is over, and what the other gave goes on: also as tokens.
#[tokio::test]
async fn of_an_agent_with_two_parents_the_death_of_one_ends_its_tokens_alone() {
    let app = crate::start().await;
    register(&app, json!({})).await;
    let user = app.user().await;
    let child = app.agent(&user, may(&["*"], "other:thing")).await;
    let mut parents = Vec::new();
    for tool in ["search", "fetch"] {
        let parent = app.agent(&user, may(&["*"], "tools:call:*")).await;
        let given = may(&["*"], &format!("tools:call:{tool}"));
        app.delegate(&parent.id, &child.id, given).await.expect(201);
        parents.push(parent);
    }
    let token = async |tool: &str| {
        let body = json!({ "audience": TOOLS, "scopes": [format!("tools:call:{tool}")], "reason": "r", "agent": child.id });
        app.call(&child.key).post(DELEGATE, body).await
    };
    let of = |reply: &Reply| reply.text_at("/data/token").to_owned();
    let (search, fetch) = (of(&token("search").await), of(&token("fetch").await));
    for token in [&search, &fetch] {
        judged(&app, token).await.unwrap();
    }
    let path = format!("/api/v1/agents/{}", parents[0].id);
    app.operator().delete(&path).await.expect(200);
    let dead = judged(&app, &search).await.unwrap_err();
    assert_eq!(dead.code, Code::Revoked);
    judged(&app, &fetch).await.unwrap();
    for (tool, lives) in [("search", false), ("fetch", true)] {
        let again = token(tool).await;
        assert_eq!(again.status == 200, lives, "{tool}: {again}");
        let decision = app
            .decide(&child.id, "call", &format!("tools:call:{tool}"))
            .await;
        assert_eq!(decision.code() == "allowed", lives, "{tool}: {decision}");
    }
}

/// Whoever comes back is another one, by generation: what was theirs before stays dead.
#[tokio::test]
async fn a_human_who_signs_in_again_brings_nothing_back() {
    let app = crate::start().await;
    register(&app, json!({})).await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["*"], "tools:call:*")).await;
    let before = app.session(&user).await;
    let of = |reply: Reply| reply.expect(200).text_at("/data/token").to_owned();
    let old = of(ask(&app, &before.token, &agent).await);
    for how in ["ban", "unban"] {
        let path = format!("/api/v1/users/{user}/{how}");
        app.operator().post(&path, json!({})).await.expect(200);
    }
    let after = app.session(&user).await;
    let new = of(ask(&app, &after.token, &agent).await);
    ask(&app, &before.token, &agent)
        .await
        .refused(401, "unauthenticated");
    assert_eq!(judged(&app, &old).await.unwrap_err().code, Code::Revoked);
    judged(&app, &new).await.unwrap();
    let generation = async |token: &str| {
        let marks = opened(&app, token).await.authority.marks;
        marks[0].generation
    };
    assert!(generation(&new).await > generation(&old).await);
    // Whose agents' keys are dead too, until they are given new ones.
    let key = ask(&app, &agent.key, &agent).await;
    assert_eq!(key.status, 401, "{key}");
}

/// A process that was away while another one killed, with all that it knew in memory, makes nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_lags_behind_another_makes_no_token_after_the_kill() {
    for kills in [true, false] {
        let app = crate::setup().lasting().start().await;
        register(&app, json!({})).await;
        let user = app.user().await;
        let agent = app.agent(&user, may(&["*"], "tools:call:*")).await;
        let before = ask(&app, &agent.key, &agent).await.expect(200);
        let Some(other) = app.overtaken().await else {
            return;
        };
        if kills {
            other.users().ban(&user.parse().unwrap()).await.unwrap();
        }
        // It cannot write while the other does, and not after it either: what it knows is no longer true.
        for over in [false, true] {
            if over {
                other.close().await;
            }
            let lagging = ask(&app, &agent.key, &agent).await;
            assert_eq!(lagging.status, 503, "{lagging}");
            let decision = app.decide(&agent.id, "call", "tools:call:search").await;
            assert_eq!(decision.status, 503, "{decision}");
        }
        let mut app = app;
        app.restart().await;
        // The twin: where nobody was killed, it goes on.
        let again = ask(&app, &agent.key, &agent).await;
        assert_eq!(again.status, if kills { 401 } else { 200 }, "{again}");
        let dead = judged(&app, before.text_at("/data/token")).await.is_err();
        assert_eq!(dead, kills);
    }
}
