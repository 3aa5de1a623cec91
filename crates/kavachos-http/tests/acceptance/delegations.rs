//! Delegations and sub-agents: a part of one's authority, never more.

use kavachos_test::{may, may_under};
use serde_json::{Value, json};

use crate::chains::{Chain, give, path};

/// F2, B15: what a parent must heed, its children must heed, whether they say so or not.
#[tokio::test]
async fn f02_b15_a_child_that_leaves_a_constraint_out_still_has_it() {
    let app = crate::start().await;
    let user = app.user().await;
    for (constraints, code) in [
        (json!({ "requireApproval": true }), "approval_required"),
        (json!({ "ipAllowlist": ["192.0.2.1"] }), "ip_not_allowed"),
        (json!({ "maxCallsPerHour": 0 }), "rate_limited"),
        (
            json!({ "timeWindow": { "start": "11:00", "end": "12:00" } }),
            "outside_time_window",
        ),
        (
            json!({ "args": { "/path": { "prefix": "/tmp" } } }),
            "argument_not_allowed",
        ),
        (
            json!({ "budget": { "amount": 0, "unit": "calls" } }),
            "budget_exhausted",
        ),
        (json!({}), "allowed"),
    ] {
        let parent = app
            .agent(&user, may_under(&["read"], "mcp:*", constraints.clone()))
            .await;
        let plain = may(&["read"], "mcp:x");
        let sub = app.agent(&parent.id, plain.clone()).await;
        let receiver = app.agent(&user, may(&["read"], "mcp:none")).await;
        app.delegate(&parent.id, &receiver.id, plain)
            .await
            .expect(201);
        for child in [&sub, &receiver] {
            let reply = app.decide(&child.id, "read", "mcp:x").await;
            assert_eq!(reply.code(), code, "{constraints}: {reply}");
        }
    }
}

/// F2: a child may be stricter, not looser.
#[tokio::test]
async fn f02_a_child_that_states_a_looser_constraint_is_refused() {
    let app = crate::start().await;
    let user = app.user().await;
    for (parent, looser, stricter) in [
        (
            json!({ "maxCallsPerHour": 5 }),
            json!({ "maxCallsPerHour": 6 }),
            json!({ "maxCallsPerHour": 5 }),
        ),
        (
            json!({ "ipAllowlist": ["10.0.0.0/8"] }),
            json!({ "ipAllowlist": ["10.0.0.0/7"] }),
            json!({ "ipAllowlist": ["10.1.0.0/16"] }),
        ),
        (
            json!({ "timeWindow": { "start": "09:00", "end": "17:00" } }),
            json!({ "timeWindow": { "start": "08:59", "end": "17:00" } }),
            json!({ "timeWindow": { "start": "09:00", "end": "16:59" } }),
        ),
        (
            json!({ "args": { "/p": { "prefix": "/tmp" } } }),
            json!({ "args": { "/p": { "prefix": "/" } } }),
            json!({ "args": { "/p": { "prefix": "/tmp/x" } } }),
        ),
        (
            json!({ "budget": { "amount": 5, "unit": "cent" } }),
            json!({ "budget": { "amount": 6, "unit": "cent" } }),
            json!({ "budget": { "amount": 1, "unit": "cent" } }),
        ),
    ] {
        let agent = app
            .agent(&user, may_under(&["read"], "mcp:*", parent))
            .await;
        let sub = |constraints: Value| {
            json!({
                "ownerId": agent.id, "name": "s", "type": "service",
                "permissions": may_under(&["read"], "mcp:x", constraints),
            })
        };
        let refused = app
            .operator()
            .post("/api/v1/agents", sub(looser))
            .await
            .refused(403, "not_narrower");
        assert!(refused.field().starts_with("permissions"), "{refused}");
        app.operator()
            .post("/api/v1/agents", sub(stricter))
            .await
            .expect(201);
    }
}

/// F3, B14.
#[tokio::test]
async fn f03_b14_nobody_gives_to_itself_or_in_a_circle() {
    let app = crate::start().await;
    let chain = Chain::new(&app).await;
    let repos = || may(&["read"], "mcp:github:repos");
    for (from, to) in [
        (&chain.a, &chain.a),
        (&chain.c, &chain.a),
        (&chain.c, &chain.b),
        (&chain.b, &chain.a),
    ] {
        let reply = app.delegate(&from.id, &to.id, repos()).await;
        assert_eq!(reply.refused(403, "not_narrower").field(), "to");
    }
    let other = app.agent(&chain.user, may(&["read"], "mcp:d")).await;
    app.delegate(&chain.c.id, &other.id, repos())
        .await
        .expect(201);
}

