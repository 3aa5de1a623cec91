//! Who may call what: no route without a live credential of the right kind.

use kavachos_test::{Call, TestApp, may, may_under};
use serde_json::{Value, json};

use crate::routes::{AgentKey, OPEN, Session, World, routes};

/// A well-formed credential that this server never issued.
fn unknown(kind: kavachos_core::secret::SecretKind) -> String {
    kavachos_core::secret::Secret::new(kind, [0xee; 32])
        .reveal()
        .to_owned()
}

/// Callers whom no route may let in.
async fn strangers(app: &TestApp) -> Vec<(&'static str, Call)> {
    use kavachos_core::secret::SecretKind::{Agent, Operator, Resource, Session};
    let key = app.operator_key();
    let expiring = json!({ "name": "e", "scopes": ["*"], "expiresAt": "2026-11-21T10:00:01Z" });
    let expired = app.key(expiring).await;
    let revoked = json!({ "name": "r", "scopes": ["*"] });
    let revoked = app
        .operator()
        .post("/api/v1/keys", revoked)
        .await
        .expect(201);
    let path = format!("/api/v1/keys/{}", revoked.id());
    app.operator().delete(&path).await.expect(200);
    let ended = app.session(&app.user().await).await;
    let path = format!("/api/v1/sessions/{}", ended.id);
    app.operator().delete(&path).await.expect(200);
    let banned = app.user().await;
    let of_banned = app.session(&banned).await;
    let path = format!("/api/v1/users/{banned}/ban");
    app.operator().post(&path, json!({})).await.expect(200);
    app.advance(1);
    let with = |value: &str| app.anonymous().header("authorization", value);
    vec![
        ("no credential", app.anonymous()),
        ("an empty header", with("")),
        ("a scheme without a credential", with("Bearer")),
        ("an empty credential", with("Bearer ")),
        ("another scheme", with(&format!("Basic {key}"))),
        ("no scheme", with(key)),
        (
            "a credential cut short",
            with(&format!("Bearer {}", key.trim_end_matches(|_| true))),
        ),
        ("a wrong checksum", with(&format!("Bearer {key}x"))),
        (
            "two credentials",
            with(&format!("Bearer {key}")).header("authorization", "Bearer x"),
        ),
        (
            "bytes that are no text",
            app.anonymous()
                .header_bytes("authorization", b"Bearer \xff"),
        ),
        ("an unknown operator key", app.call(&unknown(Operator))),
        ("an unknown agent key", app.call(&unknown(Agent))),
        ("an unknown session", app.call(&unknown(Session))),
        ("a revoked session", app.call(&ended.token)),
        ("the session of a banned human", app.call(&of_banned.token)),
        ("an unknown resource key", app.call(&unknown(Resource))),
        ("an expired operator key", app.call(&expired)),
        (
            "a revoked operator key",
            app.call(revoked.text_at("/data/token")),
        ),
    ]
}

/// Lessons B: every management call carries a credential; each case is repeated without one and gives 401.
#[tokio::test]
async fn b_every_route_gives_401_to_a_caller_without_a_live_credential() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    let strangers = strangers(&app).await;
    for route in routes() {
        for (who, stranger) in &strangers {
            let reply = route.call(stranger, &world).await;
            assert_eq!(reply.status, 401, "{} with {who}: {reply}", route.name());
            route.refused(&reply, 401, "unauthenticated");
            assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"kavach\"");
            assert_eq!(reply.header("cache-control"), "no-store");
        }
    }
    // The twin: the same calls of an operator are let in, each in a world of its own.
    for route in routes() {
        let app = crate::start().await;
        let world = World::new(&app).await;
        let reply = route.call(&app.operator(), &world).await;
        assert!(reply.status < 300, "{}: {reply}", route.name());
    }
}

#[tokio::test]
async fn a_key_is_taken_with_the_scheme_in_any_case() {
    let app = crate::start().await;
    let header = format!("bEARER {}", app.operator_key());
    let caller = app.anonymous().header("authorization", &header);
    caller.get("/api/v1/keys").await.expect(200);
}

#[tokio::test]
async fn only_the_operations_routes_are_open() {
    let app = crate::start().await;
    for path in OPEN {
        app.anonymous().get(path).await.expect(200);
    }
    for path in ["/openapi.json", "/docs", OPEN[6]] {
        let unknown = app.anonymous().get(&format!("{path}?x=1")).await;
        unknown.refused(400, "malformed_request");
    }
    app.anonymous()
        .get("/api/v1/nothing")
        .await
        .refused(404, "no_such_route");
    app.anonymous()
        .get("/api/v1/agents")
        .await
        .refused(401, "unauthenticated");
}

