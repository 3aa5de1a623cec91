//! Tool servers: registered with a policy for their tokens, and callers that ask about their own audience only.

use kavachos_test::{Reply, TestAgent, TestApp, may};
use serde_json::{Value, json};

const RESOURCES: &str = "/api/v1/resources";

fn github() -> Value {
    json!({
        "audience": "https://github.example.com/mcp", "name": "GitHub",
        "scopes": [
            { "name": "mcp:github:*", "description": "everything on GitHub" },
            { "name": "mcp:gists", "description": "your gists" },
        ],
    })
}

async fn register(app: &TestApp, body: Value) -> Reply {
    app.operator().post(RESOURCES, body).await
}

/// A server that covers `mcp:github:*` and `mcp:gists`, its key, and an agent that may read everything.
async fn world() -> (TestApp, String, String, TestAgent) {
    let app = crate::start().await;
    let agent = app.agent(&app.user().await, may(&["read"], "*")).await;
    let server = register(&app, github()).await.expect(201);
    let key = server.text_at("/data/token").to_owned();
    let id = server.id().to_owned();
    (app, id, key, agent)
}

fn question(agent: &TestAgent, resource: &str) -> Value {
    json!({ "agentId": agent.id, "action": "read", "resource": resource })
}

#[tokio::test]
async fn a_tool_server_is_registered_with_a_strict_policy_and_a_key_that_is_shown_once() {
    let app = crate::start().await;
    let reply = register(&app, github()).await;
    let key = reply.text_at("/data/token").to_owned();
    assert!(key.starts_with("kv_res_"));
    let path = format!("{RESOURCES}/{}", reply.id());
    let shown = app.operator().get(&path).await;
    assert!(!shown.text.contains(&key));
    insta::assert_snapshot!(shown.redacted(), @r#"
    200
    {
      "data": {
        "audience": "https://github.example.com/mcp",
        "createdAt": "2026-11-21T10:00:00Z",
        "critical": false,
        "defaultScope": null,
        "id": "[resource]",
        "kind": "plain",
        "leaseSeconds": 10,
        "maxTtlSeconds": 300,
        "name": "GitHub",
        "party": "third",
        "proof": "optional",
        "scopes": [
          {
            "description": "everything on GitHub",
            "name": "mcp:github:*"
          },
          {
            "description": "your gists",
            "name": "mcp:gists"
          }
        ],
        "shown": "[kv_res]",
        "status": "active",
        "tokenAlgorithm": "EdDSA"
      }
    }
    "#);
}

#[tokio::test]
async fn every_member_of_the_policy_is_kept_and_can_be_changed() {
    let app = crate::start().await;
    let policy = json!({
        "defaultScope": "mcp:github:* mcp:gists", "party": "first", "kind": "kavach", "proof": "dpop_body",
        "tokenAlgorithm": "ES256", "critical": true, "leaseSeconds": 2, "maxTtlSeconds": 600,
    });
    let mut body = github();
    let members = policy.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(members.clone());
    let reply = register(&app, body).await.expect(201);
    for (name, value) in &members {
        assert_eq!(&reply.body["data"][name], value, "{name}");
    }
    let path = format!("{RESOURCES}/{}", reply.id());
    let change = json!({ "defaultScope": null, "proof": "none", "name": "renamed" });
    let changed = app.operator().patch(&path, change).await.expect(200);
    assert_eq!(changed.at("/data/defaultScope"), &Value::Null);
    assert_eq!(changed.at("/data/proof"), "none");
    assert_eq!(changed.at("/data/name"), "renamed");
    assert_eq!(changed.at("/data/kind"), "kavach");
    let kinds = ["resource.created", "resource.updated"];
    for kind in kinds {
        let records = app.audit(&format!("kind={kind}")).await;
        assert_eq!(records[0]["details"]["server"], reply.id());
    }
}

#[tokio::test]
async fn what_cannot_be_registered_is_refused_with_the_member_named() {
    let app = crate::start().await;
    let scope = |name: &str| json!([{ "name": name, "description": "d" }]);
    for (member, value, field) in [
        ("audience", json!("tools.example.com"), "audience"),
        ("audience", json!("https://a.example/#x"), "audience"),
        ("audience", json!("https://me@a.example/"), "audience"),
        ("audience", json!(7), "audience"),
        ("name", json!(""), "name"),
        ("scopes", json!([]), "scopes"),
        ("scopes", scope("mcp::x"), "scopes[0].name"),
        ("scopes", scope("openid"), "scopes[0].name"),
        ("scopes", json!([{ "name": "a" }]), "scopes[0].description"),
        ("defaultScope", json!("mcp:slack"), "defaultScope"),
        ("party", json!("second"), "party"),
        ("kind", json!("other"), "kind"),
        ("proof", json!("mtls"), "proof"),
        ("tokenAlgorithm", json!("HS256"), "tokenAlgorithm"),
        ("tokenAlgorithm", json!("none"), "tokenAlgorithm"),
        ("leaseSeconds", json!(1), "leaseSeconds"),
        ("leaseSeconds", json!(61), "leaseSeconds"),
        ("maxTtlSeconds", json!(601), "maxTtlSeconds"),
        ("ttl", json!(1), "ttl"),
    ] {
        let mut body = github();
        body[member] = value.clone();
        let reply = register(&app, body).await;
        let reply = reply.refused(400, "malformed_request");
        assert_eq!(reply.field(), field, "{member}: {value}");
    }
    for member in ["audience", "name", "scopes"] {
        let mut body = github();
        body.as_object_mut().unwrap().remove(member);
        let reply = register(&app, body).await;
        assert_eq!(reply.refused(400, "malformed_request").field(), member);
    }
    register(&app, github()).await.expect(201);
}

#[tokio::test]
async fn an_audience_belongs_to_one_tool_server_until_it_is_revoked() {
    let (app, id, key, agent) = world().await;
    register(&app, github()).await.refused(409, "conflict");
    let path = format!("{RESOURCES}/{id}");
    let moved = json!({ "audience": "https://other.example.com" });
    let reply = app.operator().patch(&path, moved).await;
    assert_eq!(reply.refused(400, "malformed_request").field(), "audience");
    app.operator().delete(&path).await.expect(200);
    app.operator().delete(&path).await.expect(200);
    let change = app.operator().patch(&path, json!({ "name": "n" })).await;
    change.refused(409, "conflict");
    let again = register(&app, github()).await.expect(201);
    // The old key is dead, the new one lives.
    let ask = async |key: &str| {
        let question = question(&agent, "mcp:github:repos");
        app.call(key).post("/api/v1/authorize", question).await
    };
    ask(&key).await.refused(401, "unauthenticated");
    ask(again.text_at("/data/token")).await.decided("allowed");
}

#[tokio::test]
async fn a_tool_server_asks_about_its_own_audience_only() {
    let (app, id, key, agent) = world().await;
    let ask = async |resource: &str| {
        let question = question(&agent, resource);
        app.call(&key).post("/api/v1/authorize", question).await
    };
    for own in ["mcp:github:repos", "mcp:github:repos:42", "mcp:gists"] {
        ask(own).await.decided("allowed");
    }
    for foreign in [
        "mcp:github",
        "mcp:slack:send",
        "mcp:gists:1",
        "mcp:githubx:a",
    ] {
        ask(foreign).await.refused(403, "forbidden");
        // The twin: an operator without a ceiling may ask.
        app.decide(&agent.id, "read", foreign)
            .await
            .decided("allowed");
    }
    let records = app
        .audit("kind=decision&outcome=allowed&resource=mcp:gists")
        .await;
    assert_eq!(records[0]["actor"], id.as_str());
    let refused = app.audit("kind=decision&outcome=denied").await;
    assert_eq!(refused.len(), 4);
    assert!(refused.iter().all(|record| record["actor"] == id.as_str()));
    // In a batch too.
    let batch =
        json!({ "requests": [question(&agent, "mcp:gists"), question(&agent, "mcp:slack:send")] });
    let reply = app.call(&key).post("/api/v1/authorize/batch", batch).await;
    reply.refused(403, "forbidden");
    // Narrowed, it may ask no more about what it lost.
    let path = format!("{RESOURCES}/{id}");
    let narrower = json!({ "scopes": [{ "name": "mcp:gists", "description": "gists" }] });
    app.operator().patch(&path, narrower).await.expect(200);
    ask("mcp:github:repos").await.refused(403, "forbidden");
    ask("mcp:gists").await.decided("allowed");
}

#[tokio::test]
async fn a_tool_server_states_where_the_call_came_from_and_what_it_costs() {
    let (app, _, key, _) = world().await;
    let constrained = json!([{
        "resource": "mcp:github:*", "actions": ["read"],
        "constraints": { "ipAllowlist": ["192.0.2.0/24"], "budget": { "amount": 10, "unit": "tokens" } },
    }]);
    let agent = app.agent(&app.user().await, constrained).await;
    let ask = async |ip: &str, amount: u64| {
        let mut question = question(&agent, "mcp:github:repos");
        question["context"] = json!({ "ip": ip });
        question["cost"] = json!({ "amount": amount, "unit": "tokens" });
        app.call(&key).post("/api/v1/authorize", question).await
    };
    ask("198.51.100.1", 6).await.decided("ip_not_allowed");
    ask("192.0.2.1", 6).await.decided("allowed");
    ask("192.0.2.1", 6).await.decided("budget_exhausted");
}

#[tokio::test]
async fn a_tool_servers_key_is_refused_at_every_other_route() {
    use crate::routes::{World, routes};
    let app = crate::start().await;
    let world = World::new(&app).await;
    let mut body = github();
    body["audience"] = json!("https://mine.example.com");
    let key = register(&app, body).await.expect(201);
    let key = key.text_at("/data/token");
    let mut decisions = 0;
    for route in routes() {
        let reply = route.call(&app.call(key), &world).await;
        if route.is_decision() || route.is_authzen() {
            reply.expect(200);
            decisions += 1;
        } else if route.is_feed() {
            reply.expect(200);
        } else if route.is_approval() {
            // It sees those that its own questions asked for; see `waiting`.
            reply.refused(404, "not_found");
        } else {
            route.refused(&reply, 403, "forbidden");
        }
    }
    assert_eq!(decisions, 4);
}

#[tokio::test]
async fn a_key_registers_and_changes_nothing_above_its_ceiling() {
    let app = crate::start().await;
    let key = app
        .key(json!({
            "name": "k", "scopes": ["resources:write"], "ceiling": may(&["*"], "mcp:gists"),
        }))
        .await;
    let wide = app.call(&key).post(RESOURCES, github()).await;
    wide.refused(403, "forbidden");
    let mut narrow = github();
    narrow["scopes"] = json!([{ "name": "mcp:gists", "description": "gists" }]);
    let own = app.call(&key).post(RESOURCES, narrow).await.expect(201);
    let path = format!("{RESOURCES}/{}", own.id());
    let widened = json!({ "scopes": github()["scopes"] });
    let reply = app.call(&key).patch(&path, widened.clone()).await;
    reply.refused(403, "forbidden");
    // The twin: without the ceiling it is done, and then the key may not even touch it.
    app.operator().patch(&path, widened).await.expect(200);
    for reply in [
        app.call(&key).patch(&path, json!({ "name": "n" })).await,
        app.call(&key).delete(&path).await,
    ] {
        reply.refused(403, "forbidden");
    }
    // Ceilings without a bound on actions are needed, since a scope stands for every action.
    let reads = app
        .key(json!({
            "name": "k", "scopes": ["resources:write"], "ceiling": may(&["read"], "*"),
        }))
        .await;
    let reply = app.call(&reads).post(RESOURCES, github()).await;
    reply.refused(403, "forbidden");
}
