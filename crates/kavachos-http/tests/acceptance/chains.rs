//! Chains of delegations: how deep, how long, and gone when anyone above is gone.

use kavachos_test::{Call, Reply, TestAgent, TestApp, may};
use serde_json::{Value, json};

/// Three agents of one human, of whom only the first may do anything with `mcp:github`.
pub(crate) struct Chain {
    pub(crate) user: String,
    pub(crate) a: TestAgent,
    pub(crate) b: TestAgent,
    pub(crate) c: TestAgent,
    /// A to B, and B to C.
    pub(crate) links: [String; 2],
}

impl Chain {
    pub(crate) async fn new(app: &TestApp) -> Self {
        let user = app.user().await;
        let a = app.agent(&user, may(&["read"], "mcp:github:*")).await;
        let b = app.agent(&user, may(&["read"], "mcp:b")).await;
        let c = app.agent(&user, may(&["read"], "mcp:c")).await;
        let wide = may(&["read"], "mcp:github:*");
        let first = app.delegate(&a.id, &b.id, wide).await.expect(201);
        let narrow = may(&["read"], "mcp:github:repos");
        let second = app.delegate(&b.id, &c.id, narrow).await.expect(201);
        let links = [first.id().to_owned(), second.id().to_owned()];
        Self {
            user,
            a,
            b,
            c,
            links,
        }
    }

    /// What B and C get for what A gave them: the operator by id, and each with its own key.
    pub(crate) async fn both(&self, app: &TestApp) -> Vec<String> {
        let mut codes = Vec::new();
        for agent in [&self.b, &self.c] {
            codes.push(
                app.decide(&agent.id, "read", "mcp:github:repos")
                    .await
                    .code()
                    .to_owned(),
            );
            let question = json!({ "action": "read", "resource": "mcp:github:repos" });
            let reply = app
                .call(&agent.key)
                .post("/api/v1/authorize", question)
                .await;
            codes.push(reply.code().to_owned());
        }
        codes
    }
}

pub(crate) fn path(agent: &TestAgent) -> String {
    format!("/api/v1/agents/{}", agent.id)
}

/// A delegation, written as the caller likes.
pub(crate) async fn give(
    caller: &Call,
    from: &str,
    to: &str,
    permissions: Value,
    more: Value,
) -> Reply {
    let mut body =
        json!({ "from": from, "to": to, "permissions": permissions, "reason": "the test" });
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    caller.post("/api/v1/delegations", body).await
}

/// F1, B17.
#[tokio::test]
async fn f01_b17_a_revoked_parent_stops_its_children() {
    let app = crate::start().await;
    let chain = Chain::new(&app).await;
    assert_eq!(chain.both(&app).await, ["allowed"; 4]);
    let revoked = app.operator().delete(&path(&chain.a)).await.expect(200);
    assert_eq!(revoked.at("/data/state"), "closed");
    assert_eq!(revoked.at("/data/effectiveBy"), "2026-11-21T10:00:00Z");
    assert_eq!(chain.both(&app).await, ["ancestor_not_active"; 4]);
    // What B may do by itself is not A's to end.
    app.decide(&chain.b.id, "read", "mcp:b")
        .await
        .decided("allowed");
}

/// F1: the original looked at the grants alone.
#[tokio::test]
async fn f01_a_suspended_parent_stops_its_children_until_it_is_resumed() {
    let app = crate::start().await;
    let chain = Chain::new(&app).await;
    let turn = |how: &str| format!("{}/{how}", path(&chain.a));
    app.operator()
        .post(&turn("suspend"), json!({}))
        .await
        .expect(200);
    assert_eq!(chain.both(&app).await, ["ancestor_not_active"; 4]);
    app.operator()
        .post(&turn("resume"), json!({}))
        .await
        .expect(200);
    assert_eq!(chain.both(&app).await, ["allowed"; 4]);
}

/// F1.
#[tokio::test]
async fn f01_an_expired_parent_stops_its_children() {
    let app = crate::start().await;
    let chain = Chain::new(&app).await;
    let soon = json!({ "expiresAt": "2026-11-21T10:05:00Z" });
    app.operator()
        .patch(&path(&chain.a), soon)
        .await
        .expect(200);
    assert_eq!(chain.both(&app).await, ["allowed"; 4]);
    app.advance(299);
    assert_eq!(chain.both(&app).await, ["allowed"; 4]);
    app.advance(1);
    assert_eq!(chain.both(&app).await, ["ancestor_not_active"; 4]);
}

