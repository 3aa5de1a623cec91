//! Humans: created, named by someone else's provider, banned, deleted.

use futures_util::future::join_all;
use kavachos_test::{TestAgent, TestApp, may};
use serde_json::{Value, json};

use crate::moving::{at, body as body_of, export, import, sealed};

async fn own(app: &TestApp, key: &str) -> String {
    let question = json!({ "action": "read", "resource": "mcp:x" });
    app.call(key)
        .post("/api/v1/authorize", question)
        .await
        .code()
        .to_owned()
}

/// A human with an agent, a sub-agent, and a delegation to each other.
async fn family(app: &TestApp) -> (String, TestAgent, TestAgent) {
    let user = app.user().await;
    let agent = app.agent(&user, may(&["read"], "mcp:*")).await;
    let sub = app.agent(&agent.id, may(&["read"], "mcp:x")).await;
    (user, agent, sub)
}

/// B19, F26, F35.
#[tokio::test]
async fn b19_f26_f35_a_banned_or_deleted_human_stops_all_below() {
    for (how, after) in [
        ("ban", "banned"),
        ("delete", "revoked"),
        ("nothing", "active"),
    ] {
        let app = crate::start().await;
        let (user, agent, sub) = family(&app).await;
        let other = app.agent(&user, may(&["read"], "mcp:none")).await;
        app.delegate(&agent.id, &other.id, may(&["read"], "mcp:x"))
            .await
            .expect(201);
        let path = format!("/api/v1/users/{user}");
        let stopped = match how {
            "ban" => app
                .operator()
                .post(&format!("{path}/ban"), json!({}))
                .await
                .expect(200),
            "delete" => app.operator().delete(&path).await.expect(200),
            _ => app.operator().get(&path).await.expect(200),
        };
        let (by_id, by_key, status) = match how {
            "nothing" => ("allowed", "allowed", 200),
            _ => ("owner_not_active", "key_revoked", 401),
        };
        for agent in [&agent, &sub, &other] {
            app.decide(&agent.id, "read", "mcp:x").await.decided(by_id);
            assert_eq!(own(&app, &agent.key).await, by_key, "{how}");
            app.call(&agent.key)
                .get(&format!("/api/v1/agents/{}", agent.id))
                .await
                .expect(status);
        }
        if how != "nothing" {
            assert_eq!(stopped.at("/data/state"), "closed");
            let new = json!({ "ownerId": user, "name": "n", "type": "service", "permissions": may(&["read"], "mcp:x") });
            app.operator()
                .post("/api/v1/agents", new)
                .await
                .refused(409, "conflict");
            let rotate = format!("/api/v1/agents/{}/rotate", agent.id);
            app.operator()
                .post(&rotate, json!({}))
                .await
                .refused(409, "conflict");
        }
        // The records stay, and are found under the human's id.
        let shown = app.operator().get(&path).await.expect(200);
        assert_eq!(shown.at("/data/status"), after);
        assert!(app.audit(&format!("userId={user}")).await.len() >= 10);
    }
}

/// F26: unbanned, the grants live again and the keys do not.
#[tokio::test]
async fn f26_an_unbanned_humans_keys_stay_dead() {
    let app = crate::start().await;
    let (user, agent, sub) = family(&app).await;
    let turn = |how: &str| format!("/api/v1/users/{user}/{how}");
    app.operator()
        .post(&turn("unban"), json!({}))
        .await
        .refused(409, "conflict");
    app.operator()
        .post(&turn("ban"), json!({}))
        .await
        .expect(200);
    app.operator()
        .post(&turn("ban"), json!({}))
        .await
        .refused(409, "conflict");
    app.operator()
        .post(&turn("unban"), json!({}))
        .await
        .expect(200);
    for agent in [&agent, &sub] {
        app.decide(&agent.id, "read", "mcp:x")
            .await
            .decided("allowed");
        assert_eq!(own(&app, &agent.key).await, "key_revoked");
        let rotate = format!("/api/v1/agents/{}/rotate", agent.id);
        let rotated = app.operator().post(&rotate, json!({})).await.expect(201);
        assert_eq!(own(&app, rotated.text_at("/data/token")).await, "allowed");
    }
}

