//! `Idempotency-Key`: a repeated creation or act has no effect.

use futures_util::future::join_all;
use http::Method;
use kavachos_test::{Call, Reply, may};
use serde_json::{Value, json};

use crate::routes::{World, routes};

fn keyed(caller: Call, key: &str) -> Call {
    caller.header("idempotency-key", key)
}

fn new_agent(owner: &str, name: &str) -> Value {
    json!({ "ownerId": owner, "name": name, "type": "service", "permissions": may(&["read"], "mcp:x") })
}

/// A replay has the id of the first answer, and no credential.
fn assert_replay(first: &Reply, again: &Reply) {
    assert_eq!(again.status, 201, "{again}");
    assert_eq!(first.id(), again.id());
    assert_eq!(again.at("/data/replayed"), true, "{again}");
    assert!(again.at("/data/token").is_null(), "{again}");
    assert!(first.at("/data/replayed").is_null(), "{first}");
}

#[tokio::test]
async fn a_repeated_creation_has_no_effect_and_shows_no_key() {
    let app = crate::start().await;
    let user = app.user().await;
    let (giver, to) = (
        app.agent(&user, may(&["read"], "mcp:*")).await,
        app.agent(&user, may(&["read"], "mcp:y")).await,
    );
    let delegation = json!({ "from": giver.id, "to": to.id, "permissions": may(&["read"], "mcp:x"), "reason": "r" });
    let rotate = format!("/api/v1/agents/{}/rotate", to.id);
    for (path, body) in [
        ("/api/v1/agents", new_agent(&user, "n")),
        ("/api/v1/users", json!({ "name": "n" })),
        (
            "/api/v1/keys",
            json!({ "name": "n", "scopes": ["audit:read"] }),
        ),
        ("/api/v1/delegations", delegation),
        (&rotate, json!({})),
    ] {
        let once = keyed(app.operator(), "k1");
        let first = once.post(path, body.clone()).await.expect(201);
        let size = app.head().size;
        assert_replay(&first, &once.post(path, body.clone()).await);
        assert_eq!(app.head().size, size, "{path}: nothing was done");
        if first.at("/data/token").is_string() && path != rotate {
            let other = keyed(app.operator(), "k2")
                .post(path, body.clone())
                .await
                .expect(201);
            assert_ne!(first.id(), other.id(), "{path}");
        }
        // Without the header each call is one of its own.
        let plain = app.operator().post(path, body).await.expect(201);
        assert_eq!(first.id() == plain.id(), path == rotate, "{path}");
    }
}

#[tokio::test]
async fn the_same_key_with_another_request_is_409() {
    let app = crate::start().await;
    let user = app.user().await;
    let once = keyed(app.operator(), "k1");
    let first = once
        .post("/api/v1/agents", new_agent(&user, "one"))
        .await
        .expect(201);
    let other = once.post("/api/v1/agents", new_agent(&user, "two")).await;
    other.refused(409, "idempotency_mismatch");
    // Another order of the members is the same request.
    let same = format!(
        "{{\"type\":\"service\",\"permissions\":{},\"name\":\"one\",\"ownerId\":\"{user}\"}}",
        may(&["read"], "mcp:x")
    );
    let again = once
        .send(Method::POST, "/api/v1/agents", Some(same.into_bytes()))
        .await;
    assert_replay(&first, &again);
}