#[tokio::test]
async fn an_agent_key_gives_403_where_an_operator_is_needed() {
    for route in routes() {
        let app = crate::start().await;
        let world = World::new(&app).await;
        let reply = route.call(&app.call(&world.agent.key), &world).await;
        match route.agent_key {
            AgentKey::Refused => {
                route.refused(&reply, 403, "forbidden");
            }
            // Nobody owns itself, so to an agent it is as if the route's agent could not be deleted.
            AgentKey::ForItself if route.name() == "DELETE /api/v1/agents/{agent}" => {
                assert_eq!(reply.status, 404, "{reply}");
            }
            AgentKey::ForItself => assert!(reply.status < 300, "{}: {reply}", route.name()),
        }
    }
}

#[tokio::test]
async fn a_session_may_do_what_is_its_humans_and_gives_403_where_an_operator_is_needed() {
    for route in routes() {
        let app = crate::start().await;
        let world = World::new(&app).await;
        let reply = route.call(&app.call(&world.session.token), &world).await;
        match route.session {
            Session::ForItsHuman => assert!(reply.status < 300, "{}: {reply}", route.name()),
            Session::Refused => route.refused(&reply, 403, "forbidden"),
        }
    }
}

#[tokio::test]
async fn to_another_humans_session_nothing_of_it_exists() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    let stranger = app.session(&app.user().await).await;
    let stranger = app.call(&stranger.token);
    let theirs = [
        &world.user,
        &world.agent.id,
        &world.other.id,
        &world.delegation,
        &world.approval,
        &world.session.id,
        &world.connection,
    ];
    for route in routes() {
        let reply = route.call(&stranger, &world).await;
        match route.session {
            Session::Refused => assert_eq!(reply.status, 403, "{}: {reply}", route.name()),
            Session::ForItsHuman if route.path.contains('{') => {
                assert_eq!(reply.status, 404, "{}: {reply}", route.name());
                assert_eq!(reply.code(), "not_found");
            }
            Session::ForItsHuman => {
                assert_eq!(reply.status, 200, "{}: {reply}", route.name());
                let shown = theirs.iter().find(|id| reply.text.contains(id.as_str()));
                assert_eq!(shown, None, "{}: {reply}", route.name());
            }
        }
    }
    // Nothing came of it: all of it still stands.
    let own = app.call(&world.session.token);
    for path in [
        format!("/api/v1/agents/{}", world.agent.id),
        format!("/api/v1/delegations/{}", world.delegation),
        format!("/api/v1/approvals/{}", world.approval),
    ] {
        let status = own.get(&path).await.expect(200);
        let status = status.text_at("/data/status").to_owned();
        assert!(["active", "pending"].contains(&status.as_str()), "{path}");
    }
}

#[tokio::test]
async fn a_dead_agent_key_gives_401_but_a_decision_where_one_is_asked_for() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    let dead = [
        ("rotated", "key_revoked", &world.other),
        ("suspended", "key_revoked", &world.suspended),
    ];
    let rotate = format!("/api/v1/agents/{}/rotate", world.other.id);
    app.operator().post(&rotate, json!({})).await.expect(201);
    for (how, code, agent) in dead {
        for route in routes() {
            let reply = route.call(&app.call(&agent.key), &world).await;
            if route.is_decision() {
                // It asks for another agent than its own.
                reply.refused(403, "forbidden");
            } else {
                assert_eq!(reply.status, 401, "{how}, {}: {reply}", route.name());
            }
        }
        let question = json!({ "action": "read", "resource": "mcp:slack:send" });
        let asked = app
            .call(&agent.key)
            .post("/api/v1/authorize", question)
            .await;
        asked.decided(code);
    }
    // The twin: a live key of the same kind.
    let question = json!({ "action": "read", "resource": "mcp:github:repos" });
    let live = app.call(&world.agent.key);
    live.post("/api/v1/authorize", question)
        .await
        .decided("allowed");
}