/// F35: a human with agents is deleted, their name goes, and nothing of theirs comes back.
#[tokio::test]
async fn f35_a_deleted_human_leaves_a_tombstone() {
    let app = crate::start().await;
    let body = json!({ "name": "Ada", "email": "Ada@Example.com", "external": { "provider": "clerk", "externalId": "u1" } });
    let user = app.operator().post("/api/v1/users", body).await.expect(201);
    assert_eq!(user.at("/data/email"), "ada@example.com");
    let path = format!("/api/v1/users/{}", user.id());
    app.agent(user.id(), may(&["read"], "mcp:x")).await;
    app.operator().delete(&path).await.expect(200);
    app.operator().delete(&path).await.expect(200);
    let shown = app.operator().get(&path).await.expect(200);
    assert!(
        shown.at("/data/name").is_null() && shown.at("/data/email").is_null(),
        "{shown}"
    );
    app.operator()
        .patch(&path, json!({ "name": "n" }))
        .await
        .refused(409, "conflict");
    for how in ["ban", "unban"] {
        app.operator()
            .post(&format!("{path}/{how}"), json!({}))
            .await
            .refused(409, "conflict");
    }
    // The address may be used again; the outside identity never.
    let again = json!({ "email": "ada@example.com" });
    app.operator()
        .post("/api/v1/users", again)
        .await
        .expect(201);
    let same = json!({ "external": { "provider": "clerk", "externalId": "u1" } });
    app.operator()
        .post("/api/v1/users", same.clone())
        .await
        .refused(409, "conflict");
    let mention = json!({ "owner": same["external"], "name": "a", "type": "service", "permissions": may(&["read"], "mcp:x") });
    app.operator()
        .post("/api/v1/agents", mention)
        .await
        .refused(409, "conflict");
    let other = json!({ "external": { "provider": "clerk", "externalId": "u2" } });
    app.operator()
        .post("/api/v1/users", other)
        .await
        .expect(201);
}

fn mention(id: &str) -> Value {
    json!({
        "owner": { "provider": "clerk", "externalId": id }, "name": "a", "type": "service",
        "permissions": may(&["read"], "mcp:x"),
    })
}

/// Authority.md: a human of another provider is created on first mention.
#[tokio::test]
async fn an_outside_human_is_created_on_first_mention() {
    let app = crate::start().await;
    let first = app
        .operator()
        .post("/api/v1/agents", mention("u1"))
        .await
        .expect(201);
    let second = app
        .operator()
        .post("/api/v1/agents", mention("u1"))
        .await
        .expect(201);
    let other = app
        .operator()
        .post("/api/v1/agents", mention("u2"))
        .await
        .expect(201);
    assert_eq!(first.at("/data/userId"), second.at("/data/userId"));
    assert_ne!(first.at("/data/userId"), other.at("/data/userId"));
    let user = format!("/api/v1/users/{}", first.text_at("/data/userId"));
    let user = app.operator().get(&user).await.expect(200);
    assert_eq!(
        user.at("/data/external"),
        &json!({ "provider": "clerk", "externalId": "u1" })
    );
    assert_eq!(user.at("/data/agents"), 2);
    assert_eq!(app.audit("kind=user.created").await.len(), 2);
    // It makes a human, so it needs the right to.
    let key = app
        .key(json!({ "name": "k", "scopes": ["agents:write"] }))
        .await;
    app.call(&key)
        .post("/api/v1/agents", mention("u3"))
        .await
        .refused(403, "forbidden");
    let key = app
        .key(json!({ "name": "k", "scopes": ["agents:write", "users:write"] }))
        .await;
    app.call(&key)
        .post("/api/v1/agents", mention("u3"))
        .await
        .expect(201);
    let both = json!({
        "ownerId": user.id(), "owner": { "provider": "clerk", "externalId": "u1" }, "name": "a", "type": "service",
        "permissions": may(&["read"], "mcp:x"),
    });
    app.operator()
        .post("/api/v1/agents", both)
        .await
        .refused(400, "malformed_request");
}

/// Two first mentions at the same time are one human.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_first_mentions_make_one_human() {
    let app = crate::start().await;
    let create = async || app.operator().post("/api/v1/agents", mention("u1")).await;
    let replies = join_all((0..8).map(|_| create())).await;
    let users: std::collections::BTreeSet<_> = replies
        .iter()
        .filter(|reply| reply.status == 201)
        .map(|reply| reply.text_at("/data/userId"))
        .collect();
    assert_eq!(users.len(), 1);
    for reply in &replies {
        assert_eq!(reply.status, 201, "{reply}");
    }
    assert_eq!(app.audit("kind=user.created").await.len(), 1);
    assert_eq!(app.operator().get("/api/v1/users").await.rows().len(), 1);
    let other = app
        .operator()
        .post("/api/v1/agents", mention("u2"))
        .await
        .expect(201);
    assert!(!users.contains(other.text_at("/data/userId")));
}

