//! What was answered is there after a restart. That it is there after a kill is shown with the store and the server.

use kavachos_test::{damage, may, may_under};
use serde_json::json;

/// B30, F34.
#[tokio::test]
async fn b30_f34_after_a_restart_everything_is_as_it_was() {
    let mut app = crate::setup().in_a_file().start().await;
    let user = app.user().await;
    let kept = app.agent(&user, may(&["read"], "mcp:*")).await;
    let stopped = app.agent(&user, may(&["read"], "mcp:*")).await;
    let receiver = app.agent(&user, may(&["read"], "mcp:none")).await;
    let limited = app
        .agent(
            &user,
            may_under(&["read"], "mcp:*", json!({ "maxCallsPerHour": 3 })),
        )
        .await;
    app.delegate(&kept.id, &receiver.id, may(&["read"], "mcp:x"))
        .await
        .expect(201);
    app.delegate(&stopped.id, &receiver.id, may(&["read"], "mcp:y"))
        .await
        .expect(201);
    app.operator()
        .delete(&format!("/api/v1/agents/{}", stopped.id))
        .await
        .expect(200);
    app.decide(&limited.id, "read", "mcp:x")
        .await
        .decided("allowed");
    let decided = app
        .decide(&limited.id, "read", "mcp:x")
        .await
        .decided("allowed");
    let head = app.head();
    let listed = app.operator().get("/api/v1/agents").await.expect(200);

    let found = app.restart_after(|database| damage(database, &head)).await;

    assert_eq!(found, None);
    assert_eq!(app.head(), head);
    assert_eq!(app.operator().get("/api/v1/agents").await.body, listed.body);
    let path = format!("/api/v1/audit/{}", decided.text_at("/data/auditId"));
    app.operator().get(&path).await.expect(200);
    let question = json!({ "action": "read", "resource": "mcp:x" });
    app.call(&kept.key)
        .post("/api/v1/authorize", question)
        .await
        .decided("allowed");
    app.decide(&receiver.id, "read", "mcp:x")
        .await
        .decided("allowed");
    app.decide(&receiver.id, "read", "mcp:y")
        .await
        .decided("ancestor_not_active");
    app.decide(&stopped.id, "read", "mcp:x")
        .await
        .decided("agent_revoked");
    // Counters go on where they were.
    app.decide(&limited.id, "read", "mcp:x")
        .await
        .decided("allowed");
    app.decide(&limited.id, "read", "mcp:x")
        .await
        .decided("rate_limited");
    assert!(app.head().size > head.size);
}

/// A kill that was made before the restart and one after it are both known.
#[tokio::test]
async fn b30_keys_that_died_before_a_restart_stay_dead() {
    let mut app = crate::setup().lasting().start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:x")).await;
    let rotate = format!("/api/v1/agents/{}/rotate", agent.id);
    let rotated = app.operator().post(&rotate, json!({})).await.expect(201);
    let question = json!({ "action": "read", "resource": "mcp:x" });
    for _ in 0..2 {
        let old = app.call(&agent.key);
        old.post("/api/v1/authorize", question.clone())
            .await
            .decided("key_revoked");
        let new = app.call(rotated.text_at("/data/token"));
        new.post("/api/v1/authorize", question.clone())
            .await
            .decided("allowed");
        app.restart().await;
    }
    app.operator()
        .post(&format!("/api/v1/users/{user}/ban"), json!({}))
        .await
        .expect(200);
    app.restart().await;
    app.decide(&agent.id, "read", "mcp:x")
        .await
        .decided("owner_not_active");
}