#[tokio::test]
async fn each_route_asks_for_its_own_scope_and_for_no_other() {
    const ALL: [&str; 10] = [
        "agents:read",
        "agents:write",
        "authorize:any",
        "approvals:decide",
        "audit:read",
        "users:read",
        "users:write",
        "sessions:write",
        "keys:write",
        "webhooks:write",
    ];
    for route in routes() {
        let app = crate::start().await;
        let world = World::new(&app).await;
        // Whoever may change a user may also see the user that was changed.
        let others = ALL.iter().filter(|scope| **scope != route.scope);
        let others =
            others.filter(|scope| (route.path, **scope) != ("/api/v1/users/{user}", "users:write"));
        let others: Vec<_> = others.collect();
        let without = app
            .key(json!({ "name": "without", "scopes": others }))
            .await;
        let reply = route.call(&app.call(&without), &world).await;
        route.refused(&reply, 403, "forbidden");
        let with = app
            .key(json!({ "name": "with", "scopes": [route.scope] }))
            .await;
        // A key keeps only keys that are no stronger than itself.
        if !route.path.contains("{key}") {
            let reply = route.call(&app.call(&with), &world).await;
            assert!(
                reply.status < 300,
                "{} with {}: {reply}",
                route.name(),
                route.scope
            );
        }
    }
}

#[tokio::test]
async fn an_agent_key_sees_itself_and_what_is_its_own() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    let sub = app
        .agent(&world.agent.id, may(&["read"], "mcp:github:repos"))
        .await;
    let (giver, receiver) = (app.call(&world.agent.key), app.call(&world.other.key));
    let agent = |id: &str| format!("/api/v1/agents/{id}");
    let given = format!("/api/v1/delegations/{}", world.delegation);

    for own in [&world.agent.id, &sub.id] {
        giver.get(&agent(own)).await.expect(200);
        giver
            .get(&format!("{}/permissions", agent(own)))
            .await
            .expect(200);
    }
    giver
        .get(&agent(&world.other.id))
        .await
        .refused(404, "not_found");
    let listed = giver.get("/api/v1/agents").await.expect(200);
    assert_eq!(listed.rows().len(), 1, "{listed}");
    assert_eq!(listed.at("/data/0/id"), &json!(sub.id));
    let others = format!("/api/v1/agents?ownerId={}", world.user);
    let listed = giver.get(&others).await.expect(200);
    assert!(
        listed.rows().iter().all(|row| row["id"] == sub.id.as_str()),
        "{listed}"
    );

    giver.get(&given).await.expect(200);
    receiver.get(&given).await.refused(404, "not_found");
    receiver.delete(&given).await.refused(404, "not_found");
    assert_eq!(receiver.get("/api/v1/delegations").await.rows().len(), 0);
    giver.delete(&given).await.expect(200);

    receiver
        .delete(&agent(&sub.id))
        .await
        .refused(404, "not_found");
    giver.delete(&agent(&sub.id)).await.expect(200);
}

#[tokio::test]
async fn an_agent_key_makes_agents_and_delegations_for_itself_alone() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    let agent = app.call(&world.agent.key);
    let new = |owner: &str| json!({ "ownerId": owner, "name": "n", "type": "service", "permissions": may(&["read"], "mcp:github:x") });
    for owner in [&world.user, &world.other.id] {
        agent
            .post("/api/v1/agents", new(owner))
            .await
            .refused(403, "forbidden");
    }
    agent
        .post("/api/v1/agents", new(&world.agent.id))
        .await
        .expect(201);

    let give = |from: &str, to: &str| json!({ "from": from, "to": to, "permissions": may(&["read"], "mcp:github:x"), "reason": "r" });
    for from in [&world.user, &world.other.id] {
        let refused = agent
            .post("/api/v1/delegations", give(from, &world.suspended.id))
            .await;
        refused.refused(403, "forbidden");
    }
    let given = agent
        .post(
            "/api/v1/delegations",
            give(&world.agent.id, &world.other.id),
        )
        .await;
    given.expect(201);
}