#[tokio::test]
async fn a_key_belongs_to_its_caller_and_route() {
    let app = crate::start().await;
    let user = app.user().await;
    let body = json!({ "name": "n", "scopes": ["audit:read"] });
    keyed(app.operator(), "k1")
        .post("/api/v1/keys", body.clone())
        .await
        .expect(201);
    let other = app.call(&app.key(json!({ "name": "o", "scopes": ["*"] })).await);
    let theirs = keyed(other, "k1")
        .post("/api/v1/keys", body)
        .await
        .expect(201);
    assert!(theirs.at("/data/token").is_string(), "{theirs}");
    let elsewhere = keyed(app.operator(), "k1")
        .post("/api/v1/agents", new_agent(&user, "n"))
        .await
        .expect(201);
    assert!(elsewhere.at("/data/token").is_string(), "{elsewhere}");
    // Two agents of one kind are two routes.
    let (a, b) = (
        app.agent(&user, may(&["read"], "mcp:x")).await,
        app.agent(&user, may(&["read"], "mcp:x")).await,
    );
    for agent in [&a, &b] {
        let path = format!("/api/v1/agents/{}/rotate", agent.id);
        let rotated = keyed(app.operator(), "k1")
            .post(&path, json!({}))
            .await
            .expect(201);
        assert!(rotated.at("/data/token").is_string(), "{rotated}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_calls_with_one_key_make_exactly_one_agent() {
    let app = crate::start().await;
    let user = app.user().await;
    let create = async |key: Option<&str>| {
        let caller = key.map_or_else(|| app.operator(), |key| keyed(app.operator(), key));
        caller.post("/api/v1/agents", new_agent(&user, "n")).await
    };
    let replies = join_all((0..16).map(|_| create(Some("k1")))).await;
    let ids: std::collections::BTreeSet<_> = replies
        .iter()
        .map(|reply| {
            assert_eq!(reply.status, 201, "{reply}");
            reply.id()
        })
        .collect();
    assert_eq!(ids.len(), 1);
    let shown = replies
        .iter()
        .filter(|reply| reply.at("/data/token").is_string())
        .count();
    assert_eq!(shown, 1, "the key is shown once");
    let listed = async || {
        app.operator()
            .get(&format!("/api/v1/agents?ownerId={user}"))
            .await
            .rows()
            .len()
    };
    assert_eq!(listed().await, 1);
    join_all((0..5).map(|_| create(None))).await;
    assert_eq!(listed().await, 6);
}

#[tokio::test]
async fn a_key_that_cannot_be_read_is_400() {
    let app = crate::start().await;
    let long = "x".repeat(201);
    for wrong in ["", &long, "k\u{e9}"] {
        let caller = app
            .operator()
            .header_bytes("idempotency-key", wrong.as_bytes());
        let reply = caller.post("/api/v1/users", json!({ "name": "n" })).await;
        assert_eq!(
            reply.refused(400, "malformed_request").field(),
            "Idempotency-Key"
        );
    }
    let two = keyed(keyed(app.operator(), "a"), "b");
    two.post("/api/v1/users", json!({ "name": "n" }))
        .await
        .refused(400, "malformed_request");
    let longest = "x".repeat(200);
    keyed(app.operator(), &longest)
        .post("/api/v1/users", json!({ "name": "n" }))
        .await
        .expect(201);
}

/// A creation that was refused was not done: the same key may be used once it can be.
#[tokio::test]
async fn a_refused_creation_does_not_use_the_key_up() {
    let app = crate::start().await;
    let user = app.user().await;
    let once = keyed(app.operator(), "k1");
    let ban = |how: &str| format!("/api/v1/users/{user}/{how}");
    app.operator()
        .post(&ban("ban"), json!({}))
        .await
        .expect(200);
    once.post("/api/v1/agents", new_agent(&user, "n"))
        .await
        .refused(409, "conflict");
    app.operator()
        .post(&ban("unban"), json!({}))
        .await
        .expect(200);
    let made = once
        .post("/api/v1/agents", new_agent(&user, "n"))
        .await
        .expect(201);
    assert!(made.at("/data/token").is_string(), "{made}");
}

/// What an act answered is answered again, also once something else has happened; nothing is done by it.
#[tokio::test]
async fn a_repeated_act_has_no_effect_and_the_same_answer() {
    let app = crate::start().await;
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:x")).await;
    let (agent, user) = (format!("agents/{}", agent.id), format!("users/{user}"));
    for (thing, act, undo) in [(&agent, "suspend", "resume"), (&user, "ban", "unban")] {
        let [act, undo] = [act, undo].map(|how| format!("/api/v1/{thing}/{how}"));
        let once = keyed(app.operator(), "k1");
        let first = once.post(&act, json!({})).await.expect(200);
        app.advance(5);
        let size = app.head().size;
        let again = once.post(&act, json!({})).await.expect(200);
        assert_eq!(first.at("/data/effectiveBy"), again.at("/data/effectiveBy"));
        assert!(first.at("/data/replayed").is_null(), "{first}");
        assert_eq!(again.at("/data/replayed"), true, "{again}");
        assert_eq!(app.head().size, size, "{act}: nothing was done");
        // The twin: without the key, or with another, it is an act of its own.
        app.operator()
            .post(&act, json!({}))
            .await
            .refused(409, "conflict");
        keyed(app.operator(), "k2")
            .post(&act, json!({}))
            .await
            .refused(409, "conflict");

        let first = once.post(&undo, json!({})).await.expect(200);
        assert!(first.at("/data/replayed").is_null(), "{first}");
        let again = once.post(&undo, json!({})).await.expect(200);
        assert_eq!(again.at("/data/replayed"), true, "{again}");
        assert_eq!(first.id(), again.id());
        // The first act is told of again, and not done again.
        once.post(&act, json!({})).await.expect(200);
        let now = app.operator().get(&format!("/api/v1/{thing}")).await;
        assert_eq!(now.at("/data/status"), "active", "{now}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_acts_with_one_key_are_one() {
    let app = crate::start().await;
    let agent = app.agent(&app.user().await, may(&["read"], "mcp:x")).await;
    let suspend = format!("/api/v1/agents/{}/suspend", agent.id);
    let act = async || {
        let once = keyed(app.operator(), "k1");
        once.post(&suspend, json!({})).await.expect(200)
    };
    let replies = join_all((0..16).map(|_| act())).await;
    let replayed = replies
        .iter()
        .filter(|reply| reply.at("/data/replayed") == true);
    assert_eq!(replayed.count(), 15);
    assert_eq!(app.audit("kind=agent.suspended").await.len(), 1);
}

/// Every POST that makes or does something takes the key; a question cannot be
/// repeated.
#[tokio::test]
async fn every_post_takes_a_key_but_the_questions() {
    let mut taken = 0;
    for route in routes().iter().filter(|route| route.method == Method::POST) {
        let app = crate::start().await;
        let world = World::new(&app).await;
        let once = keyed(app.operator(), "k1");
        let first = route.call(&once, &world).await;
        if route.is_question() {
            route.malformed(&first, "Idempotency-Key");
            continue;
        }
        assert!(first.status < 300, "{}: {first}", route.name());
        let (size, again) = (app.head().size, route.call(&once, &world).await);
        assert_eq!(
            (again.status, app.head().size),
            (first.status, size),
            "{again}"
        );
        assert_eq!(
            again.at("/data/replayed"),
            true,
            "{}: {again}",
            route.name()
        );
        taken += 1;
    }
    assert!(taken >= 9, "{taken}");
}

#[tokio::test]
async fn every_act_tells_another_request_under_the_same_key() {
    let app = crate::start().await;
    let world = World::new(&app).await;
    let once = keyed(app.operator(), "k");
    let server = |name: &str| {
        json!({ "audience": "https://new.example.com/", "name": name,
            "scopes": [{ "name": "mcp:x:*", "description": "d" }] })
    };
    let given = |reason: &str| {
        json!({ "from": world.agent.id, "to": world.other.id, "reason": reason,
            "permissions": may(&["read"], "mcp:github:issues") })
    };
    let hook =
        |name: &str| json!({ "url": "https://hooks.example.com/", "kinds": ["*"], "name": name });
    let key = |name: &str| json!({ "name": name, "scopes": ["audit:read"] });
    for (path, first, other) in [
        (
            "/api/v1/users",
            json!({ "name": "a" }),
            json!({ "name": "b" }),
        ),
        ("/api/v1/keys", key("a"), key("b")),
        ("/api/v1/resources", server("a"), server("b")),
        ("/api/v1/delegations", given("a"), given("b")),
        ("/api/v1/webhooks", hook("a"), hook("b")),
        (
            "/api/v1/users/{user}/impersonate",
            json!({ "reason": "a" }),
            json!({ "reason": "b" }),
        ),
        (
            "/api/v1/webhooks/{webhook}/rotate",
            json!({}),
            json!({ "overlapSeconds": 5 }),
        ),
        (
            "/api/v1/webhooks/{webhook}/redeliver",
            json!({}),
            json!({ "auditId": world.audit }),
        ),
        (
            "/api/v1/agents/{agent}/rotate",
            json!({}),
            json!({ "keyTtlSeconds": 60 }),
        ),
        (
            "/api/v1/approvals/{approval}/approve",
            json!({ "digest": world.digest }),
            json!({ "digest": "other" }),
        ),
        (
            "/api/v1/users/{user}/role",
            json!({ "role": "admin" }),
            json!({ "role": "owner" }),
        ),
        (
            "/api/v1/users/{user}/ban",
            json!({ "reason": "a" }),
            json!({ "reason": "b" }),
        ),
    ] {
        let path = world.fill(path);
        let done = once.post(&path, first.clone()).await;
        assert!(matches!(done.status, 200 | 201), "{path}: {done}");
        let mismatch = once.post(&path, other).await;
        mismatch.refused(409, "idempotency_mismatch");
        // The twin: the same request is answered again.
        let again = once.post(&path, first).await;
        assert_eq!(again.status, done.status, "{path}: {again}");
    }
}
