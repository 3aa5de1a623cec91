//! Humans' sessions: what they see and stop, how they end, and what dies with them. F26, lessons C 13.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use kavachos_test::kavachos::Settings;
use kavachos_test::{Reply, TestAgent, TestApp, TestSession, may, may_under};
use serde_json::{Value, json};

use crate::totp::Door;

const DAY: u64 = 24 * 60 * 60;

/// Ada with a session and an agent that may deploy with her approval.
struct Ada {
    app: TestApp,
    id: String,
    session: TestSession,
    agent: TestAgent,
}

impl Ada {
    async fn new() -> Self {
        let app = crate::start().await;
        let id = app.user().await;
        let permissions = may_under(&["run"], "mcp:deploy:*", json!({ "requireApproval": true }));
        let agent = app.agent(&id, permissions).await;
        let session = app.session(&id).await;
        Self {
            app,
            id,
            session,
            agent,
        }
    }

    async fn get(&self, path: &str) -> Reply {
        self.app.call(&self.session.token).get(path).await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.app.call(&self.session.token).post(path, body).await
    }

    async fn operate(&self, path: &str) {
        let done = self.app.operator().post(path, json!({})).await;
        assert!(done.status < 300, "{path}: {done}");
    }

    /// The agent asks to deploy.
    async fn ask(&self) -> Reply {
        let question = json!({ "action": "run", "resource": "mcp:deploy:site" });
        let caller = self.app.call(&self.agent.key);
        caller.post("/api/v1/authorize", question).await
    }

    /// The agent asks, and Ada says yes.
    async fn approve(&self) -> (String, Reply) {
        let asked = self.ask().await.decided("approval_required");
        let id = asked.text_at("/data/approvalId").to_owned();
        let path = format!("/api/v1/approvals/{id}");
        let shown = self.get(&path).await.expect(200);
        let body = json!({ "digest": shown.at("/data/digest") });
        let answer = self.post(&format!("{path}/approve"), body).await;
        (id, answer)
    }
}

#[tokio::test]
async fn a_human_approves_what_their_own_agent_asks_for() {
    let ada = Ada::new().await;
    let (_, answer) = ada.approve().await;
    let answer = answer.expect(200);
    assert_eq!(answer.at("/data/decidedBy"), &json!(ada.id));
    ada.ask().await.decided("allowed");
    let rows = ada.app.audit("kind=approval.approved").await;
    assert_eq!(rows[0]["subject"], json!(ada.id));
    // In the ledger the human who acted stands under a pseudonym.
    let actor = rows[0]["actor"].as_str().unwrap_or_default();
    assert!(!actor.is_empty() && actor != ada.id, "{actor}");
}

#[tokio::test]
async fn a_session_that_is_not_fresh_denies_but_approves_nothing() {
    for (seconds, status) in [(599, 200), (600, 403)] {
        let ada = Ada::new().await;
        ada.app.advance(seconds);
        let (id, answer) = ada.approve().await;
        assert_eq!(answer.status, status, "{answer}");
        if status == 403 {
            let path = format!("/api/v1/approvals/{id}/deny");
            ada.post(&path, json!({})).await.expect(200);
            ada.ask().await.decided("approval_denied");
        }
    }
}

#[tokio::test]
async fn what_a_session_approved_dies_with_it_and_with_its_human() {
    for kill in ["nothing", "session", "human"] {
        let ada = Ada::new().await;
        let (id, answer) = ada.approve().await;
        answer.expect(200);
        match kill {
            "session" => {
                let path = format!("/api/v1/sessions/{}", ada.session.id);
                ada.app.operator().delete(&path).await.expect(200);
            }
            "human" => {
                ada.operate(&format!("/api/v1/users/{}/ban", ada.id)).await;
                ada.operate(&format!("/api/v1/users/{}/unban", ada.id))
                    .await;
            }
            _ => {}
        }
        let question =
            json!({ "agentId": ada.agent.id, "action": "run", "resource": "mcp:deploy:site" });
        let reply = ada.app.ask(question).await;
        if kill == "nothing" {
            reply.decided("allowed");
        } else {
            let next = reply.decided("approval_required");
            assert_ne!(next.at("/data/approvalId"), &json!(id), "{kill}");
        }
    }
}