/// F4, B13.
#[tokio::test]
async fn f04_b13_a_bare_resource_covers_nothing_below_it() {
    let app = crate::start().await;
    let user = app.user().await;
    let to = app.agent(&user, may(&["read"], "mcp:none")).await;
    for (parent, child, covered) in [
        ("mcp:github", "mcp:github:secrets", false),
        ("mcp:github", "mcp:github:*", false),
        ("mcp:github:*", "mcp:github", false),
        ("mcp:github:*", "mcp:github:secrets", true),
        ("mcp:*:read", "mcp:github:read", true),
        ("mcp:*:read", "mcp:*:write", false),
        ("mcp:github:read", "mcp:*:read", false),
        ("mcp:*", "*", false),
        ("*", "*", true),
    ] {
        let from = app.agent(&user, may(&["read"], parent)).await;
        let reply = app.delegate(&from.id, &to.id, may(&["read"], child)).await;
        match covered {
            true => reply.expect(201),
            false => reply.refused(403, "not_narrower"),
        };
    }
}

/// B12.
#[tokio::test]
async fn b12_a_subset_is_given_and_a_superset_refused_with_its_place() {
    let app = crate::start().await;
    let user = app.user().await;
    let from = app
        .agent(&user, may(&["read", "list"], "mcp:github:*"))
        .await;
    let to = app.agent(&user, may(&["read"], "mcp:none")).await;
    app.decide(&to.id, "read", "mcp:github:repos")
        .await
        .decided("permission_denied");
    app.delegate(&from.id, &to.id, may(&["read"], "mcp:github:repos"))
        .await
        .expect(201);
    app.decide(&to.id, "read", "mcp:github:repos")
        .await
        .decided("allowed");
    app.decide(&to.id, "list", "mcp:github:repos")
        .await
        .decided("permission_denied");
    for wider in [
        may(&["write"], "mcp:github:repos"),
        may(&["*"], "mcp:github:repos"),
        may(&["read"], "mcp:*"),
    ] {
        let reply = app
            .delegate(&from.id, &to.id, wider)
            .await
            .refused(403, "not_narrower");
        assert!(reply.field().starts_with("permissions"), "{reply}");
    }
    let half = json!([
        { "resource": "mcp:github:repos", "actions": ["read"] }, { "resource": "mcp:slack:x", "actions": ["read"] },
    ]);
    let reply = app
        .delegate(&from.id, &to.id, half)
        .await
        .refused(403, "not_narrower");
    assert!(reply.field().starts_with("permissions"), "{reply}");
}

/// F6b: who gives proves to be the giver; between two humans only an operator gives.
#[tokio::test]
async fn f06b_only_the_giver_or_an_operator_gives() {
    let app = crate::start().await;
    let chain = Chain::new(&app).await;
    let bob = app.user().await;
    let foreign = app.agent(&bob, may(&["read"], "mcp:bob")).await;
    let repos = || may(&["read"], "mcp:github:repos");
    let (a, b, to) = (&chain.a, &chain.b, &foreign.id);
    give(&app.anonymous(), &a.id, &chain.c.id, repos(), json!({}))
        .await
        .refused(401, "unauthenticated");
    give(&app.call(&b.key), &a.id, &chain.c.id, repos(), json!({}))
        .await
        .refused(403, "forbidden");
    give(&app.call(&a.key), &a.id, &chain.c.id, repos(), json!({}))
        .await
        .expect(201);
    // Another human's agent.
    let reply = give(&app.call(&a.key), &a.id, to, repos(), json!({})).await;
    assert_eq!(reply.refused(403, "not_narrower").field(), "to");
    give(&app.operator(), &a.id, to, repos(), json!({}))
        .await
        .expect(201);
}

