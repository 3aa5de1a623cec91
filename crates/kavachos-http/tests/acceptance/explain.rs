//! Why: of a decision on record, and of a question that is only asked.

use kavachos_test::{Reply, TestApp, may, may_under};
use serde_json::{Value, json};

async fn dry_run(app: &TestApp, agent: &str, action: &str, resource: &str) -> Reply {
    let question = json!({ "agentId": agent, "action": action, "resource": resource });
    let reply = app.operator().post("/api/v1/explain", question).await;
    reply.expect(200)
}

/// What each hop of the best path says: whether it stands, and of each permission whether it matches and its code.
fn hops(reply: &Reply) -> Vec<(String, Vec<(bool, String)>)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let hops = reply.at("/data/paths/0/hops").as_array().unwrap();
    let permissions = |hop: &Value| {
        let permissions = hop["permissions"].as_array().unwrap().iter();
        permissions
            .map(|one| (one["matches"] == true, text(&one["code"])))
            .collect()
    };
    hops.iter()
        .map(|hop| (text(&hop["standing"]), permissions(hop)))
        .collect()
}

fn says(matches: bool, code: &str) -> Vec<(bool, String)> {
    vec![(matches, code.to_owned())]
}

#[tokio::test]
async fn a_dry_run_names_the_hop_and_the_permission_that_stand_against_it() {
    let app = crate::start().await;
    let user = app.user().await;
    let giver = app.agent(&user, may(&["read"], "mcp:github:*")).await;
    let other = app.agent(&user, may(&["read"], "mcp:slack:*")).await;
    let narrow = may(&["read"], "mcp:github:repos");
    let grant = app.delegate(&giver.id, &other.id, narrow).await.expect(201);

    let reply = dry_run(&app, &other.id, "read", "mcp:github:issues").await;
    assert_eq!(reply.at("/data/allowed"), false);
    assert_eq!(reply.code(), "permission_denied");
    assert!(reply.text_at("/data/remedy").contains("every hop"));
    // Both paths are told: its own, then the delegated one.
    let grants = [other.grant.as_str(), grant.id()];
    for (path, grant) in grants.into_iter().enumerate() {
        assert_eq!(reply.at(&format!("/data/paths/{path}/grantId")), grant);
    }
    let delegated = reply.at("/data/paths/1");
    assert_eq!(delegated["hop"], 2);
    assert_eq!(delegated["hops"][1]["permissions"][0]["code"], "allowed");
    assert_eq!(delegated["hops"][2]["permissions"][0]["other"], "resource");
    assert_eq!(
        delegated["hops"][2]["permissions"][0]["resource"],
        "mcp:github:repos"
    );

    // The twin: what the hop permits is allowed, and every hop says so.
    let reply = dry_run(&app, &other.id, "read", "mcp:github:repos").await;
    assert_eq!(reply.at("/data/allowed"), true);
    let live = || ("allowed".to_owned(), says(true, "allowed"));
    assert_eq!(hops(&reply), [live(), live(), live()]);
    app.decide(&other.id, "read", "mcp:github:repos")
        .await
        .decided("allowed");
}

#[tokio::test]
async fn a_dry_run_decides_nothing_takes_nothing_and_records_only_itself() {
    let app = crate::start().await;
    let limited = json!([{
        "resource": "mcp:github:*", "actions": ["read"], "constraints": { "rate": { "limit": 1, "per": 60 } },
    }]);
    let agent = app.agent(&app.user().await, limited).await;
    for _ in 0..3 {
        let reply = dry_run(&app, &agent.id, "read", "mcp:github:repos").await;
        assert_eq!(reply.code(), "allowed");
    }
    assert_eq!(app.audit("kind=decision").await.len(), 0);
    let notes = app.audit("kind=explanation").await;
    assert_eq!(notes.len(), 3);
    assert_eq!(notes[0]["agent"], agent.id.as_str());
    assert_eq!(notes[0]["details"]["code"], "allowed");
    // The twin: a decision takes, and the dry run tells that the counter is empty now.
    app.decide(&agent.id, "read", "mcp:github:repos")
        .await
        .decided("allowed");
    let reply = dry_run(&app, &agent.id, "read", "mcp:github:repos").await;
    assert_eq!(reply.code(), "rate_limited");
    assert_eq!(hops(&reply)[1].1, says(true, "rate_limited"));
    app.decide(&agent.id, "read", "mcp:github:repos")
        .await
        .decided("rate_limited");
    app.advance(61);
    let reply = dry_run(&app, &agent.id, "read", "mcp:github:repos").await;
    assert_eq!(reply.code(), "allowed");
}