/// The ledger says which came first: no use of an approval stands after the end of the session that gave it.
#[tokio::test]
async fn an_approval_is_used_before_its_session_ends_or_not_at_all() {
    let mut ada = Ada::new().await;
    let (mut used, mut unused) = (0, 0);
    for round in 0..64 {
        ada.session = ada.app.session(&ada.id).await;
        ada.approve().await.1.expect(200);
        let end = format!("/api/v1/sessions/{}", ada.session.id);
        let operator = ada.app.operator();
        let uses = join_all((0..4).map(|_| ada.ask()));
        let (asked, ended) = if round % 2 == 0 {
            tokio::join!(uses, operator.delete(&end))
        } else {
            let (ended, asked) = tokio::join!(operator.delete(&end), uses);
            (asked, ended)
        };
        ended.expect(200);
        let audit = async |query: &str| {
            let path = format!("/api/v1/audit?limit=1&{query}");
            let rows = operator.get(&path).await.expect(200);
            rows.at("/data/0/seq").as_u64()
        };
        let end = audit("kind=session.revoked").await;
        let uses = asked
            .iter()
            .filter(|reply| reply.code() == "allowed")
            .count();
        if uses == 0 {
            unused += 1;
        } else {
            used += uses;
            let last = audit("kind=decision&code=allowed").await;
            assert!(
                last < end,
                "round {round}: used at {last:?}, ended at {end:?}"
            );
        }
        // What was asked anew is over before the next round.
        ada.app.advance(300);
    }
    assert!(used <= 64 && used + unused == 64, "{used} {unused}");
}

#[tokio::test]
async fn a_human_stops_their_agents_and_what_those_gave_away() {
    let ada = Ada::new().await;
    let permissions = || may(&["read"], "mcp:x");
    let giver = ada.app.agent(&ada.id, permissions()).await;
    let sub = ada.app.agent(&giver.id, permissions()).await;
    let given = ada.app.delegate(&giver.id, &ada.agent.id, permissions());
    let given = given.await.expect(201).id().to_owned();
    let listed = ada.get("/api/v1/agents").await.expect(200);
    assert_eq!(listed.rows().len(), 3, "sub-agents too: {listed}");

    let asks = async |agent: &str| ada.app.decide(agent, "read", "mcp:x").await;
    asks(&ada.agent.id).await.decided("allowed");
    let caller = ada.app.call(&ada.session.token);
    let path = format!("/api/v1/delegations/{given}");
    caller.delete(&path).await.expect(200);
    let stopped = asks(&ada.agent.id).await;
    assert_ne!(stopped.code(), "allowed");

    asks(&sub.id).await.decided("allowed");
    let path = format!("/api/v1/agents/{}/suspend", giver.id);
    ada.post(&path, json!({})).await.expect(200);
    asks(&sub.id).await.decided("owner_not_active");
    // What an operator may have stopped, a session does not let go on.
    let path = format!("/api/v1/agents/{}/resume", giver.id);
    ada.post(&path, json!({})).await.refused(403, "forbidden");
    let path = format!("/api/v1/agents/{}", sub.id);
    caller.delete(&path).await.expect(200);
    asks(&sub.id).await.decided("agent_revoked");
}