#[tokio::test]
async fn an_address_is_one_account_and_a_user_that_cannot_be_read_is_400() {
    let app = crate::start().await;
    let post = async |body: Value| app.operator().post("/api/v1/users", body).await;
    let first = post(json!({ "email": "ada@example.com" }))
        .await
        .expect(201);
    post(json!({ "email": "ADA@example.com" }))
        .await
        .refused(409, "conflict");
    let second = post(json!({ "email": "bob@example.com" }))
        .await
        .expect(201);
    let path = format!("/api/v1/users/{}", second.id());
    app.operator()
        .patch(&path, json!({ "email": "ada@example.com" }))
        .await
        .refused(409, "conflict");
    app.operator()
        .patch(&path, json!({ "email": null }))
        .await
        .expect(200);
    assert_ne!(first.id(), second.id());
    for (field, body) in [
        ("", json!({})),
        ("email", json!({ "email": "ada" })),
        ("email", json!({ "email": 7 })),
        ("name", json!({ "name": "" })),
        ("external", json!({ "external": { "provider": "x" } })),
        (
            "external",
            json!({ "external": { "provider": "x", "externalId": "y", "verified": true } }),
        ),
        ("permissions", json!({ "name": "n", "permissions": [] })),
        ("verified", json!({ "name": "n", "verified": true })),
        (
            "id",
            json!({ "name": "n", "id": "user_01h455vb4pex5vsknk084sn02q" }),
        ),
    ] {
        let reply = post(body.clone()).await;
        assert_eq!(reply.status, 400, "{body}: {reply}");
        assert!(reply.field().starts_with(field), "{body}: {reply}");
    }
}

/// No mail reaches these, so nobody could come in by them. Whoever was moved here with one keeps it.
#[tokio::test]
async fn an_address_that_takes_no_mail_is_for_nobody_new() {
    let app = crate::start().await;
    let operator = app.operator();
    let known = operator
        .post("/api/v1/users", json!({ "email": "Ada@Example.com" }))
        .await
        .expect(201);
    assert_eq!(known.at("/data/email"), "ada@example.com");
    let path = format!("/api/v1/users/{}", known.id());
    for odd in ["böb@example.com", "ada@bücher.example", "ada@[127.0.0.1]"] {
        let body = json!({ "email": odd });
        for reply in [
            operator.post("/api/v1/users", body.clone()).await,
            operator.patch(&path, body).await,
        ] {
            let reply = reply.refused(400, "malformed_request");
            assert_eq!(reply.field(), "email", "{reply}");
        }
        let mut moved = body_of(&export(&operator).await);
        let row = at(&moved, "{\"kind\":\"user\"");
        moved[row] = moved[row].replace("ada@example.com", odd);
        let there = crate::setup().seeded(8).start().await;
        import(&there.operator(), &sealed(&moved)).await.expect(200);
        let owner = there.call(app.operator_key());
        let found = owner.get("/api/v1/users").await.expect(200);
        assert_eq!(found.rows()[0]["email"], odd);
        let same = json!({ "name": "Ada", "email": odd });
        owner.patch(&path, same).await.expect(200);
    }
}

/// Whoever comes second at the same moment is told what whoever comes later is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_claims_of_one_address_give_it_to_one() {
    let app = crate::start().await;
    let ada = json!({ "email": "ada@example.com" });
    let create = async |body: Value| app.operator().post("/api/v1/users", body).await;
    let replies = join_all((0..8).map(|_| create(ada.clone()))).await;
    let made = replies.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(made, 1);
    for reply in replies.into_iter().filter(|reply| reply.status != 201) {
        reply.refused(409, "conflict");
    }
    let mut users = Vec::new();
    for _ in 0..8 {
        users.push(app.user().await);
    }
    let claim = async |user: &str| {
        let bob = json!({ "email": "bob@example.com" });
        app.operator()
            .patch(&format!("/api/v1/users/{user}"), bob)
            .await
    };
    let replies = join_all(users.iter().map(|user| claim(user))).await;
    let made = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(made, 1);
    for reply in replies.into_iter().filter(|reply| reply.status != 200) {
        reply.refused(409, "conflict");
    }
}