#[tokio::test]
async fn a_dry_run_tells_what_is_stopped_above() {
    let app = crate::start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:*")).await;
    let reply = dry_run(&app, &agent.id, "read", "mcp:github").await;
    assert_eq!(reply.code(), "allowed");
    let ban = format!("/api/v1/users/{user}/ban");
    app.operator().post(&ban, json!({})).await.expect(200);
    let reply = dry_run(&app, &agent.id, "read", "mcp:github").await;
    assert_eq!(reply.code(), "owner_not_active");
    assert_eq!(hops(&reply)[0].0, "ancestor_not_active");
    let unknown = dry_run(
        &app,
        "agent_01h455vb4pex5vsknk084sn02q",
        "read",
        "mcp:github",
    )
    .await;
    assert_eq!(unknown.code(), "unknown_agent");
    assert_eq!(unknown.at("/data/paths"), &json!([]));
}

#[tokio::test]
async fn a_decision_on_record_is_explained_as_it_was_made() {
    let app = crate::start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:github:*")).await;
    let denied = app.decide(&agent.id, "read", "mcp:slack:send").await;
    let allowed = app.decide(&agent.id, "read", "mcp:github:repos").await;
    let explain = async |decision: &Reply| {
        let path = format!("/api/v1/explain/{}", decision.text_at("/data/auditId"));
        app.operator().get(&path).await
    };
    let why = explain(&denied).await.expect(200);
    assert_eq!(why.at("/data/allowed"), false);
    assert_eq!(why.code(), "permission_denied");
    assert_eq!(why.at("/data/for"), user.as_str());
    assert_eq!(why.at("/data/agentId"), agent.id.as_str());
    let path = why.at("/data/paths/0");
    assert_eq!(path["grantId"], agent.grant.as_str());
    assert_eq!(path["hop"], 1);
    assert!(path["remedy"].as_str().unwrap().contains("permit"));
    let why = explain(&allowed).await.expect(200);
    assert_eq!(why.at("/data/allowed"), true);
    assert_eq!(why.at("/data/grantPath"), &json!([agent.grant]));
    assert_eq!(why.at("/data/paths"), &json!([]));

    // A later change does not change it, unlike what would be decided now.
    let wider = json!({ "permissions": may(&["read"], "mcp:*") });
    let path = format!("/api/v1/agents/{}", agent.id);
    app.operator().patch(&path, wider).await.expect(200);
    assert_eq!(explain(&denied).await.code(), "permission_denied");
    let now = dry_run(&app, &agent.id, "read", "mcp:slack:send").await;
    assert_eq!(now.code(), "allowed");
}

#[tokio::test]
async fn only_decisions_are_explained() {
    let app = crate::start().await;
    app.agent(&app.user().await, may(&["read"], "mcp:*")).await;
    let created = app.audit("kind=agent.created").await;
    for id in [
        created[0]["id"].as_str().unwrap(),
        "audit_01h455vb4pex5vsknk084sn02q",
    ] {
        let path = format!("/api/v1/explain/{id}");
        app.operator().get(&path).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_key_explains_nothing_above_its_ceiling() {
    let app = crate::start().await;
    let agent = app.agent(&app.user().await, may(&["*"], "*")).await;
    let body = json!({
        "name": "k", "scopes": ["authorize:any"], "ceiling": may(&["read"], "mcp:github:*"),
    });
    let key = app.key(body).await;
    let ask = async |resource: &str| {
        let question = json!({ "agentId": agent.id, "action": "read", "resource": resource });
        app.call(&key).post("/api/v1/explain", question).await
    };
    ask("mcp:github:repos").await.expect(200);
    ask("mcp:slack:send").await.refused(403, "forbidden");
    let refused = app.audit("kind=explanation&outcome=denied").await;
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["agent"], agent.id.as_str());
}

#[tokio::test]
async fn a_dry_run_neither_asks_for_an_approval_nor_uses_one() {
    let app = crate::start().await;
    let operator = app.operator();
    let asks = may_under(&["run"], "mcp:deploy:*", json!({ "requireApproval": true }));
    let agent = app.agent(&app.user().await, asks).await;
    let reply = dry_run(&app, &agent.id, "run", "mcp:deploy:site").await;
    assert_eq!(reply.code(), "approval_required");
    let asked = operator.get("/api/v1/approvals").await.expect(200);
    assert_eq!(asked.at("/data"), &json!([]));

    // The twin: the question itself makes a request, and is allowed once it is approved, also after a dry run.
    let reply = app.decide(&agent.id, "run", "mcp:deploy:site").await;
    let id = reply.text_at("/data/approvalId").to_owned();
    let path = format!("/api/v1/approvals/{id}");
    let digest = operator.get(&path).await.text_at("/data/digest").to_owned();
    let approve = format!("{path}/approve");
    let body = json!({ "digest": digest });
    operator.post(&approve, body).await.expect(200);
    dry_run(&app, &agent.id, "run", "mcp:deploy:site").await;
    let reply = app.decide(&agent.id, "run", "mcp:deploy:site").await;
    reply.decided("allowed");
}
