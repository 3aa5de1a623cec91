//! Agents: created, read, changed, rotated, suspended, resumed, revoked.

use kavachos_test::{TestAgent, TestApp, may};
use serde_json::{Value, json};

fn path(agent: &TestAgent) -> String {
    format!("/api/v1/agents/{}", agent.id)
}

/// What an agent gets by its own key.
async fn own(app: &TestApp, key: &str) -> String {
    let question = json!({ "action": "read", "resource": "mcp:x" });
    let reply = app.call(key).post("/api/v1/authorize", question).await;
    reply.code().to_owned()
}

/// B1.
#[tokio::test]
async fn b01_a_created_agent_shows_its_key_once() {
    let app = crate::start().await;
    let user = app.user().await;
    let body = json!({
        "ownerId": user, "name": "github-reader", "type": "autonomous", "metadata": { "team": "core" },
        "permissions": may(&["read"], "mcp:github:*"),
    });
    let created = app
        .operator()
        .post("/api/v1/agents", body)
        .await
        .expect(201);
    insta::assert_snapshot!(created.redacted(), @r#"
    201
    {
      "data": {
        "bearer": false,
        "createdAt": "2026-11-21T10:00:00Z",
        "exchangeBy": [],
        "expiresAt": null,
        "grantExpiresAt": null,
        "grantId": "[grant]",
        "guards": null,
        "id": "[agent]",
        "keyExpiresAt": "2026-11-22T10:00:00Z",
        "maxDepth": 3,
        "metadata": {
          "team": "core"
        },
        "name": "github-reader",
        "offline": false,
        "ownerId": "[user]",
        "permissions": [
          {
            "actions": [
              "read"
            ],
            "resource": "mcp:github:*"
          }
        ],
        "proofKey": null,
        "status": "active",
        "token": "[kv_agent]",
        "type": "autonomous",
        "userId": "[user]"
      }
    }
    "#);
    let agent = TestAgent::of(&created);
    assert!(agent.key.starts_with("kv_agent_"));
    let list = format!("/api/v1/agents?ownerId={user}");
    for path in [path(&agent), list] {
        let shown = app.operator().get(&path).await.expect(200);
        assert!(
            !shown.text.contains("token") && !shown.text.contains(&agent.key),
            "{shown}"
        );
    }
    for record in app.audit("").await {
        assert!(!record.to_string().contains(&agent.key), "{record}");
    }
}

/// B2.
#[tokio::test]
async fn b02_an_agent_that_cannot_be_read_is_400_naming_the_field() {
    let app = crate::start().await;
    let good = json!({
        "ownerId": app.user().await, "name": "a", "type": "autonomous", "permissions": may(&["read"], "mcp:x"),
    });
    for (field, value) in [
        ("permissions", json!([])),
        ("permissions", json!({})),
        ("permissions", json!(null)),
        ("permissions[0]", json!(["read"])),
        (
            "permissions[0]",
            json!([{ "resource": "mcp:x", "actions": ["read"], "deny": true }]),
        ),
        ("permissions[0].resource", json!([{ "actions": ["read"] }])),
        ("permissions[0].actions", json!([{ "resource": "mcp:x" }])),
        ("name", json!("")),
        ("name", json!(null)),
        ("name", json!(7)),
        ("name", json!("x".repeat(201))),
        ("name", json!("a\u{202e}b")),
        ("type", json!("robot")),
        ("type", json!(null)),
        ("ownerId", json!("ada")),
        ("ownerId", json!(null)),
        ("owner", json!({ "provider": "clerk" })),
        ("owner", json!({ "provider": "", "externalId": "x" })),
        ("maxDepth", json!(8)),
        ("maxDepth", json!(-1)),
        ("expiresAt", json!("2026-02-30T00:00:00Z")),
        ("expiresAt", json!(1_800_000_000)),
        ("keyTtlSeconds", json!(0)),
        ("keyTtlSeconds", json!(40_000_000)),
        ("metadata", json!([])),
        ("metadata", json!({ "x": "y".repeat(3_000) })),
        ("guards", json!({ "maxCallsPerHour": "many" })),
        ("status", json!("active")),
    ] {
        let mut body = good.clone();
        body[field.split(['[', '.']).next().unwrap()] = value.clone();
        if field == "owner" {
            body.as_object_mut().unwrap().remove("ownerId");
        }
        let reply = app.operator().post("/api/v1/agents", body).await;
        assert_eq!(reply.status, 400, "{field} {value}: {reply}");
        assert!(reply.field().starts_with(field), "{field} {value}: {reply}");
    }
    for missing in ["name", "type", "permissions", "ownerId"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(missing);
        let reply = app
            .operator()
            .post("/api/v1/agents", body)
            .await
            .refused(400, "malformed_request");
        assert_eq!(reply.field(), missing, "{reply}");
    }
    app.operator()
        .post("/api/v1/agents", good)
        .await
        .expect(201);
}

/// B3.
#[tokio::test]
async fn b03_an_unknown_owner_is_404() {
    let app = crate::start().await;
    for owner in [
        "user_01h455vb4pex5vsknk084sn02q",
        "agent_01h455vb4pex5vsknk084sn02q",
    ] {
        let body = json!({ "ownerId": owner, "name": "a", "type": "service", "permissions": may(&["read"], "mcp:x") });
        app.operator()
            .post("/api/v1/agents", body)
            .await
            .refused(404, "not_found");
    }
}

/// B9.
#[tokio::test]
async fn b09_a_revoked_agent_is_denied_by_id_and_by_key_and_cannot_be_rotated() {
    let app = crate::start().await;
    let agent = app.agent(&app.user().await, may(&["read"], "mcp:x")).await;
    let operator = app.operator();
    app.decide(&agent.id, "read", "mcp:x")
        .await
        .decided("allowed");
    assert_eq!(own(&app, &agent.key).await, "allowed");
    operator.delete(&path(&agent)).await.expect(200);
    app.decide(&agent.id, "read", "mcp:x")
        .await
        .decided("agent_revoked");
    assert_eq!(own(&app, &agent.key).await, "key_revoked");
    for act in ["rotate", "suspend", "resume"] {
        let path = format!("{}/{act}", path(&agent));
        operator
            .post(&path, json!({}))
            .await
            .refused(409, "conflict");
    }
    // Revoking is done once, and saying so again is no error.
    operator.delete(&path(&agent)).await.expect(200);
    let shown = operator.get(&path(&agent)).await.expect(200);
    assert_eq!(shown.at("/data/status"), "revoked");
}

/// F24: a revoked agent is not changed any more.
#[tokio::test]
async fn f24_a_revoked_agent_is_not_changed() {
    let app = crate::start().await;
    let agent = app.agent(&app.user().await, may(&["read"], "mcp:x")).await;
    let wider = json!({ "permissions": may(&["*"], "*") });
    app.operator()
        .patch(&path(&agent), wider.clone())
        .await
        .expect(200);
    app.operator().delete(&path(&agent)).await.expect(200);
    app.operator()
        .patch(&path(&agent), wider)
        .await
        .refused(409, "conflict");
}

/// B10, F7: one moment ends the agent on every way.
#[tokio::test]
async fn b10_f07_an_agent_past_its_end_is_denied_by_id_and_by_key() {
    let app = crate::start().await;
    let end = json!({ "expiresAt": "2026-11-21T11:00:00Z" });
    let agent = app
        .agent_with(&app.user().await, may(&["read"], "mcp:x"), end)
        .await;
    let to = app.agent(&app.user().await, may(&["read"], "mcp:y")).await;
    let rotate = format!("{}/rotate", path(&agent));
    app.advance(3_599);
    app.decide(&agent.id, "read", "mcp:x")
        .await
        .decided("allowed");
    assert_eq!(own(&app, &agent.key).await, "allowed");
    app.advance(1);
    app.decide(&agent.id, "read", "mcp:x")
        .await
        .decided("agent_expired");
    assert_eq!(own(&app, &agent.key).await, "key_expired");
    app.operator()
        .post(&rotate, json!({}))
        .await
        .refused(409, "conflict");
    app.delegate(&agent.id, &to.id, may(&["read"], "mcp:x"))
        .await
        .refused(409, "conflict");
    app.delegate(&to.id, &agent.id, may(&["read"], "mcp:y"))
        .await
        .refused(409, "conflict");
    let shown = app.operator().get(&path(&agent)).await.expect(200);
    assert_eq!(shown.at("/data/status"), "expired");
    // Extended, it goes on; its key is still over, a new one works.
    app.operator()
        .patch(&path(&agent), json!({ "expiresAt": null }))
        .await
        .expect(200);
    app.decide(&agent.id, "read", "mcp:x")
        .await
        .decided("allowed");
    assert_eq!(own(&app, &agent.key).await, "key_expired");
    let rotated = app.operator().post(&rotate, json!({})).await.expect(201);
    assert_eq!(own(&app, rotated.text_at("/data/token")).await, "allowed");
}

/// B11.
#[tokio::test]
async fn b11_a_rotated_key_is_dead_at_once_and_the_new_one_works() {
    let app = crate::start().await;
    let agent = app.agent(&app.user().await, may(&["read"], "mcp:x")).await;
    let before = app.operator().get(&path(&agent)).await.expect(200);
    assert_eq!(own(&app, &agent.key).await, "allowed");
    let rotated = app
        .operator()
        .post(&format!("{}/rotate", path(&agent)), json!({}))
        .await
        .expect(201);
    let key = rotated.text_at("/data/token");
    assert_ne!(key, agent.key);
    assert_eq!(own(&app, &agent.key).await, "key_revoked");
    assert_eq!(own(&app, key).await, "allowed");
    app.call(&agent.key)
        .get(&path(&agent))
        .await
        .refused(401, "unauthenticated");
    let after = app.call(key).get(&path(&agent)).await.expect(200);
    assert_eq!(before.body, after.body, "only the key is another one");
    // Nobody renews its own key.
    app.call(key)
        .post(&format!("{}/rotate", path(&agent)), json!({}))
        .await
        .refused(403, "forbidden");
}

/// Authority.md: a key ends after 24 hours unless it was made otherwise, and is rotated, not renewed.
#[tokio::test]
async fn a_key_ends_by_itself_and_the_agent_does_not() {
    let app = crate::start().await;
    let user = app.user().await;
    let default = app.agent(&user, may(&["read"], "mcp:x")).await;
    let short = app
        .agent_with(
            &user,
            may(&["read"], "mcp:x"),
            json!({ "keyTtlSeconds": 60 }),
        )
        .await;
    app.advance(59);
    assert_eq!(own(&app, &short.key).await, "allowed");
    app.advance(1);
    assert_eq!(own(&app, &short.key).await, "key_expired");
    app.decide(&short.id, "read", "mcp:x")
        .await
        .decided("allowed");
    let rotated = app
        .operator()
        .post(&format!("{}/rotate", path(&short)), json!({}))
        .await
        .expect(201);
    assert_eq!(own(&app, rotated.text_at("/data/token")).await, "allowed");
    app.advance(24 * 3_600 - 61);
    assert_eq!(own(&app, &default.key).await, "allowed");
    app.advance(1);
    assert_eq!(own(&app, &default.key).await, "key_expired");
}

/// Authority.md: dead keys are told apart for 30 days, then they are unknown.
#[tokio::test]
async fn a_dead_key_is_known_for_thirty_days() {
    const DAYS_30: u64 = 30 * 24 * 3_600;
    let app = crate::start().await;
    let user = app.user().await;
    let revoked = app.agent(&user, may(&["read"], "mcp:x")).await;
    let expired = app
        .agent_with(
            &user,
            may(&["read"], "mcp:x"),
            json!({ "keyTtlSeconds": 60 }),
        )
        .await;
    app.operator()
        .post(&format!("{}/rotate", path(&revoked)), json!({}))
        .await
        .expect(201);
    assert_eq!(own(&app, &revoked.key).await, "key_revoked");
    app.advance(DAYS_30 - 1);
    // By now its time is over as well, and that is told first.
    assert_eq!(own(&app, &revoked.key).await, "key_expired");
    assert_eq!(own(&app, &expired.key).await, "key_expired");
    app.advance(1);
    assert_eq!(own(&app, &revoked.key).await, "unauthenticated");
    assert_eq!(own(&app, &expired.key).await, "key_expired");
    app.advance(60);
    assert_eq!(own(&app, &expired.key).await, "unauthenticated");
}

/// Http-api.md: resume gives no key and revives none.
#[tokio::test]
async fn a_resumed_agents_key_stays_dead_and_its_grants_live_again() {
    let app = crate::start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:x")).await;
    let receiver = app.agent(&user, may(&["read"], "mcp:none")).await;
    app.delegate(&agent.id, &receiver.id, may(&["read"], "mcp:x"))
        .await
        .expect(201);
    let turn = async |how: &str| {
        app.operator()
            .post(&format!("{}/{how}", path(&agent)), json!({}))
            .await
    };
    turn("resume").await.refused(409, "conflict");
    turn("suspend").await.expect(200);
    turn("suspend").await.refused(409, "conflict");
    app.decide(&agent.id, "read", "mcp:x")
        .await
        .decided("agent_suspended");
    app.decide(&receiver.id, "read", "mcp:x")
        .await
        .decided("ancestor_not_active");
    assert_eq!(own(&app, &agent.key).await, "key_revoked");
    turn("rotate").await.refused(409, "conflict");
    let resumed = turn("resume").await.expect(200);
    assert!(resumed.at("/data/token").is_null(), "{resumed}");
    app.decide(&agent.id, "read", "mcp:x")
        .await
        .decided("allowed");
    app.decide(&receiver.id, "read", "mcp:x")
        .await
        .decided("allowed");
    assert_eq!(own(&app, &agent.key).await, "key_revoked");
    let rotated = turn("rotate").await.expect(201);
    assert_eq!(own(&app, rotated.text_at("/data/token")).await, "allowed");
}

/// Http-api.md: PATCH; a member that is left out stays, `null` takes away.
#[tokio::test]
async fn a_change_counts_at_once_and_leaves_the_rest() {
    let app = crate::start().await;
    let more = json!({ "metadata": { "a": 1 }, "guards": { "maxCallsPerHour": 9 }, "maxDepth": 2 });
    let agent = app
        .agent_with(&app.user().await, may(&["read", "write"], "mcp:*"), more)
        .await;
    app.decide(&agent.id, "write", "mcp:x")
        .await
        .decided("allowed");
    let patch = async |change: Value| app.operator().patch(&path(&agent), change).await;
    patch(json!({ "permissions": may(&["read"], "mcp:*") }))
        .await
        .expect(200);
    app.decide(&agent.id, "write", "mcp:x")
        .await
        .decided("permission_denied");
    app.decide(&agent.id, "read", "mcp:x")
        .await
        .decided("allowed");
    assert_eq!(own(&app, &agent.key).await, "allowed");
    let renamed = patch(json!({ "name": "other", "metadata": null }))
        .await
        .expect(200);
    assert_eq!(renamed.at("/data/name"), "other");
    assert!(renamed.at("/data/metadata").is_null(), "{renamed}");
    assert_eq!(renamed.at("/data/guards/rate/limit"), 9);
    assert_eq!(renamed.at("/data/maxDepth"), 2);
    let bare = patch(json!({ "guards": null })).await.expect(200);
    assert!(bare.at("/data/guards").is_null(), "{bare}");
    for (field, value) in [
        ("id", json!(agent.id)),
        ("ownerId", json!("user_01h455vb4pex5vsknk084sn02q")),
        ("status", json!("active")),
        ("type", json!("service")),
        ("keyTtlSeconds", json!(1)),
        ("permissions", json!([])),
        ("name", json!("")),
    ] {
        let mut change = json!({});
        change[field] = value;
        let reply = patch(change).await.refused(400, "malformed_request");
        assert!(reply.field().starts_with(field), "{field}: {reply}");
    }
}

#[tokio::test]
async fn a_list_is_filtered_and_paged() {
    let app = crate::start().await;
    let (ada, bob) = (app.user().await, app.user().await);
    let mut ids = Vec::new();
    for _ in 0..5 {
        app.advance(1);
        ids.push(app.agent(&ada, may(&["read"], "mcp:x")).await.id);
    }
    let other = app.agent(&bob, may(&["read"], "mcp:x")).await;
    ids.reverse();
    let operator = app.operator();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = format!("/api/v1/agents?ownerId={ada}&limit=2{cursor}");
        let page = operator.get(&page).await.expect(200);
        assert!(page.rows().len() <= 2);
        seen.extend(
            page.rows()
                .iter()
                .map(|row| row["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page.at("/nextCursor").as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ids, "newest first, each once");
    operator.delete(&path(&other)).await.expect(200);
    for (filter, count) in [
        ("", 6),
        ("status=revoked", 1),
        ("status=active", 5),
        ("type=service", 0),
        ("type=autonomous", 6),
    ] {
        let listed = operator
            .get(&format!("/api/v1/agents?{filter}"))
            .await
            .expect(200);
        assert_eq!(listed.rows().len(), count, "{filter}");
    }
}

#[tokio::test]
async fn an_agent_cannot_be_widened_beyond_its_human() {
    let app = crate::start().await;
    let human = json!({ "name": "Ada", "permissions": may(&["read"], "mcp:github:*") });
    let human = app
        .operator()
        .post("/api/v1/users", human)
        .await
        .expect(201);
    let agent = app
        .agent(human.id(), may(&["read"], "mcp:github:repos"))
        .await;
    let path = format!("/api/v1/agents/{}", agent.id);
    let wider = json!({ "permissions": may(&["read"], "mcp:slack:*") });
    let refused = app.operator().patch(&path, wider).await;
    refused.refused(403, "not_narrower");
    // The twin: within what the human may.
    let within = json!({ "permissions": may(&["read"], "mcp:github:*") });
    app.operator().patch(&path, within).await.expect(200);
}
