//! Refusals: of strangers, who cannot fill the disk, and of agents that ask too often for what they may not do.

use kavachos_test::{TestApp, may};
use serde_json::{Value, json};

/// The sum of the counts of these records.
fn counted(records: &[Value]) -> u64 {
    let count = |record: &Value| record.pointer("/details/count").and_then(Value::as_u64);
    records.iter().filter_map(count).sum()
}

/// How many requests of strangers the ledger knows of: single ones and counted ones.
async fn strangers(app: &TestApp) -> (u64, u64) {
    // A refusal does not wait for its record; what is done after it does.
    app.user().await;
    let single = app.audit("kind=refusal&limit=1000").await.len();
    let summaries = app.audit("kind=refusals&limit=1000").await;
    (
        u64::try_from(single).unwrap_or(u64::MAX),
        counted(&summaries),
    )
}

/// F16: a refusal of someone without a live credential is a record too.
#[tokio::test]
async fn f16_a_bad_token_leaves_a_record_with_its_source() {
    let app = crate::start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:x")).await;
    let rotate = format!("/api/v1/agents/{}/rotate", agent.id);
    app.operator().post(&rotate, json!({})).await.expect(201);
    for caller in [
        app.anonymous(),
        app.call("kv_agent_wrong"),
        // Known, but dead: where no decision is asked for it is a stranger.
        app.call(&agent.key),
    ] {
        let caller = caller.from("127.0.0.2").header("user-agent", "curl/9");
        let reply = caller
            .get("/api/v1/agents")
            .await
            .refused(401, "unauthenticated");
        // The answer does not wait for the record.
        app.operator()
            .post("/api/v1/users", json!({ "name": "next" }))
            .await
            .expect(201);
        let found = app
            .audit(&format!("requestId={}", reply.header("x-request-id")))
            .await;
        assert_eq!(found.len(), 1, "{reply}");
        for (member, value) in [
            ("kind", "refusal"),
            ("code", "unauthenticated"),
            ("outcome", "denied"),
            ("actor", "stranger"),
            ("ip", "127.0.0.2"),
            ("userAgent", "curl/9"),
        ] {
            assert_eq!(found[0][member], value, "{member}");
        }
    }
}

/// Ledger.md: strangers cannot fill the disk, and the sum is exact.
#[tokio::test]
async fn a_flood_of_bad_tokens_is_counted_exactly() {
    let app = crate::start().await;
    let flood = async |address: &str, requests: usize| {
        for _ in 0..requests {
            let stranger = app.call("kv_key_wrong").from(address);
            stranger
                .get("/api/v1/agents")
                .await
                .refused(401, "unauthenticated");
        }
    };
    flood("127.0.0.1", 120).await;
    app.kavach().engine().flush_refusals().await;
    assert_eq!(strangers(&app).await, (10, 110));
    // One network is one source; what is written once is not written again.
    flood("127.0.0.2", 5).await;
    app.kavach().engine().flush_refusals().await;
    assert_eq!(strangers(&app).await, (10, 115));
    flood("127.1.0.1", 3).await;
    app.kavach().engine().flush_refusals().await;
    assert_eq!(strangers(&app).await, (13, 115));
    app.advance(60);
    flood("127.0.0.1", 11).await;
    app.kavach().engine().flush_refusals().await;
    assert_eq!(strangers(&app).await, (23, 116));
    // The twin: a known caller's refusals are single, all of them.
    let reader = app.call(
        &app.key(json!({ "name": "r", "scopes": ["audit:read"] }))
            .await,
    );
    for _ in 0..30 {
        reader
            .post("/api/v1/users", json!({ "name": "n" }))
            .await
            .refused(403, "forbidden");
    }
    assert_eq!(
        app.audit("kind=user.created&code=forbidden").await.len(),
        30
    );
}

/// Ledger.md: an agent that is denied too often is counted, with a 429, until the minute is over.
#[tokio::test]
async fn an_agent_that_is_denied_too_often_gets_429_and_a_counted_record() {
    for (limit, single) in [(5, 5_usize), (600, 12)] {
        let app = crate::setup()
            .settings(|s| s.denials_per_minute = limit)
            .start()
            .await;
        let agent = app.agent(&app.user().await, may(&["read"], "mcp:x")).await;
        let ask = |resource: &str| json!({ "action": "read", "resource": resource });
        let caller = app.call(&agent.key);
        for n in 0..12 {
            let reply = caller.post("/api/v1/authorize", ask("mcp:no")).await;
            if n < single {
                reply.decided("permission_denied");
            } else {
                let reply = reply.refused(429, "too_many_requests");
                assert_eq!(reply.header("retry-after"), "60");
            }
        }
        // What it may do, it still may do.
        caller
            .post("/api/v1/authorize", ask("mcp:x"))
            .await
            .decided("allowed");
        app.kavach().engine().flush_refusals().await;
        let denials = app.audit("kind=decision&outcome=denied").await.len();
        assert_eq!(denials, single);
        let counts = counted(&app.audit("kind=refusals").await);
        assert_eq!(u64::try_from(single).unwrap() + counts, 12);
        app.advance(60);
        caller
            .post("/api/v1/authorize", ask("mcp:no"))
            .await
            .decided("permission_denied");
    }
}

/// A session is a credential that anyone may get where people sign up, and its refusals are records like all others.
#[tokio::test]
async fn a_human_who_is_refused_too_often_gets_429_and_a_counted_record() {
    for (limit, single) in [(5, 5_usize), (600, 12)] {
        let app = crate::setup()
            .settings(|s| s.denials_per_minute = limit)
            .start()
            .await;
        let human = app.session(&app.user().await).await;
        let other = app.session(&app.user().await).await;
        let refused = async |token: &str| {
            let new = json!({ "name": "n" });
            app.call(token).post("/api/v1/users", new).await
        };
        for n in 0..12 {
            let reply = refused(&human.token).await;
            if n < single {
                reply.refused(403, "forbidden");
            } else {
                let reply = reply.refused(429, "too_many_requests");
                assert_eq!(reply.header("retry-after"), "60");
            }
        }
        // The twins: another human, and what they may do.
        refused(&other.token).await.refused(403, "forbidden");
        let own = app.call(&human.token).get("/api/auth/session").await;
        own.expect(200);
        app.kavach().engine().flush_refusals().await;
        let denied = app.audit("kind=user.created&code=forbidden").await;
        assert_eq!(denied.len(), single + 1);
        let summaries = app.audit("kind=refusals").await;
        let counts = counted(&summaries);
        assert_eq!(u64::try_from(single).unwrap() + counts, 12);
        // By whom it was is said as in the single ones.
        for summary in &summaries {
            assert!(denied.iter().any(|one| one["actor"] == summary["actor"]));
        }
        app.advance(60);
        refused(&human.token).await.refused(403, "forbidden");
    }
}