#[tokio::test]
async fn a_human_reads_what_happened_for_them_and_nothing_else() {
    let ada = Ada::new().await;
    let bob = ada.app.user().await;
    let bobs = ada.app.agent(&bob, may(&["read"], "mcp:x")).await;
    let theirs = ada.app.decide(&bobs.id, "read", "mcp:x").await;
    let own = ada.ask().await;
    let rows = ada.get("/api/v1/audit?limit=1000").await.expect(200);
    let rows = rows.rows();
    assert!(rows.len() >= 4, "{rows:?}");
    assert!(
        rows.iter().all(|row| row["subject"] == json!(ada.id)),
        "{rows:?}"
    );
    // Where an operator called from is the operator's; where the agent called from is not.
    let from = |row: &&Value| row["ip"].is_string();
    let by_key = |row: &Value| {
        row["actor"]
            .as_str()
            .is_some_and(|who| who.starts_with("key_"))
    };
    assert!(!rows.iter().filter(from).any(by_key), "{rows:?}");
    assert!(
        rows.iter()
            .filter(from)
            .any(|row| row["actor"] == json!(ada.agent.id))
    );
    let same = ada.app.audit(&format!("userId={}", ada.id)).await;
    assert!(same.iter().filter(from).any(by_key), "{same:?}");
    let record = |reply: &Reply| format!("/api/v1/audit/{}", reply.text_at("/data/auditId"));
    ada.get(&record(&own)).await.expect(200);
    ada.get(&record(&theirs)).await.refused(404, "not_found");
    for list in ["audit", "approvals"] {
        let query = |user: &str| format!("/api/v1/{list}?userId={user}");
        ada.get(&query(&ada.id)).await.expect(200);
        ada.get(&query(&bob)).await.refused(404, "not_found");
    }
    let of_bobs = format!("/api/v1/audit?agentId={}", bobs.id);
    assert_eq!(ada.get(&of_bobs).await.expect(200).rows().len(), 0);
    for path in ["agents?ownerId=", "delegations?from="] {
        let path = format!("/api/v1/{path}{bob}");
        assert_eq!(ada.get(&path).await.expect(200).rows().len(), 0);
    }
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_after_its_life() {
    let ada = Ada::new().await;
    let alive = async || ada.get("/api/v1/agents").await.status == 200;
    // Used every six days it lives on, up to thirty.
    for _ in 0..4 {
        ada.app.advance(6 * DAY);
        assert!(alive().await);
    }
    ada.app.advance(6 * DAY - 1);
    assert!(alive().await);
    ada.app.advance(1);
    assert!(!alive().await);
    // Not used for seven days it is over.
    for (seconds, status) in [(7 * DAY - 1, 200), (7 * DAY, 401)] {
        let session = ada.app.session(&ada.id).await;
        ada.app.advance(seconds);
        let reply = ada.app.call(&session.token).get("/api/v1/agents").await;
        reply.expect(status);
    }
}

#[tokio::test]
async fn f26_sessions_of_a_banned_human_stay_dead_and_of_a_deleted_one_too() {
    for stop in ["nothing", "ban", "delete"] {
        let ada = Ada::new().await;
        let user = format!("/api/v1/users/{}", ada.id);
        match stop {
            "ban" => {
                ada.operate(&format!("{user}/ban")).await;
                ada.get("/api/v1/agents")
                    .await
                    .refused(401, "unauthenticated");
                let path = format!("{user}/sessions");
                let refused = ada.app.operator().post(&path, json!({})).await;
                refused.refused(409, "conflict");
                ada.operate(&format!("{user}/unban")).await;
            }
            "delete" => drop(ada.app.operator().delete(&user).await.expect(200)),
            _ => {}
        }
        let reply = ada.get("/api/v1/agents").await;
        if stop == "nothing" {
            reply.expect(200);
        } else {
            reply.refused(401, "unauthenticated");
        }
    }
}

#[tokio::test]
async fn sessions_are_listed_without_their_tokens_and_ended_one_by_one() {
    let ada = Ada::new().await;
    ada.app.advance(1);
    let second = ada.app.session(&ada.id).await;
    let path = format!("/api/v1/users/{}/sessions", ada.id);
    let listed = ada.get(&path).await.expect(200);
    assert_eq!(listed.rows().len(), 2);
    assert_eq!(listed.at("/data/0/id"), &json!(second.id));
    for token in [&second.token, &ada.session.token] {
        assert!(!listed.text.contains(token.as_str()), "{listed}");
    }
    let end = format!("/api/v1/sessions/{}", second.id);
    let caller = ada.app.call(&ada.session.token);
    for _ in 0..2 {
        let ended = caller.delete(&end).await.expect(200);
        assert_eq!(ended.at("/data/state"), "closed");
    }
    let own = ada.app.call(&second.token).get("/api/v1/agents").await;
    own.refused(401, "unauthenticated");
    let listed = ada.get(&path).await.expect(200);
    assert_eq!(listed.at("/data/0/status"), "revoked");
    // Each is one record, about the human.
    let opened = ada.app.audit("kind=session.opened").await;
    assert_eq!(opened.len(), 2);
    let ended = ada.app.audit("kind=session.revoked").await;
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0]["details"], json!({ "session": second.id }));
    assert_eq!(ended[0]["subject"], json!(ada.id));
}