#[tokio::test]
async fn an_agent_asks_for_itself_and_says_nothing_about_its_own_call() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    let agent = app.call(&world.agent.key);
    let ask = |more: Value| {
        let mut question = json!({ "action": "read", "resource": "mcp:github:repos" });
        if let (Some(question), Value::Object(more)) = (question.as_object_mut(), more) {
            question.extend(more);
        }
        question
    };
    let path = "/api/v1/authorize";
    agent.post(path, ask(json!({}))).await.decided("allowed");
    agent
        .post(path, ask(json!({ "agentId": world.agent.id })))
        .await
        .decided("allowed");
    agent
        .post(path, ask(json!({ "agentId": world.other.id })))
        .await
        .refused(403, "forbidden");
    for (field, value) in [
        ("context", json!({ "ip": "10.0.0.1" })),
        ("cost", json!({ "amount": 1, "unit": "cent" })),
    ] {
        let mut more = serde_json::Map::new();
        more.insert(field.to_owned(), value);
        let reply = agent.post(path, ask(Value::Object(more.clone()))).await;
        assert_eq!(reply.refused(400, "malformed_request").field(), field);
        more.insert("agentId".to_owned(), json!(world.agent.id));
        app.ask(ask(Value::Object(more))).await.decided("allowed");
    }
    // Only an operator has to say which agent it means.
    let reply = app
        .ask(ask(json!({})))
        .await
        .refused(400, "malformed_request");
    assert_eq!(reply.field(), "agentId");
}

/// A key with every scope that reaches no further than `mcp:github:*`.
async fn bounded(app: &TestApp) -> Call {
    let ceiling = may(&["read"], "mcp:github:*");
    let key = json!({ "name": "bounded", "scopes": ["*"], "ceiling": ceiling });
    app.call(&app.key(key).await)
}

#[tokio::test]
async fn a_ceiling_bounds_everything_that_is_made_widened_or_asked() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    let bounded = bounded(&app).await;
    let ours = app
        .agent(&world.user, may(&["read"], "mcp:github:issues"))
        .await;
    let wide = app.agent(&world.user, may(&["*"], "*")).await;
    let path = format!("/api/v1/agents/{}", ours.id);
    let user = format!("/api/v1/users/{}", world.user);
    let agent = |permissions| json!({ "ownerId": world.user, "name": "n", "type": "service", "permissions": permissions });
    let give = |permissions| json!({ "from": wide.id, "to": ours.id, "permissions": permissions, "reason": "r" });
    let ask =
        |resource: &str| json!({ "agentId": wide.id, "action": "read", "resource": resource });
    let key = |ceiling| json!({ "name": "k", "scopes": ["audit:read"], "ceiling": ceiling });
    for (allowed, resource) in [
        (true, "mcp:github:repos"),
        (false, "mcp:slack:send"),
        (false, "*"),
    ] {
        let permissions = may(&["read"], resource);
        let replies = [
            bounded
                .post("/api/v1/agents", agent(permissions.clone()))
                .await,
            bounded
                .post("/api/v1/delegations", give(permissions.clone()))
                .await,
            bounded
                .patch(&path, json!({ "permissions": permissions }))
                .await,
            bounded.post("/api/v1/keys", key(permissions.clone())).await,
            bounded
                .post(
                    "/api/v1/users",
                    json!({ "name": "n", "permissions": permissions }),
                )
                .await,
            bounded
                .patch(&user, json!({ "permissions": permissions }))
                .await,
        ];
        for (at, reply) in replies.into_iter().enumerate() {
            match allowed {
                true => assert!(reply.status < 300, "{resource} {at}: {reply}"),
                false => assert_eq!(
                    (reply.status, reply.code()),
                    (403, "forbidden"),
                    "{resource} {at}: {reply}"
                ),
            }
        }
        // The user was narrowed to what lies below the ceiling by the first round.
        if resource != "*" {
            let asked = bounded.post("/api/v1/authorize", ask(resource)).await;
            assert_eq!(asked.status, if allowed { 200 } else { 403 }, "{asked}");
        }
    }
    bounded
        .post("/api/v1/users", json!({ "name": "n" }))
        .await
        .refused(403, "forbidden");
    bounded
        .post(
            "/api/v1/keys",
            json!({ "name": "k", "scopes": ["audit:read"] }),
        )
        .await
        .refused(403, "forbidden");
}

/// The new key of an agent is a key that was made: with it the caller would hold all that the agent holds.
#[tokio::test]
async fn a_ceiling_bounds_the_rotation_of_an_agents_key() {
    let app = crate::start().await;
    let user = app.user().await;
    let bounded = bounded(&app).await;
    let wide = app.agent(&user, may(&["*"], "*")).await;
    let narrow = app.agent(&user, may(&["read"], "mcp:github:repos")).await;
    let rotate = |id: &str| format!("/api/v1/agents/{id}/rotate");
    bounded
        .post(&rotate(&wide.id), json!({}))
        .await
        .refused(403, "forbidden");
    bounded
        .post(&rotate(&narrow.id), json!({}))
        .await
        .expect(201);
    // What it received counts as well as what it was made with.
    app.delegate(&wide.id, &narrow.id, may(&["read"], "mcp:slack:*"))
        .await
        .expect(201);
    bounded
        .post(&rotate(&narrow.id), json!({}))
        .await
        .refused(403, "forbidden");
    app.operator()
        .post(&rotate(&wide.id), json!({}))
        .await
        .expect(201);
}