/// F1: the human above is an ancestor too, of every hop.
#[tokio::test]
async fn f01_a_banned_human_stops_the_chain_that_passes_through_their_agent() {
    let app = crate::start().await;
    let chain = Chain::new(&app).await;
    let (bob, other) = (app.user().await, app.user().await);
    let foreign = app.agent(&bob, may(&["read"], "mcp:bob")).await;
    let last = app.agent(&other, may(&["read"], "mcp:other")).await;
    let operator = app.operator();
    let repos = || may(&["read"], "mcp:github:repos");
    give(&operator, &chain.a.id, &foreign.id, repos(), json!({}))
        .await
        .expect(201);
    give(&operator, &foreign.id, &last.id, repos(), json!({}))
        .await
        .expect(201);
    let ask = json!({
        "agentId": last.id, "for": chain.user, "action": "read", "resource": "mcp:github:repos",
    });
    app.ask(ask.clone()).await.decided("allowed");
    // Bob neither gave nor receives, but his agent stands between.
    operator
        .post(&format!("/api/v1/users/{bob}/ban"), json!({}))
        .await
        .expect(200);
    app.ask(ask.clone()).await.decided("ancestor_not_active");
    operator
        .post(&format!("/api/v1/users/{bob}/unban"), json!({}))
        .await
        .expect(200);
    app.ask(ask).await.decided("allowed");
}

/// F5, B16: depth.
#[tokio::test]
async fn f05_b16_no_chain_is_deeper_than_the_root_grant_allows() {
    let app = crate::start().await;
    let user = app.user().await;
    for max_depth in [0, 1, 3] {
        let all = || may(&["read"], "mcp:*");
        let mut last = app
            .agent_with(&user, all(), json!({ "maxDepth": max_depth }))
            .await;
        for _ in 0..max_depth {
            let next = app.agent(&user, may(&["read"], "mcp:none")).await;
            // Each asks for more than is left, and is told what it gets.
            let more = json!({ "maxDepth": 7 });
            let reply = give(&app.operator(), &last.id, &next.id, all(), more)
                .await
                .expect(201);
            assert_eq!(reply.at("/data/maxDepth"), max_depth);
            last = next;
        }
        app.decide(&last.id, "read", "mcp:x")
            .await
            .decided("allowed");
        let next = app.agent(&user, may(&["read"], "mcp:none")).await;
        app.delegate(&last.id, &next.id, all())
            .await
            .refused(422, "depth_exceeded");
        let sub = json!({ "ownerId": last.id, "name": "s", "type": "service", "permissions": may(&["read"], "mcp:x") });
        app.operator()
            .post("/api/v1/agents", sub)
            .await
            .refused(422, "depth_exceeded");
    }
    let eight = json!({
        "ownerId": user, "name": "a", "type": "service", "permissions": may(&["read"], "mcp:*"), "maxDepth": 8,
    });
    let reply = app.operator().post("/api/v1/agents", eight).await;
    assert_eq!(reply.refused(400, "malformed_request").field(), "maxDepth");
}

/// F5, B16: expiry.
#[tokio::test]
async fn f05_b16_no_child_outlives_its_parent() {
    let app = crate::start().await;
    let chain = Chain::new(&app).await;
    let operator = app.operator();
    let default = operator
        .get(&format!("/api/v1/delegations/{}", chain.links[0]))
        .await
        .expect(200);
    assert_eq!(
        default.at("/data/expiresAt"),
        "2026-11-21T10:15:00Z",
        "15 minutes"
    );
    let to = app.agent(&chain.user, may(&["read"], "mcp:none")).await;
    let repos = || may(&["read"], "mcp:github:repos");
    let parent = json!({ "parent": chain.links[0] });
    for (life, expected) in [
        (json!({ "ttlSeconds": 3_600 }), "2026-11-21T10:15:00Z"),
        (
            json!({ "expiresAt": "2027-01-01T00:00:00Z" }),
            "2026-11-21T10:15:00Z",
        ),
        (json!({ "ttlSeconds": 60 }), "2026-11-21T10:01:00Z"),
    ] {
        let mut more = parent.clone();
        more.as_object_mut()
            .unwrap()
            .extend(life.as_object().unwrap().clone());
        let reply = give(&operator, &chain.b.id, &to.id, repos(), more)
            .await
            .expect(201);
        assert_eq!(reply.at("/data/expiresAt"), expected, "{reply}");
    }
    assert_eq!(chain.both(&app).await, ["allowed"; 4]);
    app.advance(900);
    assert_eq!(chain.both(&app).await, ["grant_expired"; 4]);
    give(&operator, &chain.b.id, &to.id, repos(), parent)
        .await
        .refused(409, "conflict");
}

