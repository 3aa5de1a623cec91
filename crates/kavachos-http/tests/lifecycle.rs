//! Agents over HTTP: created, read, changed, rotated, suspended, resumed, revoked.

use kavachos_test::TestApp;
use serde_json::json;

/// B1.
#[tokio::test]
async fn b01_a_created_agent_shows_its_key_once() {
    let app = TestApp::start().await;
    let ada = app.user().await;
    let agent = app
        .agent(
            &ada,
            json!([{ "resource": "mcp:github:*", "actions": ["read"] }]),
        )
        .await;
    let shown = app
        .operator()
        .get(&format!("/api/v1/agents/{}", agent.id))
        .await
        .expect(200);
    assert!(shown.at("/data/token").is_null(), "{shown}");
    assert!(!shown.text.contains(&agent.key), "{shown}");
    app.decide(&agent.id, "read", "mcp:github:repos")
        .await
        .decided("allowed");
}