#[tokio::test]
async fn a_key_makes_changes_and_revokes_no_stronger_key() {
    let app = crate::start().await;
    let ceiling = may(&["read"], "mcp:github:*");
    let mine = json!({
        "name": "mine", "scopes": ["keys:write", "audit:read"], "ceiling": ceiling,
        "expiresAt": "2026-12-01T00:00:00Z",
    });
    let mine = app.call(&app.key(mine).await);
    let key = |change: Value| {
        let mut key = json!({
            "name": "k", "scopes": ["audit:read"], "ceiling": may(&["read"], "mcp:github:repos"),
            "expiresAt": "2026-11-30T00:00:00Z",
        });
        if let (Some(key), Value::Object(change)) = (key.as_object_mut(), change) {
            key.extend(change);
        }
        key
    };
    let weak = mine.post("/api/v1/keys", key(json!({}))).await.expect(201);
    let weak = format!("/api/v1/keys/{}", weak.id());
    for stronger in [
        json!({ "scopes": ["*"] }),
        json!({ "scopes": ["users:write"] }),
        json!({ "ceiling": null }),
        json!({ "ceiling": may(&["*"], "mcp:github:*") }),
        json!({ "ceiling": may(&["read"], "mcp:*") }),
        json!({ "expiresAt": null }),
        json!({ "expiresAt": "2026-12-01T00:00:01Z" }),
    ] {
        mine.post("/api/v1/keys", key(stronger.clone()))
            .await
            .refused(403, "forbidden");
        mine.patch(&weak, stronger.clone())
            .await
            .refused(403, "forbidden");
        let strong = app
            .operator()
            .post("/api/v1/keys", key(stronger))
            .await
            .expect(201);
        let strong = format!("/api/v1/keys/{}", strong.id());
        mine.patch(&strong, json!({ "name": "n" }))
            .await
            .refused(403, "forbidden");
        mine.delete(&strong).await.refused(403, "forbidden");
    }
    mine.patch(&weak, json!({ "scopes": ["keys:write"] }))
        .await
        .expect(200);
    mine.delete(&weak).await.expect(200);
}

#[tokio::test]
async fn a_narrowed_key_and_its_old_form_are_not_mixed_up() {
    let app = crate::start().await;
    let made = json!({ "name": "k", "scopes": ["users:read", "audit:read"] });
    let made = app.operator().post("/api/v1/keys", made).await.expect(201);
    let (path, caller) = (
        format!("/api/v1/keys/{}", made.id()),
        app.call(made.text_at("/data/token")),
    );
    caller.get("/api/v1/users").await.expect(200);
    let narrower = json!({ "scopes": ["audit:read"] });
    app.operator().patch(&path, narrower).await.expect(200);
    caller.get("/api/v1/users").await.refused(403, "forbidden");
    caller.get("/api/v1/audit").await.expect(200);
    app.operator().delete(&path).await.expect(200);
    caller
        .get("/api/v1/audit")
        .await
        .refused(401, "unauthenticated");
    let revoked = app.operator().patch(&path, json!({ "name": "n" })).await;
    revoked.refused(409, "conflict");
}

/// A constraint that nothing would heed is not taken.
#[tokio::test]
async fn a_ceiling_holds_no_constraints() {
    let app = crate::start().await;
    let key = |ceiling: Value| json!({ "name": "k", "scopes": ["*"], "ceiling": ceiling });
    let limited = may_under(&["read"], "mcp:*", json!({ "maxCallsPerHour": 1 }));
    let plain = may_under(&["read"], "mcp:*", json!({}));
    let operator = app.operator();
    let refused = operator.post("/api/v1/keys", key(limited.clone())).await;
    assert_eq!(refused.refused(400, "malformed_request").field(), "ceiling");
    let made = operator.post("/api/v1/keys", key(plain)).await.expect(201);
    let path = format!("/api/v1/keys/{}", made.id());
    let refused = operator.patch(&path, json!({ "ceiling": limited })).await;
    assert_eq!(refused.refused(400, "malformed_request").field(), "ceiling");
}