/// F6, B16: B and C own none of it, and the chain works all the same.
#[tokio::test]
async fn f06_b16_a_received_right_can_be_given_on() {
    let app = crate::start().await;
    let chain = Chain::new(&app).await;
    assert_eq!(chain.both(&app).await, ["allowed"; 4]);
    app.decide(&chain.c.id, "read", "mcp:github:issues")
        .await
        .decided("permission_denied");
    let second = app
        .operator()
        .get(&format!("/api/v1/delegations/{}", chain.links[1]))
        .await
        .expect(200);
    assert_eq!(second.at("/data/parent"), &json!(chain.links[0]));
    assert_eq!(second.at("/data/depth"), 2);
    assert_eq!(second.at("/data/userId"), &json!(chain.user));
    let effective = app
        .operator()
        .get(&format!("{}/permissions", path(&chain.c)))
        .await
        .expect(200);
    let mut hops: Vec<usize> = effective
        .rows()
        .iter()
        .map(|row| row["path"].as_array().unwrap().len())
        .collect();
    hops.sort_unstable();
    assert_eq!(hops, [1, 3], "{effective}");
}

/// F6, B18: a revoked link ends what hangs on it, and nothing else.
#[tokio::test]
async fn f06_b18_a_revoked_link_ends_only_what_came_through_it() {
    let app = crate::start().await;
    let chain = Chain::new(&app).await;
    let own = app.agent(&chain.user, may(&["read"], "mcp:none")).await;
    app.delegate(&chain.b.id, &own.id, may(&["read"], "mcp:b"))
        .await
        .expect(201);
    // C has a second way to the same right.
    let second = app
        .delegate(
            &chain.a.id,
            &chain.c.id,
            may(&["read"], "mcp:github:issues"),
        )
        .await
        .expect(201);
    let first = format!("/api/v1/delegations/{}", chain.links[0]);
    app.operator().delete(&first).await.expect(200);
    assert_eq!(chain.both(&app).await, ["ancestor_not_active"; 4]);
    app.decide(&own.id, "read", "mcp:b")
        .await
        .decided("allowed");
    app.decide(&chain.c.id, "read", "mcp:github:issues")
        .await
        .decided("allowed");
    app.operator().delete(&first).await.expect(200);
    let shown = app.operator().get(&first).await.expect(200);
    assert_eq!(shown.at("/data/status"), "revoked");
    app.operator()
        .delete(&format!("/api/v1/delegations/{}", second.id()))
        .await
        .expect(200);
    app.decide(&chain.c.id, "read", "mcp:github:issues")
        .await
        .decided("ancestor_not_active");
}

/// Authority.md: a narrowed ancestor narrows everyone below, at once.
#[tokio::test]
async fn a_narrowed_parent_narrows_its_children_at_once() {
    let app = crate::start().await;
    let chain = Chain::new(&app).await;
    assert_eq!(chain.both(&app).await, ["allowed"; 4]);
    let issues = json!({ "permissions": may(&["read"], "mcp:github:issues") });
    app.operator()
        .patch(&path(&chain.a), issues)
        .await
        .expect(200);
    assert_eq!(chain.both(&app).await, ["permission_denied"; 4]);
    app.decide(&chain.b.id, "read", "mcp:github:issues")
        .await
        .decided("allowed");
    let wide = json!({ "permissions": may(&["read"], "mcp:github:*") });
    app.operator()
        .patch(&path(&chain.a), wide)
        .await
        .expect(200);
    assert_eq!(chain.both(&app).await, ["allowed"; 4]);
    let guards = json!({ "guards": { "ipAllowlist": ["192.0.2.1"] } });
    app.operator()
        .patch(&path(&chain.a), guards)
        .await
        .expect(200);
    assert_eq!(chain.both(&app).await, ["ip_not_allowed"; 4]);
    app.operator()
        .patch(&path(&chain.a), json!({ "guards": null }))
        .await
        .expect(200);
    assert_eq!(chain.both(&app).await, ["allowed"; 4]);
}