#[tokio::test]
async fn a_key_opens_no_session_that_may_more_than_its_ceiling() {
    let ada = Ada::new().await;
    let path = format!("/api/v1/users/{}/sessions", ada.id);
    for (ceiling, status) in [(may(&["*"], "mcp:*"), 403), (may(&["*"], "*"), 201)] {
        let body = json!({ "name": "k", "scopes": ["sessions:write"], "ceiling": ceiling });
        let key = ada.app.key(body).await;
        let reply = ada.app.call(&key).post(&path, json!({})).await;
        assert_eq!(reply.status, status, "{reply}");
    }
}

#[tokio::test]
async fn a_human_has_only_so_many_sessions() {
    let setup = crate::setup().settings(|settings| settings.sessions_per_user = 3);
    let app = setup.start().await;
    let user = app.user().await;
    let path = format!("/api/v1/users/{user}/sessions");
    let operator = app.operator();
    let replies = join_all((0..16).map(|_| operator.post(&path, json!({})))).await;
    let (made, refused): (Vec<_>, Vec<_>) =
        replies.into_iter().partition(|reply| reply.status == 201);
    assert_eq!(made.len(), 3);
    for reply in refused {
        reply.refused(422, "session_limit_exceeded");
    }
    let end = format!("/api/v1/sessions/{}", made[0].id());
    operator.delete(&end).await.expect(200);
    operator.post(&path, json!({})).await.expect(201);
}

/// A limit that is lowered ends nothing by itself; the next sign-in ends as many as are too many, those first that were not
/// used for the longest time.
#[tokio::test]
async fn a_lower_limit_of_sessions_holds_from_the_next_sign_in_on() {
    for (limit_then, live_then) in [(2, 2), (6, 6)] {
        let limit = Arc::new(AtomicU64::new(5));
        let mut usual = Settings::default();
        let setup = crate::setup().settings(|settings| usual = settings.clone());
        let configured = Arc::clone(&limit);
        let setup = setup.lasting().with(move |builder| {
            let mut settings = usual.clone();
            settings.sessions_per_user = configured.load(Ordering::Relaxed);
            builder.settings(settings).plugin(Door)
        });
        let mut app = setup.start().await;
        let user = app.user().await;
        let sign_in = async |app: &TestApp| {
            let body = json!({ "user": user });
            let opened = app.anonymous().post("/api/auth/door", body).await;
            app.advance(1);
            opened.expect(200).text_at("/data/token").to_owned()
        };
        let mut tokens = Vec::new();
        for _ in 0..5 {
            tokens.push(sign_in(&app).await);
        }
        limit.store(limit_then, Ordering::Relaxed);
        app.restart().await;
        let path = format!("/api/v1/users/{user}/sessions");
        let open = app.operator().get(&path).await.expect(200);
        let active = open.rows().iter().filter(|row| row["status"] == "active");
        assert_eq!(active.count(), 5, "{open}");
        if limit_then == 2 {
            let one_more = app.operator().post(&path, json!({})).await;
            one_more.refused(422, "session_limit_exceeded");
        }
        tokens.push(sign_in(&app).await);
        for (place, token) in tokens.iter().rev().enumerate() {
            let reply = app.call(token).get("/api/auth/session").await;
            let expected = if place < live_then { 200 } else { 401 };
            assert_eq!(reply.status, expected, "{place}: {reply}");
        }
    }
}