/// Authority.md, "Grants and chains": a request is made for one human.
#[tokio::test]
async fn a_request_is_made_for_one_human() {
    let app = crate::start().await;
    let (ada, bob) = (app.user().await, app.user().await);
    let giver = app.agent(&ada, may(&["read"], "mail:ada:*")).await;
    let agent = app.agent(&bob, may(&["read"], "mail:bob:*")).await;
    app.delegate(&giver.id, &agent.id, may(&["read"], "mail:ada:inbox"))
        .await
        .expect(201);
    let ask = |user: Option<&String>, resource: &str| {
        let mut question = json!({ "agentId": agent.id, "action": "read", "resource": resource });
        if let Some(user) = user {
            question["for"] = json!(user);
        }
        question
    };
    app.ask(ask(None, "mail:bob:inbox"))
        .await
        .decided("allowed");
    app.ask(ask(Some(&bob), "mail:bob:inbox"))
        .await
        .decided("allowed");
    app.ask(ask(Some(&ada), "mail:ada:inbox"))
        .await
        .decided("allowed");
    // Neither one's task reads the other's mail.
    app.ask(ask(None, "mail:ada:inbox"))
        .await
        .decided("permission_denied");
    app.ask(ask(Some(&bob), "mail:ada:inbox"))
        .await
        .decided("permission_denied");
    app.ask(ask(Some(&ada), "mail:bob:inbox"))
        .await
        .decided("permission_denied");
    let stranger = app.user().await;
    app.ask(ask(Some(&stranger), "mail:ada:inbox"))
        .await
        .decided("subject_required");
    // The record names the human whose mail it is.
    let record = app
        .audit(&format!("userId={ada}&outcome=allowed&kind=decision"))
        .await;
    assert_eq!(record.len(), 1);
    assert_eq!(record[0]["subject"], json!(ada));
}

#[tokio::test]
async fn a_delegation_is_refused_unless_both_ends_and_the_reason_are_there() {
    let app = crate::start().await;
    let chain = Chain::new(&app).await;
    let operator = app.operator();
    let to = app.agent(&chain.user, may(&["read"], "mcp:none")).await;
    let repos = || may(&["read"], "mcp:github:repos");
    let nobody = "agent_01h455vb4pex5vsknk084sn02q";
    give(&operator, nobody, &to.id, repos(), json!({}))
        .await
        .refused(404, "not_found");
    give(&operator, &chain.a.id, nobody, repos(), json!({}))
        .await
        .refused(404, "not_found");
    for (field, more) in [
        ("reason", json!({ "reason": "" })),
        ("reason", json!({ "reason": "x".repeat(201) })),
        ("reason", json!({ "reason": "a\nb" })),
        ("reason", json!({ "reason": null })),
        ("ttlSeconds", json!({ "ttlSeconds": 0 })),
        ("ttlSeconds", json!({ "ttlSeconds": -1 })),
        (
            "ttlSeconds",
            json!({ "ttlSeconds": 60, "expiresAt": "2026-11-21T10:10:00Z" }),
        ),
        ("expiresAt", json!({ "expiresAt": "2026-11-21T10:00:00Z" })),
        ("expiresAt", json!({ "expiresAt": "soon" })),
        ("maxDepth", json!({ "maxDepth": 8 })),
        ("maxDepth", json!({ "maxDepth": -1 })),
        ("permissions", json!({ "permissions": [] })),
        ("parent", json!({ "parent": "grant_x" })),
        ("guards", json!({ "guards": { "maxCallsPerDay": 1 } })),
    ] {
        let reply = give(&operator, &chain.a.id, &to.id, repos(), more.clone()).await;
        assert_eq!(reply.status, 400, "{more}: {reply}");
        assert!(reply.field().starts_with(field), "{more}: {reply}");
    }
    let parent = json!({ "parent": chain.links[1] });
    give(&operator, &chain.a.id, &to.id, repos(), parent)
        .await
        .refused(404, "not_found");
    operator
        .post(&format!("{}/suspend", path(&to)), json!({}))
        .await
        .expect(200);
    give(&operator, &chain.a.id, &to.id, repos(), json!({}))
        .await
        .refused(409, "conflict");
    operator
        .post(&format!("{}/resume", path(&to)), json!({}))
        .await
        .expect(200);
    give(&operator, &chain.a.id, &to.id, repos(), json!({}))
        .await
        .expect(201);
    operator
        .post(&format!("{}/suspend", path(&chain.a)), json!({}))
        .await
        .expect(200);
    give(&operator, &chain.a.id, &to.id, repos(), json!({}))
        .await
        .refused(409, "conflict");
}