/// Authority.md: a human's permissions are the first hop of every path.
#[tokio::test]
async fn a_narrowed_human_narrows_all_their_agents() {
    let app = crate::start().await;
    let chain = Chain::new(&app).await;
    let user = format!("/api/v1/users/{}", chain.user);
    let narrow = json!({ "permissions": may(&["read"], "mcp:b") });
    app.operator().patch(&user, narrow).await.expect(200);
    assert_eq!(chain.both(&app).await, ["permission_denied"; 4]);
    app.decide(&chain.b.id, "read", "mcp:b")
        .await
        .decided("allowed");
    let agent = json!({ "ownerId": chain.user, "name": "a", "type": "service", "permissions": may(&["read"], "mcp:x") });
    app.operator()
        .post("/api/v1/agents", agent.clone())
        .await
        .refused(403, "not_narrower");
    app.operator()
        .patch(&user, json!({ "permissions": null }))
        .await
        .expect(200);
    assert_eq!(chain.both(&app).await, ["allowed"; 4]);
    app.operator()
        .post("/api/v1/agents", agent)
        .await
        .expect(201);
}

/// The seeds' github-reader and repo-scanner.
#[tokio::test]
async fn a_sub_agent_has_a_part_of_its_owner_and_ends_with_it() {
    let app = crate::start().await;
    let user = app.user().await;
    let reader = app.agent(&user, may(&["read"], "mcp:github:*")).await;
    let sub = |permissions: Value| json!({ "ownerId": reader.id, "name": "repo-scanner", "type": "autonomous", "permissions": permissions });
    for wider in [
        may(&["read"], "mcp:slack:x"),
        may(&["write"], "mcp:github:repos"),
        may(&["read"], "*"),
    ] {
        app.operator()
            .post("/api/v1/agents", sub(wider))
            .await
            .refused(403, "not_narrower");
    }
    let scanner = app
        .call(&reader.key)
        .post("/api/v1/agents", sub(may(&["read"], "mcp:github:repos")))
        .await;
    let scanner = TestAgent::of(&scanner.expect(201));
    let shown = app.operator().get(&path(&scanner)).await.expect(200);
    assert_eq!(shown.at("/data/ownerId"), &json!(reader.id));
    assert_eq!(shown.at("/data/userId"), &json!(user));
    let third = app
        .agent(&scanner.id, may(&["read"], "mcp:github:repos"))
        .await;
    for agent in [&scanner, &third] {
        app.decide(&agent.id, "read", "mcp:github:repos")
            .await
            .decided("allowed");
        app.decide(&agent.id, "read", "mcp:github:issues")
            .await
            .decided("permission_denied");
    }
    app.operator().delete(&path(&reader)).await.expect(200);
    for agent in [&scanner, &third] {
        app.decide(&agent.id, "read", "mcp:github:repos")
            .await
            .decided("owner_not_active");
        app.call(&agent.key)
            .get(&path(agent))
            .await
            .refused(401, "unauthenticated");
        let rotate = format!("{}/rotate", path(agent));
        app.operator()
            .post(&rotate, json!({}))
            .await
            .refused(409, "conflict");
    }
}

/// A sub-agent's grant ends with the grant that it comes from.
#[tokio::test]
async fn a_sub_agent_of_a_received_right_ends_with_it() {
    let app = crate::start().await;
    let chain = Chain::new(&app).await;
    let more = json!({ "parent": chain.links[0] });
    let sub = app
        .agent_with(&chain.b.id, may(&["read"], "mcp:github:repos"), more)
        .await;
    let shown = app.operator().get(&path(&sub)).await.expect(200);
    assert_eq!(shown.at("/data/grantExpiresAt"), "2026-11-21T10:15:00Z");
    app.decide(&sub.id, "read", "mcp:github:repos")
        .await
        .decided("allowed");
    app.advance(900);
    app.decide(&sub.id, "read", "mcp:github:repos")
        .await
        .decided("grant_expired");
}
